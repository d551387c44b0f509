"""What the HTTP API needs from a node: the one seam between handlers and the composition root.

Law of the file: everything here speaks of certified heights only; the single exception is a
transaction's state `ordered`, which promises no result. Methods without `async` answer from
memory or a local read and never wait. Refusals are `SalusError`s whose code is in
`salus.codes`; the API turns them into problems, so an implementation never builds HTTP answers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from node.feed import Feed
from node.metrics import Metrics
from salus.block import Header, Receipt
from salus.certificate import Certificate
from salus.forms import (
    Account,
    Consensus,
    ContractForm,
    Faults,
    Mempool,
    PeerForm,
    Readiness,
    RecordForm,
    Staged,
    Status,
    TransactionState,
    Validators,
)
from salus.genesis import Genesis
from salus.parameters import Parameters
from salus.transaction import Operation


@dataclass(frozen=True, slots=True)
class Submitted:
    """What came of one submitted transaction. Known bytes give their present state, no error."""

    state: TransactionState
    tx_id: bytes | None = None  # None only when the bytes do not parse as a transaction
    height: int | None = None
    code: str | None = None  # the word of the refusal; with a height: of the certified one
    detail: str = ""


@dataclass(frozen=True, slots=True)
class TransactionView:
    """One transaction: its state, and its bytes if this node holds them."""

    tx_id: bytes
    state: TransactionState
    raw: bytes | None = None
    height: int | None = None
    index: int | None = None
    time_ms: int | None = None  # of its block
    receipts: tuple[Receipt, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockView:
    """A certified block (genesis: no certificate). `proposal` is None where it was pruned."""

    header: Header
    certificate: Certificate | None
    proposal: bytes | None
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class StateView:
    """A value of the state map at the certified height (the salt is not part of `value`)."""

    height: int
    state_root: bytes
    value: bytes | None
    proof: bytes | None = None  # encode(StateProof), when it was asked for


@dataclass(frozen=True, slots=True)
class SimulationView:
    tx_id: bytes
    height: int
    receipts: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A document that left the vault through its gate."""

    media_type: str
    content: bytes


class ContractsView(Protocol):
    """The registry of contracts, as declared (contracts/framework.py)."""

    def declarations(self) -> tuple[ContractForm, ...]: ...

    def decoded(self, operation: Operation) -> dict[str, Any] | None:
        """The arguments by field name, JSON-ready (bytes as hex); None if they do not decode."""

    def query(self, contract: str, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any]:
        """(certified height, JSON-ready result); raises `SalusError` UNKNOWN_QUERY, BAD_ARGUMENT."""


class RecordsView(Protocol):
    """The records service: documents in the vault, their anchors on the chain."""

    async def stage(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
    ) -> Staged: ...

    async def retract(self, record_id: str, reason: str) -> Staged: ...

    def operations(self, record_id: str) -> Staged | None:
        """Those of the newest version once more, while it is not anchored."""

    def list(self, after: str | None, limit: int) -> tuple[tuple[RecordForm, ...], str | None]:
        """A page and the cursor of the next one; newest first."""

    def show(self, record_id: str) -> RecordForm | None: ...

    async def document(self, record_id: str, version: int | None) -> Document | None: ...

    async def proof(self, record_id: str, version: int | None, as_of: bool) -> bytes | None:
        """A proof file with the document's opening; `as_of`: with its currency at this height."""


class OpeningsView(Protocol):
    """What permits say in full, as the custodian keeps it."""

    async def keep(self, handle: bytes, salt: bytes, terms: bytes) -> bytes:
        """The commitment; raises `SalusError` (UNKNOWN_RELATION, BAD_TERMS …)."""


class FaultsView(Protocol):
    """Faults on purpose, for development networks ([dev] faults = true)."""

    def get(self) -> Faults: ...

    def set(self, blocked: frozenset[str], delay_ms: int) -> Faults: ...


class NodeView(Protocol):
    """A running node, as the API sees it; node/facade.py is the real one."""

    @property
    def genesis(self) -> Genesis: ...
    @property
    def genesis_hash(self) -> bytes: ...
    def members(self) -> frozenset[str]:
        """By the state of the epoch."""

    @property
    def feed(self) -> Feed: ...
    @property
    def metrics(self) -> Metrics: ...
    @property
    def contracts(self) -> ContractsView: ...
    @property
    def records(self) -> RecordsView | None:
        """None on a node without a vault (an observer)."""

    @property
    def openings(self) -> OpeningsView | None:
        """None on a node without a vault."""

    @property
    def faults(self) -> FaultsView | None:
        """None unless faults are enabled."""

    # the node
    def height(self) -> int:
        """The newest certified height that stands on disk."""

    def first_height(self) -> int:
        """The oldest height whose block and receipts are still here (pruning)."""

    async def wait_height(self, height: int, timeout_s: float) -> bool:
        """True once `height` is certified here, False when the time is up."""

    def readiness(self) -> Readiness: ...
    def status(self) -> Status: ...
    def validators(self) -> Validators: ...
    def peers(self) -> tuple[PeerForm, ...]: ...
    def consensus(self) -> Consensus: ...
    def mempool(self) -> Mempool: ...
    def parameters(self) -> tuple[int, Parameters]:
        """(epoch, its parameters)."""

    # blocks and state
    def block(self, height: int) -> BlockView | None: ...
    def header(self, height: int) -> Header | None: ...
    def certificate(self, height: int) -> Certificate | None: ...
    def height_of(self, block_hash: bytes) -> int | None:
        """The height of a certified block by its header hash."""

    def state(self, key: bytes, *, proof: bool) -> StateView: ...
    def account(self, public_key: bytes) -> Account: ...

    # transactions
    async def submit(self, transactions: Sequence[bytes]) -> list[Submitted]:
        """Admit each (parse, signature, quotas), in order; never raises for a single one's fault.

        Raises `SalusError` only if the node takes none at all (NOT_READY)."""

    def transaction(self, tx_id: bytes) -> TransactionView: ...
    async def wait(self, tx_id: bytes, timeout_s: float) -> TransactionView:
        """Returns as soon as the state is final, or what it is when the time is up."""

    async def simulate(self, transaction: bytes) -> SimulationView: ...
    async def proof(self, tx_id: bytes, operation: int, as_of: bool) -> bytes | None:
        """A proof file for a certified operation; None if the transaction is not certified."""
