"""Two applications for tests only: a register, and a set that only grows.

Their operations say in an event what they saw, so that a read can be a transaction too. A set
counts how often each element was added, so that an addition that is executed twice shows.
"""

from typing import Annotated

from contracts.catalogue import registry as catalogue
from contracts.context import Context
from contracts.errors import Refused
from contracts.fields import public
from contracts.framework import ANYONE, Contract
from contracts.members import MEMBERSHIP
from contracts.registry import Registry
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Bytes32, Uint, Wire
from salus.parameters import ContractVersion

ELEMENTS_MAX = 256  # of one set: its members are the bits of one 32-byte fact
_BITMAP_BYTES = ELEMENTS_MAX // 8

register = Contract(
    "register",
    version=1,
    doc="Numbers that are written, compared and read.",
    refusals={"NOT_EQUAL": "The register holds another value than the one that was expected."},
)
WRITTEN = register.event("written", "A value was written.", value="the new value")
READ = register.event("read", "A value was read.", value="the value; 0 before the first write")


class Cell(Wire, frozen=True):
    value: Uint


class Which(Wire, frozen=True):
    key: Annotated[Uint, public("which register")]


class WriteArgs(Wire, frozen=True):
    key: Annotated[Uint, public("which register")]
    value: Annotated[Uint, public("the new value")]


class SwapArgs(Wire, frozen=True):
    key: Annotated[Uint, public("which register")]
    expected: Annotated[Uint, public("the value that it must hold")]
    value: Annotated[Uint, public("the new value")]


def place(number: int) -> bytes:
    """The key of a register's, or a set's, place in the state."""
    return number.to_bytes(8)


def cell(state: ReadState, key: int) -> Cell:
    return state.get(Cell, place(key)) or Cell(0)


@register.method(senders=ANYONE)
def write(ctx: Context, state: State, args: WriteArgs) -> list[Event]:
    """Write a value."""
    state.put(place(args.key), Cell(args.value))
    return [WRITTEN(value=args.value)]


@register.method(senders=ANYONE)
def swap(ctx: Context, state: State, args: SwapArgs) -> list[Event]:
    """Write a value if the register holds the expected one."""
    if cell(state, args.key).value != args.expected:
        raise Refused("NOT_EQUAL")
    state.put(place(args.key), Cell(args.value))
    return [WRITTEN(value=args.value)]


@register.method(senders=ANYONE)
def read(ctx: Context, state: State, args: Which) -> list[Event]:
    """Say what the register holds, as a transaction."""
    return [READ(value=cell(state, args.key).value)]


@register.query
def value(state: ReadState, args: Which) -> Cell:
    """What the register holds."""
    return cell(state, args.key)


grow = Contract("grow", version=1, doc="Sets that only grow.", refusals={})
ADDED = grow.event("added", "An element was added.", element="the element")
SEEN = grow.event(
    "seen",
    "A set was read.",
    members="bit by bit, the elements",
    again="those of them that were added more than once",
)


class Members(Wire, frozen=True):
    members: Bytes32
    again: Bytes32


class AddArgs(Wire, frozen=True):
    key: Annotated[Uint, public("which set")]
    element: Annotated[Uint, public("the element, below 256")]


def bits(elements: "set[int]") -> bytes:
    return sum(1 << element for element in sorted(elements)).to_bytes(_BITMAP_BYTES)


def elements(bitmap: bytes) -> set[int]:
    number = int.from_bytes(bitmap)
    return {element for element in range(ELEMENTS_MAX) if number >> element & 1}


def _members(state: ReadState, key: int) -> Members:
    return state.get(Members, place(key)) or Members(bytes(_BITMAP_BYTES), bytes(_BITMAP_BYTES))


@grow.method(senders=ANYONE)
def add(ctx: Context, state: State, args: AddArgs) -> list[Event]:
    """Add an element; a second time is no error, and is remembered."""
    before = _members(state, args.key)
    bit = 1 << args.element % ELEMENTS_MAX
    members, again = int.from_bytes(before.members), int.from_bytes(before.again)
    after = Members(
        (members | bit).to_bytes(_BITMAP_BYTES), (again | members & bit).to_bytes(_BITMAP_BYTES)
    )
    state.put(place(args.key), after)
    return [ADDED(element=args.element)]


@grow.method(senders=ANYONE)
def see(ctx: Context, state: State, args: Which) -> list[Event]:
    """Say what is in the set, as a transaction."""
    found = _members(state, args.key)
    return [SEEN(members=found.members, again=found.again)]


@grow.query
def content(state: ReadState, args: Which) -> Members:
    """What is in the set."""
    return _members(state, args.key)


ACTIVE = tuple(
    ContractVersion(name, 1) for name in sorted(("grow", "members", "records", "register"))
)


def registry(*more: Contract) -> Registry:
    """The real contracts and these two, and what newer software has."""
    return Registry((*catalogue().contracts.values(), register, grow, *more), MEMBERSHIP)
