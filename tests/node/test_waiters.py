"""Who waits for a transaction hears its own outcome, once, or that the time was up."""

import asyncio
from pathlib import Path

import pytest

from node.waiters import Outcome, Waiters
from salus.block import Header, Receipt
from tests import factories
from tests.factories import Chain
from tests.node.network import hospitals
from tests.node.test_node import WAIT_S, anchor
from tests.steps import stepped

IDS = [factories.seed(f"transaction {number}") for number in range(3)]
RECEIPTS = [
    Receipt(IDS[0], 0, "OK", {}, ()),
    Receipt(IDS[1], 0, "OK", {}, ()),
    Receipt(IDS[1], 1, "NOT_AUTHORISED", {}, ()),
    Receipt(IDS[2], 0, "OK", {}, ()),
]


def header() -> Header:
    chain = Chain()
    chain.add()
    return chain.headers[1]


async def waiting(waiters: Waiters, *tx_ids: bytes) -> list[asyncio.Task[Outcome | None]]:
    tasks = [asyncio.create_task(waiters.for_transaction(tx_id, 60)) for tx_id in tx_ids]
    await asyncio.sleep(0)
    return tasks


@stepped
async def test_each_waiter_hears_of_its_own_transaction() -> None:
    waiters, block = Waiters(0), header()
    tasks = await waiting(waiters, IDS[1], IDS[2], IDS[1])
    waiters.block(block, IDS, RECEIPTS)
    second, third, again = await asyncio.gather(*tasks)
    assert second == again == Outcome(block, 1, tuple(RECEIPTS[1:3]))
    assert third == Outcome(block, 2, (RECEIPTS[3],))
    assert waiters.height == 1


@stepped
async def test_a_block_without_the_transaction_wakes_nobody() -> None:
    waiters, block = Waiters(0), header()
    (task,) = await waiting(waiters, IDS[2])
    waiters.block(block, IDS[:2], RECEIPTS[:3])
    await asyncio.sleep(1)
    assert not task.done()
    waiters.block(block, IDS[2:], RECEIPTS[3:])
    assert await task == Outcome(block, 0, (RECEIPTS[3],))


@stepped
async def test_who_gives_up_or_leaves_is_forgotten() -> None:
    waiters = Waiters(0)
    loop = asyncio.get_running_loop()
    began = loop.time()
    (left,) = await waiting(waiters, IDS[0])
    assert await waiters.for_transaction(IDS[0], 5) is None
    assert 5 <= loop.time() - began < 6
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert not waiters._transactions


@stepped
async def test_an_outcome_in_the_moment_in_which_the_time_is_up_counts_once() -> None:
    waiters = Waiters(0)
    (task,) = await waiting(waiters, IDS[0])
    waiters.block(header(), IDS[:1], RECEIPTS[:1])
    waiters.block(header(), IDS[:1], RECEIPTS[:1])
    assert await task is not None


async def test_a_client_that_waits_is_told_what_a_later_question_gives(tmp_path: Path) -> None:
    """And the store is asked neither when the wait begins nor for the answer."""
    async with hospitals(tmp_path) as group:
        node = group.nodes[1]
        asked: list[bytes] = []
        find = node.state.find_transaction

        def watched(tx_id: bytes) -> tuple[int, int] | None:
            asked.append(tx_id)
            return find(tx_id)

        good, refused = anchor(group, 1), anchor(group, 1, expiry=999)  # the same root again
        for tx in (good, refused):
            await node.facade.submit([tx.raw])
            node.state.find_transaction = watched  # type: ignore[method-assign]
            told = await node.facade.wait(tx.id, WAIT_S)
            assert asked == []
            node.state.find_transaction = find  # type: ignore[method-assign]
            assert told.state.final
            assert told == node.facade.transaction(tx.id)
        assert not told.receipts[0].ok
        assert await node.facade.wait(good.id, 0) == node.facade.transaction(good.id)
        assert not (await node.facade.wait(bytes(32), 0)).state.final
