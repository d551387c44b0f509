"""`salus query …`: certified things, read from a node."""

from datetime import UTC, datetime
from typing import Any

import click

from cli.connect import connect, plain, short, waits
from cli.group import command, group
from cli.session import Session, pass_session
from salus.forms import Block, TransactionForm


@group()
def query() -> None:
    """Blocks, transactions, state, validators, peers."""


@query.command("block")
@click.argument("which", default="latest", metavar="HEIGHT|HASH|latest")
@pass_session
def query_block(session: Session, which: str) -> None:
    """One certified block with its certificate and receipts."""
    show_block(session, which)


@command()
@click.argument("which", default="latest", metavar="HEIGHT|HASH|latest")
@pass_session
def block(session: Session, which: str) -> None:
    """Short for: salus query block."""
    show_block(session, which)


@waits
async def show_block(session: Session, which: str) -> None:
    async with connect(session) as client:
        answer = await client.block(which)
    session.out.result(plain(answer), block_text(answer))


def block_text(block: Block) -> str:
    header = block.header
    certificate = block.certificate
    signers = (
        f"{len(certificate.signatures)} signatures, validators "
        + ", ".join(str(s.index) for s in certificate.signatures)
        if certificate is not None
        else "none: the genesis block is known, not agreed"
    )
    refused = sum(1 for receipt in block.receipts if receipt.code != "OK")
    lines = [
        f"block {header.height}  {header.hash}",
        f"time         {header.time}   epoch {header.epoch}   origin view {header.origin_view}",
        f"parent       {header.parent_hash}",
        f"proposer     {'-' if header.proposer is None else header.proposer}",
        f"certificate  {signers}",
        f"state root   {header.state_root}",
        (
            f"transactions {header.transactions_count}   operations {header.receipts_count}"
            f"   refused {refused}"
        ),
    ]
    return "\n".join([*lines, *(f"  {tx_id}" for tx_id in block.transactions)])


@query.command("tx")
@click.argument("tx_id")
@pass_session
@waits
async def query_tx(session: Session, tx_id: str) -> None:
    """State, content and receipts of a transaction."""
    async with connect(session) as client:
        answer = await client.transaction(tx_id)
    session.out.result(plain(answer), transaction_text(answer))


def transaction_text(tx: TransactionForm) -> str:
    where = f"  block {tx.height} index {tx.index}  {tx.time}" if tx.height is not None else ""
    lines = [f"{tx.state.value}{where}", f"tx      {tx.tx_id}"]
    if tx.sender:
        lines.append(f"sender  {tx.sender}")
    if tx.expiry_height:
        lines.append(f"expires after height {tx.expiry_height}")
    codes = {receipt.operation: receipt for receipt in tx.receipts}
    for index, operation in enumerate(tx.operations):
        receipt = codes.get(index)
        code = receipt.code if receipt else "-"
        lines.append(f"  #{index} {operation.contract}.{operation.method}  {code}")
        if receipt and receipt.facts:
            lines.append(f"     {receipt.facts}")
    return "\n".join(lines)


@query.command("state")
@click.argument("key")
@click.option("--proof", is_flag=True, help="With the proof that leads to the state root.")
@pass_session
@waits
async def query_state(session: Session, key: str, proof: bool) -> None:
    """The value of one key of the state map (KEY as hex, or text after «text:»)."""
    raw = key.removeprefix("text:").encode().hex() if key.startswith("text:") else key.lower()
    await _raw(session, f"/v1/state/{raw}" + ("/proof" if proof else ""))


@query.command("account")
@click.argument("address")
@pass_session
@waits
async def query_account(session: Session, address: str) -> None:
    """What the chain knows of a key: member, capacity, roles."""
    async with connect(session) as client:
        session.out.result(plain(await client.account(address)))


@query.command("validators")
@pass_session
@waits
async def query_validators(session: Session) -> None:
    """Who votes in this epoch, and who is seen."""
    async with connect(session) as client:
        answer = await client.validators()
    rows = [
        (
            v.index,
            v.member,
            "primary" if v.primary else "",
            "yes" if v.connected else "no",
            "-" if v.last_signed_height is None else v.last_signed_height,
            v.address,
        )
        for v in answer.items
    ]
    columns = ("#", "MEMBER", "ROLE", "SEEN", "LAST SIGNED", "ADDRESS")
    session.out.note(f"epoch {answer.epoch}: n {answer.n}, f {answer.f}, quorum {answer.quorum}")
    session.out.table(plain(answer), columns, rows)


@query.command("peers")
@pass_session
@waits
async def query_peers(session: Session) -> None:
    """The node's connections, and who refused whom."""
    document = await _fetch(session, "/v1/peers")
    columns = ("MEMBER", "ADDRESS", "IN", "OUT", "RTT MS", "LAST SEEN", "REFUSED")
    rows = [
        (
            peer["member"],
            peer["address"],
            "yes" if peer["connected_in"] else "no",
            "yes" if peer["connected_out"] else "no",
            "-" if peer["rtt_ms"] is None else f"{peer['rtt_ms']:.1f}",
            peer["last_seen"] or "-",
            peer["refused"] or "",
        )
        for peer in items_of(document)
    ]
    session.out.table(document, columns, rows)


@query.command("params")
@pass_session
@waits
async def query_params(session: Session) -> None:
    """The parameters of this epoch."""
    await _raw(session, "/v1/params")


def items_of(document: Any) -> list[dict[str, Any]]:
    found = document.get("items", []) if isinstance(document, dict) else document
    return [item for item in found if isinstance(item, dict)]


async def _fetch(session: Session, path: str) -> Any:
    async with connect(session) as client:
        return (await client.api("GET", path)).json()


async def _raw(session: Session, path: str) -> None:
    session.out.result(await _fetch(session, path))


def clock(time_ms: int) -> str:
    """A block's time for people, UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M:%S")


__all__ = ["block", "block_text", "clock", "query", "short"]
