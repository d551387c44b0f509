"""The node's side of `node/fhir_worker.py`: a few processes, started when first needed.

Where no process may be started a thread checks: slower for everybody else, and the same check.
"""

import asyncio
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process

import msgspec

from node import child
from node.fhir import FhirChecked, check_fhir, is_checked
from node.fhir_worker import FRAME_BYTES, Answer, Question, framed, verdict
from node.logs import log_event
from salus.errors import SalusError

log = logging.getLogger("salus.records")

WORKERS_MAX = 2  # as many documents are in memory at once (node/records.py)
CHECK_S_MAX = 60.0  # 16 MiB take 1 s on a free core; then it hangs
IDLE_S = 300.0  # A worker holds 80 MB, most of it the models' shapes.


class FhirWorkers:
    """Use it from one event loop; `close` ends the processes."""

    def __init__(self, workers: int | None = None) -> None:
        count = min(WORKERS_MAX, os.cpu_count() or 1) if workers is None else workers
        self._free = asyncio.Semaphore(count)
        self._idle: list[Process] = []
        self._closed = False
        self._timer: asyncio.TimerHandle | None = None

    async def check(self, document: bytes, media_type: str) -> FhirChecked | None:
        """As `check_fhir`; also `SalusError` (NODE_BUSY) when the check was cut off."""
        if not is_checked(media_type):
            return None
        async with self._free:
            answer = await self._ask(framed(Question(media_type, document)))
        if answer is None:
            return await asyncio.to_thread(check_fhir, document, media_type)
        return verdict(answer)

    async def _ask(self, question: bytes) -> Answer | None:
        """None when there can be no worker."""
        worker = self._idle.pop() if self._idle else await self._start()
        if worker is None:
            return None
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            async with asyncio.timeout(CHECK_S_MAX):
                worker.stdin.write(question)
                await worker.stdin.drain()
                head = await worker.stdout.readexactly(FRAME_BYTES)
                raw = await worker.stdout.readexactly(int.from_bytes(head))
            answer = msgspec.msgpack.decode(raw, type=Answer)
        except (OSError, TimeoutError, EOFError, msgspec.MsgspecError) as error:
            log_event(log, logging.WARNING, "fhir_worker_lost", reason=type(error).__name__)
            await _end(worker)
            # Not in a thread: what ended it, memory perhaps, would then end the node.
            raise SalusError("the check of this document was cut off", code="NODE_BUSY") from None
        except BaseException:
            await _end(worker)  # half a question is in its pipe
            raise
        if self._closed:
            await _end(worker)
        else:
            self._idle.append(worker)
            self._rest()
        return answer

    async def _start(self) -> Process | None:
        if self._closed:
            return None
        try:
            return await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                "node.fhir_worker",
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,  # a trace may quote what it stumbled over
                env=child.environment(),
                start_new_session=True,  # Ctrl-C is for the node, which ends it by its pipe
            )
        except OSError as error:
            log_event(log, logging.WARNING, "fhir_worker_lost", reason=type(error).__name__)
            return None

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(IDLE_S, lambda: loop.create_task(self._dismiss()))

    async def _dismiss(self) -> None:
        while self._idle:
            await _end(self._idle.pop())

    async def close(self) -> None:
        """No more processes; what is asked from now on is checked in a thread."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        await self._dismiss()


async def _end(worker: Process) -> None:
    """Its answer is of no use any more, so it need not finish."""
    try:
        worker.kill()
    except ProcessLookupError:
        pass
    await worker.wait()
