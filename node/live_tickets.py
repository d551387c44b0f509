"""Tickets under which something may still leave: keys and lists for minutes, no content (rule T-4).

Law of the file: bounded in number, by member, in memory and in time; what is not here is asked for
anew, with a new ticket.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from node.errors import NodeBusy
from node.shown import Shown
from salus.consent.decision import Decision
from salus.errors import SalusError
from salus.reading import Ask
from salus.sealed_stream import SealedStream

TICKET_LIFE_S = 300.0  # rule T-4; an idle chain makes no blocks, so a clock ends it as well
LIVE_MAX = 8_192  # of all members, at some 8 kB
LIVE_OF_MEMBER_MAX = 2_048  # one hospital's morning must not keep the others out
LIVE_OF_READER_MAX = 256  # nor one patient with his own record the hospital's doctors
HELD_BYTES_MAX = 64 * 2**20  # lists of parts, what stands between them, derived documents
HELD_OF_MEMBER_BYTES_MAX = 16 * 2**20  # as with the number of tickets
HELD_OF_READER_BYTES_MAX = 4 * 2**20
# A ticket of 256 versions holds fifty times what one of a single version does.
VERSION_BYTES = 2_048  # its names, keys and cipher; measured: 1.6 kB
CHUNK_LEFT_BYTES = 72  # in a set; measured: 66


_Name = str | bytes | None  # of a share: a member, a reader's key, or all


@dataclass(slots=True)
class Release:
    """One version under a live ticket."""

    shown: Shown
    document: bytes  # its name in the vault
    key: bytes
    stream: SealedStream
    left: set[int]  # chunks that have not left yet


@dataclass(slots=True)
class Live:
    """A permitted ticket: how it was decided, and what it opens."""

    ask: Ask
    decision: Decision
    height: int
    until_s: float
    releases: dict[bytes, Release] = field(default_factory=dict)  # by the version's commitment

    @property
    def request_id(self) -> bytes:
        return self.ask.request.request_id

    @property
    def member(self) -> str:
        return self.ask.request.requester

    @property
    def reader(self) -> bytes:
        """The person's key."""
        return self.ask.request.key

    @property
    def held_bytes(self) -> int:
        """Of memory, besides some 8 kB. The same until its end, whatever has left."""
        each = (
            VERSION_BYTES + one.shown.held_bytes + CHUNK_LEFT_BYTES * one.stream.chunks
            for one in self.releases.values()
        )
        return sum(each)

    @property
    def done(self) -> bool:
        """Has every chunk left once? Then it stays only as long as there is room."""
        return not any(release.left for release in self.releases.values())


@dataclass(slots=True)
class _Use:
    """What goes to one reader, one member, or all of them."""

    tickets: int = 0  # open ones, and requests that are being decided
    held_bytes: int = 0


class LiveTickets:
    """Of one custodian. `clock`: seconds that only grow."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._live: dict[bytes, Live] = {}  # by request id, in the order of their ends
        self._asking: set[bytes] = set()  # request ids that are being decided
        self._uses: dict[_Name, _Use] = {}  # of whoever has any

    def __len__(self) -> int:
        return len(self._live)

    @contextmanager
    def asking(self, request_id: bytes, member: str, reader: bytes) -> Iterator[None]:
        """A place for a request while it is decided and, if permitted, for its ticket. `reader`: the
        person's key. Raises `SalusError` (REQUEST_SEEN, NODE_BUSY)."""
        self.forget_ended()
        if request_id in self._asking or request_id in self._live:
            raise SalusError("the request is being decided, or was", code="REQUEST_SEEN")
        for name, tickets_max, _ in _shares(member, reader):
            if self._use(name).tickets >= tickets_max:
                self._make_room(name)
        self._asking.add(request_id)
        self._book(member, reader, 1, 0)
        try:
            yield
        finally:
            self._asking.remove(request_id)
            self._book(member, reader, -1, 0)

    def _use(self, name: _Name) -> _Use:
        return self._uses.get(name) or _Use()

    def _book(self, member: str, reader: bytes, tickets: int, held_bytes: int) -> None:
        for name, _, _ in _shares(member, reader):
            use = self._uses.setdefault(name, _Use())
            use.tickets += tickets
            use.held_bytes += held_bytes
            if not use.tickets:
                del self._uses[name]

    def _make_room(self, name: _Name) -> None:
        """The oldest one goes under which everything has left. Raises `NodeBusy`."""
        for live in self._live.values():
            if live.done and name in (None, live.member, live.reader):
                self.end(live.request_id)
                return
        raise NodeBusy("too many tickets are open")

    def add(self, live: Live) -> None:
        """Raises `SalusError` (NODE_BUSY) if its lists find no room."""
        self.forget_ended()
        held = live.held_bytes
        for name, _, held_max in _shares(live.member, live.reader):
            # One alone is never too large: else some record could not be read at all.
            while self._use(name).held_bytes and self._use(name).held_bytes + held > held_max:
                self._make_room(name)
        self._live[live.request_id] = live
        self._book(live.member, live.reader, 1, held)

    def find(self, request_id: bytes) -> Live | None:
        """None if it has ended by the clock, or never was."""
        live = self._live.get(request_id)
        return None if live is None or live.until_s <= self.clock() else live

    def end(self, request_id: bytes) -> None:
        """Nothing more leaves under it; its keys are dropped."""
        live = self._live.pop(request_id, None)
        if live is not None:
            self._book(live.member, live.reader, -1, -live.held_bytes)

    def forget_ended(self) -> None:
        now_s = self.clock()
        ended = []
        for request_id, live in self._live.items():
            if live.until_s > now_s:
                break  # the later ones end later
            ended.append(request_id)
        for request_id in ended:
            self.end(request_id)


def _shares(member: str, reader: bytes) -> tuple[tuple[_Name, int, int], ...]:
    """Whose use it is, how many tickets that may have, and how many bytes."""
    return (
        (reader, LIVE_OF_READER_MAX, HELD_OF_READER_BYTES_MAX),
        (member, LIVE_OF_MEMBER_MAX, HELD_OF_MEMBER_BYTES_MAX),
        (None, LIVE_MAX, HELD_BYTES_MAX),
    )
