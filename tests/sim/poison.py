"""A contract that fails in every way it can (rule S16); for the simulator only."""

from typing import Annotated

from contracts.catalogue import registry
from contracts.context import Capacity, Context
from contracts.fields import public
from contracts.framework import Contract
from contracts.registry import Registry
from contracts.state import State
from salus.block import Event
from salus.codec import Uint, Wire
from salus.parameters import ContractVersion, Parameters

poison = Contract("poison", version=1, doc="Fails.", refusals={})


class Entry(Wire, frozen=True):
    value: Uint


class FailArgs(Wire, frozen=True):
    how: Annotated[Uint, public("in which way")]


@poison.method(senders=(Capacity.OPERATOR,))
def fail(ctx: Context, state: State, args: FailArgs) -> list[Event]:
    """Writes first, so that there is something to roll back; then fails."""
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


def with_poison() -> Registry:
    real = registry()
    return Registry((*real.contracts.values(), poison), real.membership)


LEFT = b"poison/left"  # the state key that it writes before it fails

VERSIONS = tuple(
    sorted((*Parameters().contracts, ContractVersion("poison", 1)), key=lambda v: v.contract)
)
