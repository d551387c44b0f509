"""Emergencies: summaries deposited, opened, answered for: `client.emergencies`, by way of one's own node.

What is sealed here is opened here: the node only carries it (decision 0014).
"""

import asyncio
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from salus.acts import emergencies as acts
from salus.acts.act import Act
from salus.answers import Cases
from salus.client_errors import ClientError, NotFoundError, RejectedError, RequestError
from salus.client_http import Answer
from salus.client_patients import cosigned
from salus.codec import Wire, encode
from salus.emergency import HOLDERS_MAX, Case, Summary, Verdict, case_id
from salus.emergency_forms import Details, EmergencyRequest, Note, details_commitment
from salus.emergency_json import (
    CaseFile,
    DepositAnswer,
    DepositRequest,
    GivenShare,
    HolderShare,
    NoteForm,
    NoteRequest,
    NotesAnswer,
    ShareRequest,
    SharesAnswer,
)
from salus.emergency_opening import opened as summary_of_shares
from salus.emergency_share import SummaryOwner
from salus.emergency_wire import NoteKind
from salus.errors import BadMessage
from salus.forms_records import CaseRequest
from salus.keys import Signer, box_public_key
from salus.relation import Whose
from salus.wire_json import from_json

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed

W = TypeVar("W", bound=Wire)

POLL_S = 0.5  # between two questions to the holders
SILENCE_GRACE_S = 30.0  # beyond the time after which holders give late
# For the height of an opening that holders have seen, and for holders that have not seen what others have.
BEHIND_S, BEHIND_POLL_S = 2.0, 0.05
SHARES_SECONDS_MAX = 15.0  # the node asks holders for ten


# A holder that says so will say nothing else within this release.
FINAL = frozenset(
    {
        "COSIGN_FIRST",
        "CASE_CLOSED",
        "NO_HOLDER",
        "OPTED_OUT",
        "TOO_MANY_CASES",
        "REQUEST_UNFIT",
    }
)


@dataclass(frozen=True, slots=True)
class Deposited:
    """A summary with its holders. `missing`: those that did not take it, with a code each."""

    generation: int
    holders: tuple[str, ...]
    threshold: int
    missing: Mapping[str, str]
    committed: "Committed"


@dataclass(frozen=True, slots=True)
class Opened:
    """A case under way. Keep `file`: with it the summary is fetched later, or once more."""

    file: CaseFile
    tx_id: str
    salt: bytes  # opens the case's commitment to `details`
    details: Details


@dataclass(frozen=True, slots=True)
class Released:
    """What the holders gave. `document` is None if it was too little: `refused` says why, by holder,
    and `reason` in one word. `late`: nothing was certified, and it is entered afterwards."""

    document: bytes | None
    height: int | None  # of the opening, as far as one's own node has it
    holders: tuple[str, ...]
    late: bool
    refused: Mapping[str, str]

    @property
    def reason(self) -> str:
        return (
            "OK"
            if self.document is not None
            else min(self.refused.values(), default="EMERGENCY_WAIT")
        )


class Emergencies:
    """Over a client of one's own node; who signs is its signer."""

    def __init__(self, client: "Client") -> None:
        self.client = client

    # -- the patient -----------------------------------------------------------------------------

    async def deposit_summary(
        self,
        whose: Whose,
        document: bytes,
        *,
        holders: Collection[str] | None = None,
        threshold: int | None = None,
        cosigners: Sequence[Signer] = (),
    ) -> Deposited:
        """Leave an IPS document with other members: the ciphertext, and a share of its key each. Default:
        all active members, and the least threshold that withstands f liars. Raises `ClientError`
        (BAD_HOLDERS), also PEER_UNREACHABLE if too few took it to open it again."""
        boxes = await self.box_keys(holders)
        wanted = await self.threshold(threshold)
        chain_id = (await self.client.chain()).genesis.chain_id
        before = await self.summary(whose)
        owner = SummaryOwner(chain_id, whose.org, whose.handle, before.generation + 1)
        made = acts.sealed(owner, document, boxes, wanted)
        done = await cosigned(self.client, made.act, cosigners)
        said = await self.deposit(owner, made.salt, made.sealed, made.shares)
        missing = {holder: code for holder, code in said.items() if code != "OK"}
        if len(said) - len(missing) < made.threshold:
            raise ClientError(
                f"only {len(said) - len(missing)} holders keep it, {made.threshold} are needed to open it",
                code="PEER_UNREACHABLE",
            )
        return Deposited(owner.generation, tuple(sorted(boxes)), made.threshold, missing, done)

    async def opt_out(self, whose: Whose, cosigners: Sequence[Signer] = ()) -> "Committed":
        """No emergency access; holders destroy what they keep."""
        return await self._opt("opt_out", whose, cosigners)

    async def opt_in(self, whose: Whose, cosigners: Sequence[Signer] = ()) -> "Committed":
        """Access again; the summary is to be deposited anew."""
        return await self._opt("opt_in", whose, cosigners)

    async def dispute(self, case: Case, text: str) -> "Committed":
        """The patient says that it was not right; nothing more is read under it."""
        salt = os.urandom(acts.SALT_BYTES)
        act = acts.dispute(case, salt, text)
        return await self._noted(case, NoteKind.DISPUTE, salt, text, act)

    # -- clinicians and reviewers ----------------------------------------------------------------

    async def open(self, whose: Whose, details: Details) -> Opened:
        """Open a case, with a key that has the role `emergency`. It is sent, not yet certified: `release`
        waits for that. Keep the file before. Raises `ClientError` (NOT_AUTHORISED)."""
        opener, staff = await self._staff()
        nonce, salt = os.urandom(32), os.urandom(acts.SALT_BYTES)
        committed = details_commitment(salt, details)
        transaction = await self.client.build([acts.opening(whose, nonce, committed).operation])
        file = CaseFile(
            case_id((whose.org, whose.handle), opener, staff, nonce).hex(),
            whose.org,
            whose.handle.hex(),
            opener,
            staff.hex(),
            nonce.hex(),
            committed.hex(),
            transaction.raw.hex(),
        )
        return Opened(file, transaction.id.hex(), salt, details)

    async def release(
        self, file: CaseFile, opened: Opened | None = None, timeout_s: float | None = None
    ) -> Released:
        """Ask the holders until enough have given their share. `opened`: the first time, with what `open`
        gave; it is sent then, and why and where goes to one's own node's vault."""
        client, signer = self.client, self.client.signer
        if signer is None:
            raise ClientError("this client has no signer", code="NO_SIGNER")
        chain = await client.chain()
        if opened is not None:
            await client.submit(bytes.fromhex(file.opening))
            await self.keep_note(
                bytes.fromhex(file.case), NoteKind.DETAILS, opened.salt, opened.details
            )
        tx_id = None if opened is None else opened.tx_id
        secret = os.urandom(32)
        request = file.request(chain.genesis.chain_id, box_public_key(secret))
        given: dict[str, GivenShare] = {}
        codes: dict[str, str] = {}
        document: bytes | None = None
        silence_s = chain.genesis.parameters.emergency_silence_ms / 1000
        patience_s = client.timeout_s if timeout_s is None else timeout_s
        until_s = time.monotonic() + max(patience_s, silence_s + SILENCE_GRACE_S)
        whose = Whose(file.org, request.handle)
        while document is None and time.monotonic() < until_s:
            height = await self._certified(tx_id)
            try:
                answers = await self.shares(
                    request, signer, bytes.fromhex(file.opening), tuple(given)
                )
            except ClientError as error:
                if error.code != "NO_SUMMARY":
                    raise
                if tx_id is not None and height is None:
                    await asyncio.sleep(POLL_S)
                    continue
                codes = {"": error.code}
                break
            codes = {one.holder: one.code for one in answers if one.code != "OK"}
            given |= {one.holder: one for one in answers if one.code == "OK"}
            summary = await self.summary(whose)
            owner = SummaryOwner(
                chain.genesis.chain_id, whose.org, whose.handle, summary.generation
            )
            document = summary_of_shares(owner, max(summary.threshold, 1), request, given, secret)
            if set(codes.values()) <= FINAL:  # nobody is left who could say something else
                if document is None and not codes:
                    codes = {"": "BAD_SHARE_SET"}
                    break
                if document is not None or not given:
                    break
                # One gave: whoever refuses may be a block behind it, of a co-signature for example.
                until_s = min(until_s, time.monotonic() + BEHIND_S)
            if document is None:
                await asyncio.sleep(POLL_S)
        late = any(one.late for one in given.values())
        height = await self._certified(tx_id)
        # Holders who gave in time have the block of the opening; one's own node may be one behind.
        until_s = min(until_s, time.monotonic() + BEHIND_S)
        while tx_id is not None and height is None and document is not None and not late:
            if time.monotonic() >= until_s:
                break  # no summary is held up for a number
            await asyncio.sleep(BEHIND_POLL_S)
            height = await self._certified(tx_id)
        return Released(document, height, tuple(sorted(given)), late, codes)

    async def cosign(self, case: Case) -> "Committed":
        """A clinician of another organisation agrees."""
        return await self.client.send(acts.cosign(case))

    async def justify(self, case: Case, text: str) -> "Committed":
        """Why it was needed: by who opened it, or the organisation's operator."""
        salt = os.urandom(acts.SALT_BYTES)
        act = acts.justify(case, salt, text)
        return await self._noted(case, NoteKind.JUSTIFICATION, salt, text, act)

    async def review(self, case: Case, verdict: Verdict, text: str) -> "Committed":
        """Decide a case that one's organisation was drawn for."""
        salt = os.urandom(acts.SALT_BYTES)
        act = acts.review(case, verdict, salt, text)
        return await self._noted(case, NoteKind.GROUNDS, salt, text, act)

    # -- looking ---------------------------------------------------------------------------------

    async def summary(self, whose: Whose) -> Summary:
        """Who keeps shares, as the chain has it; one without holders if there is none."""
        answer = await self.client.query(
            "emergency", "summary_of", org=whose.org, handle=whose.handle.hex()
        )
        return Summary(None, (), 0, 0, 0, False, ()) if answer is None else _read(Summary, answer)

    async def case(self, case: bytes) -> Case:
        """Raises `NotFoundError` (UNKNOWN_CASE)."""
        answer = await self.client.query("emergency", "case_of", case=case.hex())
        if answer is None:
            raise NotFoundError("the chain has no such case", code="UNKNOWN_CASE")
        return _read(Case, answer)

    async def cases(self, whose: Whose | None = None) -> list[Case]:
        """Of a relation; without one, those of everybody that no reviewer has decided. Newest first."""
        query, where = "undecided", {}
        if whose is not None:
            query, where = "cases_of", {"org": whose.org, "handle": whose.handle.hex()}
        cases: list[Case] = []
        start = bytes(32)  # the newest
        while True:
            answer = await self.client.query("emergency", query, **where, start=start.hex())
            page = _read(Cases, answer)
            known = {case.id for case in cases}
            cases += [case for case in page.cases if case.id not in known]
            # No node leads round in a circle.
            if page.next is None or not page.cases or page.cases[-1].id in known:
                return cases
            start = page.next

    async def threshold(self, wanted: int | None = None) -> int:
        """So many shares; by default the fewest that f liars cannot put together."""
        return wanted or max(2, (await self.client.validators()).f + 1)

    async def box_keys(self, holders: Collection[str] | None = None) -> dict[str, bytes]:
        """Of these active members, or of all that there is room for. Raises `ClientError` (BAD_HOLDERS)."""
        listed = (await self.client.query("members", "list_members"))["members"]
        active = {
            one["id"]: bytes.fromhex(one["box_key"]) for one in listed if one["status"] == "active"
        }
        if holders is None:
            return {name: active[name] for name in sorted(active)[:HOLDERS_MAX]}
        unknown = sorted(set(holders) - set(active))
        if unknown:
            raise RequestError(f"no active organisation: {', '.join(unknown)}", code="BAD_HOLDERS")
        return {name: active[name] for name in holders}

    # -- single calls ----------------------------------------------------------------------------

    async def deposit(
        self, owner: SummaryOwner, salt: bytes, sealed: bytes, shares: Mapping[str, bytes]
    ) -> dict[str, str]:
        """Holder → OK or a code. `shares`: sealed to each holder (salus.emergency_share)."""
        body = DepositRequest(
            owner.org,
            owner.handle.hex(),
            owner.generation,
            salt.hex(),
            sealed.hex(),
            tuple(HolderShare(holder, share.hex()) for holder, share in sorted(shares.items())),
        )
        answer = await self._call("POST", "/v1/emergency/deposits", body)
        return {one.holder: one.code for one in answer.decode(DepositAnswer).holders}

    async def shares(
        self, request: EmergencyRequest, signer: Signer, opening: bytes, have: tuple[str, ...] = ()
    ) -> tuple[GivenShare, ...]:
        """What each holder said; `opening`: the transaction that opens the case."""
        body = ShareRequest(
            request.org,
            request.handle.hex(),
            request.staff.hex(),
            request.nonce.hex(),
            request.details.hex(),
            request.release_key.hex(),
            signer.public_key.hex(),
            signer.sign(request.payload()).hex(),
            opening.hex(),
            have,
        )
        answer = await self._call("POST", "/v1/emergency/shares", body)
        return answer.decode(SharesAnswer).answers

    async def keep_note(
        self, case: bytes, kind: NoteKind, salt: bytes, content: msgspec.Struct
    ) -> None:
        """Let one's own node keep what opens a commitment of a case."""
        body = NoteRequest(case.hex(), kind, salt.hex(), encode(content).hex())
        await self._call("POST", "/v1/emergency/notes", body)

    async def notes(self, case: bytes) -> tuple[tuple[NoteForm, ...], tuple[str, ...]]:
        """The notes, and members that did not answer."""
        answer = await self._call("POST", "/v1/emergency/notes/find", CaseRequest(case.hex()))
        found = answer.decode(NotesAnswer)
        return found.notes, found.silent

    async def _opt(self, method: str, whose: Whose, cosigners: Sequence[Signer]) -> "Committed":
        before = await self.summary(whose)
        return await cosigned(self.client, acts.opt(method, whose, before.generation), cosigners)

    async def _noted(
        self, case: Case, kind: NoteKind, salt: bytes, text: str, act: Act
    ) -> "Committed":
        """What opens the commitment is kept before it is sent: else nobody could ever read it."""
        await self.keep_note(case.id, kind, salt, Note(text))
        return await self.client.send(act)

    async def _staff(self) -> tuple[str, bytes]:
        """Organisation and staff handle of the signer."""
        signer = self.client.signer
        if signer is None:
            raise ClientError("this client has no signer", code="NO_SIGNER")
        found = await self.client.query("members", "key", public_key=signer.public_key.hex())
        if found is None or found["staff"] is None:
            raise ClientError("an emergency is opened by a clinician's key", code="NOT_AUTHORISED")
        return found["member"], bytes.fromhex(found["staff"])

    async def _certified(self, tx_id: str | None) -> int | None:
        """The height of the opening; None while it has none. Raises `RejectedError`."""
        if tx_id is None:
            return None
        form = await self.client.transaction(tx_id)
        if form.state.final and form.height is None:
            raise RejectedError("the opening expired; open the case again", code="EXPIRED")
        if form.code not in (None, "OK", "DUPLICATE_CASE"):
            raise RejectedError(f"the case was refused at height {form.height}", code=form.code)
        return form.height

    async def _call(self, method: str, path: str, body: msgspec.Struct | None) -> Answer:
        return await self.client._http.request(
            method,
            path,
            body=None if body is None else msgspec.json.encode(body),
            content_type="application/json",
            timeout_s=max(self.client.timeout_s, SHARES_SECONDS_MAX),
            repeatable=True,
            home=True,
        )


def _read(kind: type[W], answer: Any) -> W:
    try:
        return from_json(kind, answer)
    except BadMessage as error:
        raise ClientError(f"the node's answer about emergencies: {error.message}") from None
