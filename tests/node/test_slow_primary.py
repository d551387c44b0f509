"""Slow and censoring primaries are replaced, with whole nodes over real sockets (rules L17, L22)."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from consensus.events import Tick
from node.node import Node
from node.proposer import Proposer
from salus.forms import TransactionState
from salus.parameters import Parameters
from tests.node.network import Hospitals, eventually, hospitals
from tests.node.test_node import anchor
from tests.primaries.proposers import CensoringProposer, DrippingProposer, SlowProposer

P = TypeVar("P", bound=Proposer)

# Not 1 s: the tests wait for several of them.
LIMITS = Parameters(progress_timeout_ms=400)
QUEUE = 400  # twenty drops a second; the account ends the view after five seconds or so


async def served(
    group: Hospitals, org: int, until: Callable[[], bool], *, first: int, every_s: float = 0.1
) -> int:
    """A client of this hospital sends one transaction after the other until then."""
    number = first
    while not until():
        node = group.nodes[org]
        await node.facade.submit([anchor(group, number, org=org).raw])
        number += 1
        await asyncio.sleep(every_s)
    return number


def views(group: Hospitals) -> set[int]:
    return {node.epochs.replica.state.view for node in group.nodes.values()}


async def replaced(group: Hospitals, first: int = 0) -> None:
    """Until nobody is in view 0 any more; then the next primary serves."""
    async with asyncio.timeout(60):
        number = await served(group, 1, lambda: 0 not in views(group), first=first)
    tx = anchor(group, number, org=1)
    await group.nodes[1].facade.submit([tx.raw])
    view = await group.nodes[1].facade.wait(tx.id, 60)
    assert view.state is TransactionState.COMMITTED


@pytest.mark.slow
@pytest.mark.parametrize("timeout_ms", [400, 1_000])
async def test_a_primary_just_under_the_timeout_is_replaced(
    tmp_path: Path, timeout_ms: int
) -> None:
    """Slow blocks put announcements off, at the longer timeout: the others hear in time all the same."""
    limits = Parameters(progress_timeout_ms=timeout_ms)
    async with hospitals(tmp_path, parameters=limits) as group:
        seat(group.nodes[0], SlowProposer)
        await replaced(group)


@pytest.mark.slow
async def test_a_primary_that_proposes_in_drops_is_replaced(tmp_path: Path) -> None:
    """Commits never pause, so it is the account that ends its view and not the progress timer."""
    # Long enough that a pause of a busy machine does not end the view instead.
    limits = Parameters(progress_timeout_ms=1_500)
    async with hospitals(tmp_path, parameters=limits) as group:
        seat(group.nodes[0], DrippingProposer)
        queue = [anchor(group, number, org=1).raw for number in range(QUEUE)]
        await group.nodes[1].facade.submit(queue)
        await replaced(group, first=QUEUE)
        assert any(node.pace.slack for node in group.nodes.values())


@pytest.mark.slow
async def test_a_primary_that_leaves_one_hospital_out_is_replaced(tmp_path: Path) -> None:
    """Though the others' transactions are served at once, so that commits never pause."""
    async with hospitals(tmp_path, parameters=LIMITS) as group:
        proposer = seat(group.nodes[0], CensoringProposer)
        proposer.censored = group.operators[2].public_key
        victim = anchor(group, 99_999, org=2)
        await group.nodes[2].facade.submit([victim.raw])
        async with asyncio.timeout(60):
            await served(group, 1, lambda: 0 not in views(group), first=0, every_s=0.03)
        view = await group.nodes[2].facade.wait(victim.id, 60)
        assert view.state is TransactionState.COMMITTED
        assert view.height > 1  # the others' came first
        await group.height(view.height, 1)  # and it may be a block behind


def seat(node: Node, kind: type[P]) -> P:
    """Makes this node's proposer one of that kind, in place."""
    node.proposer.__class__ = kind
    assert isinstance(node.proposer, kind)
    return node.proposer


async def test_a_node_whose_disk_stalls_keeps_its_view(tmp_path: Path) -> None:
    """L17, L22: what is committed waits for this node alone. By giving the view up it would be
    without a vote until all others change theirs too, which they have no reason to."""
    go_on = threading.Event()
    async with hospitals(tmp_path) as group:
        node = group.nodes[2]
        write = node.state.commit

        def stalled(*args: Any, **named: Any) -> None:
            assert go_on.wait(60)
            write(*args, **named)

        node.state.commit = stalled  # type: ignore[method-assign]
        try:
            await node.facade.submit([anchor(group, 1).raw])
            await group.height(1, 0, 1, 3)
            core = node.epochs.replica.state
            await eventually(lambda: core.log.committed == 1 and node.mempool.pending == 1)
            for _ in range(10 * core.config.progress_ticks):
                node._ticked(0)
                node.runner.step(Tick())
            assert not core.in_view_change
        finally:
            go_on.set()
        await group.height(1, 2)
