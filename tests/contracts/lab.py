"""A chain without consensus: genesis, one executor, every block certified by nobody at once."""

from collections.abc import Callable
from hashlib import sha256

from contracts.catalogue import registry as standard_registry
from contracts.registry import Registry
from node.executor import Executor
from node.genesis_block import genesis_block
from node.uncertified import Executed
from salus.block import ParsedProposal, Proposal, Receipt, null_proposal
from salus.certificate import Certificate, IndexedSignature
from salus.codec import Wire, decode
from salus.genesis import Genesis
from salus.governance import possession as key_possession
from salus.keys import SigningKey
from salus.parameters import Parameters
from salus.staff import possession
from salus.statemap import SALT_BYTES, StateTree
from salus.transaction import Operation, ParsedTransaction
from storage.kv import MemoryKV
from storage.state import StateStore
from tests import factories

SMALL_MAP_BITS = 4  # few buckets, so that keys share them


def parameters(**changes: object) -> Parameters:
    return Parameters(**({"state_bucket_bits": SMALL_MAP_BITS} | changes))  # type: ignore[arg-type]


def h(label: str) -> bytes:
    """32 bytes that stand for a hash."""
    return sha256(label.encode()).digest()


class Lab:
    """The executor over real stores in memory, and short words for what tests do with it."""

    def __init__(
        self,
        genesis: Genesis | None = None,
        registry: Callable[[], Registry] = standard_registry,
    ) -> None:
        self.genesis = genesis or factories.genesis(4, parameters=parameters())
        self.registry = registry()
        self.store = StateStore(MemoryKV(), self.genesis.hash())
        self.store.initialise(genesis_block(self.genesis, self.registry))
        self.executor = self.open()
        self.later_ms = 0  # of block time: what tests wait for

    def open(self) -> Executor:
        """An executor as a restart makes it, from the stores alone."""
        store, limits = self.store, self.genesis.parameters
        tree = StateTree(
            limits.state_bucket_bits,
            height=store.height(),
            uncertified_max=limits.execute_ahead_max,
        )
        tree.load(store.buckets())
        since = max(0, store.height() - limits.expiry_window_blocks)
        return Executor(
            self.registry,
            self.genesis,
            store,
            tree,
            store.head,
            store.current_epoch(),
            store.recent_ids(since),
        )

    # ── transactions ─────────────────────────────────────────────────────────

    def op(
        self, contract: str, method: str, args: Wire | None = None, **named: object
    ) -> Operation:
        declared = self.executor.active.method(contract, method)
        return declared.operation(args or declared.args(**named))

    def tx(
        self,
        *operations: Operation,
        by: str | SigningKey = "operator hosp-a",
        expiry_height: int = 5_000,
        independent: bool = False,
        number: int | None = None,
    ) -> ParsedTransaction:
        signer = by if isinstance(by, SigningKey) else factories.key(by)
        return factories.transaction(
            self.genesis,
            *operations,
            signer=signer,
            expiry_height=expiry_height,
            independent=independent,
            number=number,
        )

    # ── blocks ───────────────────────────────────────────────────────────────

    def proposal(self, *transactions: ParsedTransaction) -> ParsedProposal:
        raw = factories.proposal(
            self.executor.head.height + 1, *transactions, later_ms=self.later_ms
        )
        return ParsedProposal(raw, decode(raw, Proposal), list(transactions))

    def execute(self, *transactions: ParsedTransaction) -> Executed:
        return self.executor.execute(self.proposal(*transactions))

    def null(self) -> Executed:
        raw = null_proposal(self.executor.head.height + 1)
        return self.executor.execute(ParsedProposal(raw, decode(raw, Proposal), []))

    def certify(self) -> None:
        """The oldest uncertified block goes to the store."""
        height = self.executor.certified_head.height + 1
        executed = self.executor.executed(height)
        assert executed is not None
        header = executed.header
        fake = Certificate(header.epoch, height, header.hash(), (IndexedSignature(0, bytes(64)),))
        self.store.commit(self.executor.batch(height, fake))
        self.executor.certified(height)

    def block(self, *transactions: ParsedTransaction) -> Executed:
        """Executed and certified."""
        executed = self.execute(*transactions)
        self.certify()
        return executed

    def run(
        self, *operations: Operation, by: str = "operator hosp-a", independent: bool = False
    ) -> list[Receipt]:
        """One transaction in a block of its own; its receipts."""
        return list(self.block(self.tx(*operations, by=by, independent=independent)).receipts)

    def codes(
        self, *operations: Operation, by: str = "operator hosp-a", independent: bool = False
    ) -> list[str]:
        return [r.code for r in self.run(*operations, by=by, independent=independent)]

    def value(self, key: bytes, kind: type[Wire]) -> Wire | None:
        raw = self.executor.read(key)
        return None if raw is None else decode(raw, kind)

    def dump(self) -> dict[bytes, bytes]:
        """The whole certified state, without salts."""
        return {key: stored[SALT_BYTES:] for key, stored in self.store.values()}


def possession_of(name: str, org: str, handle: bytes) -> bytes:
    """What the staff key of that name signs so that the organisation may register it."""
    return factories.key(name).sign(possession(factories.genesis().chain_id, org, handle))


def proof_of(name: str, member: str, capacity: str) -> bytes:
    """What the key of that name signs so that a vote may enter it for the organisation."""
    payload = key_possession(factories.genesis().chain_id, member, capacity)
    return factories.key(name).sign(payload)
