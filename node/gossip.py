"""The shell around the rules of gossip: the clock, the sending, a bounded queue of bodies.

Law of the file: bodies from peers are verified here, by workers, never on the way of the frame
that brought them. A peer's connection carries votes too, and they must not stand behind its
transactions (B26). What finds no place in the queue is dropped: it will be announced again.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from node.errors import NodeBusy
from node.gossip_rules import FLUSH_INTERVAL_MS, Gossip, GossipSend
from node.logs import describe_error, log_event
from node.net.frames import MIB, Kind
from salus.errors import SalusError

__all__ = ["Gossip", "GossipTask"]

# Verification works off about 18,000 transactions a second and core, some 5 MB.
INTAKE_BYTES_MAX = 32 * MIB
INTAKE_BYTES_PER_PEER_MAX = 8 * MIB  # a flooding peer fills its own share only
# Of one peer checked at once, from as many frames as have come: under load those hold a client's array
# each, and a check takes two turns of a busy loop. Frames are as large as 1,000 (2 ms to parse 256).
INTAKE_BATCH = 256
# Clients' single transactions go to the primary together: a frame costs both ends some 50 µs, more than a
# signature (docs/performance.md). They wait for each other, a millisecond for each sixteen in the pool: not
# at all on a quiet node, and a twentieth of a commit's time on one that has no core left.
JOINED_PER_MS = 16
JOIN_MS_MAX = 5
BAD_TRANSACTION_POINTS = 60  # whoever relays has verified; a second one within 2 s is a ban

# Parse, verify and pool these transactions of a peer, then tell `Gossip`. Raises `SalusError`
# if an honest peer would not have sent them.
Intake = Callable[[str, Sequence[bytes]], Awaitable[None]]
Penalise = Callable[[str, int, str], None]

_log = logging.getLogger("salus.gossip")


class GossipTask:
    """`send` is the network's. Each peer that sent something has a worker of its own: one that floods
    keeps the others' waiting no longer, and nor do this node's clients, who all enter at once."""

    def __init__(self, gossip: Gossip, send: Callable[[str, Kind, bytes], bool]) -> None:
        self.gossip, self._send = gossip, send
        self._queues: dict[str, deque[Sequence[bytes]]] = {}  # of who has a worker, or will have
        self._queued_bytes: Counter[str] = Counter()
        self._hire: Callable[[str], None] | None = None
        self._entered: list[tuple[bytes, bytes]] = []  # by clients, and not told to anybody yet
        self._stirred = asyncio.Event()  # something may be due, or was dropped
        self.intake_dropped_total = 0

    async def run(self, intake: Intake | None = None, penalise: Penalise | None = None) -> None:
        """Tick and, given an `intake`, work off what `put` queued; until cancelled."""
        async with asyncio.TaskGroup() as group:
            if intake is not None:

                def hire(member: str) -> None:
                    group.create_task(self._work(member, intake, penalise), name="gossip intake")

                self._hire = hire
                for member in self._queues:
                    hire(member)
            try:
                await self._tick()
            finally:
                self._hire = None  # the group takes nobody any more, and peers go on sending

    def perform(self, sends: Iterable[GossipSend]) -> None:
        """Hand what the rules returned to the network; they may have put something on time."""
        for send in sends:
            self._send(send.member, send.kind, send.payload)
        self._stirred.set()

    def admitted(self, transactions: Sequence[tuple[bytes, bytes]]) -> None:
        """(id, bytes) of clients' transactions that entered the pool: they go to the primary in the next
        turn of the loop, or in a few milliseconds with those that come meanwhile."""
        self._entered += transactions
        if len(self._entered) >= JOINED_PER_MS:
            wait_ms = 0
        else:
            wait_ms = min(JOIN_MS_MAX, self.gossip.queue // JOINED_PER_MS)
        if not wait_ms:
            asyncio.get_running_loop().call_soon(self.forward)
        elif len(self._entered) == len(transactions):  # else it is on time already
            asyncio.get_running_loop().call_later(wait_ms / 1000, self.forward)

    def forward(self) -> None:
        """What `admitted` has kept goes now."""
        entered, self._entered = self._entered, []
        if entered:
            self.perform(self.gossip.admitted(entered, None, self.now_ms()))

    def leave(self) -> None:
        """The node stops: clients were told that it has taken theirs, so somebody else has to know them."""
        self.forward()
        self.perform(self.gossip.leave())

    def put(self, member: str, transactions: Sequence[bytes]) -> bool:
        """Queue a peer's bodies for the intake; False if there was no place. Never blocks."""
        size = sum(map(len, transactions))
        if (
            self._queued_bytes[member] + size > INTAKE_BYTES_PER_PEER_MAX
            or self._queued_bytes.total() + size > INTAKE_BYTES_MAX
        ):
            self.intake_dropped_total += len(transactions)
            self._stirred.set()
            return False
        self._queued_bytes[member] += size
        queue = self._queues.get(member)
        if queue is not None:
            queue.append(transactions)
            return True
        self._queues[member] = deque([transactions])
        if self._hire is not None:
            self._hire(member)
        return True

    @staticmethod
    def now_ms() -> int:
        """The loop's clock: it never runs backwards."""
        return int(asyncio.get_running_loop().time() * 1000)

    async def _work(self, member: str, intake: Intake, penalise: Penalise | None) -> None:
        """Until nothing of the member waits."""
        queue = self._queues[member]
        while queue:
            transactions: Sequence[bytes] = queue.popleft()
            while queue and len(transactions) + len(queue[0]) <= INTAKE_BATCH:
                transactions = [*transactions, *queue.popleft()]
            try:
                await intake(member, transactions)
            except NodeBusy:
                self.intake_dropped_total += len(transactions)
            except SalusError as error:
                if penalise is not None:
                    penalise(member, BAD_TRANSACTION_POINTS, error.code)
            except Exception as error:  # noqa: BLE001 - ours; gossip must go on for the others
                log_event(
                    _log,
                    logging.ERROR,
                    "intake_failed",
                    member=member,
                    error=describe_error(error),
                )
            finally:
                self._queued_bytes[member] -= sum(map(len, transactions))
            await asyncio.sleep(0)  # a queue that is never empty must not keep the loop
        del self._queues[member], self._queued_bytes[member]

    async def _tick(self) -> None:
        """A clock that stands while nothing will ever be due: most nodes are idle most of the time."""
        dropped = 0
        while True:
            if not self.gossip.waits:
                self._stirred.clear()
                await self._stirred.wait()
            await asyncio.sleep(FLUSH_INTERVAL_MS / 1000)
            self.perform(self.gossip.tick(self.now_ms()))
            total = self.gossip.dropped_total + self.intake_dropped_total
            if total != dropped:
                dropped = total
                log_event(_log, logging.WARNING, "gossip_dropped", dropped_total=dropped)
