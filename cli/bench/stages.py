"""What a node's processor time goes to, stage by stage of a transaction: a sampler for benchmarks.

Every few milliseconds each thread's processor time since the last look (its own clock, so waiting counts
nothing) goes to the stage of the innermost frame that belongs to one; what the
processes that check signatures used goes to `verify`. Law of the file: what no stage claims is `other`, and
shown; nothing is scaled to fit.
"""

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import FrameType

from cli.bench.children import children, cpu_s, is_verifier

PERIOD_S = 0.005  # 200 looks a second cost a node some 2 % of a core
WRITE_EVERY = 100  # looks

# The first that fits, from the innermost frame outwards. Encoding and hashing have no line of their own:
# they belong to whoever calls them.
STAGES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("verify", ("node/verify.py", "node/verify_workers.py", "salus/keys.py", "nacl/")),
    ("decode", ("salus/transaction.py", "node/entry.py", "node/admissible.py")),
    ("mempool", ("node/mempool.py", "node/admission.py", "node/quotas.py", "node/window.py")),
    ("gossip", ("node/gossip.py", "node/gossip_rules.py", "node/later.py")),
    ("vote journal", ("storage/journal.py", "storage/segment.py", "storage/votes.py")),
    ("state root", ("salus/statemap.py", "salus/merkle.py", "salus/writeset.py")),
    ("write", ("storage/", "plyvel/", "node/disk_thread.py")),
    ("execute", ("contracts/", "node/executor.py", "node/replay.py", "node/uncertified.py")),
    ("notify", ("node/feed.py", "node/waiters.py", "node/api/events.py", "node/meters.py")),
    ("receive", ("node/api/", "aiohttp/web", "aiohttp/http", "aiohttp/stream", "aiohttp/pay")),
    (
        "order",
        (
            "consensus/", "node/runner.py", "node/pipeline.py", "node/proposer.py", "node/judge.py",
            "node/bodies.py", "node/epochs.py", "node/pace.py", "node/outlet.py", "node/inlet.py",
            "salus/block.py", "salus/certificate.py", "salus/vote.py",
        ),
    ),
    ("transport", ("node/net/", "aiohttp/", "ssl.py", "asyncio/sslproto", "asyncio/selector")),
)  # fmt: skip
LOOP = ("asyncio/", "uvloop", "cli/loop.py", "selectors.py")
NAMES = (*(name for name, _ in STAGES), "loop", "other")


class Sampler(threading.Thread):
    """Writes cumulative seconds by stage to a file, as JSON, for as long as the process lives."""

    def __init__(self, file: Path) -> None:
        super().__init__(name="stages", daemon=True)
        self.file = file
        self.seconds: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        self._clocks: dict[int, float] = {}
        self._known: dict[str, str | None] = {}
        self._verifiers: dict[int, float] = {}  # processes, and what each had used

    def run(self) -> None:
        looks = 0
        while True:
            time.sleep(PERIOD_S)
            self.look()
            looks += 1
            if looks % WRITE_EVERY == 0:
                self.look_at_children()
                beside = self.file.with_suffix(".new")
                beside.write_text(json.dumps(self.seconds))
                beside.replace(self.file)

    def look(self) -> None:
        me = threading.get_ident()
        for thread, frame in sys._current_frames().items():
            if thread == me:
                continue
            try:
                now = time.clock_gettime(time.pthread_getcpuclockid(thread))
            except OSError:  # it has just ended
                continue
            spent = now - self._clocks.get(thread, now)
            self._clocks[thread] = now
            if spent > 0:
                self.seconds[self._stage(frame)] += spent

    def look_at_children(self) -> None:
        for pid in filter(is_verifier, children(os.getpid())):
            now = cpu_s(pid)
            self.seconds["verify"] += now - self._verifiers.get(pid, 0.0)
            self._verifiers[pid] = now

    def _stage(self, frame: FrameType | None) -> str:
        looped = False
        while frame is not None:
            name = frame.f_code.co_filename
            stage = self._known.get(name)
            if stage is None:
                stage = self._known[name] = _of_file(name)
            if stage == "loop":
                looped = True
            elif stage:
                return stage
            frame = frame.f_back
        return "loop" if looped else "other"


def _of_file(name: str) -> str:
    """The stage of a source file; nothing for files that serve all stages."""
    for stage, places in STAGES:
        if any(f"/{place}" in name for place in places):
            return stage
    return "loop" if any(place in name for place in LOOP) else ""
