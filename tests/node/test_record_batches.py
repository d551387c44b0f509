"""Documents that wait for a fixed time, and stand under one root then (health.md §4.5)."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from node.record_batches import RecordBatches
from node.record_drafts import Kept, Submission
from salus.errors import SalusError
from salus.forms_records import Staged, UnsignedOperation
from salus.parameters import Parameters
from salus.record import BATCH_LEAVES_MAX
from storage.deposit import VaultEntry
from tests import factories
from tests.ledger import Ledger
from tests.node.test_records import TEXT, TYPE, commit, make_service
from tests.steps import stepped


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


ANCHOR = (UnsignedOperation("records", "anchor", 1, "aa"),)


class Clock:
    """The node's clock; a batch sleeps until the test says so."""

    def __init__(self, now_ms: int = 0) -> None:
        self.now_ms, self.asked_s, self._until_ms = now_ms, [0.0], now_ms
        self._tick = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asked_s.append(seconds)
        self._until_ms = self.now_ms + round(seconds * 1000)
        await self._tick.wait()
        self._tick = asyncio.Event()

    def tick(self) -> None:
        self.now_ms = self._until_ms
        self._tick.set()


class Chain:
    """What is placed, batch by batch; a record named `bad` is refused."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.broken: SalusError | None = None

    async def place(self, kept: Sequence[Kept]) -> Sequence[Staged | SalusError]:
        if self.broken is not None:
            raise self.broken
        names = [one.submission.media_type for one in kept]
        self.batches.append(names)
        operations = ANCHOR
        answers: list[Staged | SalusError] = []
        for name in names:
            if name == "bad":
                answers.append(SalusError("ended", code="VERSION_ENDED"))
                continue
            answers.append(Staged(name, 1, "11" * 32, "22" * 32, operations))
            operations = ()
        return answers


def kept(name: str, previous: str | None = None) -> Kept:
    entry = VaultEntry(bytes(16), 1)
    return Kept(Submission(b"", name, previous), entry, bytes(32), bytes(32), (), False)


class World:
    def __init__(self, period_ms: int = 10_000, now_ms: int = 3_500) -> None:
        self.clock, self.chain = Clock(now_ms), Chain()
        self.batches = RecordBatches(
            self.chain.place, period_ms, lambda: self.clock.now_ms, self.clock.sleep
        )

    async def ask(self, *names: str, previous: str | None = None) -> list[asyncio.Task[Staged]]:
        tasks = [asyncio.create_task(self.batches.stage(kept(one, previous))) for one in names]
        await self.settle()
        return tasks

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


@stepped
async def test_a_batch_goes_at_a_multiple_of_the_period_whenever_its_documents_came() -> None:
    world = World()
    first = await world.ask("one")
    world.clock.now_ms += 2_000
    second = await world.ask("two")
    assert world.clock.asked_s[1:] == [6.5]  # one timer, to 10 s on the clock and not 10 s from now
    assert not first[0].done()
    world.clock.tick()
    await world.settle()
    assert world.chain.batches == [["one", "two"]]
    assert [one.result().operations for one in (*first, *second)] == [ANCHOR, ()]
    await world.ask("three")
    assert world.clock.asked_s[-1] == 10.0


@stepped
async def test_what_is_refused_is_refused_alone_and_somebody_else_anchors() -> None:
    world = World()
    bad, good, other = await world.ask("bad", "good", "other")
    world.clock.tick()
    await world.settle()
    with pytest.raises(SalusError) as caught:
        bad.result()
    assert caught.value.code == "VERSION_ENDED"
    assert (good.result().operations, other.result().operations) == (ANCHOR, ())


@stepped
async def test_of_one_record_one_version_a_batch() -> None:
    world = World()
    first, second = await world.ask("v2", "v3", previous="ab")
    (third,) = await world.ask("else", previous="cd")
    world.clock.tick()
    await world.settle()
    assert (first.done(), second.done(), third.done()) == (True, False, True)
    world.clock.tick()
    await world.settle()
    assert world.chain.batches == [["v2"], ["else"], ["v3"]]
    assert second.result().operations == ANCHOR


@stepped
async def test_an_amendment_stands_in_no_transaction_of_others() -> None:
    """The chain refuses a transaction as a whole, and an amendment may meet a record that has ended."""
    world = World()
    (amended,) = await world.ask("v2", previous="ab")
    new = await world.ask("one", "two")
    world.clock.tick()
    await world.settle()
    assert world.chain.batches == [["one", "two"], ["v2"]]
    assert amended.result().operations == ANCHOR
    assert [one.result().operations for one in new] == [ANCHOR, ()]


async def test_what_was_ended_after_the_batch_was_made_costs_no_other_document_its_anchor(
    ledger: Ledger, tmp_path: Path
) -> None:
    service = make_service(ledger, tmp_path)
    batches = RecordBatches(service.place, 0, lambda: 0)
    first = await service.stage(TEXT, TYPE)
    commit(ledger, first)
    amended, fine = await asyncio.gather(
        *[
            batches.stage(await service.keep(Submission(TEXT + tail, TYPE, previous)))
            for tail, previous in ((b"late", first.record_id), (b"fine", None))
        ]
    )
    commit(ledger, await service.retract(first.record_id, "wrong patient"))
    commit(ledger, fine)
    shown = service.show(fine.record_id)
    assert shown is not None
    assert shown.versions[-1].state == "anchored"
    assert amended.root != fine.root


@stepped
async def test_more_than_a_batch_holds_go_with_the_next() -> None:
    world = World()
    tasks = await world.ask(*map(str, range(BATCH_LEAVES_MAX + 1)))
    for _ in range(2):
        world.clock.tick()
        await world.settle()
    assert [len(one) for one in world.chain.batches] == [BATCH_LEAVES_MAX, 1]
    assert all(task.done() for task in tasks)


@stepped
async def test_who_has_gone_gets_no_place_and_not_the_operations_of_others() -> None:
    world = World()
    gone, here = await world.ask("gone", "here")
    gone.cancel()
    await world.settle()
    world.clock.tick()
    await world.settle()
    assert world.chain.batches == [["here"]]
    assert here.result().operations == ANCHOR


@stepped
async def test_a_disk_that_fails_is_told_to_everybody_and_the_next_batch_goes() -> None:
    world = World()
    world.chain.broken = SalusError("full", code="DISK_FULL")
    tasks = await world.ask("one", "two")
    world.clock.tick()
    await world.settle()
    codes = [task.exception() for task in tasks]
    assert [one.code for one in codes if isinstance(one, SalusError)] == ["DISK_FULL"] * 2
    world.chain.broken = None
    (later,) = await world.ask("later")
    world.clock.tick()
    await world.settle()
    assert later.result().operations == ANCHOR


@stepped
async def test_a_node_that_stops_says_so_to_who_waits() -> None:
    world = World()
    (task,) = await world.ask("one")
    await world.batches.close()
    with pytest.raises(SalusError) as caught:
        await task
    assert caught.value.code == "NOT_READY"


async def test_documents_that_come_together_stand_under_one_padded_root(
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    """Three are anchored by one operation of four leaves; each is current, and proves itself."""
    service = make_service(ledger, tmp_path)
    first = await service.stage(TEXT, TYPE)
    commit(ledger, first)
    waiting = [
        await service.keep(Submission(TEXT + tail, TYPE, previous))
        for tail, previous in ((b"1", None), (b"2", first.record_id), (b"3", None))
    ]
    placed = await service.place(waiting)
    staged = [one for one in placed if isinstance(one, Staged)]
    assert len({one.root for one in staged}) == 1
    assert [len(one.operations) for one in staged] == [2, 0, 0]  # anchor, and supersede the old one
    again = service.operations(staged[2].record_id)
    assert again is not None
    assert again.operations == staged[0].operations  # for whoever finds that nobody sent them
    commit(ledger, staged[0])
    for one in staged:
        assert await service.proof(one.record_id, None, True) is not None
        found = service.show(one.record_id)
        assert found is not None
        assert found.versions[-1].state == "anchored"
    assert await service.keep(Submission(TEXT, TYPE, staged[1].record_id)) is not None


async def test_what_its_record_does_not_take_any_more_holds_up_no_other(
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    service = make_service(ledger, tmp_path)
    first = await service.stage(TEXT, TYPE)
    commit(ledger, first)
    late = await service.keep(Submission(TEXT + b"late", TYPE, first.record_id))
    fine = await service.keep(Submission(TEXT + b"fine", TYPE))
    commit(ledger, await service.retract(first.record_id, "wrong patient"))
    refused, staged = await service.place([late, fine])
    assert isinstance(refused, SalusError)
    assert refused.code == "VERSION_ENDED"
    assert isinstance(staged, Staged)
    commit(ledger, staged)


async def test_what_waited_when_the_node_died_is_nobodys_and_goes(
    ledger: Ledger,
    tmp_path: Path,
) -> None:
    service = make_service(ledger, tmp_path)
    await service.keep(Submission(TEXT, TYPE))
    assert len(service.vault.staged()) == 1
    again = make_service(ledger, tmp_path)
    assert not again.vault.staged()
    assert again.list(None, 10)[0] == ()


async def test_without_a_period_nothing_waits(ledger: Ledger, tmp_path: Path) -> None:
    waits = await make_service(ledger, tmp_path).deposit(TEXT, TYPE, None)
    assert len((await waits).operations) == 1
