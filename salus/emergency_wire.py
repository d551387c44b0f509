"""What members say to each other about emergency summaries (topic SUMMARY, decision 0014).

    Deposit  → nothing     a patient's sealed summary and the share of one holder
    ShareAsk → ShareGiven  a clinician's signed request; the share, sealed to his ephemeral key
    NotesAsk → Notes       what opens the commitments of a case, for who has a part in it

Law of the file: off the chain, between two members; one word before the bytes says which it is.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from salus.codec import Bytes32, Bytes64, Uint, Wire, decode, encode
from salus.emergency import Case
from salus.emergency_forms import (
    NOTE_CHARS_MAX,
    Details,
    EmergencyRequest,
    Note,
    details_commitment,
    note_commitment,
)
from salus.emergency_share import SEALED_SUMMARY_BYTES_MAX, Share
from salus.errors import BadMessage
from salus.validators import MemberId

TRANSACTION_BYTES_MAX = 4_096  # one operation `emergency.open` has 400
NOTES_MAX = 8  # details, justification, two verdicts' grounds, a dispute, and room
NOTE_BYTES_MAX = 4 * NOTE_CHARS_MAX + 256

SealedSummary = Annotated[bytes, msgspec.Meta(max_length=SEALED_SUMMARY_BYTES_MAX)]


class Deposit(Wire, frozen=True):
    """For one holder. `salt`: opens the commitment on the chain to the sealed summary."""

    org: MemberId
    handle: Bytes32
    generation: Uint
    salt: Bytes32
    sealed: SealedSummary
    share: Share


class ShareAsk(Wire, frozen=True):
    """`opening`: the transaction that opens the case, for holders that have not met it; `summary`:
    is the ciphertext wanted too?"""

    request: EmergencyRequest
    key: Bytes32  # of the clinician
    signature: Bytes64  # by it, over `request.payload()`
    opening: Annotated[bytes, msgspec.Meta(max_length=TRANSACTION_BYTES_MAX)]
    summary: bool


class ShareGiven(Wire, frozen=True):
    generation: Uint
    threshold: Uint
    late: bool  # while nothing could be certified: it will be entered afterwards
    share: Share
    sealed: SealedSummary  # empty where it was not asked for


class NoteKind(StrEnum):
    """Which commitment of a case a note opens."""

    DETAILS = "details"
    JUSTIFICATION = "justification"
    GROUNDS = "grounds"
    DISPUTE = "dispute"


class CaseNote(Wire, frozen=True):
    """`content`: canonical bytes of Details or Note."""

    case: Bytes32
    kind: NoteKind
    salt: Bytes32
    content: Annotated[bytes, msgspec.Meta(max_length=NOTE_BYTES_MAX)]


def opened_note(case: Case, note: CaseNote) -> Details | Note | None:
    """What a note says, if it opens a commitment of this case; else None."""
    try:
        if note.kind is NoteKind.DETAILS:
            details = decode(note.content, Details)
            return details if details_commitment(note.salt, details) == case.details else None
        said = decode(note.content, Note)
    except BadMessage:
        return None
    wanted: list[bytes | None]
    match note.kind:
        case NoteKind.JUSTIFICATION:
            wanted = [case.justification]
        case NoteKind.GROUNDS:
            wanted = [one.grounds for one in (case.decided, case.overruled) if one is not None]
        case NoteKind.DISPUTE:
            wanted = [case.dispute]
    return said if note_commitment(note.salt, said) in wanted else None


class NotesAsk(Wire, frozen=True):
    case: Bytes32


class Notes(Wire, frozen=True):
    notes: Annotated[tuple[CaseNote, ...], msgspec.Meta(max_length=NOTES_MAX)]


_KINDS: tuple[type[Deposit | ShareAsk | NotesAsk], ...] = (Deposit, ShareAsk, NotesAsk)


def pack(question: Deposit | ShareAsk | NotesAsk) -> bytes:
    return bytes([_KINDS.index(type(question))]) + encode(question)


def unpack(payload: bytes) -> Deposit | ShareAsk | NotesAsk:
    """Raises `BadMessage`."""
    if not payload or payload[0] >= len(_KINDS):
        raise BadMessage("no such question about summaries")
    return decode(payload[1:], _KINDS[payload[0]])
