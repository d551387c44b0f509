"""The node's side of `node/verify_worker.py`: a few processes, started when first needed.

Whatever happens to a process, the answer is «not checked» and the caller checks it himself: nobody's
transaction is refused for it. Law of the file: no verdict is taken from an answer that is not
whole, in its turn and to the question asked.
"""

import asyncio
import logging
import sys
from asyncio.subprocess import DEVNULL, PIPE
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from node import child
from node.logs import log_event
from node.verify_worker import ANSWER, framed
from salus.transaction import ParsedTransaction

log = logging.getLogger("salus.verify")

START_S_MAX = 30.0  # It takes 0.1 s on a free core.
HUNG_S = 2.0  # Two slices of 256 take 30 ms of a slow core; then a thread is sooner done.
PAUSE_S = 60.0  # before another one is started: what ended the last, memory perhaps, may last

# No site, nothing of the user's home, and not the folder where it runs: a start twice as quick.
PROGRAM = ("-PsS", "-m", "node.verify_worker")

Checked = tuple[list[bool], float]  # in order, and the seconds that they took


class VerifyWorkers:
    """`count` processes. Use it from one event loop; `close` ends them. Questions are written without
    waiting: the caller bounds what is on its way (`node/verify.py`)."""

    def __init__(
        self,
        count: int,
        *,
        hung_s: float = HUNG_S,
        pause_s: float = PAUSE_S,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """`program`: what the interpreter is told to run."""
        self._count, self._program = count, program
        self._hung_s, self._pause_s = hung_s, pause_s
        self._ready: list[VerifyWorker] = []
        self._alive: set[VerifyWorker] = set()  # ready or not
        self._starts: set[asyncio.Task[None]] = set()
        self._not_before = 0.0  # the loop's clock
        self._closed = False

    async def check(self, part: Sequence[ParsedTransaction]) -> Checked | None:
        """None: no process could, and the caller must. While one starts, that is so too."""
        if len(self._ready) < self._count:
            self._want()
        if not self._ready:
            return None
        return await min(self._ready, key=VerifyWorker.owes).ask(part)

    @property
    def pids(self) -> list[int]:
        """Of the processes that are ready."""
        return [worker.pid for worker in self._ready]

    async def started(self) -> None:
        """Until no process is being started."""
        while self._starts:
            await asyncio.wait(self._starts)

    async def close(self) -> None:
        """No more processes; what is asked from now on the caller checks."""
        self._closed = True
        for worker in list(self._alive):
            worker.end("closed")
        await self.started()
        for worker in list(self._alive):  # started meanwhile, or not yet gone
            worker.end("closed")
            await worker.gone

    def _want(self) -> None:
        loop = asyncio.get_running_loop()
        missing = self._count - len(self._ready) - len(self._starts)
        if self._closed or missing <= 0 or loop.time() < self._not_before:
            return
        for _ in range(missing):
            task = loop.create_task(self._start(), name="start a verify worker")
            self._starts.add(task)
            task.add_done_callback(self._starts.discard)

    async def _start(self) -> None:
        try:
            _, worker = await asyncio.get_running_loop().subprocess_exec(
                lambda: VerifyWorker(self._hung_s, self._lost),
                sys.executable,
                *self._program,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=child.environment(),
                start_new_session=True,  # Ctrl-C is for the node, which ends it by its pipe
            )
        except OSError as error:
            self._pause(type(error).__name__)
            return
        self._alive.add(worker)
        worker.gone.add_done_callback(lambda _: self._alive.discard(worker))
        if self._closed:
            worker.end("closed")
        # The first question is empty: it is answered when the process is ready for others.
        if await worker.ask((), START_S_MAX) is not None and not worker.ended:
            self._ready.append(worker)  # else it would be asked for ever, and never replaced

    def _lost(self, worker: "VerifyWorker", reason: str) -> None:
        if worker in self._ready:
            self._ready.remove(worker)
        if not self._closed:
            self._pause(reason)

    def _pause(self, reason: str) -> None:
        """No transaction is lost: threads check, slower for everybody."""
        self._not_before = asyncio.get_running_loop().time() + self._pause_s
        log_event(log, logging.WARNING, "verify_worker_lost", reason=reason)


class _Question(NamedTuple):
    number: int
    signatures: int
    within_s: float
    answer: asyncio.Future[Checked | None]


class VerifyWorker(asyncio.SubprocessProtocol):
    """One process: questions in, answers out, in the same order."""

    def __init__(self, hung_s: float, lost: "Callable[[VerifyWorker, str], None]") -> None:
        """`lost`: told once, why the process is of no use any more."""
        self._hung_s, self._lost = hung_s, lost
        self._questions: deque[_Question] = deque()
        self._asked = 0
        self._came = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self.ended = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def owes(self) -> int:
        """Signatures that it was asked for and has not answered."""
        return sum(question.signatures for question in self._questions)

    async def ask(
        self, part: Sequence[ParsedTransaction], within_s: float | None = None
    ) -> Checked | None:
        """None when the process is lost, or was not in time."""
        if self.ended:
            return None
        self._asked = (self._asked + 1) % 2**32
        answer: asyncio.Future[Checked | None] = asyncio.get_running_loop().create_future()
        self._questions.append(_Question(self._asked, len(part), within_s or self._hung_s, answer))
        if self._timer is None:
            self._watch()
        fields = [field for tx in part for field in (tx.body.sender, tx.signed, tx.body.signature)]
        try:
            self._stdin.write(framed(self._asked, fields))
        except (OSError, RuntimeError):  # uvloop: the pipe of a process that has ended is closed
            self.end("ended")
        return await answer

    def end(self, reason: str) -> None:
        """Its answers are of no use any more, so it need not finish."""
        if self.ended:
            return
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
        for question in self._questions:
            if not question.answer.done():
                question.answer.set_result(None)
        self._questions.clear()
        if self._transport.get_returncode() is None:
            try:
                self._transport.kill()
            except ProcessLookupError:
                pass
        self._lost(self, reason)

    # -- what the process does --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)
        self.pid = self._transport.get_pid()
        self._stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        came = self._came
        came += data
        while came and not self.ended:
            if not self._questions:
                self.end("unasked")
                return
            if len(came) < ANSWER.size:
                return
            question = self._questions[0]
            number, count, micros = ANSWER.unpack_from(came)
            if (number, count) != (question.number, question.signatures):
                self.end("another answer")
                return
            whole = ANSWER.size + count
            if len(came) < whole:
                return
            verdicts = bytes(came[ANSWER.size : whole])
            if verdicts.strip(b"\x00\x01"):
                self.end("no verdict")
                return
            del came[:whole]
            self._questions.popleft()
            self._watch()
            if not question.answer.done():  # whoever asked has given up
                question.answer.set_result(([verdict == 1 for verdict in verdicts], micros / 1e6))

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.end("ended")

    def process_exited(self) -> None:
        self.end("ended")
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def _watch(self, late: bool = False) -> None:
        """The oldest question is given its time in two halves: after a pause of our own, the answer is
        read between them."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if self._questions:
            half_s = self._questions[0].within_s / 2
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(half_s, self._hung if late else self._late)

    def _late(self) -> None:
        self._watch(late=True)

    def _hung(self) -> None:
        self.end("hung")
