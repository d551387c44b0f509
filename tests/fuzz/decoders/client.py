"""What a lying node, or a proxy in front of it, answers to the SDK."""

import asyncio
import json
from typing import Any

import msgspec

from salus import forms, forms_access, forms_node, forms_records
from salus.client_errors import ClientError
from salus.client_events import ChainEvent, FileCheckpoint, _Data, _event, _server_sent
from salus.client_http import Answer, problem_of, retry_after
from salus.consent.terms import encode_terms, terms_commitment
from salus.errors import SalusError
from salus.forms import Form, Problem
from salus.forms_me import OpeningForm
from salus.granting import Grantee, say
from salus.height_headers import named_height
from salus.permit import Purpose
from salus.permit_list import Stands
from salus.regain import opened
from salus.relation import Whose
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders.edge import written
from tests.fuzz.decoders.ledger import text
from tests.fuzz.shapes import json_values, simplest, values_of

ANSWERS = (
    forms_node.Account,
    forms.Block,
    forms_records.OpeningAnswer,
    forms_node.ParametersForm,
    forms.QueryAnswer,
    forms_records.RecordForm,
    forms_records.RecordPage,
    forms_records.Staged,
    forms_node.Status,
    forms.SubmitAnswer,
    forms.TransactionForm,
    forms_node.Validators,
    forms_access.KnownPermits,
    forms_access.MissingReceipts,
)


def answered(data: bytes, status: int = 200) -> Answer:
    return Answer(status, {}, data, "https://a.example")


def answer(kind: type[Form]) -> Decoder:
    return Decoder(
        f"answer-{kind.__name__}",
        ("salus.client_http:Answer.decode",),
        lambda data: answered(data).decode(kind),
        lambda: [msgspec.json.encode(simplest(kind))],
        errors=(ClientError,),
        values=values_of(kind).map(msgspec.json.encode),
        form="json",
        memory_factor=160,
    )


def problem(data: bytes) -> Any:
    """The typed error; its code may be a word of a newer node."""
    error = problem_of(answered(data, 422), True)
    assert isinstance(error, ClientError)
    return type(error).__name__, error.code, error.message


class Stream:
    """What comes out of the socket, in pieces of seven bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    async def iter_any(self) -> Any:
        for at in range(0, len(self.data), 7):
            yield self.data[at : at + 7]


def events(data: bytes) -> Any:
    async def read() -> list[ChainEvent]:
        found = []
        async for event_id, line in _server_sent(Stream(data)):  # type: ignore[arg-type]
            if line:
                found.append(_event(event_id, line, None))
        return found

    return [(event.height, event.id, event.kind, event.data) for event in asyncio.run(read())]


EVENT = b'{"kind":"block.certified","time":"2026-01-01T00:00:00.000Z","data":{"height":1}}'

_SAID = say(Grantee("hosp-b"), ("Observation",), Purpose.TREATMENT, 1, 2**40)
_SALT = bytes(32)
_PERMIT = Stands(bytes(32), "hosp-b", Purpose.TREATMENT, terms_commitment(_SALT, _SAID.terms))
_OPENING = OpeningForm("00" * 32, _SALT.hex(), encode_terms(_SAID.terms).hex())


def regained(data: bytes) -> Any:
    """What a custodian shows of a permit's terms; None: it does not open them."""
    form = answered(data).decode(OpeningForm)
    return opened(Whose("hosp-a", bytes(32)), _PERMIT, form)


DECODERS = (
    *(answer(kind) for kind in ANSWERS),
    Decoder(
        "answer-json",
        ("salus.client_http:Answer.json",),
        lambda data: answered(data).json(),
        lambda: [b'{"items":[]}', b"[1]"],
        errors=(ClientError,),
        values=json_values.map(lambda value: json.dumps(value).encode()),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "problem",
        ("salus.client_http:problem_of",),
        problem,
        lambda: [msgspec.json.encode(simplest(Problem)), b"<html>", b""],
        values=values_of(Problem).map(msgspec.json.encode),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "header-height",
        (),
        lambda data: named_height(text(data)),
        lambda: [b"12", b"", b"x", b"9007199254740991"],
        form="text",
    ),
    Decoder(
        "header-retry-after",
        (),
        lambda data: retry_after(text(data)),
        lambda: [b"12", b"", b"x"],
        form="text",
    ),
    Decoder(
        "event-stream",
        ("salus.client_events:_event", "salus.client_events:_server_sent"),
        events,
        lambda: [b"id: 1.0\ndata: " + EVENT + b"\n\nid: 2.0\n\n: ping\n\n"],
        errors=(ClientError,),
        values=values_of(_Data).map(
            lambda d: b"id: 3.1\ndata: " + msgspec.json.encode(d) + b"\n\n"
        ),
        form="text",
        memory_factor=160,
    ),
    Decoder(
        "regained-opening",
        ("salus.regain:opened",),
        regained,
        lambda: [msgspec.json.encode(_OPENING), msgspec.json.encode(simplest(OpeningForm))],
        errors=(ClientError,),
        values=values_of(OpeningForm).map(msgspec.json.encode),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "checkpoint-file",
        ("salus.client_events:FileCheckpoint.load",),
        lambda data: FileCheckpoint(written(data, "checkpoint")).load(),
        lambda: [b"12.3\n", b""],
        errors=(SalusError,),
        form="text",
    ),
)
