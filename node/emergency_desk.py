"""Emergencies between this node and others: deposits go out to their holders, a clinician's request
to those who can give, and what opens a case's commitments to whoever has a part in it.

Law of the file: it carries and decides nothing; a holder decides (node/emergency_holder.py), and what
comes back is sealed to the clinician, whose device alone puts shares together.
"""

import asyncio
from collections.abc import Collection, Mapping

from node.api.view import HolderSaid
from node.emergency_files import NAME_BYTES
from node.emergency_holder import Holder
from node.emergency_state import EmergencyState
from node.net.calls import Calls, Topic
from salus.codec import decode, encode
from salus.emergency import Case
from salus.emergency_forms import Details, Note
from salus.emergency_wire import (
    NOTES_MAX,
    CaseNote,
    Deposit,
    NoteKind,
    Notes,
    NotesAsk,
    ShareAsk,
    ShareGiven,
    opened_note,
    pack,
    unpack,
)
from salus.errors import BadMessage, SalusError
from salus.hashing import hasher
from storage.vault import Vault

ASK_SECONDS_MAX = 10.0  # a member that answers later is asked again
_NOTE = b"N"  # before a name in the vault
_hash_name = hasher("vault-case-note")


# A holder whose node is some blocks behind does not know of the deposit yet, or of an older one.
BEHIND_TRIES, BEHIND_PAUSE_S = 40, 0.2
_BEHIND = frozenset({"NO_SUMMARY", "REQUEST_UNFIT", "NO_HOLDER"})


class EmergencyDesk:
    """Implements `node.api.view.EmergenciesView`, and answers the topic SUMMARY."""

    def __init__(
        self, org: str, vault: Vault, state: EmergencyState, holder: Holder, calls: Calls
    ) -> None:
        self.org, self.vault, self.state, self.holder, self.calls = org, vault, state, holder, calls

    async def serve(self, member: str, payload: bytes) -> bytes:
        """A question of a member. Raises `SalusError`."""
        match unpack(payload):
            case Deposit() as deposit:
                await self.holder.keep(deposit)
                return b""
            case ShareAsk() as ask:
                return encode(await self.holder.give(member, ask))
            case NotesAsk(case):
                return encode(await self._notes_for(member, case))

    # -- for the API ----------------------------------------------------------------------------

    async def deposit(self, deposits: Mapping[str, Deposit]) -> dict[str, str]:
        """Holder → OK, or why it does not keep its share."""

        async def one(holder: str, deposit: Deposit) -> tuple[str, str]:
            for _ in range(BEHIND_TRIES):
                try:
                    await self._ask(holder, deposit)
                    return holder, "OK"
                except SalusError as error:
                    code = error.code
                if code not in _BEHIND:
                    break
                await asyncio.sleep(BEHIND_PAUSE_S)
            return holder, code

        return dict(await asyncio.gather(*(one(*each) for each in deposits.items())))

    async def shares(self, ask: ShareAsk, have: Collection[str]) -> list[HolderSaid]:
        """Ask the holders that have not given theirs. Raises `SalusError` (OPTED_OUT, NO_SUMMARY)."""
        summary = self.state.summary(ask.request.org, ask.request.handle)

        async def one(holder: str) -> HolderSaid:
            try:
                raw = await self._ask(holder, ask)
                return HolderSaid(holder, "OK", decode(raw, ShareGiven))
            except BadMessage:
                return HolderSaid(holder, "PEER_REFUSED", None)
            except SalusError as error:
                return HolderSaid(holder, error.code, None)

        wanted = [holder for holder in summary.holders if holder not in have]
        return list(await asyncio.gather(*(one(holder) for holder in wanted)))

    async def keep_note(self, note: CaseNote) -> None:
        """Durable on return; what it opens is checked by whoever reads it. Raises `BadMessage`, and
        `SalusError` as the chain would, where one that opens the case's commitment is kept already."""
        decode(note.content, Details if note.kind is NoteKind.DETAILS else Note)
        await asyncio.to_thread(self._put_note, note)

    def _put_note(self, note: CaseNote) -> None:
        case, raw = self.state.case(note.case), self.vault.record(_name(note))
        kept = None if not raw else decode(raw, CaseNote)
        if case is not None and kept is not None and kept != note:
            # A second verdict may follow one that was disputed, nothing else comes twice.
            final = note.kind is not NoteKind.GROUNDS or case.decided is not None
            if final and opened_note(case, kept) is not None:
                raise SalusError("what the case commits to is kept already", code=_TWICE[note.kind])
        self.vault.put_record(_name(note), encode(note))

    async def notes(self, case: bytes) -> tuple[list[CaseNote], list[str]]:
        """All that can be had of a case's notes, and the members that did not answer. Raises
        `SalusError` (UNKNOWN_CASE)."""
        found = self._case(case)
        verdicts = [one.org for one in (found.decided, found.overruled) if one is not None]
        others = {found.opener, found.org, *verdicts} - {self.org}
        notes, silent = list(self._own(case)), []
        for member in sorted(others):
            try:
                raw = await self._ask(member, NotesAsk(case))
                notes += decode(raw, Notes).notes
            except SalusError:
                silent.append(member)
        mine = [note for note in notes if note.case == case]
        return mine, silent

    # -- between members ------------------------------------------------------------------------

    async def _notes_for(self, member: str, case: bytes) -> Notes:
        found = self._case(case)
        cosigner = None if found.cosign is None else found.cosign.org
        verdicts = [one.org for one in (found.decided, found.overruled) if one is not None]
        drawn = found.reviewers(self.holder.now_ms())
        if member not in {found.opener, found.org, cosigner, *verdicts, *drawn}:
            raise SalusError("it has no part in this case", code="NOT_AUTHORISED")
        return Notes(tuple(self._own(case))[:NOTES_MAX])

    def _case(self, case: bytes) -> Case:
        found = self.state.case(case)
        if found is None:
            raise SalusError("no case has this id", code="UNKNOWN_CASE")
        return found

    def _own(self, case: bytes) -> list[CaseNote]:
        notes = []
        for kind in NoteKind:
            raw = self.vault.record(_place(case, kind))
            if raw:
                notes.append(decode(raw, CaseNote))
        return notes

    async def _ask(self, member: str, question: Deposit | ShareAsk | NotesAsk) -> bytes:
        return await self.calls.ask(
            member, Topic.SUMMARY, pack(question), timeout_s=ASK_SECONDS_MAX
        )


_TWICE = {
    NoteKind.DETAILS: "DUPLICATE_CASE",
    NoteKind.JUSTIFICATION: "ALREADY_JUSTIFIED",
    NoteKind.GROUNDS: "ALREADY_DECIDED",
    NoteKind.DISPUTE: "ALREADY_DISPUTED",
}


def _name(note: CaseNote) -> bytes:
    return _place(note.case, note.kind)


def _place(case: bytes, kind: NoteKind) -> bytes:
    name = _NOTE + _hash_name(encode((case, kind)))
    assert len(name) == NAME_BYTES
    return name
