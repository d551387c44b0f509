"""`salus record watch`: a folder served, file by file, until it is told to stop.

Law of the file: names of files may be names of people. They stand in the report, which only the
owner can read, and nowhere else: a line of output knows a file by the first letters of its id.
"""

import asyncio
import json
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cli.errors import CliError, from_library, from_os
from cli.media_types import of_file
from cli.output import Output
from cli.watch_folder import Folder, Sight
from cli.watch_import import Importer, Outcome
from salus.client_errors import NotReadyError, UnreachableError
from salus.codes import Exit
from salus.document import DOCUMENT_BYTES_MAX
from salus.files import OWNER_ONLY, replace

# Of documents on their way together: each is in memory several times, and waits for its batch. One may have more.
ON_THE_WAY_BYTES_MAX = 32 * 2**20
INTERVAL_S = 2.0  # between two looks at the folder
LOOKS_ONCE_MAX = 15  # --once waits so often for files that are being written
PAUSE_FIRST_S, PAUSE_MAX_S = 1.0, 30.0  # while the node is away
ID_LETTERS = 12  # of an id, for people


class Progress(Protocol):
    """What a person sees while it goes on."""

    def found(self, files: int) -> None: ...

    def took(self, outcome: Outcome) -> None: ...


class Tally:
    """What became of the files, by path; a file that is gone is not counted."""

    def __init__(self) -> None:
        self.outcomes: dict[Sight, Outcome] = {}
        self.imported = 0  # in this run; what was done before it is `known`
        self.resources = self.schemaless = 0

    def add(self, sight: Sight, outcome: Outcome) -> None:
        self.outcomes[sight] = outcome
        if outcome.kind == "imported":
            self.imported += 1
            self.resources += outcome.resources
            self.schemaless += outcome.schemaless

    def keep(self, sights: set[Sight]) -> None:
        self.outcomes = {s: outcome for s, outcome in self.outcomes.items() if s in sights}

    def document(self, folder: Folder) -> dict[str, Any]:
        kinds = Counter(outcome.kind for outcome in self.outcomes.values())
        return {
            "imported": self.imported,
            "known": kinds["known"],
            "refused": kinds["refused"],
            "failed": kinds["failed"],
            "pending": kinds["pending"],
            "changing": folder.changing,
            "skipped": folder.skipped,
            "resources": self.resources,
            "schemaless": self.schemaless,
        }

    def exit_code(self, folder: Folder) -> int:
        kinds = {outcome.kind for outcome in self.outcomes.values()}
        if "refused" in kinds:
            return Exit.BAD_DATA
        if "pending" in kinds:
            return Exit.PENDING
        return Exit.RETRY if "failed" in kinds or folder.changing else Exit.OK


class Watch:
    """One folder and one importer; `report`: where refused files are told, None for nowhere."""

    def __init__(
        self,
        folder: Folder,
        importer: Importer,
        out: Output,
        *,
        report: Path | None,
        progress: Progress | None = None,
        sleep: Callable[[float], Awaitable[object]] | None = None,
    ) -> None:
        self.folder, self.importer, self.out, self.report = folder, importer, out, report
        self.tally = Tally()
        self.stopping = asyncio.Event()
        self._progress = progress
        self._sleep = sleep or self._wait
        self._room, self._on_the_way_bytes = asyncio.Condition(), 0
        # Two files of one content: the second one finds what became of the first.
        self._contents: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._told: bytes | None = None  # the report as it stands on the disk

    async def once(self) -> int:
        """What is there now; the exit code. Raises when the node cannot be reached."""
        for _ in range(LOOKS_ONCE_MAX):
            await self._round()
            if not self.folder.changing or self.stopping.is_set():
                break
            await self._sleep(INTERVAL_S)
        return self.tally.exit_code(self.folder)

    async def serve(self) -> int:
        """Until `stopping`; a node that is away is waited for."""
        pause_s = PAUSE_FIRST_S
        while not self.stopping.is_set():
            try:
                await self._round()
                pause_s = PAUSE_FIRST_S
                await self._sleep(INTERVAL_S)
            except (UnreachableError, NotReadyError) as error:
                self.out.note(f"{from_library(error).lines()}\n  goes on in {pause_s:g} s")
                await self._sleep(pause_s)
                pause_s = min(PAUSE_MAX_S, 2 * pause_s)
        return self.tally.exit_code(self.folder)

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            pass

    async def _round(self) -> None:
        sights = await asyncio.to_thread(self.folder.look)
        self.tally.keep(set(sights))
        settled = {
            sight
            for sight, outcome in self.tally.outcomes.items()
            if outcome.kind not in ("pending", "failed")
        }
        fresh = [sight for sight in sights if sight not in settled]
        if self._progress is not None:
            self._progress.found(len(fresh))
        slots = asyncio.Semaphore(self.importer.at_once)
        try:
            async with asyncio.TaskGroup() as group:
                for sight in fresh:
                    await slots.acquire()
                    if self.stopping.is_set():
                        break
                    task = group.create_task(self._one(sight))
                    task.add_done_callback(lambda _: slots.release())
        except BaseExceptionGroup as several:
            away = (UnreachableError, NotReadyError)
            # Of several the one that waiting does not mend.
            raise min(several.exceptions, key=lambda one: isinstance(one, away)) from None
        finally:
            self._contents.clear()
            await asyncio.to_thread(self._write_report)

    async def _one(self, sight: Sight) -> None:
        async with self._room_for(min(sight.size, ON_THE_WAY_BYTES_MAX)):
            outcome = await self._take(sight)
        if outcome is not None:
            self.tally.add(sight, outcome)
            self._tell(outcome)

    @asynccontextmanager
    async def _room_for(self, size: int) -> AsyncIterator[None]:
        async with self._room:
            await self._room.wait_for(lambda: self._on_the_way_bytes + size <= ON_THE_WAY_BYTES_MAX)
            self._on_the_way_bytes += size
        try:
            yield
        finally:
            self._on_the_way_bytes -= size
            async with self._room:
                self._room.notify_all()

    async def _take(self, sight: Sight) -> Outcome | None:
        """None when it is not that file any more: the next look will see it."""
        try:
            content = await asyncio.to_thread(self.folder.read, sight, DOCUMENT_BYTES_MAX)
        except FileNotFoundError:
            return None
        except OSError as fault:
            return Outcome("failed", "", error=from_os(_nameless(fault)))
        if content is None:
            return None
        if not content:
            return Outcome("refused", "", error=CliError("BAD_DOCUMENT", "the file is empty"))
        if len(content) > DOCUMENT_BYTES_MAX:
            large = CliError("TOO_LARGE", f"more than {DOCUMENT_BYTES_MAX} bytes")
            return Outcome("refused", "", error=large)
        async with self._contents[hash(content)]:
            return await self.importer.take(content, of_file(sight.path, content))

    def _tell(self, outcome: Outcome) -> None:
        if self._progress is not None:
            self._progress.took(outcome)
        name, error = outcome.id[:ID_LETTERS] or "-", outcome.error
        document: dict[str, Any] = {"file": name, "outcome": outcome.kind}
        if error is not None:
            text = f"{self.out.mark(False)} {name}  {outcome.kind}  {error.code}"
            return self._line(document | {"code": error.code, "message": error.message}, text)
        document |= {
            "record_id": outcome.record_id,
            "tx_id": outcome.tx_id,
            "height": outcome.height,
            "resources": outcome.resources,
            "schemaless": outcome.schemaless,
            "notices": list(outcome.notices),
        }
        text = f"{self.out.mark(True)} {name}  {outcome.kind}"
        if outcome.record_id:
            text += f"  record {outcome.record_id}"
        if outcome.height:
            text += f"  block {outcome.height}"
        if outcome.resources:
            text += f"  {outcome.resources} resources"
        if outcome.schemaless:
            text += f", {outcome.schemaless} of them unchecked"
        self._line(document, text)

    def _line(self, document: dict[str, Any], text: str) -> None:
        """On a terminal the bar is enough."""
        if self.out.json:
            self.out.line(document, text)
        elif self._progress is None:
            self.out.note(text)

    def _write_report(self) -> None:
        if self.report is None:
            return
        refused = [
            {
                "file": sight.path,
                "id": outcome.id[:ID_LETTERS],
                "outcome": outcome.kind,
                "code": outcome.error.code,
                "why": outcome.error.message,
                "next": outcome.error.next_step,
            }
            for sight, outcome in sorted(self.tally.outcomes.items())
            if outcome.error is not None
        ]
        document = {**self.tally.document(self.folder), "files": refused}
        told = json.dumps(document, indent=1).encode()
        if told != self._told:
            stamped = {"written": datetime.now(UTC).isoformat(timespec="seconds"), **document}
            replace(self.report, json.dumps(stamped, indent=1).encode() + b"\n", mode=OWNER_ONLY)
            self._told = told


def _nameless(error: OSError) -> OSError:
    return OSError(error.errno, error.strerror or "input/output error")


async def run(watch: Watch, *, once: bool) -> int:
    """To the end, with SIGINT and SIGTERM as a wish to stop; the exit code."""
    loop = asyncio.get_running_loop()
    code: list[int] = []

    def stop(exit_code: int) -> None:
        code.append(exit_code)
        watch.stopping.set()

    loop.add_signal_handler(signal.SIGINT, stop, int(Exit.INTERRUPTED))
    loop.add_signal_handler(signal.SIGTERM, stop, int(Exit.OK))
    try:
        ended = await (watch.once() if once else watch.serve())
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)
    return code[0] if code else ended
