"""Each source of transactions is checked in its turn, whatever the others offer."""

import asyncio
from collections import Counter

import pytest

from node.turns import CLIENTS, Turns
from tests.steps import stepped


class Checks:
    """Batches that hold their place until the test ends them; `begun` in the order of their turns."""

    def __init__(self, room: int) -> None:
        self.turns = Turns(room)
        self.begun: list[str] = []
        self.sizes: Counter[str] = Counter()
        self._open: list[asyncio.Event] = []

    def offer(self, source: str, size: int, times: int = 1) -> list["asyncio.Task[None]"]:
        return [asyncio.create_task(self._one(source, size)) for _ in range(times)]

    async def _one(self, source: str, size: int) -> None:
        if not self.turns.comes_at_once(source, size):
            await self.turns.wait(source, size)
        end = asyncio.Event()
        self._open.append(end)
        self.begun.append(source)
        self.sizes[source] += size
        try:
            await end.wait()
        finally:
            self.turns.give_back(size)

    async def end(self, number: int = 1) -> None:
        """The oldest so many are checked."""
        for _ in range(number):
            self._open.pop(0).set()
            await settled()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@stepped
async def test_while_there_is_room_nobody_waits() -> None:
    checks = Checks(100)
    checks.offer("a", 50)
    checks.offer(CLIENTS, 50)
    await settled()
    assert checks.begun == ["a", CLIENTS]
    checks.offer("b", 1)
    await settled()
    assert checks.turns.waiting == 1
    await checks.end(3)
    assert checks.begun == ["a", CLIENTS, "b"]
    assert checks.turns.waiting == 0


@stepped
async def test_a_thousand_clients_are_one_source_among_the_peers() -> None:
    checks = Checks(100)
    checks.offer(CLIENTS, 10, times=1_000)
    await settled()
    assert checks.sizes[CLIENTS] == 100
    for _ in range(30):  # each peer has one batch waiting at a time
        for peer in "abc":
            if checks.begun.count(peer) * 20 <= checks.sizes[CLIENTS] - 100:
                checks.offer(peer, 20)
        await settled()
        await checks.end(3)
    got = [checks.sizes[source] for source in (CLIENTS, "a", "b", "c")]
    assert max(got) - min(got) <= 100 + 20, checks.sizes


@stepped
async def test_shares_are_of_transactions_and_not_of_batches() -> None:
    checks = Checks(1)  # one after the other
    checks.offer("large", 40, times=10)
    checks.offer("small", 4, times=100)
    await settled()
    await checks.end(54)
    assert abs(checks.sizes["large"] - checks.sizes["small"]) <= 40


@stepped
async def test_who_comes_late_has_not_saved_up_turns_and_waits_for_none() -> None:
    checks = Checks(10)
    checks.offer("a", 10, times=50)
    await settled()
    await checks.end(20)
    checks.offer("b", 10, times=50)
    await settled()
    await checks.end(20)
    assert checks.begun[:20] == ["a"] * 20
    later = checks.begun[21:]
    assert later[0] == "b"
    assert abs(later.count("a") - later.count("b")) <= 1


@stepped
async def test_a_batch_larger_than_all_room_comes_alone_and_is_not_passed_over() -> None:
    checks = Checks(10)
    checks.offer("a", 8)
    checks.offer("b", 11)
    checks.offer("a", 2, times=5)
    await settled()
    assert checks.begun == ["a"]
    await checks.end()
    assert checks.begun == ["a", "b"]
    await checks.end()
    assert checks.begun == ["a", "b", *["a"] * 5]


@stepped
@pytest.mark.parametrize("granted", [False, True])
async def test_who_gives_up_takes_no_room_and_blocks_nobody(granted: bool) -> None:
    checks = Checks(10)
    checks.offer("a", 10)
    (gives_up,) = checks.offer("b", 10)
    checks.offer("c", 10)
    await settled()
    if granted:  # its turn has come, and it has not run yet
        checks.turns.give_back(10)
        gives_up.cancel()
    else:
        gives_up.cancel()
        await settled()
        assert checks.turns.waiting == 1
        await checks.end()
    await settled()
    assert checks.begun == ["a", "c"]
    assert checks.turns.waiting == 0


@stepped
async def test_nothing_is_remembered_of_sources_when_all_is_done() -> None:
    checks = Checks(10)
    for number in range(100):
        checks.offer(f"member {number}", 7)
    await settled()
    await checks.end(100)
    assert (checks.turns._given, checks.turns._waiting, checks.turns._taken) == ({}, {}, 0)
