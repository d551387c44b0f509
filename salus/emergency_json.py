"""The JSON forms of `/v1/emergency/…`: as in salus/forms.py, and under its law."""

from typing import Annotated

import msgspec
from msgspec import Meta

from salus.codec import Uint
from salus.emergency import HOLDERS_MAX
from salus.emergency_forms import EmergencyRequest
from salus.emergency_share import SEALED_SUMMARY_BYTES_MAX, SHARE_BYTES_MAX
from salus.emergency_wire import NOTE_BYTES_MAX, TRANSACTION_BYTES_MAX, NoteKind
from salus.forms import Form, Hex32, MemberText, Request

DEPOSIT_BODY_BYTES_MAX = 2 * SEALED_SUMMARY_BYTES_MAX + 64 * 1024  # hex, and a share each

HexShare = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*$(?!\n)", max_length=2 * SHARE_BYTES_MAX)]
HexSummary = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{2})*$(?!\n)", max_length=2 * SEALED_SUMMARY_BYTES_MAX)
]
HexNote = Annotated[str, Meta(pattern=r"^([0-9a-f]{2})*$(?!\n)", max_length=2 * NOTE_BYTES_MAX)]
HexTransaction = Annotated[
    str, Meta(pattern=r"^([0-9a-f]{2})*$(?!\n)", max_length=2 * TRANSACTION_BYTES_MAX)
]
Hex64 = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]


class HolderShare(Request, frozen=True):
    """For one holder, sealed to its box key."""

    holder: MemberText
    share: HexShare


Shares = Annotated[tuple[HolderShare, ...], Meta(min_length=1, max_length=HOLDERS_MAX)]


class DepositRequest(Request, frozen=True):
    """A sealed summary that the chain commits to, for its holders."""

    org: MemberText
    handle: Hex32
    generation: Uint
    salt: Hex32
    sealed: HexSummary
    shares: Shares


class HolderAnswer(Form, frozen=True, omit_defaults=False):
    """`code`: OK, or why not."""

    holder: str
    code: str


class DepositAnswer(Form, frozen=True, omit_defaults=False):
    holders: tuple[HolderAnswer, ...]


class ShareRequest(Request, frozen=True):
    """A clinician's signed request (salus.emergency_forms.EmergencyRequest, in its parts)."""

    org: MemberText
    handle: Hex32
    staff: Hex32
    nonce: Hex32
    details: Hex32
    release_key: Hex32
    key: Hex32
    signature: Hex64
    opening: HexTransaction  # the transaction that opens the case
    have: Annotated[tuple[MemberText, ...], Meta(max_length=HOLDERS_MAX)] = ()


class GivenShare(Form, frozen=True, omit_defaults=False):
    """What one holder said; the rest is empty unless `code` is OK."""

    holder: str
    code: str
    generation: Uint
    threshold: Uint
    late: bool
    share: HexShare
    sealed: HexSummary


class SharesAnswer(Form, frozen=True, omit_defaults=False):
    answers: tuple[GivenShare, ...]


class NoteRequest(Request, frozen=True):
    """What opens one commitment of a case: canonical bytes and their salt."""

    case: Hex32
    kind: NoteKind
    salt: Hex32
    content: HexNote


class NoteForm(Form, frozen=True, omit_defaults=False):
    kind: NoteKind
    salt: Hex32
    content: HexNote


class NotesAnswer(Form, frozen=True, omit_defaults=False):
    """`silent`: members that may know more and did not answer."""

    notes: tuple[NoteForm, ...]
    silent: tuple[str, ...]


class CaseFile(msgspec.Struct, frozen=True):
    """What who opened a case keeps, to ask again; in hex. `opening`: the transaction that opened it. Why
    and where it was lies in the vault alone: of the words there is the commitment here."""

    case: str
    org: str
    handle: str
    opener: str
    staff: str
    nonce: str
    details: str
    opening: str

    def request(self, chain_id: str, release_key: bytes) -> EmergencyRequest:
        return EmergencyRequest(
            chain_id,
            self.org,
            bytes.fromhex(self.handle),
            self.opener,
            bytes.fromhex(self.staff),
            bytes.fromhex(self.nonce),
            bytes.fromhex(self.details),
            release_key,
        )
