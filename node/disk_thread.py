"""A thread of its own for one writer: no other work can stand before a vote or a block.

asyncio's common pool also serves peers that fetch blocks; a few slow reads there would hold up
the journal's sync, and with it every vote (B26). Not a pool of one either: its chain of two
futures, two locks and a copied context costs a block more than the syncs that it carries.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DiskThread:
    def __init__(self, name: str) -> None:
        self._name = f"salus-{name}"
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # bounded by its callers, who wait
        self._thread: threading.Thread | None = None  # from the first job on
        self.closed = False

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the order of the calls."""
        assert not self.closed, "nothing is written any more"
        if self._thread is None:
            # A daemon: what never was closed must not keep a failed process from ending.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        job = _Job(partial(work, *args, **kwargs))
        self._jobs.put(job)
        result: T = await job.done
        return result

    def close(self) -> None:
        """Waits for what is under way; what has not begun is dropped."""
        self.closed = True
        if self._thread is None:
            return
        self._jobs.put(None)
        self._thread.join()
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None:
                job.done.cancel()

    def _work(self) -> None:
        while self._turn():
            pass

    def _turn(self) -> bool:
        """A frame of its own: while the next job is waited for, nothing holds the last one, and
        with it all that a block changed."""
        job = self._jobs.get()
        if job is not None and not self.closed:
            job.run()
            return True
        if job is not None:
            self._jobs.put(job)  # Not begun: `close` drops it with the others.
        return False


class _Job:
    """One call, on its way to the thread and back."""

    __slots__ = ("call", "done", "error", "loop", "result")

    def __init__(self, call: Callable[[], Any]) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Any] = self.loop.create_future()
        self.call = call
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """In the thread; nobody waits for a call whose task was cancelled, so it is not begun."""
        if self.done.cancelled():
            return
        try:
            self.result = self.call()
        except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
            self.error = error
        try:
            self.loop.call_soon_threadsafe(self._answer)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.

    def _answer(self) -> None:
        if self.done.done():
            return  # Cancelled meanwhile.
        if self.error is None:
            self.done.set_result(self.result)
        else:
            self.done.set_exception(self.error)
