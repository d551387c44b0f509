"""Contracts that do everything wrong, one method per sin (rule S16)."""

from enum import StrEnum
from typing import Annotated, Any

import msgspec

from contracts.catalogue import registry as standard_registry
from contracts.context import Capacity, Context
from contracts.errors import Refused
from contracts.fields import committed, public, sealed
from contracts.framework import ANYONE, Contract
from contracts.members import MEMBERSHIP, organisation
from contracts.registry import Registry
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Bytes32, Uint, Wire
from salus.genesis import Role
from salus.parameters import ContractVersion
from salus.validators import MemberId

planted = Contract(
    "planted",
    version=1,
    doc="Faults, planted for tests.",
    refusals={"NO": "It was told to refuse."},
    reads=("members",),
)
DONE = planted.event("done", "Something happened.", what="a number")


class None_(Wire, frozen=True):
    """No arguments."""


class Number(Wire, frozen=True):
    n: Annotated[Uint, public("a number")]


class Cell(Wire, frozen=True):
    value: Uint


class Blob(Wire, frozen=True):
    value: bytes


def _cell(n: int) -> bytes:
    return b"cell/" + n.to_bytes(8)


@planted.method(senders=ANYONE)
def put(ctx: Context, state: State, args: Number) -> list[Event]:
    """Write a cell."""
    state.put(_cell(args.n), Cell(args.n))
    return [DONE(what=args.n)]


@planted.method(senders=ANYONE)
def drop(ctx: Context, state: State, args: Number) -> list[Event]:
    """Delete a cell."""
    state.delete(_cell(args.n))
    return []


@planted.method(senders=ANYONE)
def refuse(ctx: Context, state: State, args: Number) -> list[Event]:
    """Write a cell, then refuse."""
    state.put(_cell(args.n), Cell(args.n))
    raise Refused("NO", n=args.n)


@planted.method(senders=ANYONE)
def key_error(ctx: Context, state: State, args: None_) -> list[Event]:
    """Write a cell, then fail with a text that quotes what it must not."""
    state.put(_cell(666), Cell(666))
    raise KeyError("Maria Mustermann")


def _down(n: int) -> int:
    return 0 if n == 0 else 1 + _down(n - 1)


@planted.method(senders=ANYONE)
def recurse(ctx: Context, state: State, args: Number) -> list[Event]:
    """Recurse so deep."""
    state.put(_cell(667), Cell(667))
    return [DONE(what=_down(args.n))]


@planted.method(senders=ANYONE)
def big_fact(ctx: Context, state: State, args: None_) -> list[Event]:
    """An integer of a million digits in an event."""
    return [DONE(what=10**1_000_000)]


@planted.method(senders=ANYONE)
def big_refusal(ctx: Context, state: State, args: None_) -> list[Event]:
    """An integer of a million digits in a refusal."""
    raise Refused("NO", n=10**1_000_000)


@planted.method(senders=ANYONE)
def big_state(ctx: Context, state: State, args: None_) -> list[Event]:
    """An integer of a million digits in state."""
    state.put(_cell(668), Cell(10**1_000_000))
    return []


@planted.method(senders=ANYONE)
def wide_state(ctx: Context, state: State, args: None_) -> list[Event]:
    """An integer that encodes but could not be read back."""
    state.put(_cell(668), Cell(2**60))
    return []


@planted.method(senders=ANYONE)
def big_text(ctx: Context, state: State, args: None_) -> list[Event]:
    """Python refuses to print an integer of a million digits."""
    return [DONE(what=len(str(10**1_000_000)))]


@planted.method(senders=ANYONE)
def out_of_memory(ctx: Context, state: State, args: None_) -> list[Event]:
    """More memory than any machine has."""
    return [DONE(what=len(bytes(2**62)))]


@planted.method(senders=ANYONE)
def leave(ctx: Context, state: State, args: None_) -> list[Event]:
    """Try to end the process."""
    raise SystemExit(3)


@planted.method(senders=ANYONE)
def wrong_return(ctx: Context, state: State, args: None_) -> list[Event]:
    """Return what is no list of events."""
    answer: Any = "done"
    return answer  # type: ignore[no-any-return]


@planted.method(senders=ANYONE)
def wrong_event(ctx: Context, state: State, args: None_) -> list[Event]:
    """An event that was not declared."""
    return [Event("planted.secret", {"what": 1})]


@planted.method(senders=ANYONE)
def wrong_fact(ctx: Context, state: State, args: None_) -> list[Event]:
    """A fact that was not declared."""
    return [DONE(who=1)]


@planted.method(senders=ANYONE)
def free_text(ctx: Context, state: State, args: None_) -> list[Event]:
    """A fact that is a sentence."""
    return [DONE(what="Maria Mustermann, born 1970")]


@planted.method(senders=ANYONE)
def short_hash(ctx: Context, state: State, args: None_) -> list[Event]:
    """A fact of sixteen bytes."""
    return [DONE(what=b"\xab" * 16)]


@planted.method(senders=ANYONE)
def fraction(ctx: Context, state: State, args: None_) -> list[Event]:
    """A fact that is no integer."""
    answer: Any = 0.5
    return [DONE(what=answer)]


@planted.method(senders=ANYONE)
def many_events(ctx: Context, state: State, args: None_) -> list[Event]:
    """More events than an operation may have."""
    return [DONE(what=n) for n in range(17)]


@planted.method(senders=ANYONE)
def wrong_code(ctx: Context, state: State, args: None_) -> list[Event]:
    """A refusal that was not declared."""
    raise Refused("SURPRISE")


@planted.method(senders=ANYONE)
def forge_rollback(ctx: Context, state: State, args: None_) -> list[Event]:
    """A refusal with a word of the framework."""
    raise Refused("ROLLED_BACK")


@planted.method(senders=ANYONE)
def long_key(ctx: Context, state: State, args: None_) -> list[Event]:
    """A state key without end."""
    state.put(b"k" * 129, Cell(1))
    return []


@planted.method(senders=ANYONE)
def ask_stranger(ctx: Context, state: State, args: None_) -> list[Event]:
    """Ask a contract that it did not declare to read."""
    ctx.ask(stranger_view)
    return []


@planted.method(senders=ANYONE)
def many_keys(ctx: Context, state: State, args: Number) -> list[Event]:
    """Touch so many keys."""
    for n in range(args.n):
        state.get(Cell, _cell(n))
    return []


@planted.method(senders=ANYONE)
def many_bytes(ctx: Context, state: State, args: Number) -> list[Event]:
    """Write so many bytes, a thousand at a time."""
    for n in range(args.n // 1000):
        state.put(b"blob/" + n.to_bytes(8), Blob(bytes(1000)))
    return []


@planted.method(senders=ANYONE)
def one_value(ctx: Context, state: State, args: Number) -> list[Event]:
    """Write one value of so many bytes."""
    state.put(b"blob", Blob(bytes(args.n)))
    return []


@planted.method(senders=ANYONE)
def greet(ctx: Context, state: State, args: None_) -> list[Event]:
    """Ask the members contract how many roles the sender's organisation has."""
    member = ctx.ask(organisation, ctx.member or "")
    return [DONE(what=len(member.roles) if member else 0)]


@planted.method(senders=ANYONE)
def end_epoch(ctx: Context, state: State, args: None_) -> list[Event]:
    """Ask for the epoch's end."""
    ctx.request_epoch_end()
    return []


@planted.method(senders=ANYONE)
def end_epoch_then_fail(ctx: Context, state: State, args: None_) -> list[Event]:
    """Ask for the epoch's end and fail: it must not end."""
    ctx.request_epoch_end()
    raise Refused("NO")


stranger = Contract("stranger", version=1, doc="Nobody reads it.", refusals={})


@stranger.view
def stranger_view(state: ReadState) -> int:
    return 1


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


Page = Annotated[bytes, msgspec.Meta(max_length=100)]


class EveryKind(Wire, frozen=True):
    """One field of every kind that may be declared."""

    flag: Annotated[bool, public("a flag")]
    count: Annotated[Uint, public("a number")]
    colour: Annotated[Colour, public("a colour")]
    member: Annotated[MemberId, public("a member")]
    handle: Annotated[Bytes32, public("a handle")]
    maybe: Annotated[Bytes32 | None, committed("perhaps a commitment")]
    many: Annotated[
        Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=4)], committed("commitments")
    ]
    page: Annotated[Page, sealed("a letter")]


@stranger.method(senders=(Capacity.STAFF,), roles=(Role.HOSPITAL,))
def every_kind(ctx: Context, state: State, args: EveryKind) -> list[Event]:
    """Take every kind of field."""
    return []


# The same contract later, in another version: it writes elsewhere.
planted_2 = Contract("planted", version=2, doc="The next version.", refusals={})


@planted_2.method(senders=ANYONE)
def put_again(ctx: Context, state: State, args: Number) -> list[Event]:
    """Write a cell."""
    state.put(_cell(args.n), Cell(args.n + 1))
    return []


ACTIVE = (
    ContractVersion("members", 1),
    ContractVersion("planted", 1),
    ContractVersion("records", 1),
    ContractVersion("stranger", 1),
)


def registry() -> Registry:
    """The real contracts and the planted ones."""
    return Registry(
        (*standard_registry().contracts.values(), planted, planted_2, stranger), MEMBERSHIP
    )
