"""The gate of a custodian: every read of a patient's records, from signed request to last chunk.

    ask     authenticate, weigh, ticket on the chain, keeper, cut, seal         (rules G-1 … G-3, T-*)
    chunk   one sealed megabyte, if ticket and permit still stand

Law of the file: no byte leaves before PERMIT stands in a certified block (G-2), and none after the
newest certified state no longer permits it; what opens a ticket is on disk before the ticket is sent.
Decision 0013 has the rules.
"""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, nullcontext

import msgspec

from contracts.access import TicketArgs
from node.denial_teller import DenialTeller
from node.denials import DenialBook
from node.gate_opener import Keeper, Opened, Opener
from node.gate_records import GateRecords, Kept
from node.live_tickets import TICKET_LIFE_S, Live, LiveTickets, Release
from node.logs import log_event
from node.metrics import Metrics
from node.proofs import ProofMaker
from node.readers import check_signatures
from node.record_list import is_list, listed
from node.scales import Judged, Scales
from node.shown import Shown
from node.ticket_files import TICKET_FILE_VERSION, Narrowed, TicketFile, TicketFiles
from node.ticket_rates import TicketRates
from node.ticket_sender import TicketSender
from salus import release
from salus.asking import EXPIRY_BLOCKS
from salus.block import Receipt
from salus.codec import encode
from salus.consent.redact import Wanted
from salus.consent.weighing import weighing_commitment
from salus.errors import SalusError
from salus.keys import Signer
from salus.parameters import Parameters
from salus.permit import Outcome, Purpose, Reason
from salus.reading import (
    Ask,
    Decided,
    Derived,
    Locate,
    Located,
    Part,
    Place,
    Range,
    derived_payload,
)
from salus.sealed_stream import CHUNK_BYTES, RELEASE_KEY_BYTES
from salus.ticket import SALT_BYTES, TICKET_EXPIRY_BLOCKS_MAX, care_commitment
from salus.transaction import ParsedTransaction
from storage.errors import StorageError

log = logging.getLogger("salus.gate")

# Of requests without an answer, those that an operator looks at.
_FAILURES = {"UNKNOWN_READER": "unknown", "KEEPER_DOWN": "keeper", "KEEPER_REFUSED": "keeper"}
ENDED = ("TICKET_OLD", "ACCESS_ENDED", "ERASED")  # nothing more leaves under the ticket
TICK_S = 10.0  # nothing that ends does so to the second
# As the API waits (ApiSettings.seen_wait_seconds_max); a healthy node needs milliseconds.
CATCH_UP_S = 2.0
# As many as are served at once for another member (node/net/calls.py). Own staff and patients come without
# a frame, and nothing is held against them yet: who finds no place is judged by what is certified here.
CATCHING_UP_OF_MEMBER_MAX = 8


class Gate:
    """Of one organisation."""

    def __init__(
        self,
        chain_id: str,
        scales: Scales,
        records: GateRecords,
        files: TicketFiles,
        proofs: ProofMaker,
        keeper: Keeper,
        sender: TicketSender,
        signer: Signer,
        metrics: Metrics,
        *,
        parameters: Callable[[], Parameters],
        ready: Callable[[], None],
        reach: Callable[[int, float], Awaitable[object]],
        now_ms: Callable[[], int],
        clock: Callable[[], float],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`signer`: the node key, for derived documents; `ready`: raises `SalusError` (NO_QUORUM
        and the like) while this node cannot know what is certified; `reach`: waits for a height, for so
        many seconds; `clock`: seconds that only grow."""
        self.chain_id, self.org, self.state = chain_id, scales.org, scales.state
        self.scales, self.records, self.files = scales, records, files
        self.sender, self.signer = sender, signer
        self.metrics, self.parameters = metrics, parameters
        self.ready, self.reach = ready, reach
        self.now_ms, self.clock, self.random = now_ms, clock, random
        self.live, self.book = LiveTickets(clock), DenialBook()
        self.rates = TicketRates(clock)
        self._catching_up: Counter[str] = Counter()  # by member: requests that wait for a height
        self.teller = DenialTeller(self.book, sender, self.state, clock)
        self.opener = Opener(proofs, keeper, records.vault, clock, random)
        metrics.on_scrape(lambda: metrics.gate_live_tickets.set(len(self.live)))

    # -- find -----------------------------------------------------------------------------------

    async def locate(self, member: str, wanted: Locate) -> Located:
        """For any member that knows the record's id. Raises `SalusError` (UNKNOWN_RECORD)."""
        with self._our_fault():
            return await asyncio.to_thread(self.records.locate, wanted)

    # -- ask ------------------------------------------------------------------------------------

    async def ask(self, member: str, ask: Ask) -> Decided:
        """Decide a request. A denial is an answer; raises `SalusError` for what gets no decision:
        UNKNOWN_READER, BAD_ASK, UNKNOWN_RELATION, UNKNOWN_RECORD, CLASSES_MISSING, REQUEST_SEEN,
        REQUEST_LATE, BAD_PURPOSE, BAD_BOX_KEY, NODE_BUSY, TICKET_RATE, NO_QUORUM; CLOCK_AHEAD, CLOCK_BEHIND; after
        PERMIT, and then the ticket stands: KEEPER_DOWN, KEEPER_REFUSED, TICKET_OLD, CLOCK_BEHIND, ACCESS_ENDED."""
        began_s = self.clock()
        try:
            with self._our_fault():
                decided = await self._ask(member, ask)
        except SalusError as error:
            result = _FAILURES.get(error.code, "refused")
            self.metrics.gate_requests_total.labels(result).inc()
            log_event(log, logging.WARNING, "not_decided", requester=member, code=error.code)
            raise
        self.metrics.gate_seconds.observe(self.clock() - began_s)
        outcome = "counted" if decided.tx_id is None else "denied"
        outcome = "permitted" if decided.permitted else outcome
        self.metrics.gate_requests_total.labels(outcome).inc()
        log_event(
            log,
            logging.INFO,
            "decided",
            requester=member,
            purpose=ask.request.purpose.value,
            outcome=outcome,
            reason=decided.reason.value,
            height=decided.height,
        )
        return decided

    async def _ask(self, member: str, ask: Ask) -> Decided:
        request = ask.request
        self._check_request(member, ask)
        await self._catch_up(member, request.expiry_height - EXPIRY_BLOCKS)
        self._check_expiry(request.expiry_height)
        judged = await asyncio.to_thread(self._judged, member, ask, self._moment_ms())
        with self.live.asking(request.request_id, member, request.key):
            kept = await asyncio.to_thread(self._kept, ask)
            permitted = judged.outcome.permitted
            if not permitted and self.book.too_many(member, request.handle, self.clock()):
                self.book.without_ticket(member, request.handle, self.clock())
                return Decided(False, judged.outcome.reason, None, None, ())
            self.ready()
            if permitted and kept:
                self.opener.require_keeper()
            own = request.purpose is Purpose.PATIENT_REQUEST
            self.rates.take(member, request.key, request.handle if own else None)
            counted = self.book.deciding(member, request.handle)
            with nullcontext() if permitted else counted:
                file, tx = self._ticket(ask, judged)
                await self.files.put(file)
                height, receipt = await self.sender.certified(tx)
                outcome = _outcome(receipt)
                if not outcome.permitted:
                    self.book.with_ticket(member, request.handle, self.clock())
                    return Decided(False, outcome.reason, tx.id, height, ())
            parts = await self._release(file, judged, kept, height)
            return Decided(True, outcome.reason, tx.id, height, parts)

    async def _catch_up(self, member: str, seen: int) -> None:
        """What the reader's node has certified (a permit, his key) is here a moment later, too: nobody
        is denied for that."""
        if not 0 < seen - self.state.height() <= EXPIRY_BLOCKS:
            return
        if self._catching_up[member] >= CATCHING_UP_OF_MEMBER_MAX:
            return
        self._catching_up[member] += 1
        try:
            await self.reach(seen, CATCH_UP_S)
        finally:
            self._catching_up[member] -= 1
            if not self._catching_up[member]:
                del self._catching_up[member]

    def _judged(self, member: str, ask: Ask, now_ms: int) -> Judged:
        """In a thread, as below: each change of threads is a millisecond of a busy node's read."""
        check_signatures(ask)
        return self.scales.judge(member, ask.request, now_ms)

    def _kept(self, ask: Ask) -> tuple[Kept, ...]:
        self.files.require_new(ask.request.request_id)
        return self.records.kept(ask)

    def _moment_ms(self) -> int:
        """A clock that is behind must not make a permit last: certified time has passed."""
        return max(self.now_ms(), self.state.head.time_ms)

    def _check_request(self, member: str, ask: Ask) -> None:
        """What needs no key, no disk and no height."""
        request = ask.request
        if request.requester != member:
            raise SalusError("the request is another organisation's", code="UNKNOWN_READER")
        if (request.chain_id, request.custodian) != (self.chain_id, self.org):
            raise SalusError("the request is for another custodian or chain", code="BAD_ASK")
        if request.purpose is Purpose.EMERGENCY:
            raise SalusError("an emergency is opened as a case", code="BAD_PURPOSE")
        if list(request.classes) != sorted(set(request.classes)) or not request.classes:
            raise SalusError("classes ascend, each once, at least one", code="BAD_CLASSES")
        release.check_key(request.release_key)

    def _check_expiry(self, height: int) -> None:
        next_height = self.state.height() + 1
        if not next_height <= height <= next_height + TICKET_EXPIRY_BLOCKS_MAX:
            raise SalusError("the request has expired, or lives too long", code="REQUEST_LATE")

    def _ticket(self, ask: Ask, judged: Judged) -> tuple[TicketFile, ParsedTransaction]:
        """What the chain will see of the request, and what opens it."""
        request = ask.request
        salt = self.random(SALT_BYTES)
        own = ask.owner_signature is not None
        tx = self.sender.ticket(
            TicketArgs(
                handle=request.handle,
                request_id=request.request_id,
                requester=request.requester,
                purpose=request.purpose,
                classes=request.classes,
                permit=request.permit,
                narrowed=not judged.outcome.permitted,
                expiry_height=request.expiry_height,
                records=request.records,
                request=ask.commitment(),
                decision=weighing_commitment(salt, judged.weighing),
                care=care_commitment(ask.care_salt, ask.care),
                owner_key=request.key if own else None,
                owner_signature=ask.owner_signature,
            )
        )
        file = TicketFile(
            TICKET_FILE_VERSION,
            ask,
            judged.reader.staff,
            salt,
            judged.weighing,
            judged.opened,
            tx.id,
        )
        return file, tx

    # -- release --------------------------------------------------------------------------------

    async def _release(
        self, file: TicketFile, judged: Judged, kept: tuple[Kept, ...], height: int
    ) -> tuple[Part, ...]:
        """The ticket is certified: open, cut, seal. No content is kept."""
        ask, decision = file.ask, judged.decision
        assert decision is not None, "what is permitted has been weighed"
        live = Live(ask, decision, height, 0.0)
        await asyncio.to_thread(self._check_standing, live)
        places = {one.private.commitment: one.place for one in kept}
        if is_list(ask):
            records, (commitment,) = self.records.records, ask.commitments
            shown = await asyncio.to_thread(listed, records, ask, decision, self.random)
            opened = [Opened(commitment, b"", b"", shown)]
        else:
            opened = await self.opener.opened(file, kept, Wanted(decision.obligations))
        envelopes = {}
        for commitment, document, key, shown in opened:
            envelope, stream = release.seal(
                self._terms(ask, commitment, shown),
                self.random(RELEASE_KEY_BYTES),
                ask.request.release_key,
            )
            live.releases[commitment] = Release(
                shown, document, key, stream, set(range(stream.chunks))
            )
            envelopes[commitment] = encode(envelope)
        narrowed = _narrowed(live)
        if narrowed:
            await self.files.say_more(msgspec.structs.replace(file, narrowed=narrowed))
        self.ready()
        await asyncio.to_thread(self._check_standing, live)
        live.until_s = self.clock() + TICKET_LIFE_S
        self.live.add(live)
        return tuple(
            self._part(live, commitment, places.get(commitment), envelope)
            for commitment, envelope in envelopes.items()
        )

    def _terms(self, ask: Ask, commitment: bytes, shown: Shown) -> release.Terms:
        return release.Terms(
            release.RELEASE_VERSION,
            self.chain_id,
            self.org,
            ask.request.request_id,
            commitment,
            shown.digest,
            shown.size,
        )

    def _part(self, live: Live, commitment: bytes, place: Place | None, envelope: bytes) -> Part:
        shown, derived = live.releases[commitment].shown, None
        if shown.derived:
            payload = derived_payload(
                self.chain_id,
                self.org,
                live.ask.request.request_id,
                commitment,
                shown.proved_by,
            )
            derived = Derived(shown.proved_by, self.signer.sign(payload))
        return Part(commitment, envelope, shown.withheld, place, derived)

    # -- fetch ----------------------------------------------------------------------------------

    async def chunk(self, member: str, wanted: Range) -> bytes:
        """One sealed chunk. Raises `SalusError`: UNKNOWN_TICKET (also for another member's),
        TICKET_OLD, ACCESS_ENDED, BAD_ARGUMENT, NO_QUORUM."""
        live = self.live.find(wanted.request_id)
        if live is None or live.member != member:
            raise SalusError("no ticket is open under this request id", code="UNKNOWN_TICKET")
        found = live.releases.get(wanted.commitment)
        if found is None or wanted.chunk >= found.stream.chunks:
            raise SalusError("the release has no such version or chunk", code="BAD_ARGUMENT")
        self.ready()
        try:
            with self._our_fault():
                sealed = await asyncio.to_thread(self._sealed, live, found, wanted.chunk)
        except SalusError as error:
            if error.code in ENDED:
                self.live.end(wanted.request_id)
            raise
        found.left.discard(wanted.chunk)
        self.metrics.gate_released_bytes_total.inc(len(sealed))
        return sealed

    def _sealed(self, live: Live, found: Release, number: int) -> bytes:
        """In a thread. Looked at again behind the disk: it may have taken its time."""
        self._check_standing(live)
        size = found.stream.chunk_size(number)
        plain = self.opener.read(found.shown, found.document, found.key, number * CHUNK_BYTES, size)
        sealed = found.stream.seal(number, plain)
        self._check_standing(live)
        return sealed

    def _check_standing(self, live: Live) -> None:
        """Rule T-4: the ticket lives in blocks (`LiveTickets.find` looks at the clock), and the newest
        certified state still permits the same. In a thread: reads the disk. Raises `SalusError`
        (TICKET_OLD, ACCESS_ENDED)."""
        if self.state.height() - live.height > self.parameters().watermark_window:
            raise SalusError("the ticket's time is over", code="TICKET_OLD")
        if self.records.erased(live.ask):
            # Also what of it is still in memory (rule X-6 of decision 0015).
            raise SalusError("the record was erased", code="ERASED")
        request = live.ask.request
        try:
            now = self.scales.judge(request.requester, request, self._moment_ms())
        except SalusError as error:
            if error.code != "UNKNOWN_READER":
                raise
            now = None
        if now is None or not _same(now, live):
            raise SalusError("what permitted this has ended since", code="ACCESS_ENDED")

    @contextmanager
    def _our_fault(self) -> Iterator[None]:
        """A damaged file is no denial and none of the reader's business: its message may name it."""
        try:
            yield
        except StorageError as error:
            self.metrics.damaged(error)
            log_event(log, logging.ERROR, "store_failed", error=error.code)
            raise SalusError("a store of this node failed", code="INTERNAL") from None

    async def run(self) -> None:
        """Look after what ends by itself: tickets, and counts of denials."""
        while True:
            await asyncio.sleep(TICK_S)
            self.live.forget_ended()
            self.rates.forget_whole()
            await self.teller.tell(self.clock())

    async def close(self) -> None:
        """Before the node stops."""
        await self.teller.close()


def _same(now: Judged, live: Live) -> bool:
    """Is at least that still permitted which was permitted then? Other obligations would withhold
    other parts, and what is sealed is sealed."""
    if not now.outcome.permitted or now.decision is None:
        return False
    return now.decision.obligations == live.decision.obligations


def _outcome(receipt: Receipt) -> Outcome:
    """As the ticket's own event says it."""
    (event,) = (event for event in receipt.events if event.kind == "access.decided")
    return Outcome(event.data["permitted"] is True, Reason(str(event.data["reason"])))


def _narrowed(live: Live) -> tuple[Narrowed, ...]:
    return tuple(
        Narrowed(
            commitment,
            one.shown.digest,
            one.shown.withheld,
            one.shown.proved_by if one.shown.derived else None,
        )
        for commitment, one in live.releases.items()
        if one.shown.withheld or one.shown.derived
    )
