"""What a contract may know of the world: the chain, the block, the transaction and its sender.

Time is the block's time, never a clock; who the sender is, the members contract has said.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

import msgspec

from contracts.state import Overlay, ReadState, State
from salus.codec import Bytes32, Wire
from salus.genesis import Role
from salus.parameters import Parameters
from salus.staff import StaffRole
from salus.transaction import ParsedTransaction
from salus.validators import MemberId, ValidatorSet

P = ParamSpec("P")
R = TypeVar("R")


class Capacity(StrEnum):
    """As what a key speaks for its organisation."""

    OPERATOR = "operator"
    NODE = "node"
    STAFF = "staff"


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
    # The hash of the chain's header at one of the last 2L heights below this one, else None.
    header_hash: Callable[[int], bytes | None] = lambda height: None


class View(Generic[P, R]):
    """A read-only question that one contract answers to others."""

    __slots__ = ("contract", "function", "name")

    def __init__(self, contract: str, function: Callable[Concatenate[ReadState, P], R]) -> None:
        self.contract, self.function, self.name = contract, function, function.__name__


class Act(Generic[P, R]):
    """A change of one contract's state that it lets others ask for, by name."""

    __slots__ = ("callers", "contract", "function", "name")

    def __init__(
        self,
        contract: str,
        callers: tuple[str, ...],
        function: Callable[Concatenate[State, P], R],
    ) -> None:
        self.contract, self.callers = contract, callers
        self.function, self.name = function, function.__name__


class Rights(NamedTuple):
    """What a contract may do beyond its own state: as it declared."""

    caller: str
    reads: tuple[str, ...]
    acts: tuple[str, ...]


class Scope:
    """A place of the chain from which a contract runs, with the others within its rights."""

    __slots__ = ("_overlay", "_rights", "block", "ends_epoch", "height")

    def __init__(self, block: BlockFacts, overlay: Overlay, rights: Rights) -> None:
        self.block, self._overlay, self._rights = block, overlay, rights
        self.height, self.ends_epoch = block.height, False

    @property
    def chain_id(self) -> str:
        return self.block.chain_id

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

    def ask(self, view: View[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Put a question to another contract that this one declared to read."""
        if view.contract not in self._rights.reads:
            raise PermissionError("a contract asks only those it declared to read")
        return view.function(ReadState(self._overlay.get, view.contract), *args, **kwargs)

    def act(self, act: Act[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Let another contract change its own state: both must have declared it."""
        rights = self._rights
        if act.contract not in rights.acts or rights.caller not in act.callers:
            raise PermissionError("both contracts must have declared the act")
        return act.function(State(self._overlay, act.contract), *args, **kwargs)

    def request_epoch_end(self) -> None:
        """The epoch shall end at height + watermark_window, if its end is open (rule S13)."""
        self.ends_epoch = True


class Turn(Scope):
    """A contract's turn at the end of a block, after its transactions (decision 0006)."""

    __slots__ = ("last", "next_parameters")

    def __init__(self, block: BlockFacts, overlay: Overlay, rights: Rights, *, last: bool) -> None:
        """`last`: the block ends its epoch. Then what the turn writes and says is of the next
        one, and asking for an end gives that epoch its end at birth."""
        super().__init__(block, overlay, rights)
        self.last, self.next_parameters = last, block.parameters


class Context(Scope):
    """One per operation."""

    __slots__ = ("_tx", "identity", "operation")

    def __init__(
        self,
        block: BlockFacts,
        tx: ParsedTransaction,
        operation: int,
        identity: Identity | None,
        overlay: Overlay,
        rights: Rights,
    ) -> None:
        # As `Scope` does, without the call: there is one for each operation.
        self.block, self._overlay, self._rights = block, overlay, rights
        self.height, self.ends_epoch = block.height, False
        self._tx, self.operation, self.identity = tx, operation, identity

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
