"""What happens to the nodes while clients use them; drawn from the seed, never more at a time than
one fault of processes and one of the network.

Each kind comes once before any comes again. A fault ends as it began: by the nemesis.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from tests.e2e.network import Network
from tests.history.node import CLOCK_FILE, CLOCK_SIGNAL
from tests.history.wires import Cut, Wires

FAULT_S = (1.0, 4.0)  # about as long as one to two view changes
QUIET_S = (1.0, 3.0)  # so that something is done, too
CLOCK_JUMPS_S = (-3600, -20, 20, 3600)  # all beyond clock_drift_max_ms


@dataclass
class Event:
    began_s: float
    what: str
    ended_s: float | None = None

    def __str__(self) -> str:
        ended = "" if self.ended_s is None else f" … {self.ended_s:.1f}"
        return f"[{self.began_s:.1f}{ended}] {self.what}"


@dataclass
class Nemesis:
    net: Network
    wires: Wires
    rng: Random
    wipes: bool  # a wiped node needs half a minute to vote again: for long runs
    events: list[Event] = field(default_factory=list)
    counts: "Counter[str]" = field(default_factory=Counter)
    # All but `rng` is shared by both lanes.
    _stopped: asyncio.Event = field(default_factory=asyncio.Event)
    _origin_s: float = field(default_factory=time.monotonic)

    @property
    def names(self) -> list[str]:
        return [node.name for node in self.net.nodes]

    async def run(self) -> None:
        """Both lanes, until `stop`; whatever was begun is ended."""
        processes = [self._kill, self._pause, self._clock, self._power]
        if self.wipes:
            processes.append(self._wipe)
        network = [self._isolate, self._halves, self._ring, self._deaf]
        async with asyncio.TaskGroup() as group:
            for faults in (processes, network):
                # Of its own: which of the two draws first is a matter of time.
                lane = replace(self, rng=Random(self.rng.random()))
                group.create_task(lane._lane(faults))

    def stop(self) -> None:
        self._stopped.set()

    async def _lane(self, faults: "list[Callable[[], Awaitable[None]]]") -> None:
        for fault in self._bags(faults):
            await self._wait(self.rng.uniform(*QUIET_S))
            if self._stopped.is_set():
                return
            self.net.revive()  # who ended by itself: that is for the report, and the others go on
            await fault()

    def _bags(
        self, faults: "list[Callable[[], Awaitable[None]]]"
    ) -> "Iterator[Callable[[], Awaitable[None]]]":
        while True:
            yield from self.rng.sample(faults, len(faults))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            pass

    async def _last(self) -> None:
        await self._wait(self.rng.uniform(*FAULT_S))

    def _begin(self, kind: str, what: str) -> Event:
        self.counts[kind] += 1
        event = Event(time.monotonic() - self._origin_s, f"{kind}: {what}")
        self.events.append(event)
        return event

    def _end(self, event: Event) -> None:
        event.ended_s = time.monotonic() - self._origin_s

    # -- processes ------------------------------------------------------------------------------

    async def _kill(self) -> None:
        name = self.rng.choice(self.names)
        event = self._begin("kill", name)
        self.net.kill(name)
        await self._last()
        self.net.start(name)
        self._end(event)

    async def _power(self) -> None:
        event = self._begin("power", "everybody is killed")
        for name in self.names:
            self.net.kill(name)
        self.net.start()
        self._end(event)

    async def _pause(self) -> None:
        name = self.rng.choice(self.names)
        event = self._begin("pause", name)
        self.net.signal(name, signal.SIGSTOP)
        await self._last()
        self.net.signal(name, signal.SIGCONT)
        self._end(event)

    async def _clock(self) -> None:
        name, jump_s = self.rng.choice(self.names), self.rng.choice(CLOCK_JUMPS_S)
        event = self._begin("clock", f"{name} by {jump_s:+} s")
        self._set_clock(name, jump_s * 1000)
        await self._last()
        self._set_clock(name, 0)
        self._end(event)

    def _set_clock(self, name: str, ahead_ms: int) -> None:
        (Path(self.net.node(name).home) / CLOCK_FILE).write_text(str(ahead_ms))
        self.net.signal(name, CLOCK_SIGNAL)

    async def _wipe(self) -> None:
        name = self.rng.choice(self.names)
        event = self._begin("wipe", name)
        self.net.kill(name)
        self.net.wipe(name)
        self.net.start(name)
        # Until it votes again it is one of the f that may be missing. Meanwhile lines are cut, so
        # there is no promise how long that takes; at the end of the run there is.
        while not self._stopped.is_set():
            try:
                await self.net.until(name, "voting again", signing="signing")
                break
            except AssertionError:
                continue
        self._end(event)

    # -- network --------------------------------------------------------------------------------

    async def _isolate(self) -> None:
        alone = self.rng.choice(self.names)
        others = [name for name in self.names if name != alone]
        await self._cut("isolate", f"{alone} | the others", _both(alone, others))

    async def _halves(self) -> None:
        names = self.rng.sample(self.names, len(self.names))
        left, right = names[: len(names) // 2], names[len(names) // 2 :]
        cuts = [cut for name in left for cut in _both(name, right)]
        await self._cut("halves", f"{' '.join(left)} | {' '.join(right)}", cuts)

    async def _ring(self) -> None:
        """Each reaches two neighbours and no more: a quorum for everybody, and never the same."""
        names = self.rng.sample(self.names, len(self.names))
        cuts = [cut for i, name in enumerate(names[:2]) for cut in _both(name, [names[i + 2]])]
        await self._cut("ring", " — ".join(names), cuts)

    async def _deaf(self) -> None:
        """It hears everybody and nobody hears it; over TCP both soon hear nothing."""
        mute = self.rng.choice(self.names)
        cuts = [(mute, name) for name in self.names if name != mute]
        await self._cut("one way", f"nothing of {mute} arrives", cuts)

    async def _cut(self, kind: str, what: str, cuts: list[Cut]) -> None:
        event = self._begin(kind, what)
        await self.wires.cut(cuts)
        await self._last()
        await self.wires.heal()
        self._end(event)


def _both(one: str, others: list[str]) -> list[Cut]:
    return [cut for other in others for cut in ((one, other), (other, one))]
