"""A thread of its own for one writer: no other work can stand before a vote or a block.

asyncio's common pool also serves peers that fetch blocks; a few slow reads there would hold up
the journal's sync, and with it every vote (B26). Not a pool of one either: its chain of two
futures, two locks and a copied context costs a block more than the syncs that it carries. Votes
and blocks come back by a callback: a task that awaits them wakes up a turn of the loop later, with
a round of other frames in between, four times a block.
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# A sync takes milliseconds, a bad minute of a shared disk seconds. For all threads of a node at once: it
# is killed 15 s after SIGTERM (cli/processes.py), and the API may have taken 5 s of them, peers that do
# not read 3.
CLOSE_TIMEOUT_MS = 4_000

# Takes the result, or what was raised.
Answer = Callable[[Any, BaseException | None], None]


class DiskThread:
    def __init__(self, name: str) -> None:
        self._name = f"salus-{name}"
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # bounded by its callers, who wait
        self._thread: threading.Thread | None = None  # from the first job on
        self.closed = False

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """In the order of the calls."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Job(partial(work, *args, **kwargs), partial(_settle, done), done))
        return await done

    def start(self, work: Callable[[], Any], answer: Answer) -> None:
        """The same without a task: `answer` is called by the loop, and by nobody any more once
        this is closed before the work began."""
        self._put(_Job(work, answer, None))

    def finish(self) -> None:
        """What is under way is the last; `close` waits for it."""
        self.closed = True
        if self._thread is not None:
            self._jobs.put(None)

    def close(self, timeout_ms: int = CLOSE_TIMEOUT_MS) -> bool:
        """Waits for what is under way; what has not begun is dropped. False: the disk hangs, and
        what it writes to must not be closed under it."""
        self.finish()
        if self._thread is None:
            return True
        self._thread.join(timeout_ms / 1000)
        if self._thread.is_alive():
            return False
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None and job.awaited is not None:
                job.awaited.cancel()
        return True

    def _put(self, job: "_Job") -> None:
        assert not self.closed, "nothing is written any more"
        if self._thread is None:
            # A daemon: what never was closed must not keep a failed process from ending.
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        self._jobs.put(job)

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

    __slots__ = ("answer", "awaited", "call", "loop")

    def __init__(
        self, call: Callable[[], Any], answer: Answer, awaited: "asyncio.Future[Any] | None"
    ) -> None:
        """`awaited`: by a task that may be cancelled meanwhile."""
        self.loop = asyncio.get_running_loop()
        self.call, self.answer, self.awaited = call, answer, awaited

    def run(self) -> None:
        """In the thread; nobody waits for a call whose task was cancelled, so it is not begun."""
        if self.awaited is not None and self.awaited.cancelled():
            return
        result: Any = None
        failed: BaseException | None = None
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - told where the answer is awaited
            failed = error
        try:
            self.loop.call_soon_threadsafe(self.answer, result, failed)
        except RuntimeError:
            pass  # The loop is closed: nobody waits any more.


def _settle(done: "asyncio.Future[Any]", result: object, failed: BaseException | None) -> None:
    if done.done():
        return  # Cancelled meanwhile.
    if failed is None:
        done.set_result(result)
    else:
        done.set_exception(failed)
