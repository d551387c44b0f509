"""Catching up: with a slow disk, over an epoch's end, and against peers that waste our time."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from node.net.frames import Blocks, GetBlocks, Kind
from node.node import Node
from node.pipeline import Pipeline
from node.sync import ANSWER_TIMEOUT_S, OFFER_INTERVAL_S, POLL_S, BlockSource, Sync
from salus.codec import encode
from salus.parameters import Parameters
from salus.validators import ValidatorSet
from storage.state import BlockBatch
from tests import factories
from tests.node.network import eventually, hospitals
from tests.node.test_node import anchor, commit
from tests.steps import stepped


def slow_disk(node: Node, delay: Callable[[BlockBatch], object]) -> None:
    """Before each block is written, in the writer's thread."""
    real = node.state.commit

    def write(batch: BlockBatch, *, meta: Mapping[str, bytes] | None = None) -> None:
        delay(batch)
        real(batch, meta=meta)

    node.state.commit = write  # type: ignore[method-assign]


def counted(node: Node, name: str) -> float:
    lines = node.metrics.text().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def test_a_slow_disk_slows_the_sync_and_nothing_worse(tmp_path: Path) -> None:
    """B28: no more is accepted than may be executed ahead of what is written."""
    parameters = msgspec.structs.replace(Parameters(), execute_ahead_max=2)
    async with hospitals(tmp_path, parameters=parameters) as group:
        await group.stop(3)
        height = 0
        for number in range(20):
            height = await commit(group, number % 3, anchor(group, number, org=number % 3))
        # Three of four: nothing was committed without the node's own vote.
        assert counted(group.nodes[0], "salus_crypto_covered_total") == 0
        slow_disk(group.start(3), lambda batch: time.sleep(0.03))
        for number in range(20, 40):
            height = await commit(group, number % 3, anchor(group, number, org=number % 3))
        await group.height(height)

        def seen(what: str) -> float:
            return counted(group.nodes[3], f"salus_crypto_{what}_total")

        assert seen("covered") >= 20
        # Each client signature is verified here or stands below the votes of a quorum.
        assert seen("verified") + seen("covered") >= 40


async def test_what_a_quorum_commits_before_it_is_judged_here_is_counted_as_believed(
    tmp_path: Path,
) -> None:
    async with hospitals(tmp_path) as group:
        at = next(index for index, node in group.nodes.items() if node.vitals.me == 3)
        group.nodes[at].judge.check = lambda request: None  # type: ignore[method-assign]
        height = await commit(group, (at + 1) % 4, anchor(group, 0, org=(at + 1) % 4))
        await group.height(height)
        assert counted(group.nodes[at], "salus_crypto_covered_total") == 1


async def test_an_epoch_that_is_being_written_is_no_reason_to_blame_a_peer(tmp_path: Path) -> None:
    """S13: the next blocks are of a set that is known only once the last one is on disk."""
    parameters = msgspec.structs.replace(
        Parameters(),
        watermark_window=8,
        in_flight_proposals_max=2,
        execute_ahead_max=4,
        epoch_blocks_max=8,
    )
    async with hospitals(tmp_path, parameters=parameters) as group:
        at = next(index for index, node in group.nodes.items() if node.vitals.me == 3)
        node, peer = group.nodes[at], group.nodes[(at + 1) % 4]
        gate = threading.Event()
        slow_disk(node, lambda batch: batch.epoch is None or gate.wait(60))
        blamed: list[str] = []
        node.network.penalise = (  # type: ignore[method-assign]
            lambda member, points, reason: blamed.append(reason)
        )
        number = 0
        while peer.state.height() <= (end := node.pipeline.epoch.end) or end == 0:
            await commit(group, (at + 1) % 4, anchor(group, number, org=1))
            number += 1
        await eventually(lambda: node.pipeline.queued_height == end)
        assert node.state.height() < end
        assert peer.member is not None
        answer = peer.sync.source.answer(GetBlocks(end, 4))
        assert answer.blocks
        node.sync.receive(peer.member, encode(answer))
        await eventually(node.sync._arrived.empty)
        for _ in range(10):  # turns of the loop: whatever it made of them at once
            await asyncio.sleep(0)
        gate.set()
        await group.height(end + 1)
        assert blamed == []


class Wire:
    """The network of a `Sync` alone: notes whom it asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.sent: list[str] = []

    def send(self, member: str, kind: Kind, payload: bytes) -> bool:
        (self.asked if kind is Kind.GET_BLOCKS else self.sent).append(member)
        return True

    def penalise(self, member: str, points: int, reason: str) -> None: ...

    def peers(self) -> list[Any]:
        return [SimpleNamespace(member=m, connected=True) for m in ("a", "b", "c")]


def alone(wire: Wire, *, proved: int = 0, source: object = None) -> Sync:
    validators = factories.genesis(4).validators()
    epoch = SimpleNamespace(validators=validators, parameters=Parameters(), end=0)
    pipeline = cast(Pipeline, SimpleNamespace(queued_height=10, epoch=epoch))
    return Sync(wire, pipeline, cast(BlockSource, source), lambda: proved, lambda diverged: None)


@stepped
async def test_blocks_that_nobody_asked_for_do_not_prolong_the_wait() -> None:
    wire = Wire()
    sync = alone(wire)
    sync.want(20)
    task = asyncio.create_task(sync.run())
    for _ in range(30):
        await asyncio.sleep(ANSWER_TIMEOUT_S / 10)
        silent = "abc"[("abc".index(wire.asked[-1]) + 2) % 3]  # neither asked nor the next
        sync.receive(silent, encode(Blocks((bytes(9),), 20)))
    task.cancel()
    assert 3 <= len(wire.asked) <= 4


async def test_one_word_of_a_great_height_makes_nobody_behind() -> None:
    """L20: a proof, or f+1 validators."""
    sync = alone(Wire())
    sync.want(2**53)
    sync.claim("hosp-a", 2**53)
    assert not sync.behind
    sync.claim("hosp-b", 12)
    assert sync.behind
    assert sync.target == 12


async def test_the_word_of_who_has_left_the_set_counts_no_more() -> None:
    """S13: f+1 of the present epoch's validators; what a former one said goes with its seat."""
    sync = alone(Wire())
    sync.want(2**53)
    sync.claim("hosp-a", 2**53)
    sync.claim("hosp-z", 2**53)  # of an epoch that is over
    assert not sync.behind
    assert sync.target == 0
    epoch = sync.pipeline.epoch
    left = epoch.validators.validators[1:]
    epoch.validators = ValidatorSet(1, left)  # type: ignore[misc]
    sync.claim("hosp-b", 12)
    assert sync.target == 12, "three validators tolerate no fault: one honest word is enough"
    assert sync.behind


async def test_a_block_under_way_is_not_being_behind() -> None:
    sync = alone(Wire(), proved=12)
    assert not sync.behind
    sync.want(12)
    assert sync.behind
    assert alone(Wire(), proved=12 + Parameters().execute_ahead_max).behind


@stepped
async def test_whoever_asks_each_tick_is_offered_blocks_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def at_once(work: Callable[[GetBlocks], Blocks], request: GetBlocks) -> Blocks:
        return work(request)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    wire = Wire()
    source = SimpleNamespace(answer=lambda request: Blocks((bytes(9),), 20))
    sync = alone(wire, source=source)
    task = asyncio.create_task(sync.offer_blocks())
    for _ in range(25):
        await asyncio.sleep(OFFER_INTERVAL_S / 10)
        sync.offer("a", 3)
        sync.offer("b", 3)
    task.cancel()
    assert sorted(wire.sent) == ["a", "a", "b", "b"]


@stepped
async def test_an_idle_observer_asks_at_leisure() -> None:
    """Not as fast as the answers come."""
    wire = Wire()
    sync = alone(wire)
    sync.following = True
    task = asyncio.create_task(sync.run())
    for _ in range(25):
        await asyncio.sleep(POLL_S / 10)
        sync.receive(wire.asked[-1], encode(Blocks((), 10)))
    task.cancel()
    assert len(wire.asked) == 3


@stepped
async def test_an_empty_answer_that_nobody_asked_for_puts_no_observer_to_rest() -> None:
    """B25: else one member could keep it from every block."""
    wire = Wire()
    sync = alone(wire)
    sync.following = True
    task = asyncio.create_task(sync.run())
    for _ in range(100):
        await asyncio.sleep(ANSWER_TIMEOUT_S / 30)
        sync.receive("liar", encode(Blocks((), 10)))
    task.cancel()
    assert set(wire.asked) == {"a", "b", "c"}
