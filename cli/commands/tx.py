"""`salus tx …`: build, sign, send and follow transactions.

`salus tx CONTRACT METHOD --field …` exists for every method that a contract declares; nothing
here knows a contract by name (architecture.md: a contract is one file).
"""

from pathlib import Path
from typing import Any

import click

from cli.connect import connect, plain, waits
from cli.errors import CliError
from cli.group import Group, group
from cli.session import Session, pass_session
from cli.transactions import (
    Outcome,
    deliver,
    method_command,
    operations_from,
    raw_transaction,
    read_input,
)


class ContractsGroup(Group):
    """The fixed commands, and one group per declared contract."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *sorted(_active().contracts)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, cmd_name) or _contract_group(cmd_name)


def _active() -> Any:
    from contracts.catalogue import registry
    from salus.parameters import Parameters

    return registry().activate(Parameters().contracts)


def _contract_group(name: str) -> Group | None:
    active = _active()
    contract = active.contracts.get(name)
    if contract is None:
        return None
    commands = [method_command(method) for method in contract.methods.values()]
    return Group(name, commands=commands, help=contract.doc, short_help=contract.doc)


@group(cls=ContractsGroup)
def tx() -> None:
    """Build, sign, send and follow transactions."""


@tx.command()
@click.argument("file", metavar="FILE|-")
@click.option("--no-wait", is_flag=True, help="Hand it over and do not wait for the outcome.")
@click.option("--dry-run", is_flag=True, help="Simulate on the certified state; send nothing.")
@pass_session
@waits
async def send(session: Session, file: str, no_wait: bool, dry_run: bool) -> None:
    """Send a signed transaction (from «tx sign») and wait until it is certified."""
    raw = raw_transaction(read_input(file))
    async with connect(session) as client:
        await deliver(session, client, raw, Outcome.of(dry_run=dry_run, no_wait=no_wait))


@tx.command()
@click.argument("file", metavar="FILE|-")
@pass_session
@waits
async def broadcast(session: Session, file: str) -> None:
    """Hand a signed transaction to a node; do not wait."""
    raw = raw_transaction(read_input(file))
    async with connect(session) as client:
        await deliver(session, client, raw, Outcome.HAND_OVER)


@tx.command()
@click.argument("file", metavar="FILE|-")
@pass_session
@waits
async def simulate(session: Session, file: str) -> None:
    """What a signed transaction would do on the certified state; changes nothing."""
    raw = raw_transaction(read_input(file))
    async with connect(session) as client:
        await deliver(session, client, raw, Outcome.SIMULATE)


@tx.command()
@click.argument("file", metavar="FILE|-")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--independent", is_flag=True, help="Operations succeed or fail one by one.")
@click.option("--genesis", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--expiry-height", type=click.IntRange(min=1), help="Last height it is valid for.")
@pass_session
@waits
async def sign(
    session: Session,
    file: str,
    output: Path,
    independent: bool,
    genesis: Path | None,
    expiry_height: int | None,
) -> None:
    """Sign operations (JSON: [{"contract", "method", "args"}…]) into a file.

    With --genesis and --expiry-height no node is asked: for a machine without network.
    """
    operations = operations_from(read_input(file), _active())
    if (genesis is None) != (expiry_height is None):
        raise CliError("USAGE", "--genesis and --expiry-height go together")
    if genesis is not None and expiry_height is not None:
        import os

        from cli.keyfiles import signer_of
        from salus.genesis import from_json
        from salus.transaction import build

        founding = from_json(read_input(str(genesis)))
        home = session.home.node if session.home.node.exists else None
        built = build(
            operations,
            signer=signer_of(session, home),
            chain_id=founding.chain_id,
            genesis_hash=founding.hash(),
            nonce=os.urandom(16),
            expiry_height=expiry_height,
            independent=independent,
        )
    else:
        async with connect(session, sign=True) as client:
            built = await client.build(operations, independent=independent)
    with output.open("xb") as stream:
        stream.write(built.raw)
    document = {
        "tx_id": built.id.hex(),
        "file": str(output),
        "bytes": len(built.raw),
        "expiry_height": built.body.expiry_height,
    }
    session.out.result(document, f"signed  tx {built.id.hex()}  →  {output}")


@tx.command()
@click.argument("tx_id")
@pass_session
@waits
async def show(session: Session, tx_id: str) -> None:
    """State, content and receipts of a transaction."""
    from cli.commands.query import transaction_text

    async with connect(session) as client:
        answer = await client.transaction(tx_id)
    session.out.result(plain(answer), transaction_text(answer))
    if answer.state.value == "unknown":
        click.get_current_context().exit(5)


@tx.command()
@click.argument("tx_id")
@pass_session
@waits
async def wait(session: Session, tx_id: str) -> None:
    """Wait for the outcome of a transaction that was sent before."""
    async with connect(session) as client:
        done = await client.wait(tx_id)
    session.out.result(plain(done.answer), f"committed  block {done.height}  tx {done.tx_id}")


@tx.command()
@click.argument("file", metavar="FILE|-")
@pass_session
def decode(session: Session, file: str) -> None:
    """What stands in a transaction; asks no node and checks no signature against a chain."""
    from salus.codec import decode as decode_wire
    from salus.keys import address
    from salus.transaction import Operation, Transaction

    body = decode_wire(raw_transaction(read_input(file)), Transaction)
    active = _active()
    operations = []
    for raw in body.operations:
        operation = decode_wire(raw, Operation)
        operations.append(
            {
                "contract": operation.contract,
                "method": operation.method,
                "version": operation.version,
                "args": operation.args.hex(),
                "decoded": active.decoded(operation),
            }
        )
    session.out.result(
        {
            "version": body.version,
            "chain_id": body.chain_id,
            "sender": address(body.sender),
            "nonce": body.nonce.hex(),
            "first_height": body.first_height,
            "expiry_height": body.expiry_height,
            "independent": body.independent,
            "operations": operations,
            "signature": body.signature.hex(),
        }
    )
