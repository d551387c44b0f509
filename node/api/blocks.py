"""Certified blocks, their headers and certificates."""

from typing import Annotated

from aiohttp import web
from msgspec import Meta

from node.api import forms
from node.api.problems import ApiError
from node.api.request import Call, Read
from node.api.route import Access, Route, answer, unchanging
from salus.block import Header
from salus.forms import Block, CertificateForm, Cursor, HeaderForm, HeaderPage

Which = Annotated[str, Meta(pattern=r"^(latest|0|[1-9][0-9]{0,14}|[0-9a-f]{64})$(?!\n)")]


class ListArguments(Read, frozen=True):
    after: Cursor | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20


async def list_blocks(call: Call, args: ListArguments) -> web.StreamResponse:
    if args.after is None:
        height = call.view.height()
    elif args.after.isdigit() and len(args.after) < 16:
        height = min(int(args.after) - 1, call.view.height())
    else:
        raise ApiError("BAD_ARGUMENT", "the cursor is not one that this path gave")
    items: list[HeaderForm] = []
    while height >= 0 and len(items) < args.limit:
        header = call.view.header(height)
        if header is None:
            break
        items.append(forms.header(header))
        height -= 1
    more = bool(items) and items[-1].height > 0 and call.view.header(height) is not None
    cursor = str(items[-1].height) if more else None
    link = {"Link": f'</v1/blocks?after={cursor}>; rel="next"'} if cursor else {}
    return answer(call, HeaderPage(tuple(items), cursor), headers=link)


class BlockArguments(Read, frozen=True):
    which: Which


async def show(call: Call, args: BlockArguments) -> web.StreamResponse:
    header = _find(call, args.which)
    block = call.view.block(header.height)
    if block is None:
        raise _pruned(call)
    if args.which == "latest":
        return answer(call, forms.block(block))
    return unchanging(call, header.hash().hex(), lambda: forms.block(block))


async def show_header(call: Call, args: BlockArguments) -> web.StreamResponse:
    header = _find(call, args.which)
    if args.which == "latest":
        return answer(call, forms.header(header))
    return unchanging(call, header.hash().hex(), lambda: forms.header(header))


async def show_certificate(call: Call, args: BlockArguments) -> web.StreamResponse:
    header = _find(call, args.which)
    certificate = call.view.certificate(header.height)
    if certificate is None:
        raise ApiError("NOT_FOUND", "the genesis block has no certificate: its hash is the trust")
    return answer(call, forms.certificate(certificate))


def _find(call: Call, which: str) -> Header:
    if len(which) == 64:
        height = call.view.height_of(bytes.fromhex(which))
    else:
        height = call.view.height() if which == "latest" else int(which)
    if height is None or height > call.view.height():
        raise ApiError("UNKNOWN_BLOCK")
    header = call.view.header(height)
    if header is None:
        raise _pruned(call)
    return header


def _pruned(call: Call) -> ApiError:
    first = call.view.first_height()
    return ApiError("PRUNED", f"blocks below height {first} are no longer kept", first=first)


ROUTES = (
    Route(
        method="GET",
        path="/v1/blocks",
        access=Access.OPEN,
        handler=list_blocks,
        doc="Headers of certified blocks, newest first.",
        arguments=ListArguments,
        answers={200: HeaderPage},
    ),
    Route(
        method="GET",
        path="/v1/blocks/{which}",
        access=Access.MEMBER,
        handler=show,
        doc="One block by height, hash or «latest»: header, certificate, transaction ids, receipts.",
        arguments=BlockArguments,
        answers={200: Block},
        errors=("UNKNOWN_BLOCK", "PRUNED"),
    ),
    Route(
        method="GET",
        path="/v1/blocks/{which}/header",
        access=Access.OPEN,
        handler=show_header,
        doc="The header alone.",
        arguments=BlockArguments,
        answers={200: HeaderForm},
        errors=("UNKNOWN_BLOCK", "PRUNED"),
    ),
    Route(
        method="GET",
        path="/v1/blocks/{which}/commit",
        access=Access.OPEN,
        handler=show_certificate,
        doc="The certificate: a quorum's signatures over the header hash.",
        arguments=BlockArguments,
        answers={200: CertificateForm},
        errors=("UNKNOWN_BLOCK", "NOT_FOUND", "PRUNED"),
    ),
)
