"""The shell around `Spread`: the clock, the frames, and a bounded queue before verification.

Law of the file: `receive` never waits for a signature check. A peer's connection carries votes
too, and they must not stand behind its transactions (B26); so bodies wait here, bounded per peer
and in all, and what finds no place is dropped: it will be announced again.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

from node.errors import NodeBusy
from node.logs import log_event
from node.net.frames import MIB, IdsFrame, Kind, TransactionsFrame
from node.spread import FLUSH_INTERVAL_MS, GossipSend, Spread
from salus.codec import decode
from salus.errors import SalusError

# Verification works off about 18,000 transactions a second and core, some 5 MB.
INTAKE_BYTES_MAX = 32 * MIB
INTAKE_BYTES_PER_PEER_MAX = 8 * MIB
INTAKE_WORKERS = 4  # frames checked at once, so that the verify pool has something to do

Send = Callable[[str, Kind, bytes], bool]
# Parse, verify and pool these transactions of a peer, then call `admitted` and `refused`.
# Raises `SalusError` if the peer should not have sent them.
Intake = Callable[[str, Sequence[bytes]], Awaitable[None]]
Penalise = Callable[[str, int, str], None]

BAD_TRANSACTION_POINTS = 50  # whoever relays has verified; twice may be a fault of ours

_log = logging.getLogger("salus.gossip")


class Gossip:
    """`send` and `penalise` are the network's."""

    def __init__(self, spread: Spread, send: Send, intake: Intake, penalise: Penalise) -> None:
        self.spread = spread
        self._send, self._intake, self._penalise = send, intake, penalise
        self._queue: deque[tuple[str, tuple[bytes, ...], int]] = deque()
        self._queued_bytes: Counter[str] = Counter()
        self._filled = asyncio.Event()
        self.intake_dropped_total = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick(), name="gossip tick")
            for number in range(INTAKE_WORKERS):
                group.create_task(self._work(), name=f"gossip intake {number}")

    # ---- what happens here ------------------------------------------------------------------

    def admitted(self, transactions: Sequence[tuple[bytes, bytes]], source: str | None) -> None:
        """(id, bytes) entered the pool; `source`: the peer it came from, None for a client."""
        self._perform(self.spread.admitted(transactions, source, now_ms()))

    def refused(self, tx_id: bytes) -> None:
        self.spread.refused(tx_id)

    def ordered(self, tx_ids: Iterable[bytes]) -> None:
        self.spread.ordered(tx_ids)

    def gone(self, tx_ids: Iterable[bytes]) -> None:
        self.spread.gone(tx_ids)

    def primary_changed(self, primary: str | None) -> None:
        """`primary`: its member id, None if it is this node."""
        self._perform(self.spread.primary_changed(primary, now_ms()))

    def evidence(self, payload: bytes, source: str | None) -> None:
        """`payload`: an EvidenceFrame that this node has checked, or made itself."""
        self._perform(self.spread.evidence(payload, source))

    # ---- what peers say ---------------------------------------------------------------------

    async def receive(self, member: str, kind: Kind, payload: bytes) -> None:
        """A gossip frame of a member; raises `BadMessage`."""
        if kind is Kind.TRANSACTIONS:
            self._put(member, decode(payload, TransactionsFrame).transactions)
            return
        tx_ids = decode(payload, IdsFrame).ids
        if kind is Kind.ANNOUNCE:
            self._perform(self.spread.announced(member, tx_ids, now_ms()))
        else:
            assert kind is Kind.REQUEST, "the inlet sends gossip here"
            self._perform(self.spread.requested(member, tx_ids))

    def _put(self, member: str, transactions: tuple[bytes, ...]) -> None:
        size = sum(map(len, transactions))
        if (
            self._queued_bytes[member] + size > INTAKE_BYTES_PER_PEER_MAX
            or self._queued_bytes.total() + size > INTAKE_BYTES_MAX
        ):
            self.intake_dropped_total += len(transactions)
            return
        self._queue.append((member, transactions, size))
        self._queued_bytes[member] += size
        self._filled.set()

    async def _work(self) -> None:
        while True:
            while not self._queue:
                self._filled.clear()
                await self._filled.wait()
            member, transactions, size = self._queue.popleft()
            try:
                await self._intake(member, transactions)
            except NodeBusy:
                self.intake_dropped_total += len(transactions)
            except SalusError as error:
                self._penalise(member, BAD_TRANSACTION_POINTS, error.code)
            finally:
                self._queued_bytes[member] -= size
                if not self._queued_bytes[member]:
                    del self._queued_bytes[member]
            await asyncio.sleep(0)

    async def _tick(self) -> None:
        dropped = 0
        while True:
            await asyncio.sleep(FLUSH_INTERVAL_MS / 1000)
            self._perform(self.spread.tick(now_ms()))
            now_dropped = self.spread.dropped_total + self.intake_dropped_total
            if now_dropped != dropped:
                dropped = now_dropped
                log_event(_log, logging.WARNING, "gossip_dropped", dropped_total=dropped)

    def _perform(self, sends: Iterable[GossipSend]) -> None:
        for send in sends:
            self._send(send.member, send.kind, send.payload)


def now_ms() -> int:
    """The loop's clock: it never runs backwards."""
    return int(asyncio.get_running_loop().time() * 1000)
