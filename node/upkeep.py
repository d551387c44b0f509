"""What is looked after once a second: the disk, the clock, the loop, a censoring primary, the way back.

Law of the file: nothing here may end the node; what fails is said and tried again.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from consensus.events import Complain
from node.admission import Admission
from node.logs import describe_error, log_event
from node.mempool import Mempool
from node.metrics import Metrics
from node.ready import Ready
from node.rejoin import Rejoin
from node.runner import Runner
from node.sync import Sync
from node.vitals import Vitals
from salus.errors import SalusError
from storage.state import StateStore

log = logging.getLogger("salus.node")

UPKEEP_S = 1


class Upkeep:
    def __init__(
        self,
        free_min_bytes: int,
        vitals: Vitals,
        metrics: Metrics,
        mempool: Mempool,
        runner: Runner,
        admission: Admission,
        sync: Sync,
        state: StateStore,
        rejoin: Rejoin,
        ready: Ready,
        candidate: Callable[[], bool],
        may_vote: Callable[[], bool],
        clock_ahead: Callable[[], int],
    ) -> None:
        """`candidate`: the consortium waits for this node to have caught up; `clock_ahead`: milliseconds,
        as in node/clock_watch.py."""
        self.free_min_bytes = free_min_bytes
        self.vitals, self.metrics, self.mempool = vitals, metrics, mempool
        self.runner, self.admission, self.sync = runner, admission, sync
        self.state, self.rejoin, self.may_vote = state, rejoin, may_vote
        self.ready, self.candidate, self.clock_ahead = ready, candidate, clock_ahead
        self._unknown = False  # the disk does not say how much is free, and that was logged

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(UPKEEP_S)
            late_s = time.monotonic() - began - UPKEEP_S
            self.metrics.event_loop_lag_seconds.set(max(0, late_s))
            self.look()
            if self.mempool.fairness():
                self.runner.step(Complain())
            await self._rejoin()
            await self._ready()

    def look(self) -> None:
        """At the disk and the clock; also before the node serves anybody, who would else read of no room at
        all in the metrics and be welcome on a full disk."""
        self._disk()
        self._clock()

    def _disk(self) -> None:
        try:
            free = self.vitals.free_bytes()
        except OSError as error:
            if not self._unknown:
                log_event(log, logging.ERROR, "disk_unknown", reason=describe_error(error))
            self._unknown = True
            return
        self._unknown = False
        self.metrics.storage_free_bytes.set(free)
        full = free < self.free_min_bytes
        if full == self.vitals.disk_full:
            return
        self.vitals.disk_full = full
        log_event(log, logging.ERROR if full else logging.INFO, "disk", full=full)
        if self.vitals.halted is not None:
            pass  # Clients are turned away for good.
        elif full:
            self.admission.turn_away("DISK_FULL", "the disk is nearly full")
        else:
            self.admission.welcome()

    def _clock(self) -> None:
        """Threads of the gate read it, and only the loop knows the peers."""
        ahead_ms = self.clock_ahead()
        if bool(ahead_ms) != bool(self.vitals.clock_ahead_ms):
            level = logging.ERROR if ahead_ms else logging.INFO
            log_event(log, level, "clock_off", ahead_ms=ahead_ms)
        self.vitals.clock_ahead_ms = ahead_ms

    async def _rejoin(self) -> None:
        if self.vitals.me is None or self.may_vote() or self.sync.behind:
            return
        try:
            await self.rejoin.ask(self.state.height(), time.monotonic())
        except SalusError as error:  # The disk is full, or the node busy: it asks again.
            log_event(log, logging.WARNING, "rejoin_refused", code=error.code)

    async def _ready(self) -> None:
        if self.vitals.me is not None or self.sync.behind or not self.candidate():
            return
        try:
            await self.ready.ask(self.state.head, time.monotonic())
        except SalusError as error:
            log_event(log, logging.WARNING, "ready_refused", code=error.code)
