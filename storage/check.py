"""Does the disk still hold what was certified? Everything is derived again from the blocks.

From genesis upwards: parent hashes, certificates under the set of each epoch, bodies, roots,
indexes; then the state: values ↔ leaves ↔ buckets ↔ the state root of the head, and the write
sets of the last blocks against it. Findings come in that order, so the first one names the first fault. Law of the file: every byte that either
store holds takes part in some comparison, except what only the node itself can judge (`m…node/`), and of the log of
buckets what no row names any more, and the rows that did.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from salus import merkle
from salus.block import (
    BLOCK_VERSION,
    Header,
    ParsedProposal,
    Proposal,
    proposal_digest,
    receipt_leaf,
    transactions_root,
)
from salus.certificate import check_certificate
from salus.codec import decode, encode
from salus.epoch import EPOCH_STATE_KEY, EpochRecord
from salus.errors import SalusError, VerificationError
from salus.genesis import Genesis
from salus.hashing import ZERO_HASH
from salus.keys import Verifier, verify
from salus.statemap import (
    ENTRY_BYTES,
    SALT_BYTES,
    StateTree,
    bucket_of,
    check_bucket,
    find_entry,
    key_hash,
    leaf_of,
)
from salus.transaction import parse
from salus.writeset import changes, write_sets_kept
from storage import keys
from storage.blocks import BlockStore
from storage.errors import StorageError
from storage.state import StateStore, replay_rows

# Gives the header that executing the proposal on top of the previous ones leads to.
Replay = Callable[[ParsedProposal], Header]


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault; says where, never what the content is."""

    what: str  # header, certificate, body, transactions, receipts, index, epoch, state, store
    message: str
    height: int | None = None
    key_hash: bytes | None = None  # of the state key concerned

    def __str__(self) -> str:
        place = "" if self.height is None else f"height {self.height}: "
        key = "" if self.key_hash is None else f" (key hash {self.key_hash.hex()})"
        return f"{place}{self.message}{key}"


def check_stores(
    blocks: BlockStore,
    state: StateStore,
    genesis: Genesis,
    *,
    verifier: Verifier = verify,
    replay: Replay | None = None,
) -> Iterator[Finding]:
    """Everything wrong with the two stores, first fault first; nothing if all is well.

    `replay` (the node's executor) also runs every block through the contracts again.
    """
    check = _Check(blocks, state, genesis, verifier, replay)
    for part in (check.chain, check.bodies, check.state, check.write_sets, check.rows):
        try:
            yield from part()
        except (StorageError, SalusError) as error:
            yield Finding("store", error.message, check.height)


class _Check:
    def __init__(
        self,
        blocks: BlockStore,
        state: StateStore,
        genesis: Genesis,
        verifier: Verifier,
        replay: Replay | None,
    ) -> None:
        self._blocks, self._state, self._genesis = blocks, state, genesis
        self._verifier, self._replay = verifier, replay
        self._domain = genesis.vote_domain()
        self.height: int | None = None  # where the check stands
        self._indexed = 0  # transactions that the index must hold
        self._epochs = 1

    # --- the chain, height by height

    def chain(self) -> Iterator[Finding]:
        epoch = EpochRecord(0, 0, self._genesis.validators(), self._genesis.parameters)
        parent: Header | None = None
        for height in range(self._state.height() + 1):
            self.height = height
            try:
                header = self._state.header(height)
                yield from self._one(header, parent, epoch)
                if self._state.height_of(header.hash()) != height:
                    yield Finding("index", "the block's hash does not lead to its height", height)
                if header.ends_epoch and height > 0:
                    epoch = self._state.epoch(epoch.epoch + 1)
                    self._epochs += 1
            except (StorageError, SalusError) as error:
                yield Finding("store", error.message, height)
                return  # the blocks above can no longer be judged by their parents
            parent = header
        yield from self._epoch_rows()
        self.height = None

    def _one(self, header: Header, parent: Header | None, epoch: EpochRecord) -> Iterator[Finding]:
        if parent is None:
            yield from self._genesis_block(header)
            return
        for what, message in _header_faults(header, parent, epoch):
            yield Finding(what, message, parent.height + 1)
        certificate = self._state.certificate(header.height)
        assert certificate is not None
        try:
            check_certificate(certificate, header, epoch.validators, self._domain, self._verifier)
        except VerificationError as error:
            yield Finding("certificate", error.message, header.height)
        yield from self._body(header, epoch)
        yield from self._receipts(header)
        yield from self._handover(header, epoch)

    def _genesis_block(self, header: Header) -> Iterator[Finding]:
        genesis = self._genesis
        validators_hash = genesis.validators().hash()
        expected = Header(
            version=BLOCK_VERSION,
            epoch=0,
            height=0,
            parent_hash=genesis.hash(),
            time_ms=genesis.time_ms,
            proposal_digest=ZERO_HASH,
            proposer=None,
            origin_view=0,
            transactions_count=0,
            transactions_root=merkle.EMPTY_ROOT,
            receipts_count=0,
            receipts_root=merkle.EMPTY_ROOT,
            # Covered by the parent hash of block 1; with no block 1, by the check of the state.
            state_root=header.state_root,
            validators_hash=validators_hash,
            next_validators_hash=validators_hash,
            parameters_hash=genesis.parameters.hash(),
            epoch_end=0,
        )
        if header != expected:
            yield Finding("header", "block 0 is not that of the genesis document", 0)
        if self._state.receipts(0) or self._replay_rows(0):
            yield Finding("receipts", "the genesis block has no transactions", 0)

    def _body(self, header: Header, epoch: EpochRecord) -> Iterator[Finding]:
        height = header.height
        raw = self._blocks.body(height, header.proposal_digest)
        if raw is None:
            yield Finding("body", "the body of the certified proposal is missing", height)
            return
        if proposal_digest(raw) != header.proposal_digest:
            yield Finding("body", "the body is not the certified proposal", height)
            return
        body = decode(raw, Proposal)
        transactions = [
            parse(tx, self._genesis.chain_id, self._domain.genesis_hash, epoch.parameters)
            for tx in body.transactions
        ]
        if (header.transactions_count, header.transactions_root) != (
            len(transactions),
            transactions_root(transactions),
        ):
            yield Finding("transactions", "the body leads to another transactions root", height)
        rows = replay_rows(
            [tx.id for tx in transactions], [tx.body.expiry_height for tx in transactions]
        )
        if self._replay_rows(height) != rows:
            yield Finding("index", "the replay record is not that of the body", height)
        for index, tx in enumerate(transactions):
            place = self._state.find_transaction(tx.id)
            if place is None or place > (height, index):
                yield Finding("index", f"transaction {index} is not found by its id", height)
            elif place == (height, index):
                self._indexed += 1
            # An earlier place was counted there, and the count of all rows is compared below.
        parsed = ParsedProposal(raw, body, transactions)
        if self._replay is not None and self._replay(parsed) != header:
            yield Finding("replay", "executing the block gives another header", height)

    def _receipts(self, header: Header) -> Iterator[Finding]:
        receipts = self._state.receipts(header.height)
        root = merkle.root([receipt_leaf(receipt) for receipt in receipts])
        if (header.receipts_count, header.receipts_root) != (len(receipts), root):
            yield Finding("receipts", "the receipts lead to another root", header.height)

    def _handover(self, header: Header, epoch: EpochRecord) -> Iterator[Finding]:
        if not header.ends_epoch:
            if header.next_validators_hash != header.validators_hash:
                yield Finding("header", "the set changes within the epoch", header.height)
            return
        following = self._state.epoch(epoch.epoch + 1)
        if (
            following.base != header.height
            or following.epoch != epoch.epoch + 1
            or following.validators.hash() != header.next_validators_hash
        ):
            yield Finding(
                "epoch", "the next epoch's record is not what was certified", header.height
            )

    def _epoch_rows(self) -> Iterator[Finding]:
        """The ends of all epochs, and the present record against the state's own copy."""
        head, records = self._state.head, list(self._state.epochs())
        genesis = EpochRecord(0, 0, self._genesis.validators(), self._genesis.parameters)
        for index, record in enumerate(records):
            if index + 1 < len(records):
                end = records[index + 1].base
            else:
                end = head.epoch_end if record.epoch == head.epoch else 0
            bad = record.end != end or record.epoch != index
            if index == 0:
                bad = bad or encode(record) != encode(
                    EpochRecord(0, 0, genesis.validators, genesis.parameters, end)
                )
            if bad:
                yield Finding("epoch", f"the record of epoch {index} is not what was certified")
        stored = self._state.get(EPOCH_STATE_KEY)
        current = encode(self._state.current_epoch())
        if stored is None or stored[SALT_BYTES:] != current:
            yield Finding("epoch", "the present epoch's record differs from the state's")

    def _replay_rows(self, height: int) -> bytes:
        return self._state.kv.get(keys.REPLAY + keys.number(height)) or b""

    # --- bodies that no header names: prepared ones, or orphans

    def bodies(self) -> Iterator[Finding]:
        for sequence, digest, body in self._blocks.bodies():
            if proposal_digest(body) != digest:
                yield Finding("body", "a stored body is not what its digest says", sequence)
        for key, _ in self._blocks.kv.scan(b""):
            if key[:1] not in (keys.BODY, keys.META):
                yield Finding("store", "the blocks store holds a row of no known kind")

    # --- the state of the head

    def state(self) -> Iterator[Finding]:
        bits, head = self._genesis.parameters.state_bucket_bits, self._state.head
        values = 0
        for key, stored in self._state.values():
            values += 1
            hashed = key_hash(key)
            _, leaf = find_entry(self._state.bucket(bucket_of(hashed, bits)), hashed)
            if leaf is None:
                yield Finding("state", "a value is in no bucket", head.height, hashed)
            elif leaf != leaf_of(hashed, stored):
                yield Finding("state", "a value is not what its leaf says", head.height, hashed)
        entries, tree = 0, StateTree(bits)

        def checked() -> Iterator[tuple[int, bytes]]:
            nonlocal entries
            for index, content in self._state.buckets():
                if index >> bits:
                    raise VerificationError(f"state bucket {index}: there is no such bucket")
                check_bucket(content, index, bits)
                entries += len(content) // ENTRY_BYTES
                yield index, content

        if tree.load(checked()) != head.state_root:
            yield Finding("state", "the buckets lead to another state root", head.height)
        if values != entries:
            message = f"{entries} leaves, but {values} values: some are missing"
            yield Finding("state", message, head.height)

    # --- the last write sets: each starts where the one before ended, the last at the state

    def write_sets(self) -> Iterator[Finding]:
        bits, head = self._genesis.parameters.state_bucket_bits, self._state.height()
        newest: dict[bytes, tuple[bytes, int]] = {}  # key hash → its leaf, and the height
        for height in self._kept_heights():
            write_set = self._state.write_set(height)
            if write_set is None:
                yield Finding("state", "the write set is missing", height)
                continue
            for key, old, new in changes(write_set):
                if newest.get(key, (old, 0))[0] != old:
                    yield Finding("state", "a write set starts from another value", height, key)
                newest[key] = new, height
        for key, (leaf, height) in newest.items():
            _, found = find_entry(self._state.bucket(bucket_of(key, bits)), key)
            if leaf != (found or ZERO_HASH):
                message = f"the write set of {height} does not lead to the state"
                yield Finding("state", message, head, key)

    def _kept_heights(self) -> range:
        """The heights whose write sets must be there. Each block drops by the parameters of its
        own epoch, so an epoch with a smaller window has dropped what the next would have kept."""
        head, first = self._state.height(), 0
        for epoch in self._state.epochs():
            last = min(epoch.end or head, head)
            if last > epoch.base or epoch.epoch == 0:
                first = max(first, last + 1 - write_sets_kept(epoch.parameters))
        return range(first, head + 1)

    # --- no rows too many or too few

    def rows(self) -> Iterator[Finding]:
        head = self._state.height()
        expected = {
            keys.HEADER: head + 1,
            keys.HASH: head + 1,
            keys.CERTIFICATE: head,
            keys.RECEIPTS: head + 1,
            keys.REPLAY: head + 1,
            keys.TRANSACTION: self._indexed,
            keys.EPOCH: self._epochs,
            keys.WRITE_SET: len(self._kept_heights()),
        }
        buckets = {keys.PLACES, keys.BUCKET, keys.PLACE, keys.CHANGED}
        known = {*expected, *buckets, keys.META, keys.VALUE}
        found = Counter(key[:1] for key, _ in self._state.kv.scan(b""))
        for kind in sorted(known | set(found)):
            if kind not in known:
                yield Finding("store", "the state store holds a row of no known kind")
            elif kind in expected and found[kind] != expected[kind]:
                yield Finding(
                    "store", f"{found[kind]} rows «{kind.decode()}», not {expected[kind]}"
                )


def _header_faults(header: Header, parent: Header, epoch: EpochRecord) -> Iterator[tuple[str, str]]:
    if header.height != parent.height + 1 or header.parent_hash != parent.hash():
        yield "header", "the header does not stand on the one before"
    if header.version != BLOCK_VERSION or header.time_ms < parent.time_ms:
        yield "header", "version or time of the header cannot be"
    if header.epoch != epoch.epoch or header.validators_hash != epoch.validators.hash():
        yield "header", "the header names another epoch or validator set"
    if header.parameters_hash != epoch.parameters.hash():
        yield "epoch", "the parameters are not those of the header"
