"""◆ Block 0: derived by everybody from the genesis document, certified by nobody."""

from contracts.registry import Registry
from contracts.state import Overlay, State, uncapped
from salus import merkle
from salus.block import BLOCK_VERSION, Header
from salus.codec import encode
from salus.epoch import EPOCH_STATE_KEY, EpochRecord
from salus.genesis import Genesis
from salus.hashing import ZERO_HASH
from salus.statemap import (
    StateTree,
    bucket_of,
    change_bucket,
    key_hash,
    leaf_of,
    salt_of,
)
from salus.writeset import write_sets_kept
from storage.state import BlockBatch


def genesis_block(genesis: Genesis, registry: Registry) -> BlockBatch:
    """The batch that founds a store: state, epoch record and header."""
    parameters, genesis_hash = genesis.parameters, genesis.hash()
    epoch = EpochRecord(0, 0, genesis.validators(), parameters)
    overlay = Overlay(lambda key: None, uncapped(parameters))
    active = registry.activate(parameters.contracts)
    for contract in active.contracts.values():
        if contract.founding is not None:
            overlay.begin_transaction(genesis_hash)
            contract.founding(genesis, State(overlay, contract.name))
    overlay.begin_system(genesis_hash)
    overlay.put(EPOCH_STATE_KEY, encode(epoch))
    writes: dict[bytes, bytes | None] = {}
    leaves: dict[int, dict[bytes, bytes | None]] = {}
    for key, (value, source, operation) in overlay.writes.items():
        hashed = key_hash(key)
        assert value is not None
        stored = salt_of(source, operation, hashed) + value
        writes[key] = stored
        bucket = bucket_of(hashed, parameters.state_bucket_bits)
        leaves.setdefault(bucket, {})[hashed] = leaf_of(hashed, stored)
    changes: list[bytes] = []
    buckets = {index: change_bucket(b"", changed, changes) for index, changed in leaves.items()}
    validators_hash = epoch.validators.hash()
    header = Header(
        version=BLOCK_VERSION,
        epoch=0,
        height=0,
        parent_hash=genesis_hash,
        time_ms=genesis.time_ms,
        proposal_digest=ZERO_HASH,
        proposer=None,
        origin_view=0,
        transactions_count=0,
        transactions_root=merkle.EMPTY_ROOT,
        receipts_count=0,
        receipts_root=merkle.EMPTY_ROOT,
        state_root=StateTree(parameters.state_bucket_bits).load(buckets.items()),
        validators_hash=validators_hash,
        next_validators_hash=validators_hash,
        parameters_hash=parameters.hash(),
        epoch_end=0,
    )
    return BlockBatch(
        header=header,
        certificate=None,
        receipts=(),
        tx_ids=(),
        expiries=(),
        writes=writes,
        buckets=buckets,
        write_set=b"".join(changes),
        write_sets_kept=write_sets_kept(parameters),
        epoch=epoch,
    )
