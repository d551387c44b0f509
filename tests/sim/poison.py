"""A contract that fails in every way it can (rule S16), and its second version, which does not;
for the simulator only."""

from typing import Annotated

from contracts.catalogue import registry
from contracts.context import Capacity, Context
from contracts.errors import LIMIT_STATE
from contracts.fields import public
from contracts.framework import Contract
from contracts.registry import Registry
from contracts.state import State
from salus.block import OK, Event
from salus.codec import Uint, Wire
from salus.parameters import ContractVersion, Parameters

poison = Contract("poison", version=1, doc="Fails.", refusals={})


HOWS = 5
CALLS_WORD = b"calls"
DEEP = 4  # does not fail
DEEP_FRAMES = 400  # of 500
OUTCOMES = {2: LIMIT_STATE, DEEP: OK}  # of its first version; all else is a fault


class Entry(Wire, frozen=True):
    value: Uint


class FailArgs(Wire, frozen=True):
    how: Annotated[Uint, public("in which way")]


@poison.method(senders=(Capacity.OPERATOR,))
def fail(ctx: Context, state: State, args: FailArgs) -> list[Event]:
    """Reads and writes first, so that there is something to roll back; then fails."""
    state.get(Entry, CALLS_WORD)
    state.put(CALLS_WORD, Entry(ctx.height))
    if args.how == DEEP:
        return _down(DEEP_FRAMES)
    state.put(b"left", Entry(ctx.height))
    if args.how == 0:
        raise ZeroDivisionError
    if args.how == 1:
        return fail_deeper(ctx, state, args)
    if args.how == 2:
        for number in range(ctx.parameters.keys_touched_max + 1):
            state.put(b"k%d" % number, Entry(number))
    return [None]  # type: ignore[list-item]


def fail_deeper(ctx: Context, state: State, args: FailArgs) -> list[Event]:
    return fail_deeper(ctx, state, args)


def _down(frames: int) -> list[Event]:
    """Deep, and well within what a contract may stack, wherever its caller stands (S16)."""
    return _down(frames - 1) if frames else []


def _mended() -> Contract:
    contract = Contract("poison", version=2, doc="Fails no more.", refusals={})

    @contract.method(senders=(Capacity.OPERATOR,))
    def fail(ctx: Context, state: State, args: FailArgs) -> list[Event]:
        """Writes, and that is all."""
        state.put(b"mended", Entry(ctx.height))
        return []

    return contract


def with_poison() -> Registry:
    real = registry()
    return Registry((*real.contracts.values(), poison, _mended()), real.membership)


CALLS = b"poison/" + CALLS_WORD  # the state key that it alone reads
LEFT = b"poison/left"  # the state key that it writes before it fails

VERSIONS = tuple(
    sorted((*Parameters().contracts, ContractVersion("poison", 1)), key=lambda v: v.contract)
)
