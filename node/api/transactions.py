"""Transactions: submit, follow, simulate, prove.

Law of the file: a submission always answers with the transaction's id if the bytes have one,
also beside an error; the same bytes twice give the same state, never an error.
"""

from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import Meta

from node.api import forms
from node.api.problems import RETRY_AFTER_S, ApiError
from node.api.request import (
    Brief,
    Call,
    Duration,
    NoArguments,
    Read,
    from_json,
    require_type,
    seconds,
)
from node.api.route import BYTES, JSON, MSGPACK, Access, Body, Route, answer
from node.api.view import Submitted, TransactionView
from salus.codec import Uint
from salus.codes import lookup
from salus.forms import (
    TRANSACTIONS_PER_REQUEST_MAX,
    Hex32,
    Simulation,
    SubmitAnswer,
    SubmitItem,
    SubmitRequest,
    TransactionForm,
    TransactionPage,
    TransactionRow,
    TransactionState,
)
from salus.forms import Cursor as CursorText

POOL_FULL = "POOL_FULL"
BLOCKS_SCANNED_MAX = 64  # per page of a filtered list: a page may be short and still go on

# The raw array of the fast path: one decode for up to 500 transactions.
_array = msgspec.msgpack.Decoder(
    Annotated[tuple[bytes, ...], Meta(min_length=1, max_length=TRANSACTIONS_PER_REQUEST_MAX)]
)

Wait = Annotated[str, Meta(pattern=r"^commit$(?!\n)")]


class SubmitArguments(Brief, frozen=True):
    wait: Wait | None = None  # «commit»: answer when it is certified, or the time is up
    timeout: Duration = "10s"


async def submit(call: Call, args: SubmitArguments) -> web.StreamResponse:
    kind = require_type(call.request, BYTES, MSGPACK, JSON)
    body = await call.body(call.settings.transactions_body_bytes_max)
    if kind == BYTES:
        return await submit_one(call, args, body)
    if args.wait is not None:
        raise ApiError("BAD_ARGUMENT", "only a single transaction can be waited for")
    return await _submit_array(call, _decode_array(body) if kind == MSGPACK else _from_hex(body))


def _decode_array(body: bytes) -> tuple[bytes, ...]:
    try:
        decoded: tuple[bytes, ...] = _array.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        raise ApiError(
            "BAD_REQUEST",
            f"expected a MessagePack array of 1 to {TRANSACTIONS_PER_REQUEST_MAX} byte strings",
        ) from None
    return decoded


def _from_hex(body: bytes) -> tuple[bytes, ...]:
    request = from_json(body, SubmitRequest)
    return tuple(bytes.fromhex(text) for text in request.transactions)


async def _submit_array(call: Call, transactions: tuple[bytes, ...]) -> web.Response:
    results = await call.view.submit(transactions)
    items = tuple(_item(result) for result in results)
    refused = sum(1 for result in results if _turned_away(result))
    full = [result for result in results if result.code == POOL_FULL]
    if len(full) == len(results):  # nothing of it is news to anybody: the whole call is one refusal
        raise ApiError(POOL_FULL, full[0].detail)
    later = {"Retry-After": str(RETRY_AFTER_S)} if full else None
    return answer(
        call, SubmitAnswer(len(items) - refused, refused, items), status=202, headers=later
    )


def _turned_away(result: Submitted) -> bool:
    """Known bytes whose certified outcome is a refusal were not turned away: they are known."""
    return result.code is not None and result.height is None


def _item(result: Submitted) -> SubmitItem:
    return SubmitItem(
        result.state,
        None if result.tx_id is None else result.tx_id.hex(),
        result.height,
        result.code,
        result.detail or None,
    )


async def submit_one(call: Call, args: SubmitArguments, raw: bytes) -> web.Response:
    [result] = await call.view.submit((raw,))
    if _turned_away(result):
        assert result.code is not None
        raise ApiError(result.code, result.detail, tx_id=result.tx_id)
    assert result.tx_id is not None, "what was accepted has an id"
    view = TransactionView(result.tx_id, result.state, height=result.height)
    if result.state.final:
        view = call.view.transaction(result.tx_id)
    elif args.wait is not None:
        view = await call.view.wait(result.tx_id, seconds(args.timeout))
        if view.state in (TransactionState.REJECTED, TransactionState.EXPIRED):
            raise _refused(view)
    form = forms.transaction(view, None)
    return answer(
        call,
        form,
        status=200 if view.state.final else 202,
        headers={"Location": form.links["self"]},
    )


def _refused(view: TransactionView) -> ApiError:
    """The outcome of a new transaction that was waited for, as a problem with its id."""
    if view.state is TransactionState.EXPIRED:
        return ApiError("EXPIRED", "its expiry height has passed", tx_id=view.tx_id)
    receipt = next(entry for entry in view.receipts if not entry.ok)
    status = lookup(receipt.code).status
    return ApiError(
        receipt.code,
        f"refused in block {view.height}: {lookup(receipt.code).title}",
        tx_id=view.tx_id,
        # A certified refusal is final: whatever the word means elsewhere, not a 5xx or 429.
        status=status if status in (403, 404, 409, 413) else 422,
        operation=receipt.operation,
        **{name: value for name, value in forms.facts(receipt.facts).items() if name != "status"},
    )


async def simulate(call: Call, _: NoArguments) -> web.StreamResponse:
    require_type(call.request, BYTES)
    raw = await call.body(call.settings.transactions_body_bytes_max)
    result = await call.view.simulate(raw)
    return answer(
        call,
        Simulation(
            result.tx_id.hex(),
            result.height,
            forms.summary(result.receipts),
            tuple(forms.receipt(entry) for entry in result.receipts),
        ),
    )


class TransactionArguments(Read, frozen=True):
    id: Hex32
    wait: Wait | None = None
    timeout: Duration = "10s"


async def show(call: Call, args: TransactionArguments) -> web.StreamResponse:
    tx_id = bytes.fromhex(args.id)
    view = call.view.transaction(tx_id)
    if args.wait is not None and not view.state.final:
        view = await call.view.wait(tx_id, seconds(args.timeout))
    return answer(call, forms.transaction(view, call.view.contracts))


class ProofArguments(Read, frozen=True):
    id: Hex32
    operation: Annotated[int, Meta(ge=0, lt=10_000)] = 0
    as_of: bool = False  # with the state proof at the newest height


async def proof(call: Call, args: ProofArguments) -> web.StreamResponse:
    tx_id = bytes.fromhex(args.id)
    view = call.view.transaction(tx_id)
    if view.state is TransactionState.UNKNOWN:
        raise ApiError("UNKNOWN_TRANSACTION", tx_id=tx_id)
    if view.height is None or not view.state.final:
        raise ApiError("NOT_CERTIFIED", tx_id=tx_id)
    if args.operation >= len(view.receipts):
        raise ApiError("NOT_FOUND", "the transaction has no such operation", tx_id=tx_id)
    raw = await call.view.proof(tx_id, args.operation, args.as_of)
    if raw is None:
        raise ApiError("PRUNED", "the block of this transaction is no longer kept", tx_id=tx_id)
    return proof_file(call, raw, f"{args.id[:16]}-{args.operation}")


def proof_file(call: Call, raw: bytes, name: str) -> web.Response:
    return web.Response(
        body=raw,
        content_type=BYTES,
        headers={
            "X-Height": str(call.view.height()),
            "Content-Disposition": f'attachment; filename="{name}.proof"',
        },
    )


class ListArguments(Read, frozen=True):
    after: CursorText | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    sender: Annotated[str, Meta(pattern=r"^sal1[02-9ac-hj-np-z]{58}$(?!\n)")] | None = None
    kind: (
        Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}(\.[a-z][a-z0-9_]{0,31})?$(?!\n)")]
        | None
    ) = None
    from_height: Uint = 0
    to_height: Uint | None = None


async def list_transactions(call: Call, args: ListArguments) -> web.StreamResponse:
    """Newest first; a bounded scan, so a page may be short although `next` is given."""
    height, skip = _cursor(args.after)
    newest = call.view.height() if args.to_height is None else args.to_height
    height = min(newest if height is None else height, call.view.height())
    lowest = max(args.from_height, call.view.first_height(), 1)
    items: list[TransactionRow] = []
    for _ in range(BLOCKS_SCANNED_MAX):
        if height < lowest:
            return answer(call, TransactionPage(tuple(items), None))
        block = call.view.block(height)
        rows = forms.rows(block) if block is not None else []
        for row in reversed(rows):
            if skip is not None and row.index >= skip:
                continue
            if (args.sender is None or row.sender == args.sender) and (
                args.kind is None
                or any(c == args.kind or c.startswith(args.kind + ".") for c in row.calls)
            ):
                items.append(row)
                if len(items) == args.limit:
                    cursor = f"{row.height}-{row.index}"
                    return answer(
                        call, TransactionPage(tuple(items), cursor), headers=_link(cursor)
                    )
        height, skip = height - 1, None
    cursor = str(height)
    return answer(call, TransactionPage(tuple(items), cursor), headers=_link(cursor))


def _cursor(text: str | None) -> tuple[int | None, int | None]:
    """«height» or «height-index»: everything below is still to come."""
    if text is None:
        return None, None
    height, _, index = text.partition("-")
    if not height.isdigit() or (index and not index.isdigit()) or len(text) > 33:
        raise ApiError("BAD_ARGUMENT", "the cursor is not one that this path gave")
    return int(height), int(index) if index else None


def _link(cursor: str) -> dict[str, str]:
    return {"Link": f'</v1/txs?after={cursor}>; rel="next"'}


ROUTES = (
    Route(
        method="POST",
        path="/v1/txs",
        access=Access.MEMBER,
        handler=submit,
        doc="Submit one signed transaction as bytes, or an array of up to 500.\n"
        "One: 202 while pending, 200 once its outcome is certified; with wait=commit the answer "
        "comes when it is certified or the time is up. Array: 202 with one item each, and with "
        "Retry-After where the pool had no room for some; 429 where it had room for none and the first is new to it. "
        "Known bytes give their present state, never an error.",
        arguments=SubmitArguments,
        body=Body({BYTES: None, MSGPACK: None, JSON: SubmitRequest}, "docs/formats.md"),
        answers={200: TransactionForm, 202: (TransactionForm, SubmitAnswer)},
        errors=(
            "NOT_CANONICAL",
            "TOO_LARGE",
            "UNSUPPORTED_MEDIA_TYPE",
            "BAD_SIGNATURE",
            "WRONG_CHAIN",
            "EXPIRED",
            "POOL_FULL",
            "NOT_READY",
        ),
    ),
    Route(
        method="GET",
        path="/v1/txs",
        access=Access.MEMBER,
        handler=list_transactions,
        doc="Certified transactions, newest first, by sender, kind and height.",
        arguments=ListArguments,
        answers={200: TransactionPage},
    ),
    Route(
        method="POST",
        path="/v1/txs/simulate",
        access=Access.MEMBER,
        handler=simulate,
        doc="What a signed transaction would do on the certified state; changes nothing.",
        body=Body({BYTES: None}, "one transaction"),
        answers={200: Simulation},
        errors=("NOT_CANONICAL", "TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "WRONG_CHAIN"),
    ),
    Route(
        method="GET",
        path="/v1/txs/{id}",
        access=Access.MEMBER,
        handler=show,
        doc="State and content of a transaction; with wait=commit, its outcome.",
        arguments=TransactionArguments,
        answers={200: TransactionForm},
    ),
    Route(
        method="GET",
        path="/v1/txs/{id}/proof",
        access=Access.MEMBER,
        handler=proof,
        doc="The proof file of one operation; verifies offline (salus verify).",
        arguments=ProofArguments,
        answers={200: BYTES},
        errors=("UNKNOWN_TRANSACTION", "NOT_CERTIFIED", "NOT_FOUND", "PRUNED"),
    ),
)
