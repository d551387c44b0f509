"""What members say to each other about emergency summaries, and what a holder keeps of them."""

from typing import Any

from hypothesis import strategies as st

from node.emergency_holder import HeldSummary
from node.late_entries import LateEntry
from salus.codec import decode, encode
from salus.emergency_forms import Details, EmergencyReason, Note
from salus.emergency_wire import (
    CaseNote,
    Deposit,
    Notes,
    NotesAsk,
    ShareAsk,
    ShareGiven,
    pack,
    unpack,
)
from salus.errors import BadMessage, VerificationError
from salus.key_shares import join, split
from tests.fuzz.decoder import Decoder
from tests.fuzz.shapes import simplest, values_of

_KEY = bytes(range(32))


def joined(data: bytes) -> bytes:
    """Two shares, one line each."""
    return join(data.split(b"\n"))


def _plain(name: str, entry: str, kind: Any, sample: Any = None) -> Decoder:
    return Decoder(
        name,
        tuple(entry.split()),
        lambda data: decode(data, kind),
        lambda: [encode(simplest(kind) if sample is None else sample)],
        values=values_of(kind).map(encode),
        encode=encode,
    )


DECODERS = (
    Decoder(
        "emergency-question",
        ("salus.emergency_wire:unpack", "node.emergency_desk:EmergencyDesk.serve"),
        unpack,
        lambda: [pack(simplest(kind)) for kind in (Deposit, ShareAsk, NotesAsk)],
        errors=(BadMessage,),
        values=st.one_of(*(values_of(kind) for kind in (Deposit, ShareAsk, NotesAsk))).map(pack),
        encode=pack,
    ),
    Decoder(
        "emergency-shares",
        ("salus.key_shares:join",),
        joined,
        lambda: [b"\n".join(split(_KEY, 2, 3)[:2])],
        errors=(VerificationError,),
    ),
    _plain("emergency-given", "node.emergency_desk:EmergencyDesk.shares.one", ShareGiven),
    _plain("emergency-notes", "node.emergency_desk:EmergencyDesk.notes", Notes),
    _plain(
        "emergency-details",
        "node.emergency_desk:EmergencyDesk.keep_note",
        Details,
        Details(EmergencyReason.UNCONSCIOUS, "ward 3", "badge 7"),
    ),
    _plain("emergency-note", "cli.emergencies:content_of", Note, Note("needed")),
    _plain("vault-case-note", "node.emergency_desk:EmergencyDesk._own", CaseNote),
    _plain(
        "vault-summary",
        "node.emergency_holder:Holder._held node.emergency_files:kept_of "
        "node.emergency_holder:Holder._put",
        HeldSummary,
    ),
    _plain("vault-late-entry", "node.emergency_files:kept_of", LateEntry),
)
