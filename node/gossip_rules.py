"""How transactions reach everybody: bodies to the primary at once, ids to the others if needed.

    admitted here ──► body to the primary
         │ 50 ms later, or what blocks take of late, unless a PRE-PREPARE has shown it meanwhile
         └─────────► its id announced to the others ──► who lacks it asks ──► body

Usually the PRE-PREPARE comes first and nothing is announced at all. Law of the file: every
table has a cap, and what a cap drops is repaired by a later announcement; the clock arrives as
`now_ms`; a transaction that is not yet executed is announced again until it is (L17: everybody
must know it, or nobody could complain about a primary that ignores it).
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from node.net.frames import (
    IDS_PER_FRAME_MAX,
    TRANSACTIONS_PER_FRAME_MAX,
    IdsFrame,
    Kind,
    TransactionsFrame,
)
from salus.codec import encode
from salus.hashing import hasher
from salus.transaction import ParsedTransaction

FLUSH_INTERVAL_MS = 20  # ids are batched for so long
ANNOUNCE_DELAY_MS = 50  # a PRE-PREPARE usually comes sooner
# A queue explains a delay: under load everything would be announced, asked for, sent and parsed
# once more just before its PRE-PREPARE brings it. One a millisecond is a slow network's pace.
QUEUE_MIN = 500
QUEUE_PER_MS = 1
# So does a busy network: until a transaction's PRE-PREPARE comes it may take what others have taken from their
# entering to their block. But no longer than such a share of the progress timeout: who does not know what waits
# complains of no primary (L17), and a half of it is late (L22).
USUAL_SHARE = 8
REANNOUNCE_MS = 2_000  # then twice that, four times, …: repairs whatever was lost
REANNOUNCE_DOUBLINGS_MAX = 4
REQUEST_TIMEOUT_MS = 500  # then the next announcer is asked

TRACKED_MAX = 40_000  # twice the default pool, so that the pool's cap is met first
WANTED_MAX = 20_000  # ids that somebody announced and we lack
WANTED_PER_PEER_MAX = 5_000  # a liar who announces ids of nothing fills his own share only
ANNOUNCERS_MAX = 4  # per wanted id: whom to ask next
REFUSED_MAX = 20_000  # ids that were asked for and then refused: not asked for again
EVIDENCE_MAX = 1_024  # evidence seen; each piece travels once
FRAME_BYTES_TARGET = 256 * 1024  # bodies per frame: small enough to let votes in between
ANSWER_BYTES_MAX = 4 * 1024 * 1024  # per request: the rest is asked for again

_hash_evidence = hasher("evidence")


class Pool(Protocol):
    """What gossip asks the mempool."""

    def find(self, tx_id: bytes) -> ParsedTransaction | None:
        """A transaction that waits or is in flight here."""

    @property
    def owed(self) -> int:
        """How many could stand in a block by now; what is valid later only explains no delay."""

    def is_ordered(self, tx_id: bytes) -> bool:
        """It stands in a PRE-PREPARE that this node has accepted: everybody gets it with that."""

    def missing(self, ids: Iterable[bytes]) -> list[bytes]:
        """Those that are neither here nor in flight; executed ones may be named too."""


@dataclass(frozen=True, slots=True)
class GossipSend:
    member: str
    kind: Kind
    payload: bytes


@dataclass(slots=True)
class _Tracked:
    """A transaction of our pool that is not executed yet."""

    mine: bool  # a client gave it to this node
    entered_ms: int
    rounds: int = 0
    due_ms: int = 0
    ordered: bool = False  # it was, when its announcement was due
    holders: tuple[str, ...] = ()  # peers known to have it


@dataclass(slots=True)
class _Wanted:
    """An id that was announced and that we lack; `asked` is where the request went."""

    asked: str
    until_ms: int
    others: list[str] = field(default_factory=list)


class Gossip:
    """The rules of gossip, without sockets and clock; node/gossip.py is the shell around it.

    `members`: the other members that take part, updated by `begin_epoch`.
    Every method returns what to send."""

    def __init__(self, pool: Pool, members: Iterable[str], primary: str | None) -> None:
        self._pool = pool
        self._members: tuple[str, ...] = tuple(sorted(members))
        self._primary = primary  # None: this node itself
        self._tracked: OrderedDict[bytes, _Tracked] = OrderedDict()  # oldest first
        # Ids by the time when they are due. An entry may outlive its transaction, and most do:
        # it is executed before its announcement is due, so an entry must cost next to nothing.
        self._due: dict[int, list[bytes]] = {}
        self._due_times: list[int] = []  # heap of the keys of `_due`
        self._due_count = 0
        self._wanted: OrderedDict[bytes, _Wanted] = OrderedDict()
        self._wanted_of: dict[str, int] = {}
        self._refused: OrderedDict[bytes, None] = OrderedDict()
        self._evidence: OrderedDict[bytes, None] = OrderedDict()
        self._usual_ms = 0  # from entering to a block on disk, the slowest of late
        self._usual_ms_max = 0
        self.dropped_total = 0

    # ---- what happens here ------------------------------------------------------------------

    def admitted(
        self, transactions: Sequence[tuple[bytes, bytes]], source: str | None, now_ms: int
    ) -> list[GossipSend]:
        """(id, bytes) of transactions that entered the pool; `source` None: from a client."""
        fresh: list[bytes] = []
        due_ms = now_ms + self._wait_ms(len(transactions))
        for tx_id, raw in transactions:
            self._unwant(tx_id)
            tracked = self._tracked.get(tx_id)
            if tracked is None:
                tracked = self._track(tx_id, _Tracked(source is None, now_ms), due_ms)
                fresh.append(raw)
            _add_holder(tracked, source)
        if source is not None or self._primary is None or not fresh:
            return []
        for tx_id, _ in transactions:
            _add_holder(self._tracked.get(tx_id), self._primary)
        return _bodies(self._primary, fresh)

    def refused(self, tx_id: bytes) -> None:
        """A body came and the pool would not have it: do not ask the next announcer."""
        self._unwant(tx_id)
        self._refused[tx_id] = None
        _trim(self._refused, REFUSED_MAX)

    def executed(self, tx_ids: Iterable[bytes], now_ms: int) -> None:
        """Their block is on disk: nothing more to say about them."""
        entered_ms: int | None = None
        for tx_id in tx_ids:
            self._unwant(tx_id)
            tracked = self._tracked.pop(tx_id, None)
            if tracked is not None and (entered_ms is None or tracked.entered_ms < entered_ms):
                entered_ms = tracked.entered_ms
        if entered_ms is not None:
            took_ms = min(self._usual_ms_max, now_ms - entered_ms)
            # A slow block counts at once, and is forgotten in some ten.
            self._usual_ms = max(took_ms, self._usual_ms - -(-self._usual_ms // 8))

    def gone(self, tx_ids: Iterable[bytes]) -> None:
        """Expired or evicted: nothing more to say about them."""
        for tx_id in tx_ids:
            self._unwant(tx_id)
            self._tracked.pop(tx_id, None)

    def primary_changed(self, primary: str | None, now_ms: int) -> list[GossipSend]:
        """A new view: what was ordered may have been dropped with the old one, and our clients'
        transactions go to the new primary at once."""
        self._primary = primary
        bodies: list[bytes] = []
        size = left = 0
        for tx_id, tracked in self._tracked.items():
            if tracked.ordered:
                tracked.ordered, tracked.rounds = False, 0
                self._schedule(tx_id, tracked, now_ms + ANNOUNCE_DELAY_MS)
            if primary is None or not tracked.mine or primary in tracked.holders:
                continue
            tx = self._pool.find(tx_id)
            if tx is None:
                continue
            size += len(tx.raw)
            if size <= ANSWER_BYTES_MAX:
                bodies.append(tx.raw)
                _add_holder(tracked, primary)
                continue
            # It asks for the rest, at a pace at which it gets on. They were to be announced when the
            # old primary's queue had passed, and the new one has none of them.
            left += 1
            tracked.rounds = 0
            delay_ms = ANNOUNCE_DELAY_MS + left // QUEUE_PER_MS
            self._schedule(tx_id, tracked, now_ms + delay_ms + -delay_ms % FLUSH_INTERVAL_MS)
        if self._due_count > 2 * TRACKED_MAX:  # views may change and nothing be admitted
            self._forget_gone()
        return _bodies(primary, bodies) if primary is not None else []

    def leave(self) -> list[GossipSend]:
        """This node stops. As a primary it alone may have what its clients sent, and will not propose it."""
        if self._primary is not None or not self._members:
            return []
        bodies: list[bytes] = []
        size = 0
        for tx_id, tracked in self._tracked.items():
            if tracked.mine and not tracked.holders and not self._pool.is_ordered(tx_id):
                tx = self._pool.find(tx_id)
                if tx is not None and (size := size + len(tx.raw)) <= ANSWER_BYTES_MAX:
                    bodies.append(tx.raw)
        return _bodies(self._members[0], bodies)

    def begin_epoch(self, members: Iterable[str], progress_timeout_ms: int) -> None:
        """`members`: the others. Who the primary is, `primary_changed` says."""
        self._members = tuple(sorted(members))
        self._usual_ms_max = progress_timeout_ms // USUAL_SHARE
        self._usual_ms = min(self._usual_ms, self._usual_ms_max)

    # ---- what peers say ---------------------------------------------------------------------

    def announced(self, member: str, tx_ids: Sequence[bytes], now_ms: int) -> list[GossipSend]:
        """A peer has these; ask it for those that are new to us."""
        ask: list[bytes] = []
        unknown = dict.fromkeys(self._pool.missing(tx_ids))
        for tx_id in tx_ids:
            tracked = self._tracked.get(tx_id)
            if tracked is not None:
                _add_holder(tracked, member)
            elif (wanted := self._wanted.get(tx_id)) is not None:
                others = wanted.others
                if member != wanted.asked and member not in others and len(others) < ANNOUNCERS_MAX:
                    others.append(member)
            elif tx_id in self._refused or tx_id not in unknown:
                continue
            elif (
                len(self._wanted) >= WANTED_MAX
                or self._wanted_of.get(member, 0) >= WANTED_PER_PEER_MAX
            ):
                self.dropped_total += 1
            else:
                self._want(tx_id, _Wanted(member, now_ms + REQUEST_TIMEOUT_MS))
                ask.append(tx_id)
        return _ids(member, Kind.REQUEST, ask)

    def requested(self, member: str, tx_ids: Sequence[bytes]) -> list[GossipSend]:
        """A peer asks for bodies; what we no longer hold it will learn from a block."""
        bodies: list[bytes] = []
        size = 0
        for tx_id in tx_ids:
            tx = self._pool.find(tx_id)
            if tx is None:
                continue
            size += len(tx.raw)
            if size > ANSWER_BYTES_MAX:
                break
            bodies.append(tx.raw)
            _add_holder(self._tracked.get(tx_id), member)
        return _bodies(member, bodies)

    def evidence(self, payload: bytes, source: str | None) -> list[GossipSend]:
        """Two contradicting votes (L23), ours or a peer's: once to everybody else."""
        key = _hash_evidence(payload)
        if key in self._evidence:
            return []
        self._evidence[key] = None
        _trim(self._evidence, EVIDENCE_MAX)
        return [GossipSend(m, Kind.EVIDENCE, payload) for m in self._members if m != source]

    def knows_evidence(self, payload: bytes) -> bool:
        """Seen before; saves its verification."""
        return _hash_evidence(payload) in self._evidence

    # ---- time -------------------------------------------------------------------------------

    def tick(self, now_ms: int) -> list[GossipSend]:
        """Every FLUSH_INTERVAL_MS: announce what is due, ask others for what did not come."""
        return self._announce(now_ms) + self._ask_next(now_ms)

    @property
    def waits(self) -> bool:
        """Something is due some time, so the clock has to tick."""
        return bool(self._due_times or self._wanted)

    @property
    def queue(self) -> int:
        """Transactions here that wait for a block which could hold them by now."""
        return self._pool.owed

    def _announce(self, now_ms: int) -> list[GossipSend]:
        if not self._due_times or self._due_times[0] > now_ms:
            return []
        due: dict[str, list[bytes]] = {member: [] for member in self._members}
        for tx_id, due_ms in self._fallen_due(now_ms):
            tracked = self._tracked.get(tx_id)
            if tracked is None or tracked.due_ms != due_ms:
                continue  # gone, or due at another time
            if self._pool.find(tx_id) is None:
                del self._tracked[tx_id]  # executed, expired or evicted meanwhile
                continue
            if self._pool.is_ordered(tx_id):
                # Nothing to say, unless the order is lost: then `primary_changed` comes sooner.
                tracked.ordered = True
                self._schedule(tx_id, tracked, now_ms + REANNOUNCE_MS)
                continue
            # The first time only to those who are not known to have it; later to all, since
            # what was sent may have been lost on the way.
            for member in self._members:
                if tracked.rounds or member not in tracked.holders:
                    due[member].append(tx_id)
            doublings = min(tracked.rounds, REANNOUNCE_DOUBLINGS_MAX)
            self._schedule(tx_id, tracked, now_ms + (REANNOUNCE_MS << doublings))
            tracked.rounds += 1
        return [
            send for member in self._members for send in _ids(member, Kind.ANNOUNCE, due[member])
        ]

    def _ask_next(self, now_ms: int) -> list[GossipSend]:
        """Requests that went unanswered go to the next announcer, or are given up."""
        again: dict[str, list[bytes]] = {}
        # Requests are in the order of their deadlines: each new one lies later.
        while self._wanted:
            tx_id, wanted = next(iter(self._wanted.items()))
            if wanted.until_ms > now_ms:
                break
            self._unwant(tx_id)
            if wanted.others and self._pool.missing([tx_id]):
                member = wanted.others.pop(0)
                self._want(tx_id, _Wanted(member, now_ms + REQUEST_TIMEOUT_MS, wanted.others))
                again.setdefault(member, []).append(tx_id)
        return [send for member, ids in again.items() for send in _ids(member, Kind.REQUEST, ids)]

    # ---- tables -----------------------------------------------------------------------------

    def _wait_ms(self, entering: int) -> int:
        """Until these are announced: a PRE-PREPARE usually comes sooner. They are in the pool already."""
        more_ms = max(0, self._pool.owed - entering - QUEUE_MIN) // QUEUE_PER_MS
        more_ms = max(more_ms, self._usual_ms - ANNOUNCE_DELAY_MS)
        # A flush's worth of them is due together.
        return ANNOUNCE_DELAY_MS + more_ms - more_ms % FLUSH_INTERVAL_MS

    def _track(self, tx_id: bytes, tracked: _Tracked, due_ms: int) -> _Tracked:
        self._tracked[tx_id] = tracked
        self._schedule(tx_id, tracked, due_ms)
        if self._due_count > 2 * TRACKED_MAX:  # mostly entries of what is executed long since
            self._forget_gone()
        if len(self._tracked) > TRACKED_MAX:
            self._tracked.popitem(last=False)
            self.dropped_total += 1
        return tracked

    def _schedule(self, tx_id: bytes, tracked: _Tracked, due_ms: int) -> None:
        tracked.due_ms = due_ms
        entries = self._due.get(due_ms)
        if entries is None:
            self._due[due_ms] = [tx_id]
            heapq.heappush(self._due_times, due_ms)
        else:
            entries.append(tx_id)
        self._due_count += 1

    def _fallen_due(self, now_ms: int) -> Iterator[tuple[bytes, int]]:
        """(id, when it was due) of all entries up to now; they are taken out."""
        while self._due_times and self._due_times[0] <= now_ms:
            due_ms = heapq.heappop(self._due_times)
            entries = self._due.pop(due_ms)
            self._due_count -= len(entries)
            for tx_id in entries:
                yield tx_id, due_ms

    def _forget_gone(self) -> None:
        """Keep the entries of what is still tracked, once each."""
        kept = {
            due_ms: [
                tx_id
                for tx_id in dict.fromkeys(entries)
                if (tracked := self._tracked.get(tx_id)) is not None and tracked.due_ms == due_ms
            ]
            for due_ms, entries in self._due.items()
        }
        self._due = {due_ms: entries for due_ms, entries in kept.items() if entries}
        self._due_times = sorted(self._due)
        self._due_count = sum(len(entries) for entries in self._due.values())

    def _want(self, tx_id: bytes, wanted: _Wanted) -> None:
        self._wanted[tx_id] = wanted
        self._wanted_of[wanted.asked] = self._wanted_of.get(wanted.asked, 0) + 1

    def _unwant(self, tx_id: bytes) -> None:
        wanted = self._wanted.pop(tx_id, None)
        if wanted is not None:
            left = self._wanted_of[wanted.asked] - 1
            if left:
                self._wanted_of[wanted.asked] = left
            else:
                del self._wanted_of[wanted.asked]

    def sizes(self) -> dict[str, int]:
        """For metrics and for the test of the caps."""
        return {
            "tracked": len(self._tracked),
            "due": self._due_count,
            "wanted": len(self._wanted),
            "refused": len(self._refused),
            "evidence": len(self._evidence),
        }


def _add_holder(tracked: _Tracked | None, member: str | None) -> None:
    if tracked is not None and member is not None and member not in tracked.holders:
        tracked.holders += (member,)


def _trim(table: "OrderedDict[bytes, None]", size_max: int) -> None:
    while len(table) > size_max:
        table.popitem(last=False)


def _ids(member: str, kind: Kind, tx_ids: Sequence[bytes]) -> list[GossipSend]:
    return [
        GossipSend(member, kind, encode(IdsFrame(tuple(tx_ids[at : at + IDS_PER_FRAME_MAX]))))
        for at in range(0, len(tx_ids), IDS_PER_FRAME_MAX)
    ]


def _bodies(member: str, raws: Sequence[bytes]) -> list[GossipSend]:
    """TRANSACTIONS frames of about FRAME_BYTES_TARGET."""
    sends: list[GossipSend] = []
    part: list[bytes] = []
    size = 0
    for raw in raws:
        if part and (
            size + len(raw) > FRAME_BYTES_TARGET or len(part) == TRANSACTIONS_PER_FRAME_MAX
        ):
            sends.append(
                GossipSend(member, Kind.TRANSACTIONS, encode(TransactionsFrame(tuple(part))))
            )
            part, size = [], 0
        part.append(raw)
        size += len(raw)
    if part:
        sends.append(GossipSend(member, Kind.TRANSACTIONS, encode(TransactionsFrame(tuple(part)))))
    return sends
