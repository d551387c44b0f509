"""What a contract may know of the world: the chain, the block, the transaction and its sender.

Time is the block's time, never a clock; who the sender is, the members contract has said.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar

import msgspec

from contracts.state import ReadState
from salus.codec import Bytes32, Wire
from salus.genesis import Role
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction
from salus.validators import MemberId, ValidatorSet

P = ParamSpec("P")
R = TypeVar("R")


class Capacity(StrEnum):
    """As what a key speaks for its organisation."""

    OPERATOR = "operator"
    NODE = "node"
    STAFF = "staff"


class StaffRole(StrEnum):
    """What a member of staff does; at most eight words may be public (health.md §4.0)."""

    ADMINISTRATION = "administration"
    CLINICIAN = "clinician"
    EMERGENCY = "emergency"
    GATEWAY = "gateway"
    LABORATORY = "laboratory"
    NURSE = "nurse"
    PHARMACIST = "pharmacist"
    RESEARCH = "research"


class Identity(Wire, frozen=True):
    """Whose key it is: an organisation's, in one capacity, valid at this block's time."""

    member: MemberId
    capacity: Capacity
    roles: tuple[Role, ...]  # of the organisation
    staff: Bytes32 | None = None  # the handle
    staff_roles: tuple[StaffRole, ...] = ()


class BlockFacts(msgspec.Struct, frozen=True):
    """What is the same for all operations of one block."""

    chain_id: str
    height: int
    time_ms: int
    epoch: int
    validators: ValidatorSet
    parameters: Parameters


class View(Generic[P, R]):
    """A read-only question that one contract answers to others."""

    __slots__ = ("contract", "function", "name")

    def __init__(self, contract: str, function: Callable[Concatenate[ReadState, P], R]) -> None:
        self.contract, self.function, self.name = contract, function, function.__name__


class _Reader(Protocol):
    def get(self, key: bytes) -> bytes | None: ...


class Context:
    """One per operation."""

    __slots__ = ("_reader", "_reads", "_tx", "block", "ends_epoch", "identity", "operation")

    def __init__(
        self,
        block: BlockFacts,
        tx: ParsedTransaction,
        operation: int,
        identity: Identity | None,
        reader: _Reader,
        reads: tuple[str, ...],
    ) -> None:
        self.block, self.operation, self.identity = block, operation, identity
        self._tx, self._reader, self._reads = tx, reader, reads
        self.ends_epoch = False

    @property
    def chain_id(self) -> str:
        return self.block.chain_id

    @property
    def height(self) -> int:
        return self.block.height

    @property
    def time_ms(self) -> int:
        """The block's time: Unix milliseconds, never running backwards (rule S11)."""
        return self.block.time_ms

    @property
    def epoch(self) -> int:
        return self.block.epoch

    @property
    def validators(self) -> ValidatorSet:
        """Of the epoch that this block belongs to."""
        return self.block.validators

    @property
    def parameters(self) -> Parameters:
        return self.block.parameters

    @property
    def tx_id(self) -> bytes:
        return self._tx.id

    @property
    def sender(self) -> bytes:
        """The 32-byte key that signed the transaction."""
        return self._tx.body.sender

    @property
    def member(self) -> str | None:
        """The organisation that the sender speaks for."""
        return self.identity.member if self.identity else None

    @property
    def capacity(self) -> Capacity | None:
        return self.identity.capacity if self.identity else None

    def ask(self, view: View[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Put a question to another contract that this one declared to read."""
        if view.contract not in self._reads:
            raise PermissionError("a contract asks only those it declared to read")
        return view.function(ReadState(self._reader.get, view.contract), *args, **kwargs)

    def request_epoch_end(self) -> None:
        """The epoch shall end at height + watermark_window, if its end is open (rule S13)."""
        self.ends_epoch = True
