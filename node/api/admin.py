"""Checking proof files, and faults on purpose in development networks."""

import asyncio

from aiohttp import web

from node.api.problems import ApiError
from node.api.request import Call, NoArguments, require_type
from node.api.route import BYTES, JSON, Access, Body, Route, answer
from node.api.view import FaultsView
from salus.forms import CheckForm, Faults, FaultsRequest, VerifyAnswer
from salus.report import Check, ProofRefused
from salus.verifier import verify_file


async def verify(call: Call, _: NoArguments) -> web.StreamResponse:
    """A convenience: who asks a node trusts the node; `salus verify` trusts nobody."""
    require_type(call.request, BYTES)
    data = await call.body(call.settings.proof_bytes_max)
    try:
        report = await asyncio.to_thread(verify_file, data, call.view.genesis_hash)
    except ProofRefused as refused:
        return answer(call, VerifyAnswer(False, "", refused.message, _checks(refused.checks)))
    return answer(call, VerifyAnswer(True, report.claim, report.limit, _checks(report.checks)))


def _checks(checks: tuple[Check, ...]) -> tuple[CheckForm, ...]:
    return tuple(CheckForm(check.name, check.passed, check.detail) for check in checks)


async def get_faults(call: Call, _: NoArguments) -> web.StreamResponse:
    return answer(call, _faults(call).get())


async def set_faults(call: Call, _: NoArguments) -> web.StreamResponse:
    switch = _faults(call)
    wanted = await call.json(FaultsRequest, call.settings.json_body_bytes_max)
    if not call.view.members().issuperset(wanted.blocked):
        raise ApiError("BAD_ARGUMENT", "blocked: not a member of this consortium")
    return answer(call, switch.set(frozenset(wanted.blocked), wanted.delay_ms))


def _faults(call: Call) -> FaultsView:
    if call.view.faults is None:
        raise ApiError("NOT_ENABLED", "faults are for development networks")
    return call.view.faults


ROUTES = (
    Route(
        method="POST",
        path="/v1/verify",
        access=Access.MEMBER,
        handler=verify,
        doc="Check a proof file against this chain; the CLI does the same offline.",
        body=Body({BYTES: None}, "a proof file"),
        answers={200: VerifyAnswer},
        errors=("TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"),
    ),
    Route(
        method="GET",
        path="/v1/dev/faults",
        access=Access.ADMIN,
        handler=get_faults,
        doc="Faults in force (development networks).",
        answers={200: Faults},
        errors=("NOT_ENABLED",),
    ),
    Route(
        method="POST",
        path="/v1/dev/faults",
        access=Access.ADMIN,
        handler=set_faults,
        doc="Cut this node off from members, or delay what it sends; an empty object heals.",
        body=Body({JSON: FaultsRequest}, "replaces all faults"),
        answers={200: Faults},
        errors=("NOT_ENABLED", "BAD_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"),
    ),
)
