"""What clients and operators of a node send it: HTTP, events, FHIR documents, node.toml."""

import asyncio
import re
import tempfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import msgspec
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from cli.errors import CliError
from cli.watch_journal import Entry, Head, _read
from node.api.events import Ack, Subscribe, _message
from node.api.request import arguments, from_json, seconds
from node.api.routes import ROUTES
from node.api.settings import ApiSettings
from node.api.transactions import _decode_array, _from_hex
from node.config import load
from node.feed import Position
from node.fhir import check_fhir
from node.settings import BadValue, parse_peer
from node.token import api_token
from salus.errors import BadMessage, SalusError
from salus.forms import Problem, SubmitRequest
from salus.keys import address
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.decoders.ledger import text
from tests.fuzz.shapes import simplest, values_of
from tests.node.api.fakes import FakeNode, api_of
from tests.salus import data as reference

BODIES = {
    kind
    for route in ROUTES
    if route.body is not None
    for kind in route.body.media.values()
    if kind is not None
}
FHIR = "application/fhir+json"
CONFIG = Path(__file__).parents[3] / "configs" / "node.toml"


def body(kind: type) -> Decoder:
    return Decoder(
        f"body-{kind.__name__}",
        ("node.api.request:from_json",),
        lambda data: from_json(data, kind),
        lambda: [msgspec.json.encode(simplest(kind))],
        values=values_of(kind).map(msgspec.json.encode),
        form="json",
        memory_factor=160,
    )


def parameters(name: str, kind: type) -> Decoder:
    """Path and query, as aiohttp hands them over."""

    def read(data: bytes) -> Any:
        url = URL.build(path="/", query_string=text(data), encoded=True)
        request = SimpleNamespace(match_info={}, query=url.query, rel_url=url)
        return arguments(request, kind)  # type: ignore[arg-type]

    def written(value: Any) -> bytes:
        given = {
            field: getattr(value, field)
            for field in value.__struct_fields__
            if getattr(value, field) is not None
        }
        pairs = [f"{field}={quote(_said(found))}" for field, found in given.items()]
        return "&".join(pairs).encode()

    return Decoder(
        f"query-{name}",
        ("node.api.request:_read_arguments",),
        read,
        lambda: [written(simplest(kind))],
        values=values_of(kind).map(written),
        form="text",
        memory_factor=400,  # a parameter of three bytes is two texts in a dictionary of lists
    )


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def position(data: bytes) -> Any:
    return Position.parse(text(data))


def duration(data: bytes) -> float:
    return seconds(text(data))


def socket_message(data: bytes) -> Any:
    """As a WebSocket's reader does: what is no message of the API ends the connection with a word."""
    try:
        message = _message.decode(data)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise SalusError("not a message", code="BAD_REQUEST") from None
    told = message.position if isinstance(message, Ack) else message.after
    return message, None if told is None else Position.parse(told)


@cache
def _scratch() -> Path:
    return Path(tempfile.mkdtemp(prefix="salus-fuzz-"))


def written(data: bytes, name: str, mode: int = 0o600) -> Path:
    path = _scratch() / name
    path.write_bytes(data)
    path.chmod(mode)
    return path


def configuration(data: bytes) -> Any:
    return load(written(data, "node.toml")).config


def token(data: bytes) -> str:
    return api_token(written(data, "api.token"))


def peer(data: bytes) -> Any:
    try:
        return parse_peer(text(data))
    except BadValue:
        raise BadMessage("no peer", code="CONFIG_VALUE") from None


def watch_journal(data: bytes) -> Any:
    try:
        return _read(written(data, "watch.journal"))
    except CliError as error:
        raise BadMessage("no journal", code=error.code) from None


def entries_of_a_watch() -> list[bytes]:
    lines: list[Head | Entry] = [
        Head(1, "00" * 32),
        Entry("ab", "signed", record_id="cd", transaction="ef" * 200, resources=3),
        Entry("ab", "done", record_id="cd"),
        Entry("12", "refused", code="BAD_FHIR", message="status: must be text"),
    ]
    return [b"".join(msgspec.json.encode(line) + b"\n" for line in lines)]


def resources() -> list[bytes]:
    folder = reference.path("fhir-r4-examples")
    found = []
    for name in ("Patient-*", "Bundle-lipids*", "Observation-f00*", "Encounter-f00*"):
        found += [path.read_bytes() for path in sorted(folder.glob(f"{name}.json"))[:2]]
    small = [raw for raw in found if len(raw) < 20_000]
    return [*small, b'{"resourceType": "Patient", "birthDate": "1980-01-01"}']


# Streams and waits have no end of their own.
_ENDLESS = re.compile(r"/v1/(events|ws)|wait=")


@cache
def _application() -> tuple[asyncio.AbstractEventLoop, web.Application]:
    settings = ApiSettings(read_wait_seconds_max=0, rate_per_s=10**9, rate_burst=10**9)
    application = api_of(FakeNode(), settings).application()
    application.freeze()
    return asyncio.new_event_loop(), application


def http_get(data: bytes) -> Any:
    """A whole request to the API in front of a chain: the answer is no mistake of ours."""
    target = "/" + data.decode("latin-1").lstrip("/")
    if _ENDLESS.search(unquote(target)) or not target.isprintable() or " " in target:
        raise SalusError("not for this test", code="BAD_REQUEST")
    loop, application = _application()
    try:
        request = make_mocked_request("GET", target, headers={"Host": "127.0.0.1"})
    except (ValueError, TypeError):  # yarl: aiohttp's own parser answers 400 to it
        raise SalusError("no URL", code="BAD_REQUEST") from None
    response = loop.run_until_complete(application._handle(request))
    assert isinstance(response, web.Response)
    if response.status < 400:
        return response.status  # metrics are in the body of one: they count
    code = msgspec.json.decode(response.body or b"{}", type=Problem).code
    assert code != "INTERNAL", target
    raise SalusError("refused", code=code)


def targets() -> list[bytes]:
    """Every path that is read, with the height of a block or a name where one belongs."""
    heights = {"which": "1", "height": "1", "code": "POOL_FULL", "key": "00"}
    found = [
        re.sub(r"{(\w+)}", lambda name: heights.get(name[1], "00" * 32), route.path)
        for route in ROUTES
        if route.method == "GET"
    ]
    return [path.encode() for path in found if not _ENDLESS.search(path)]


PEER = f"{address(factories.keys(1)[0].public_key)}@a.example:7400".encode()

DECODERS = (
    *(body(kind) for kind in sorted(BODIES, key=lambda kind: kind.__name__)),
    *(
        parameters(re.sub(r"\W+", "-", route.name).strip("-").lower(), route.arguments)
        for route in ROUTES
    ),
    Decoder(
        "http-get",
        (
            "node.api.blocks:_find",
            "node.api.queries:_state",
            "node.api.queries:account",
            "node.api.transactions:show",
            "node.api.transactions:proof",
            "node.api.forms:rows",
            "node.api.forms:_operation",
        ),
        http_get,
        targets,
        form="text",
        memory_factor=400,
        slow=True,
        examples_refused=True,
    ),
    Decoder(
        "transactions-msgpack",
        ("node.api.transactions:_decode_array",),
        _decode_array,
        lambda: [msgspec.msgpack.encode([tx.raw for tx in samples.transactions()])],
    ),
    Decoder(
        "transactions-hex",
        ("node.api.transactions:_from_hex",),
        _from_hex,
        lambda: [msgspec.json.encode(SubmitRequest((samples.transactions()[0].raw.hex(),)))],
        values=values_of(SubmitRequest).map(msgspec.json.encode),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "socket-message",
        ("node.api.events:_SocketReader.receive",),
        socket_message,
        lambda: [
            b'{"op":"subscribe","kind":"records.*","after":"12.3"}',
            b'{"op":"ack","position":"1.2"}',
        ],
        values=(values_of(Subscribe) | values_of(Ack)).map(msgspec.json.encode),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "position",
        (),
        position,
        lambda: [b"12.3", b"12", b"0.0"],
        form="text",
    ),
    Decoder("duration", (), duration, lambda: [b"10s", b"250ms", b"1.5m", b"3"], form="text"),
    Decoder(
        "fhir",
        ("node.fhir_json:read_json",),
        lambda data: check_fhir(data, FHIR),
        resources,
        form="json",
        memory_factor=160,
        slow=True,
    ),
    Decoder(
        "fhir-lines",
        (),
        lambda data: check_fhir(data, "application/fhir+ndjson"),
        lambda: [b"\n".join(raw.replace(b"\n", b" ") for raw in resources()[:3])],
        form="text",
        memory_factor=160,
        slow=True,
    ),
    Decoder(
        "node-toml",
        ("node.config:_Reader.file", "node.toml:parse", "node.settings:_key"),
        configuration,
        lambda: [
            CONFIG.read_bytes(),
            b'version = 1\n[p2p]\npeers = ["' + PEER + b'"]\n',
            b'version = 1\n[keeper]\npublic_key = "' + b"5e" * 32 + b'"\n',
        ],
        form="text",
        memory_factor=400,
        slow=True,
    ),
    Decoder(
        "watch-journal",
        ("cli.watch_journal:_read",),
        watch_journal,
        entries_of_a_watch,
        form="json",
        memory_factor=160,
        slow=True,
    ),
    Decoder("peer-address", (), peer, lambda: [PEER], form="text"),
    Decoder(
        "api-token",
        ("node.token:api_token",),
        token,
        lambda: [b"t" * 43 + b"\n"],
        form="text",
    ),
)
