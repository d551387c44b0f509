"""Reading a patient's record through a node: `client.access`.

    outcome = await client.access.read(record_id, wish, signer, Path("finding.json"))

The node is believed nothing: the ticket is proved by this client's own trust, chunks open only with
the secret that stays here, and what they hold proves itself against the version's commitment. Law of
the file: the output appears whole and verified, or not at all; four megabytes are on their way at a
time, however large the document is.
"""

import asyncio
import os
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from salus.asking import Wish, ask_for
from salus.client_errors import ClientError
from salus.codec import Wire, decode, encode
from salus.document import Opening
from salus.errors import SalusError, VerificationError
from salus.forms import Hex32
from salus.forms_access import (
    ChunkRequest,
    KnownPermits,
    MissingReceipts,
    PermitsRequest,
    ReceiptRequest,
    SitesAnswer,
)
from salus.keys import Signer
from salus.permit import Classes, Docket, Effect, Permit, Purpose, Reach, decide
from salus.proof import RecordProof, read_proof, write_proof
from salus.read_result import assemble, goes_on, part_of, same_release, stream_of
from salus.read_state import STATE_VERSION, ReadState, Unfinished
from salus.reading import (
    RECORD_LIST,
    Ask,
    Decided,
    Found,
    Locate,
    Part,
)
from salus.relation import DAY_MS
from salus.ticket_proof import ProvedTicket, proved_ticket
from salus.verifier import verify_file

if TYPE_CHECKING:
    from salus.client import Client

AHEAD_CHUNKS = 4  # on their way at a time: 4 MiB here, and as much at each node between
ASK_S = 60.0  # a ticket has to be certified, also while a view changes
CHUNK_S = 60.0
ASKS_MAX = 3  # a request that comes too late for a fast chain is signed anew

# The ticket is over, and another one may be had; what has come is good if it is the same release.
_ASK_ANEW = frozenset({"TICKET_OLD", "UNKNOWN_TICKET"})
# Nothing more comes, and what has come was not for keeping.
_OVER = frozenset({"ACCESS_ENDED", "ERASED", "UNKNOWN_RECORD"})


@dataclass(frozen=True, slots=True)
class Read:
    """How a read ended. `path` is None if it was denied; `part` and `opening` prove what is there."""

    permitted: bool
    reason: str
    ticket_tx: str | None  # None: denials were too many for a ticket of their own
    ticket_height: int | None
    redacted: bool
    path: Path | None = None
    media_type: str | None = None
    part: Part | None = None
    opening: Opening | None = None  # of what is shown, if it was asked for
    confirmed: bool = False  # the node took the reader's word that it arrived


class AccessClient:
    """The access paths of one client's first node."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    # -- single calls ---------------------------------------------------------------------------

    async def locate(
        self, record_id: bytes, *, version: int | None = None, custodian: str | None = None
    ) -> Found:
        """Who keeps the record. Raises `SalusError` (UNKNOWN_RECORD, PEER_UNREACHABLE …)."""
        where = {} if custodian is None else {"custodian": custodian}
        raw = await self._words("/v1/access/locate", Locate(record_id, version, None), where, 30.0)
        return decode(raw, Found)

    async def ask(self, ask: Ask) -> Decided:
        """Not repeated by itself: a request id is good for one ticket."""
        return decode(await self._words("/v1/access/requests", ask, {}, ASK_S), Decided)

    async def chunk(self, ask: Ask, commitment: bytes, number: int) -> bytes:
        """One sealed chunk."""
        answer = await self._client._http.request(
            "POST",
            "/v1/access/chunks",
            body=msgspec.json.encode(
                ChunkRequest(
                    request_id=ask.request.request_id.hex(),
                    commitment=commitment.hex(),
                    chunk=number,
                    custodian=ask.request.custodian,
                )
            ),
            content_type="application/json",
            timeout_s=CHUNK_S,
            home=True,
        )
        return answer.body

    async def confirm(self, ask: Ask, digest: bytes) -> None:
        """What arrived; the node sends the receipt."""
        await self._client._http.request(
            "POST",
            "/v1/access/receipts",
            body=msgspec.json.encode(
                ReceiptRequest(
                    request_id=ask.request.request_id.hex(),
                    digest=digest.hex(),
                    custodian=ask.request.custodian,
                )
            ),
            content_type="application/json",
            timeout_s=self._client.timeout_s,
            home=True,
        )

    async def sites(self) -> tuple[str, ...]:
        """The places from where this node's staff may say that they read (`salus.site`)."""
        found = (await self._client._get("/v1/access/sites", home=True)).decode(SitesAnswer)
        return found.sites

    async def missing_receipts(self) -> MissingReceipts:
        return (await self._client._get("/v1/access/receipts", home=True)).decode(MissingReceipts)

    async def _words(
        self, path: str, words: Wire, params: dict[str, str], timeout_s: float
    ) -> bytes:
        answer = await self._client._http.request(
            "POST",
            path,
            params=params,
            body=encode(words),
            timeout_s=max(timeout_s, self._client.timeout_s),
            repeatable=False,
            home=True,
        )
        return answer.body

    async def citing(self, found: Found, wish: Wish) -> tuple[bytes | None, Classes]:
        """The permit to cite, and what of the record to ask for under it: the newest that the chain
        would accept now for all classes, else for some, else the newest."""
        held = found.located.classes
        own_use = wish.purpose in (Purpose.TREATMENT, Purpose.OPERATIONS)
        own_staff = found.custodian == wish.requester and own_use and wish.permit is None
        if wish.own or own_staff:
            return wish.permit, held
        docket = await self.docket(found.custodian, found.located.handle, wish)
        known = [one for one in docket.permits if wish.permit in (None, one.id)]
        day = time.time_ns() // 1_000_000 // DAY_MS  # a guess: the chain goes by its own time
        for whole in (True, False):
            for permit in reversed(known):
                some = tuple(one for one in held if one in permit.classes)
                if (some == held if whole else some) and decide(
                    docket, permit.id, some, day
                ).permitted:
                    return permit.id, some
        return (known[-1].id if known else wish.permit), held

    async def proof_of(self, read: Read) -> bytes:
        """A proof file of what a read showed (asked for with `keep_opening`), whose anchor this client
        has checked. Raises `VerificationError`; NOT_PROVED for what the custodian derived."""
        part, opening = read.part, read.opening
        assert part is not None, "what was denied has no proof"
        assert opening is not None, "read with keep_opening"
        if part.derived is not None:
            raise VerificationError("only the custodian's signature vouches for a derived document")
        place = part.place
        assert place is not None, "what is no derivative has its place in a batch"
        raw, _ = await self._client.verified_proof(place.tx_id.hex(), operation=place.operation)
        record = RecordProof(place.index, place.path, place.tag_hash, opening)
        whole = write_proof(msgspec.structs.replace(read_proof(raw), record=record))
        assert self._client.trust is not None, "it has just been used"
        verify_file(whole, bytes.fromhex(self._client.trust.genesis))
        return whole

    async def docket(self, custodian: str, handle: bytes, wish: Wish) -> Docket:
        """All permits that may be cited, in the order of their commitment."""
        answer = await self._client.query(
            "consent",
            "docket",
            org=custodian,
            handle=handle.hex(),
            grantee=wish.requester,
            purpose=wish.purpose.value,
        )
        return docket_of(answer)

    async def permits_of(self, here: bytes) -> KnownPermits:
        """What a patient whom this organisation knows under `here` has permitted it elsewhere."""
        answer = await self._client._http.request(
            "POST",
            "/v1/access/permits",
            body=msgspec.json.encode(PermitsRequest(here.hex())),
            content_type="application/json",
            timeout_s=self._client.timeout_s,
            home=True,
        )
        return answer.decode(KnownPermits)

    # -- a whole read ---------------------------------------------------------------------------

    async def read(
        self,
        record_id: bytes,
        wish: Wish,
        signer: Signer,
        output: Path,
        *,
        version: int | None = None,
        custodian: str | None = None,
        found: Found | None = None,
        keep_opening: bool = False,
        progress: Callable[[int, int], None] = lambda done, total: None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> Read:
        """Ask, fetch, verify, confirm. What broke off before goes on where it stopped. `found`: what
        `locate` would answer, for what is no record (`salus.reading.record_list`).

        A denial is an outcome. Raises `SalusError`: ACCESS_ENDED if the permit ended on the way,
        `VerificationError` if anything is not what it says, `FileExistsError` for a taken name."""
        if await asyncio.to_thread(output.exists):
            raise FileExistsError(17, "it exists", str(output))
        unfinished = Unfinished(output)
        state = unfinished.load()
        if state is not None and not goes_on(state, wish, record_id, version):
            unfinished.clear()
            state = None
        came: int | None = None  # chunks at the end of the ticket before
        while True:
            if state is None:
                located = found or await self.locate(
                    record_id, version=version, custodian=custodian
                )
                asked = await self._asked(record_id, located, wish, signer, random)
                if isinstance(asked, Read):
                    unfinished.clear()
                    return asked
                state = self._begun(unfinished, asked)
            try:
                await self._fetch(state, unfinished, progress)
                return await self._finished(state, unfinished, keep=keep_opening)
            except SalusError as error:
                if error.code in _OVER or isinstance(error, VerificationError):
                    unfinished.clear()
                if error.code not in _ASK_ANEW or unfinished.chunks() == came:
                    raise  # a ticket under which nothing came: the next would bring no more
            state, came = None, unfinished.chunks()

    async def _asked(
        self,
        record_id: bytes,
        found: Found,
        wish: Wish,
        signer: Signer,
        random: Callable[[int], bytes],
    ) -> ReadState | Read:
        """A certified ticket for the request, or the denial."""
        (permit, classes), height = await asyncio.gather(
            self.citing(found, wish), self._client.height()
        )
        cited = replace(wish, permit=permit)
        if record_id != RECORD_LIST:  # which names its classes by itself
            located = msgspec.structs.replace(found.located, classes=classes)
            found = msgspec.structs.replace(found, located=located)
        for last in (False,) * (ASKS_MAX - 1) + (True,):
            ask, secret = ask_for(cited, found, record_id, height, signer, random)
            try:
                decided = await self.ask(ask)
                break
            except SalusError as error:
                if last or error.code != "REQUEST_LATE":
                    raise
                height = await self._client.height()
        ticket = await self._proved(ask, decided)
        if not decided.permitted or ticket is None:
            tx = None if decided.tx_id is None else decided.tx_id.hex()
            return Read(False, decided.reason.value, tx, decided.height, False)
        return ReadState(STATE_VERSION, ask, secret, decided, ticket.custodian_key)

    async def _proved(self, ask: Ask, decided: Decided) -> ProvedTicket | None:
        """The ticket, by this client's own trust; None where a denial has none."""
        if decided.tx_id is None or decided.height is None:
            if decided.permitted:
                raise VerificationError("the custodian permits without a ticket")
            return None
        tx_id = decided.tx_id.hex()
        await self._client.wait(tx_id)  # our node may be a moment behind the custodian's
        raw, _ = await self._client.verified_proof(tx_id)
        ticket = proved_ticket(raw, ask)
        shown = (ticket.permitted, ticket.reason, ticket.height)
        if shown != (decided.permitted, decided.reason, decided.height):
            raise VerificationError("the custodian's answer is not what its ticket says")
        return ticket

    def _begun(self, unfinished: Unfinished, state: ReadState) -> ReadState:
        """What an older ticket brought stays if it is the same."""
        before = unfinished.load()
        if before is None or not same_release(before, state):
            unfinished.begin_anew()
        return state

    async def _fetch(
        self, state: ReadState, unfinished: Unfinished, progress: Callable[[int, int], None]
    ) -> None:
        """All chunks that have not come, in their order. The state is synced while the first is on its
        way, and before anything of it is kept."""
        part, stream = part_of(state), stream_of(state)
        first = unfinished.chunks()
        numbers = range(first, stream.chunks)
        noting = asyncio.create_task(asyncio.to_thread(unfinished.store, state))
        try:
            async with aclosing(self._sealed(state.ask, part.commitment, numbers)) as chunks:
                number = first
                async for sealed in chunks:
                    await noting
                    plain = await asyncio.to_thread(stream.open, number, sealed)
                    await asyncio.to_thread(unfinished.append, plain)
                    number += 1
                    progress(number, stream.chunks)
        finally:
            await asyncio.wait([noting])  # else it could come behind the clearing up
        noting.result()

    async def _sealed(
        self, ask: Ask, commitment: bytes, numbers: range
    ) -> AsyncGenerator[bytes, None]:
        """Some ahead of the one that is needed: two lines lie between, each with its delay."""
        waiting: list[asyncio.Task[bytes]] = []
        todo = iter(numbers)
        try:
            while True:
                while len(waiting) < AHEAD_CHUNKS and (number := next(todo, None)) is not None:
                    waiting.append(asyncio.create_task(self.chunk(ask, commitment, number)))
                if not waiting:
                    return
                yield await waiting.pop(0)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _finished(self, state: ReadState, unfinished: Unfinished, *, keep: bool) -> Read:
        """Verify what came, publish the file, confirm."""
        assembled = await asyncio.to_thread(assemble, state, unfinished, keep=keep)
        decided = state.decided
        assert decided.tx_id is not None
        unfinished.clear()
        confirmed = True
        try:
            await self.confirm(state.ask, assembled.digest)
        except SalusError:
            confirmed = False  # the node awaits it, and so does the patient's trail
        return Read(
            True,
            decided.reason.value,
            decided.tx_id.hex(),
            decided.height,
            decided.redacted,
            unfinished.output if assembled.media_type is not None else None,
            assembled.media_type,
            part_of(state),
            assembled.opening,
            confirmed,
        )


class _PermitForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A permit as the query's JSON says it."""

    id: Hex32
    effect: Effect
    reach: Reach
    classes: Classes
    from_day: int
    until_day: int
    terms: Hex32
    granted_height: int
    ended_height: int | None

    def permit(self) -> Permit:
        return Permit(
            bytes.fromhex(self.id),
            self.effect,
            self.reach,
            self.classes,
            self.from_day,
            self.until_day,
            bytes.fromhex(self.terms),
            self.granted_height,
            self.ended_height,
        )


class _DocketForm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    permits: tuple[_PermitForm, ...]


def docket_of(answer: object) -> Docket:
    """Raises `ClientError` (BAD_ANSWER)."""
    try:
        form = msgspec.convert(answer, _DocketForm)
    except msgspec.ValidationError as error:
        raise ClientError(f"the node's docket: {error}") from None
    return Docket(tuple(one.permit() for one in form.permits))
