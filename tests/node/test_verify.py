"""Signature checking: right answers in order, in slices that shrink while votes wait (B26)."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from node.errors import NodeBusy
from node.verify import SLICE_MAX, SLICE_MIN, WAIT_HIGH_MS, VerifyPool, default_threads
from salus.keys import SigningKey
from salus.transaction import Operation, ParsedTransaction, build

KEY = SigningKey.from_seed(bytes(32))


def transaction(number: int) -> ParsedTransaction:
    return build(
        (Operation("records", "anchor", 1, b""),),
        signer=KEY,
        chain_id="verify-test",
        genesis_hash=bytes(32),
        nonce=number.to_bytes(16),
        expiry_height=100,
    )


GOOD = [transaction(number) for number in range(40)]
BAD = replace(GOOD[0], signed=GOOD[0].signed + b"x")


@pytest.mark.parametrize("threads", [0, 2])
@pytest.mark.parametrize("count", [0, 1, SLICE_MAX, SLICE_MAX + 1, 40])
async def test_each_gets_its_own_answer(threads: int, count: int) -> None:
    pool = VerifyPool(threads)
    batch = list(GOOD[:count])
    if count > 2:
        batch[-2] = BAD
    try:
        assert await pool.verify(batch) == [tx is not BAD for tx in batch]
        assert (pool.verified_total, pool.waiting) == (count, 0)
    finally:
        await pool.close()


async def test_few_are_checked_here_and_many_elsewhere() -> None:
    seen: set[str] = set()

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        seen.add(threading.current_thread().name.split("_")[0])
        return True

    pool = VerifyPool(2, verifier=verifier)
    try:
        await pool.verify(GOOD[:SLICE_MAX])
        assert seen == {threading.current_thread().name}
        seen.clear()
        await pool.verify(GOOD)
        assert seen == {"salus-verify"}
    finally:
        await pool.close()


async def test_what_comes_alone_needs_no_thread_while_many_are_checked() -> None:
    """A thread for each single transaction cost more than its signature. One slice of them a turn."""
    gate, loop = threading.Event(), threading.current_thread()
    here: list[bytes] = []

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        if threading.current_thread() is loop:
            here.append(payload)
            return True
        return gate.wait(60)

    pool = VerifyPool(1, verifier=verifier)
    try:
        callers = [asyncio.ensure_future(pool.verify(GOOD))]
        await asyncio.sleep(0)
        for turn in range(1, 3):
            alone = [asyncio.ensure_future(pool.verify([tx])) for tx in GOOD]
            await asyncio.sleep(0)
            assert [one.done() for one in alone] == [
                index < SLICE_MAX for index in range(len(GOOD))
            ]
            assert len(here) == turn * SLICE_MAX
            callers += alone
        assert not callers[0].done()
        gate.set()
        async with asyncio.timeout(60):
            assert all(all(answers) for answers in await asyncio.gather(*callers))
        assert pool.waiting == 0
    finally:
        gate.set()
        await pool.close()


async def test_a_small_proposal_does_not_wait_behind_the_clients() -> None:
    """A vote waits for it, and the thread that has it would wait for the loop after each one."""
    gate = threading.Event()

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        return threading.current_thread() is threading.main_thread() or gate.wait(60)

    pool = VerifyPool(1, verifier=verifier)
    try:
        clients = asyncio.ensure_future(pool.verify(GOOD))
        await asyncio.sleep(0)
        pool.slice_size = SLICE_MIN
        assert await pool.verify(GOOD[:SLICE_MAX], urgent=True) == [True] * SLICE_MAX
        assert not clients.done()
        gate.set()
        assert await clients == [True] * 40
    finally:
        gate.set()
        await pool.close()


async def test_a_large_proposal_waits_for_no_place() -> None:
    """Of the clients' slices two are handed to a thread; a proposal's come right after these."""
    gate = threading.Event()

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        return gate.wait(60)

    few, many = GOOD * 30, GOOD[: SLICE_MAX + 1]
    pool = VerifyPool(1, verifier=verifier)
    try:
        clients = [asyncio.ensure_future(pool.verify(few)) for _ in range(4)]
        for _ in range(5):
            await asyncio.sleep(0)
        proposal = asyncio.ensure_future(pool.verify(many, urgent=True))
        for _ in range(5):
            await asyncio.sleep(0)
        gate.set()
        assert await proposal == [True] * len(many)
        assert not clients[-1].done()
        assert all([await client == [True] * len(few) for client in clients])
    finally:
        gate.set()
        await pool.close()


async def test_without_threads_a_long_batch_lets_the_loop_turn() -> None:
    """One slice a turn: a vote that arrives meanwhile is handled before the next slice."""
    order: list[str] = []

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        order.append("signature")
        return True

    pool = VerifyPool(0, verifier=verifier)

    async def votes() -> None:
        for _ in range(3):
            order.append("vote")
            await asyncio.sleep(0)

    pool.slice_size = SLICE_MIN
    await asyncio.gather(pool.verify(GOOD), votes())
    first = order.index("vote")
    assert first == SLICE_MIN
    assert order[first + 1 : first + 1 + SLICE_MIN] == ["signature"] * SLICE_MIN


async def test_two_callers_share_the_turns() -> None:
    pool = VerifyPool(0)
    results = await asyncio.gather(pool.verify(GOOD), pool.verify([BAD, *GOOD]))
    assert list(results) == [[True] * 40, [False] + [True] * 40]


async def test_without_threads_a_large_proposal_queues_behind_no_client() -> None:
    """B26, on a single core: of fifty clients one has its slice between two of the proposal's."""
    pool = VerifyPool(0)
    clients = [asyncio.ensure_future(pool.verify(GOOD)) for _ in range(50)]
    await asyncio.sleep(0)
    before = pool.verified_total
    many = GOOD * 4
    assert await pool.verify(many, urgent=True) == [True] * len(many)
    slices = -(-len(many) // SLICE_MAX)
    assert pool.verified_total - before - len(many) <= (slices + 1) * SLICE_MAX
    assert sum(client.done() for client in clients) <= slices + 1
    assert await asyncio.gather(*clients) == [[True] * 40] * 50


async def test_without_threads_proposals_share_their_turns() -> None:
    """However many are judged at once, a vote waits for one slice of theirs."""
    order: list[str] = []

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        order.append("signature")
        return True

    pool = VerifyPool(0, verifier=verifier)

    async def votes() -> None:
        for _ in range(20):
            order.append("vote")
            await asyncio.sleep(0)

    await asyncio.gather(votes(), *(pool.verify(GOOD, urgent=True) for _ in range(4)))
    runs = "".join(word[0] for word in order).split("v")
    assert max(len(run) for run in runs[:20]) == SLICE_MAX


def test_slices_shrink_at_once_and_grow_slowly() -> None:
    pool = VerifyPool(0)
    for _ in range(5):
        pool.note_wait_ms(WAIT_HIGH_MS + 0.1)
    assert pool.slice_size == SLICE_MIN
    pool.note_wait_ms(WAIT_HIGH_MS)
    assert pool.slice_size == SLICE_MIN + 1
    for _ in range(100):
        pool.note_wait_ms(0)
    assert pool.slice_size == SLICE_MAX


async def test_what_waits_is_bounded_and_says_so() -> None:
    pool = VerifyPool(0, waiting_max=50)
    first = asyncio.ensure_future(pool.verify(GOOD))
    await asyncio.sleep(0)
    with pytest.raises(NodeBusy) as caught:
        await pool.verify(GOOD[:11])
    assert caught.value.code == "NODE_BUSY"
    assert await first == [True] * 40
    assert await pool.verify(GOOD[:11]) == [True] * 11


async def test_a_proposal_is_checked_however_much_waits() -> None:
    """A verdict that never came would keep this node from voting on the sequence."""
    pool = VerifyPool(0, waiting_max=50)
    first = asyncio.ensure_future(pool.verify(GOOD))
    await asyncio.sleep(0)
    assert await pool.verify(GOOD[:11], urgent=True) == [True] * 11
    assert await first == [True] * 40


async def test_a_cancelled_caller_leaves_nothing_waiting() -> None:
    gate = threading.Event()

    def verifier(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        return gate.wait(60)

    pool = VerifyPool(1, verifier=verifier)
    try:
        caller = asyncio.ensure_future(pool.verify(GOOD))
        await asyncio.sleep(0)
        assert pool.waiting == 40
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert pool.waiting == 0
        gate.set()
        assert await pool.verify(GOOD) == [True] * 40
    finally:
        gate.set()
        await pool.close()


async def test_checks_are_reported_for_the_metrics() -> None:
    slices: list[float] = []
    pool = VerifyPool(0, observe=slices.append)
    await pool.verify(GOOD)
    assert len(slices) == 2
    assert all(seconds > 0 for seconds in slices)
    assert pool.verified_total == 40


def test_the_loop_keeps_a_core_for_itself() -> None:
    assert default_threads() >= 0
