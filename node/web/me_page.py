"""The patient's page: how to log in, or the relation of the session.

Law of the file: it shows what /v1/me/… says, by the same functions, and no more; whoever has no
session sees nothing of anybody.
"""

import msgspec
from aiohttp import web

from node.api.contacts import page as notices_of
from node.api.mine import Mine
from node.api.my_erasures import erasures_of
from node.api.request import Call
from node.api.route import Access, Route
from node.web.pages import HTML, PageArguments, for_script, language, page
from node.web.words import said
from salus.forms import Cursor
from salus.relation import Right

ROWS = 20  # of each list; «older» leads on

_SCRIPT_WORDS = (
    "unsupported",
    "bad_handle",
    "working",
    "done",
    "stopped",
    "pending",
    "failed",
    "opening",
    "refused",
    "derived",
    "withheld",
    "saved",
    "copied",
)


class MePageArguments(PageArguments, frozen=True, kw_only=True):
    permits: Cursor | None = None  # a page's «older»
    looks: Cursor | None = None
    emergencies: Cursor | None = None
    erasures: Cursor | None = None


async def me(call: Call, args: MePageArguments) -> web.StreamResponse:
    config = _config(call, language(call.request, args.lang))
    height = call.view.height()
    if call.session is None or not call.session.patient:
        return page(call, "login.html", args.lang, config=config, height=height)
    mine = Mine.of(call, right=None)
    sees = Right.VIEW in call.session.rights
    records = call.view.records is not None
    return page(
        call,
        "me.html",
        args.lang,
        config=config,
        height=height,
        me=mine.me(),
        may_revoke=Right.REVOKE in call.session.rights,
        permits=msgspec.to_builtins(mine.permits(args.permits, ROWS)) if sees else None,
        looks=msgspec.to_builtins(mine.looks(args.looks, ROWS)) if sees else None,
        notices=notices_of(call.view.outbox.of_handle(mine.handle))
        if sees and call.view.outbox is not None
        else None,
        emergencies=mine.emergencies(args.emergencies) if sees else None,
        erasures=erasures_of(mine, args.erasures) if sees else None,
        records=mine.records() if sees and records else (),
    )


def _config(call: Call, lang: str) -> str:
    """What the scripts need to know to log in and to sign."""
    status = call.view.status()
    words = {name: said(f"js.{name}", lang) for name in _SCRIPT_WORDS}
    return for_script(
        chain_id=status.chain_id,
        genesis_hash=status.genesis_hash,
        node=status.member,
        node_key=_node_key(call, status.member),
        time_ms=call.sessions.now_ms(),
        lang=lang,
        words=words
        | {"revoked": said("state.revoked", lang), "cancelled": said("erasure.cancelled", lang)},
    )


def _node_key(call: Call, org: str | None) -> str | None:
    """What signs derived documents; of the certified state."""
    if org is None:
        return None
    _, found = call.view.contracts.query("members", "member", {"id": org})
    return None if found is None else str(found["node_key"])


ROUTES = (
    Route(
        method="GET",
        path="/me",
        access=Access.OPEN,
        handler=me,
        doc="The patient's page: how to log in or, with a patient's session, the own relation.",
        arguments=MePageArguments,
        answers={200: HTML},
        errors=("UNKNOWN_RELATION",),
    ),
)
