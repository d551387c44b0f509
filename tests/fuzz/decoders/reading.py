"""What a reader's own device takes: a custodian's answers, a node's docket, a broken transfer."""

import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import strategies as st

from salus.client_access import docket_of
from salus.client_errors import ClientError
from salus.client_http import Answer
from salus.client_results import read_list
from salus.codec import decode, encode
from salus.disclosure import Piece
from salus.document import Structure
from salus.errors import SalusError
from salus.permit import Docket
from salus.proof import write_proof
from salus.read_state import ReadState, Unfinished
from salus.reading import Ask
from salus.shown_document import Assembler
from salus.ticket_proof import TicketArguments, proved_ticket
from salus.transaction import Operation
from salus.wire_json import to_json
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders.patient import DOCKET
from tests.fuzz.shapes import simplest, values_of
from tests.salus import test_verifier

ASK = simplest(Ask)


def docket(data: bytes) -> Docket:
    """As the node's query answers it, inside its own form."""
    return docket_of(Answer(200, {}, data, "https://a.example").json())


def read_state(data: bytes) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        unfinished = Unfinished(Path(folder) / "finding")
        unfinished.state_path.touch(0o600)  # nobody else's are believed
        unfinished.state_path.write_bytes(data)
        return unfinished.load()


def assembled(data: bytes) -> bytes:
    """A structure of a custodian who derived what he liked, and two parts."""
    found = bytearray()
    assembler = Assembler(found.extend)
    for piece in (Piece(0, data), Piece(1, b"one"), Piece(2, b"two")):
        assembler.take(piece)
    assembler.finish()
    return bytes(found)


def structures() -> list[bytes]:
    return [
        encode(Structure("text/plain", ())),
        encode(Structure("application/fhir+json", (b"[", b",", b"]"))),
    ]


LISTED = {
    "record_id": "ab" * 16,
    "version": 1,
    "classes": ["results"],
    "media_type": "application/fhir+json",
    "height": 3,
}


def ticket(data: bytes) -> Any:
    """A certified operation of any content, under the receipt of another contract."""
    decode(data, TicketArguments)
    operation = encode(Operation("access", "ticket", 1, data))
    shown = msgspec.structs.replace(test_verifier.PLAIN.operation, operation=operation)
    bundle = msgspec.structs.replace(test_verifier.PLAIN, operation=shown)
    try:
        return proved_ticket(write_proof(bundle), ASK)
    except SalusError as error:
        return error.message  # it is a ticket, and not this request's


DECODERS = (
    Decoder(
        "record-list",
        ("salus.client_results:read_list",),
        read_list,
        lambda: [json.dumps({"complete": True, "records": [LISTED]}).encode(), b"{}"],
        errors=(ClientError,),
        form="json",
        memory_factor=64,
    ),
    Decoder(
        "docket-answer",
        ("salus.client_access:docket_of", "salus.client_access:_PermitForm.permit"),
        docket,
        lambda: [json.dumps(to_json(DOCKET)).encode(), b'{"permits":[]}'],
        errors=(ClientError,),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "read-state",
        ("salus.read_state:Unfinished.load",),
        read_state,
        lambda: [encode(simplest(ReadState))],
        errors=(SalusError,),
        values=values_of(ReadState).map(encode),
        slow=True,
    ),
    Decoder(
        "shown-structure",
        ("salus.shown_document:Assembler._begun",),
        assembled,
        structures,
        values=st.one_of([st.just(one) for one in structures()]),
    ),
    Decoder(
        "ticket-proof",
        ("salus.ticket_proof:proved_ticket",),
        ticket,
        lambda: [encode(simplest(TicketArguments))],
        values=values_of(TicketArguments).map(encode),
    ),
)
