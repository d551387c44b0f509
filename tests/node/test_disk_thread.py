"""One thread for one writer: its order, its errors, its end."""

import asyncio
import gc
import threading
import weakref

import pytest

from node.disk_thread import DiskThread


async def test_work_is_done_elsewhere_in_the_order_of_the_calls() -> None:
    disk = DiskThread("test")
    done: list[tuple[int, str]] = []

    def work(number: int, *, twice: bool) -> int:
        done.append((number, threading.current_thread().name))
        return number * (2 if twice else 1)

    results = await asyncio.gather(*(disk.run(work, number, twice=True) for number in range(5)))
    disk.close()
    assert results == [0, 2, 4, 6, 8]
    assert done == [(number, "salus-test") for number in range(5)]


async def test_what_goes_wrong_is_raised_where_it_is_awaited_and_the_next_is_done() -> None:
    disk = DiskThread("test")
    with pytest.raises(ZeroDivisionError):
        await disk.run(lambda: 1 // 0)
    assert await disk.run(lambda: 7) == 7
    disk.close()


async def test_closing_waits_for_what_is_under_way_and_drops_the_rest() -> None:
    disk = DiskThread("test")
    begun = threading.Event()
    done: list[str] = []

    def slow() -> None:
        begun.set()
        while not disk.closed:
            pass
        done.append("slow")

    first = asyncio.create_task(disk.run(slow))
    second = asyncio.create_task(disk.run(done.append, "second"))
    await asyncio.sleep(0)
    begun.wait()
    disk.close()
    await first
    with pytest.raises(asyncio.CancelledError):
        await second
    assert done == ["slow"]


async def test_a_call_whose_task_was_cancelled_before_its_turn_is_not_begun() -> None:
    disk = DiskThread("test")
    gate = threading.Event()
    done: list[str] = []
    first = asyncio.create_task(disk.run(gate.wait))
    second = asyncio.create_task(disk.run(done.append, "second"))
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    gate.set()
    await first
    await disk.run(done.append, "third")
    disk.close()
    assert done == ["third"]


async def test_what_a_job_was_given_is_let_go_while_the_thread_waits() -> None:
    """A whole block's batch, until the next block."""

    class Batch:
        pass

    disk = DiskThread("test")
    batch = Batch()
    held = weakref.ref(batch)
    await disk.run(id, batch)
    del batch
    for _ in range(1_000):  # until the thread has come back to its queue
        if held() is None:
            break
        await asyncio.sleep(0.001)
    gc.collect()
    assert held() is None
    disk.close()


def test_a_thread_that_never_worked_is_closed_too() -> None:
    assert DiskThread("test").close()


async def test_a_disk_that_hangs_does_not_keep_a_node_from_ending() -> None:
    disk = DiskThread("test")
    gate, begun = threading.Event(), threading.Event()

    def hangs() -> None:
        begun.set()
        gate.wait()

    under_way = asyncio.create_task(disk.run(hangs))
    await asyncio.sleep(0)
    begun.wait()
    assert not disk.close(timeout_ms=1)
    gate.set()
    assert disk.close(), "it came back after all"
    await under_way


async def test_a_started_call_comes_back_in_the_loop_with_its_result_or_its_error() -> None:
    disk = DiskThread("test")
    came: asyncio.Queue[tuple[object, BaseException | None, str]] = asyncio.Queue()

    def answer(result: object, failed: BaseException | None) -> None:
        came.put_nowait((result, failed, threading.current_thread().name))

    here = threading.current_thread().name
    disk.start(lambda: 7, answer)
    disk.start(lambda: 1 // 0, answer)
    assert await came.get() == (7, None, here)
    result, failed, where = await came.get()
    assert (result, type(failed), where) == (None, ZeroDivisionError, here)
    disk.close()
