"""The shell around one replica: persist, then send, then deliver — first in, first out.

Only this object touches the replica, always from the event loop, so there are no locks. A step
whose votes are being synced holds back everything of later steps; meanwhile the core steps on,
and all that has gathered goes to disk with the next single fsync (group commit).

Law of the file: whatever goes wrong in here or in what an effect does is fatal. A lost effect is
never repeated, so a node that went on would only seem to live; `failure` ends it with the cause.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from consensus.effects import Action, Effects, PersistBody, Sending
from consensus.events import Event, PendingWork, Tick
from consensus.replica import Replica
from salus.vote import JournalEntry

log = logging.getLogger("salus.runner")

# Steps that wait for the disk. At 10 steps a block this is some 50 blocks, more than the window
# lets be open; a fuller queue means a stuck disk, and then the peers' frames have to wait.
STEPS_WAITING_MAX = 512


class Outlet(Protocol):
    """Where effects go once they may: the node's hands."""

    def send(self, sending: Sending) -> None:
        """Queue a message for its peer; never blocks."""

    def act(self, action: Action) -> None:
        """Do, or start, what the core asked for; answers come back as events."""


# Called by the loop when all of it is synced, or with what went wrong, then or later.
Synced = Callable[[BaseException | None], None]
Persist = Callable[[list[PersistBody], list[JournalEntry], Synced], None]


class Step:
    """What one event has brought; it may leave once what it persists is synced (S3)."""

    __slots__ = ("effects", "synced")

    def __init__(self, effects: Effects) -> None:
        self.effects = effects
        self.synced = not effects.persist


class Runner:
    """Feeds events to the replica and performs its effects in their lawful order."""

    def __init__(self, persist: Persist, outlet: Outlet, tick_ms: int) -> None:
        self.persist, self.outlet = persist, outlet
        self.tick_s = tick_ms / 1000
        self.replica: Replica | None = None
        self._told_pending: bool | None = None  # what this replica knows; None: nothing yet
        self.steps_total = 0
        self._steps: deque[Step] = deque()
        self._releasing = False
        self._called = False  # `_sync` comes with the next turn of the loop
        self._syncing = False
        self._closed = False
        self.full = False  # too many steps wait for the disk; asked for every frame
        self._room = asyncio.Event()  # set while it is not
        self._room.set()
        self._cause: BaseException | None = None
        self._failed = asyncio.Event()

    def install(self, replica: Replica | None) -> None:
        """Begin an epoch: what the old replica still wanted to say is void with its epoch. None: a
        halted node has nothing more to say at all.

        Votes of the old epoch that wait for the disk are dropped unsent and unwritten, which is
        safe: a vote that never left binds nobody.
        """
        self._steps.clear()
        self.full = False
        self._room.set()
        self.replica, self._told_pending = replica, None

    def step(self, event: Event) -> Effects:
        """One event into the core; effects leave as soon as the law of this file lets them."""
        if self.replica is None:
            return Effects()
        self.steps_total += 1
        try:
            effects = self.replica.step(event)
        except Exception as error:  # noqa: BLE001 - the caller is not to blame, and goes on
            self.fatal(error)
            return Effects()
        if effects.persist or effects.send or effects.deliver:
            self._follow(effects)
        return effects

    def pending(self, pending: bool) -> None:
        """Does anything wait to be ordered? Asked for every transaction, said when it changes."""
        if pending is not self._told_pending:
            self._told_pending = pending
            self.step(PendingWork(pending))

    def persist_entry(self, entry: JournalEntry) -> None:
        """An entry of the shell's own, in its turn behind the votes of earlier steps."""
        if self.replica is not None:
            self._follow(Effects(persist=[entry]))

    def _follow(self, effects: Effects) -> None:
        self._steps.append(Step(effects))
        if len(self._steps) >= STEPS_WAITING_MAX:
            self.full = True
            self._room.clear()
        self._release()

    def fatal(self, error: BaseException) -> None:
        """The first cause counts; nothing more is stepped, sent or done."""
        if self._cause is None:
            self._cause = error
            self.install(None)
            self._failed.set()

    async def failure(self) -> None:
        """Never returns: raises what was fatal, for the group of tasks that it ends."""
        await self._failed.wait()
        assert self._cause is not None
        raise self._cause

    def wants(self, sequence: int, digest: bytes) -> bool:
        return self.replica is not None and self.replica.wants(sequence, digest)

    def counts_on(self, sequence: int, digest: bytes) -> bool:
        return self.replica is not None and self.replica.counts_on(sequence, digest)

    async def room(self) -> None:
        """Waits while too many steps wait for the disk; the network reads no faster than this."""
        await self._room.wait()

    async def tick(self, waited_ms: Callable[[float], None]) -> None:
        """Time for the core. A stalled process gets one tick for a long silence, not hundreds:
        timers measure time in which we could have acted.

        `waited_ms`: takes how late each tick was; so long would a vote have waited that came at
        its time, for the loop takes timers and sockets in turn (B26)."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self.tick_s
        while True:
            await asyncio.sleep(max(0, due - loop.time()))
            waited_ms((loop.time() - due) * 1000)
            due = max(due + self.tick_s, loop.time())
            self.step(Tick())

    def close(self) -> None:
        """The node stops: what has not begun to be written never was said."""
        self._closed = True

    def _sync_soon(self) -> None:
        """What this turn of the loop still brings goes to disk with it."""
        if not self._called and not self._syncing and not self._closed:
            self._called = True
            asyncio.get_running_loop().call_soon(self._sync)

    def _sync(self) -> None:
        """Write what must be written, all that has gathered at once."""
        self._called = False
        batch = [step for step in self._steps if not step.synced]
        if not batch or self._closed:
            return
        bodies: list[PersistBody] = []
        entries: list[JournalEntry] = []
        for step in batch:
            for wish in step.effects.persist:
                if isinstance(wish, PersistBody):
                    bodies.append(wish)
                else:
                    entries.append(wish)
        self._syncing = True
        try:
            self.persist(bodies, entries, partial(self._synced, batch))
        except Exception as error:  # noqa: BLE001 - the law of this file
            self.fatal(error)

    def _synced(self, batch: list[Step], failed: BaseException | None) -> None:
        """Now it may leave, and with it what had to stand behind it."""
        self._syncing = False
        if failed is not None:
            self.fatal(failed)
            return
        if self._closed:
            return
        for step in batch:
            step.synced = True
        self._release()

    def _release(self) -> None:
        if self._releasing:
            return  # A delivery stepped the core again; the loop below comes to it in order.
        self._releasing = True
        try:
            while self._steps and self._steps[0].synced:
                effects = self._steps.popleft().effects
                for sending in effects.send:
                    self.outlet.send(sending)
                for action in effects.deliver:
                    if self.replica is None:
                        return  # Halted, or worse, by the action before.
                    self.outlet.act(action)
        except Exception as error:  # noqa: BLE001 - whoever stepped is not to blame
            self.fatal(error)
        finally:
            self._releasing = False
        if self._steps:
            self._sync_soon()
        if self.full and len(self._steps) < STEPS_WAITING_MAX:
            self.full = False
            self._room.set()
