"""Nouns of the ledger as the JSON forms of salus/forms.py: bytes to hex, milliseconds to RFC 3339."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from node.api.view import BlockView, ContractsView, TransactionView
from node.feed import FeedEvent, fact_json
from salus import forms
from salus.block import OK, Fact, Header, Proposal, Receipt
from salus.certificate import Certificate
from salus.codec import decode
from salus.errors import BadMessage
from salus.forms_node import ParametersForm
from salus.keys import address
from salus.parameters import Parameters
from salus.transaction import Operation, Transaction

CALLS_SHOWN_MAX = 16


@lru_cache(maxsize=256)  # all transactions of a block have the block's
def time_text(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; a time beyond the year 9999 is shown as its last moment."""
    try:
        moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return "9999-12-31T23:59:59.999Z"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time_ms % 1000:03d}Z"


def header(value: Header) -> forms.HeaderForm:
    return forms.HeaderForm(
        hash=value.hash().hex(),
        version=value.version,
        epoch=value.epoch,
        height=value.height,
        parent_hash=value.parent_hash.hex(),
        time=time_text(value.time_ms),
        time_ms=value.time_ms,
        proposal_digest=value.proposal_digest.hex(),
        proposer=value.proposer,
        origin_view=value.origin_view,
        transactions_count=value.transactions_count,
        transactions_root=value.transactions_root.hex(),
        receipts_count=value.receipts_count,
        receipts_root=value.receipts_root.hex(),
        state_root=value.state_root.hex(),
        validators_hash=value.validators_hash.hex(),
        next_validators_hash=value.next_validators_hash.hex(),
        parameters_hash=value.parameters_hash.hex(),
        epoch_end=value.epoch_end,
    )


def certificate(value: Certificate) -> forms.CertificateForm:
    return forms.CertificateForm(
        value.epoch,
        value.height,
        value.header_hash.hex(),
        tuple(forms.SignatureForm(s.index, s.signature.hex()) for s in value.signatures),
    )


def receipt(value: Receipt) -> forms.ReceiptForm:
    return forms.ReceiptForm(
        value.tx_id.hex(),
        value.operation,
        value.code,
        facts(value.facts),
        tuple([forms.EventForm(event.kind, facts(event.data)) for event in value.events]),
    )


def facts(values: dict[str, Fact]) -> dict[str, Any]:
    return {name: fact_json(value) for name, value in values.items()} if values else {}


def block(value: BlockView) -> forms.Block:
    ids = dict.fromkeys(receipt.tx_id.hex() for receipt in value.receipts)
    return forms.Block(
        header=header(value.header),
        certificate=None if value.certificate is None else certificate(value.certificate),
        transactions=tuple(ids),
        receipts=tuple(receipt(entry) for entry in value.receipts),
    )


def parameters(epoch: int, value: Parameters) -> ParametersForm:
    named: dict[str, Any] = {
        name: getattr(value, name) for name in value.__struct_fields__ if name != "contracts"
    }
    named["contracts"] = {entry.contract: entry.version for entry in value.contracts}
    return ParametersForm(epoch, value.hash().hex(), named)


def transaction(value: TransactionView, contracts: ContractsView | None) -> forms.TransactionForm:
    """`contracts` decodes the operations; None leaves them as bytes."""
    tx, tx_id = value.body, value.tx_id.hex()
    links = {"self": f"/v1/txs/{tx_id}"}
    if value.height is not None:
        links |= {"proof": f"/v1/txs/{tx_id}/proof", "block": f"/v1/blocks/{value.height}"}
    return forms.TransactionForm(
        tx_id=tx_id,
        state=value.state,
        height=value.height,
        index=value.index,
        time=None if value.time_ms is None else time_text(value.time_ms),
        code=summary(value.receipts) if value.receipts else None,
        expiry_height=None if tx is None else tx.expiry_height,
        sender=None if tx is None else address(tx.sender),
        operations=() if tx is None else operations(tx, contracts),
        receipts=tuple([receipt(entry) for entry in value.receipts]),
        links=links,
    )


def operations(tx: Transaction, contracts: ContractsView | None) -> tuple[forms.OperationForm, ...]:
    result = []
    for raw in tx.operations:
        operation = _operation(raw)
        if operation is None:  # such a transaction is certified with a refusal
            result.append(forms.OperationForm("", "", 0, raw.hex(), None))
            continue
        decoded = contracts.decoded(operation) if contracts is not None else None
        result.append(
            forms.OperationForm(
                operation.contract,
                operation.method,
                operation.version,
                operation.args.hex(),
                decoded,
            )
        )
    return tuple(result)


def rows(value: BlockView) -> list[forms.TransactionRow]:
    """One line per transaction of a block, in order."""
    if value.proposal is None:
        return []
    by_id: dict[bytes, list[Receipt]] = {}
    for entry in value.receipts:
        by_id.setdefault(entry.tx_id, []).append(entry)
    found = []
    raws = decode(value.proposal, Proposal).transactions
    for index, (raw, (tx_id, receipts)) in enumerate(zip(raws, by_id.items(), strict=True)):
        tx = decode(raw, Transaction)
        calls = [_operation(operation) for operation in tx.operations[:CALLS_SHOWN_MAX]]
        ok = any(entry.ok for entry in receipts)
        found.append(
            forms.TransactionRow(
                tx_id.hex(),
                value.header.height,
                index,
                forms.TransactionState.COMMITTED if ok else forms.TransactionState.REJECTED,
                summary(tuple(receipts)),
                address(tx.sender),
                tuple(f"{call.contract}.{call.method}" for call in calls if call is not None),
            )
        )
    return found


def summary(receipts: tuple[Receipt, ...]) -> str:
    """OK, or the first refusal."""
    for entry in receipts:
        if entry.code != OK:
            return entry.code
    return OK


def event(value: FeedEvent) -> dict[str, Any]:
    """The data of one event; its id travels beside it."""
    form: dict[str, Any] = {
        "kind": value.kind,
        "time": time_text(value.time_ms),
        "data": value.data,
    }
    if value.tx_id is not None:
        form["tx_id"] = value.tx_id.hex()
    if value.operation is not None:
        form["operation"] = value.operation
    return form


def _operation(raw: bytes) -> Operation | None:
    try:
        return decode(raw, Operation)
    except BadMessage:
        return None
