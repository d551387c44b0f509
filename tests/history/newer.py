"""What newer software of the tests has: version 2 of the register.

The same registers under other rules: a write says what it replaced, a method is new, and nothing
compares any longer. No chain has it from the start; a vote activates it at a height.
"""

from typing import Annotated

from contracts.context import Context
from contracts.fields import public
from contracts.framework import ANYONE, Contract
from contracts.state import ReadState, State
from salus.block import Event
from salus.codec import Uint, Wire
from tests.history.applications import Cell, Which, WriteArgs, cell, place
from tests.history.applications import register as version_1

register = Contract("register", version=2, doc=version_1.doc, refusals={})
REPLACED = register.event(
    "written", "A value was written.", value="the new value", before="the value that it replaced"
)


class IncreaseArgs(Wire, frozen=True):
    key: Annotated[Uint, public("which register")]
    by: Annotated[Uint, public("what is added")]


def _replace(state: State, key: int, new: int) -> list[Event]:
    before = cell(state, key).value
    state.put(place(key), Cell(new))
    return [REPLACED(value=new, before=before)]


@register.method(senders=ANYONE)
def write(ctx: Context, state: State, args: WriteArgs) -> list[Event]:
    """Write a value, and say what was there."""
    return _replace(state, args.key, args.value)


@register.method(senders=ANYONE)
def increase(ctx: Context, state: State, args: IncreaseArgs) -> list[Event]:
    """Add to what is there."""
    return _replace(state, args.key, cell(state, args.key).value + args.by)


@register.query
def value(state: ReadState, args: Which) -> Cell:
    """What the register holds."""
    return cell(state, args.key)
