"""The reader's side of a read between two members: finds the custodian and passes words on.

It signs nothing and opens nothing: requests are signed by a person's key, and what comes is sealed
to a key that the person alone has. Law of the file: whoever the custodian is, the same words go
to him; to this node itself they go without a frame (node/net/calls.py).
"""

import asyncio
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from node.net.calls import Calls, Topic
from node.permit_inbox import PermitInbox
from node.receipts import Receipts
from salus.codec import decode, encode
from salus.consent.terms import Code
from salus.errors import SalusError
from salus.forms_access import KnownPermitForm, KnownPermits, MissingReceipt
from salus.reading import Ask, Decided, Found, Locate, Located, Range
from salus.site import site_text

LOCATE_S = 5.0  # a look into one index; who takes longer is not waited for
ASK_S = 50.0  # a ticket has to be certified, also while a view changes
CHUNK_S = 30.0  # a mebibyte over a slow line
ASKED_TOGETHER_MAX = 16  # members that are asked at once whether the record is theirs

# Who says so has been reached and has no such record; everything else leaves it open.
_NO_RECORD = frozenset({"UNKNOWN_RECORD", "NOT_SERVED"})


class Gate(Protocol):
    """The custodian's side (node/gate.py). `member`: who asks, as the connection proved."""

    async def locate(self, member: str, locate: Locate) -> Located: ...
    async def ask(self, member: str, ask: Ask) -> Decided: ...
    async def chunk(self, member: str, wanted: Range) -> bytes: ...


def serve(calls: Calls, gate: Gate) -> None:
    """Let other members, and this one, ask the gate."""

    async def locate(member: str, payload: bytes) -> bytes:
        return encode(await gate.locate(member, decode(payload, Locate)))

    async def ask(member: str, payload: bytes) -> bytes:
        return encode(await gate.ask(member, decode(payload, Ask)))

    async def chunk(member: str, payload: bytes) -> bytes:
        return await gate.chunk(member, decode(payload, Range))

    calls.serve(Topic.LOCATE, locate)
    calls.serve(Topic.READ, ask)
    calls.serve(Topic.RANGE, chunk)


class ReaderDesk:
    """Implements `node.api.view.AccessView`. `members`: ids of all members; `sites`: from where this
    organisation's staff may say that they read."""

    def __init__(
        self,
        calls: Calls,
        permits: PermitInbox,
        receipts: Receipts,
        me: Callable[[], str | None],
        members: Callable[[], Iterable[str]],
        sites: tuple[Code, ...] = (),
    ) -> None:
        self.calls, self.permits, self.receipts = calls, permits, receipts
        self._me, self._members, self._sites = me, members, sites

    async def locate(self, locate: Locate, custodian: str | None = None) -> Found:
        """Who keeps the record: this node, then those whose patients let us read, then all others.

        Raises `SalusError`: ERASED if this node says so, or another and nobody has it; UNKNOWN_RECORD if
        all say that, else what hindered the rest (PEER_UNREACHABLE …), for one of those may have it."""
        erased: SalusError | None = None
        hindered: SalusError | None = None
        for some in self._turns(custodian):
            outcomes = await asyncio.gather(*(self._at(one, locate) for one in some))
            for member, outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, Found):
                    return outcome
                if outcome.code == "ERASED":
                    if member == self._me():
                        raise outcome
                    erased = (
                        erased or outcome
                    )  # anybody can say so; who keeps it is asked all the same
                elif outcome.code not in _NO_RECORD:
                    hindered = hindered or outcome
        unknown = SalusError("no member keeps this record", code="UNKNOWN_RECORD")
        raise erased or hindered or unknown

    def _turns(self, custodian: str | None) -> Iterable[list[str]]:
        """Groups that are asked together; each member once."""
        if custodian is not None:
            yield [custodian]
            return
        asked: set[str] = set()
        own = [me] if (me := self._me()) is not None else []
        for group in (own, self.permits.custodians(), tuple(self._members())):
            fresh = [one for one in dict.fromkeys(group) if one not in asked]
            asked.update(fresh)
            for at in range(0, len(fresh), ASKED_TOGETHER_MAX):
                yield fresh[at : at + ASKED_TOGETHER_MAX]

    async def _at(self, member: str, locate: Locate) -> Found | SalusError:
        try:
            raw = await self.calls.ask(member, Topic.LOCATE, encode(locate), timeout_s=LOCATE_S)
            return Found(member, decode(raw, Located))
        except SalusError as error:
            return error

    async def ask(self, ask: Ask) -> Decided:
        """What the custodian decided. A permitted read is noted before it is told: its receipt is
        awaited from then on, also by the next life of this node. The note is synced beside the asking,
        for both take their time. Raises `SalusError` (UNKNOWN_SITE) for a place that is none of this
        node's (rule G-19)."""
        site = ask.request.site
        if site is not None and site not in self._sites:
            raise SalusError("nobody reads from there by this node", code="UNKNOWN_SITE")
        place = ask.request.custodian, ask.request.request_id
        noting = asyncio.create_task(self.receipts.expect(*place))
        permitted = False
        try:
            raw = await self.calls.ask(place[0], Topic.READ, encode(ask), timeout_s=ASK_S)
            decided = decode(raw, Decided)
            permitted = decided.permitted
        finally:
            new = await noting
            if new and not permitted:
                await self.receipts.expect_no_more(*place)
        return decided

    @property
    def sites(self) -> tuple[str, ...]:
        """SYSTEM|VALUE, from where staff may say that they read."""
        return tuple(site_text(site) for site in self._sites)

    async def chunk(self, custodian: str, wanted: Range) -> bytes:
        """One sealed chunk; nothing of it stays here."""
        return await self.calls.ask(custodian, Topic.RANGE, encode(wanted), timeout_s=CHUNK_S)

    async def confirm(self, custodian: str, request_id: bytes, digest: bytes) -> None:
        """What arrived; raises `SalusError` (UNKNOWN_TICKET)."""
        await self.receipts.confirm(custodian, request_id, digest)

    def permits_of(self, here: bytes) -> KnownPermits:
        """By the sealed fields of permits that this node has read; the newest first."""
        found = (
            KnownPermitForm(
                known.custodian,
                known.handle.hex(),
                known.permit.hex(),
                known.purpose.value,
                tuple(kind.value for kind in known.classes),
                (date(1970, 1, 1) + timedelta(days=known.until_day)).isoformat(),
            )
            for known in self.permits.of_patient(here)
        )
        return KnownPermits(tuple(found), self.permits.height)

    def missing(self) -> tuple[MissingReceipt, ...]:
        return tuple(
            MissingReceipt(
                note.request_id.hex(),
                note.custodian,
                datetime.fromtimestamp(note.asked_ms / 1000, UTC).isoformat(timespec="seconds"),
                note.state.value,
            )
            for note in self.receipts.missing()
        )
