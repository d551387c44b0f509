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
    DiskThread("test").close()
