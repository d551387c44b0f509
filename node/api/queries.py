"""Reads about the node, the chain's rules, state, accounts and contracts."""

from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta

from node.api import forms
from node.api.problems import ApiError, error_page
from node.api.request import Call, NoArguments, Read
from node.api.route import JSON, Access, Body, Route, answer
from salus.codec import Uint
from salus.codes import CODES
from salus.forms import (
    CodeWord,
    Contracts,
    Form,
    Hex,
    QueryAnswer,
    QueryRequest,
    Request,
    StateForm,
)
from salus.forms_node import (
    Account,
    Consensus,
    Mempool,
    ParametersForm,
    PeerForm,
    Readiness,
    Status,
    Validators,
)
from salus.genesis import to_json
from salus.keys import parse_address

Word = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$(?!\n)")]
StateKey = Annotated[Hex, Meta(min_length=2, max_length=512)]


class Alive(Form, frozen=True, omit_defaults=False):
    alive: bool


class Peers(Form, frozen=True, omit_defaults=False):
    items: tuple[PeerForm, ...]


async def healthz(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, Alive(True))


async def readyz(call: Call, _: NoArguments) -> web.StreamResponse:
    readiness = call.view.readiness()
    if not readiness.ready:
        raise ApiError(readiness.code, readiness.reason, status=503)
    return answer(call, readiness)


async def metrics(call: Call, _: NoArguments) -> web.StreamResponse:
    return web.Response(
        body=call.view.metrics.text(),
        headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
    )


async def status(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, call.view.status())


async def genesis(call: Call, _: NoArguments) -> web.StreamResponse:
    headers = {
        "X-Height": str(call.view.height()),
        "ETag": f'"{call.view.genesis_hash.hex()}"',
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    tag = call.view.genesis_hash.hex()
    if any(known.value == tag for known in call.request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(text=to_json(call.view.genesis), content_type=JSON, headers=headers)


async def parameters(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, forms.parameters(*call.view.parameters()))


async def validators(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, call.view.validators())


async def peers(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, Peers(call.view.peers()))


async def consensus(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, call.view.consensus())


async def mempool(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, call.view.mempool())


class StateArguments(Read, frozen=True):
    key: StateKey
    height: Uint | None = None


async def state(call: Call, args: StateArguments) -> web.StreamResponse:
    return _state(call, args, proof=False)


async def state_proof(call: Call, args: StateArguments) -> web.StreamResponse:
    return _state(call, args, proof=True)


def _state(call: Call, args: StateArguments, *, proof: bool) -> web.Response:
    if args.height is not None and args.height != call.view.height():
        raise ApiError("HEIGHT_NOT_KEPT", f"state is kept for height {call.view.height()} only")
    found = call.view.state(bytes.fromhex(args.key), proof=proof)
    form = StateForm(
        args.key,
        found.height,
        None if found.value is None else found.value.hex(),
        None if found.proof is None else found.proof.hex(),
        found.state_root.hex(),
    )
    return answer(call, form)


class AccountArguments(Read, frozen=True):
    key: Annotated[str, Meta(pattern=r"^(sal1[02-9ac-hj-np-z]{58}|[0-9a-f]{64})$(?!\n)")]


async def account(call: Call, args: AccountArguments) -> web.StreamResponse:
    is_hex = len(args.key) == 64 and not args.key.startswith("sal1")
    public_key = bytes.fromhex(args.key) if is_hex else parse_address(args.key)
    return answer(call, call.view.account(public_key))


async def contracts(call: Call, _: Read) -> web.StreamResponse:
    return answer(call, Contracts(call.view.contracts.declarations()))


class QueryArguments(Read, frozen=True):
    contract: Word
    query: Word


async def query(call: Call, args: QueryArguments) -> web.StreamResponse:
    request = await call.json(QueryRequest, call.settings.json_body_bytes_max)
    height, result = call.view.contracts.query(args.contract, args.query, request.arguments)
    return answer(call, QueryAnswer(height, result))


class ErrorArguments(Request, frozen=True):
    code: CodeWord


async def error(call: Call, args: ErrorArguments) -> web.StreamResponse:
    row = CODES.get(args.code)
    if row is None:
        raise ApiError("NOT_FOUND", "no such code word")
    return web.Response(text=error_page(row), content_type="text/plain", charset="utf-8")


def _get(path: str, handler: Any, doc: str, kind: Any, **more: Any) -> Route:
    access = more.pop("access", Access.OPEN)
    arguments = more.pop("arguments", NoArguments)
    return Route(
        method="GET",
        path=path,
        access=access,
        handler=handler,
        doc=doc,
        arguments=arguments,
        answers={200: kind},
        **more,
    )


_M = Access.MEMBER

ROUTES = (
    _get("/healthz", healthz, "The process runs and its event loop turns.", Alive),
    _get(
        "/readyz",
        readyz,
        "The node takes transactions, its reads are up to date and, as a validator, it votes and "
        "sees a quorum.",
        Readiness,
        errors=("SYNCING", "NO_QUORUM", "QUARANTINE", "DISK_FULL", "HALTED"),
    ),
    _get("/metrics", metrics, "Prometheus metrics.", "text/plain", access=_M),
    _get("/v1/status", status, "One screen about this node.", Status, arguments=Read),
    _get("/v1/genesis", genesis, "The founding document; its hash is the trust.", dict[str, Any]),
    _get("/v1/params", parameters, "Parameters in force.", ParametersForm, arguments=Read),
    _get("/v1/validators", validators, "The validators in force.", Validators, arguments=Read),
    _get("/v1/peers", peers, "Peers and connections.", Peers, access=_M),
    _get("/v1/consensus", consensus, "The agreement right now.", Consensus, access=_M),
    _get("/v1/mempool", mempool, "How much waits.", Mempool, access=_M),
    _get(
        "/v1/state/{key}",
        state,
        "A value of the certified state by its key (hex); null if absent.",
        StateForm,
        access=_M,
        arguments=StateArguments,
        errors=("HEIGHT_NOT_KEPT",),
    ),
    _get(
        "/v1/state/{key}/proof",
        state_proof,
        "The same with a proof of presence or absence under the state root.",
        StateForm,
        access=_M,
        arguments=StateArguments,
        errors=("HEIGHT_NOT_KEPT",),
    ),
    _get(
        "/v1/accounts/{key}",
        account,
        "What the chain knows of an address or public key (hex).",
        Account,
        access=_M,
        arguments=AccountArguments,
        errors=("BAD_ADDRESS",),
    ),
    _get("/v1/contracts", contracts, "Contracts, methods, queries.", Contracts, arguments=Read),
    Route(
        method="POST",
        path="/v1/contracts/{contract}/queries/{query}",
        access=_M,
        handler=query,
        doc="Ask a contract's declared query; changes nothing.",
        arguments=QueryArguments,
        body=Body({JSON: QueryRequest}, "arguments by name"),
        answers={200: QueryAnswer},
        errors=("UNKNOWN_QUERY", "BAD_ARGUMENTS", "UNSUPPORTED_MEDIA_TYPE", "TOO_LARGE"),
    ),
    _get(
        "/errors/{code}",
        error,
        "What a code word means, in plain text.",
        "text/plain",
        arguments=ErrorArguments,
        errors=("NOT_FOUND",),
    ),
)
