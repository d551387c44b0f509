"""`salus patient …`: a patient's relations to organisations, and the keys that own them.

The seed lies in this home under a password (cli/wallets.py). What is shown here of a person is
the name that the user gave the wallet; the chain sees a handle.
"""

import click

from cli import patients
from cli.connect import connect, short, waits
from cli.errors import CliError
from cli.group import group
from cli.owners import as_owner
from cli.session import Session, pass_session
from cli.wallets import OpenWallet, make_or_open, open_wallet
from salus.client import Client, Committed
from salus.transaction import Operation
from salus.wallet import KnownRelation

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")


@group()
def patient() -> None:
    """Relations to organisations, and the keys that own them."""


@patient.command()
@click.argument("name")
@click.option("--at", "org", metavar="ORG", required=True, help="The organisation.")
@click.option("--custodial", is_flag=True, help="The organisation holds the patient's key.")
@click.option("--dry-run", is_flag=True, help="Check; make and send nothing.")
@pass_session
@waits
async def register(session: Session, name: str, org: str, custodial: bool, dry_run: bool) -> None:
    """Register a patient at an organisation; its operator signs, and the patient's own key."""
    session.node = session.node or org
    target = session.home.target(session.node)
    if dry_run:
        session.out.result({"patient": name, "at": org}, "nothing sent (--dry-run)")
        return
    wallet = make_or_open(session, name, target.home if custodial else None)
    if wallet.contents.at(org) is not None:
        raise CliError("DUPLICATE_HANDLE", f"«{name}» is registered at {org} already")
    async with connect(session, sign=True) as client:
        chain_id = (await client.chain()).genesis.chain_id
        relation = wallet.new_relation(chain_id, org, custodial=custodial)
        done = await _send(client, patients.register(wallet, chain_id, relation))
    wallet.contents = wallet.contents.with_relation(relation)
    wallet.save()
    _tell(session, "registered", name, relation, done)


@patient.command("rotate-key")
@click.argument("name")
@_at
@click.option("--dry-run", is_flag=True, help="Check; send nothing.")
@pass_session
@waits
async def rotate_key(session: Session, name: str, org: str | None, dry_run: bool) -> None:
    """A new owner key from the same seed; the old one (--as, default NAME) signs.

    It is in force after the consortium's waiting time, within which guardians may object."""
    wallet, relation = _relation(session, name, org)
    if dry_run:
        session.out.result({"patient": name, "at": relation.org}, "nothing sent (--dry-run)")
        return
    async with as_owner(session, wallet, relation) as (client, chain_id):
        done = await _send(client, patients.rotate(wallet, chain_id, relation))
    _next_generation(wallet, relation)
    _tell(session, "rotating", name, relation, done)


@group()
def recover() -> None:
    """New keys for a relation whose owner lost his."""


patient.add_command(recover)


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def propose(session: Session, name: str, org: str | None) -> None:
    """Propose the next key of the wallet; a guardian or the organisation signs (--as)."""
    wallet, relation = _relation(session, name, org)
    session.node = session.node or relation.org
    async with connect(session, sign=True) as client:
        chain_id = (await client.chain()).genesis.chain_id
        done = await _send(client, patients.recover(wallet, chain_id, relation))
    _next_generation(wallet, relation)
    _tell(session, "proposed", name, relation, done)


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def approve(session: Session, name: str, org: str | None) -> None:
    """Approve: a guardian, or without any the operator of another organisation (--as)."""
    await _recovery(session, name, org, "recover_approve")


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def cancel(session: Session, name: str, org: str | None) -> None:
    """The owner's key objects; once."""
    wallet, relation = _relation(session, name, org)
    async with as_owner(session, wallet, relation) as (client, _):
        done = await _send(client, patients.about("recover_cancel", relation))
    _tell(session, "cancelled", name, relation, done)


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def finish(session: Session, name: str, org: str | None) -> None:
    """Put the new keys in force: approved, and the waiting time over."""
    await _recovery(session, name, org, "recover_finish")


async def _send(client: Client, operation: Operation) -> Committed:
    return await client.commit(await client.build([operation]))


async def _recovery(session: Session, name: str, org: str | None, method: str) -> None:
    _, relation = _relation(session, name, org)
    session.node = session.node or relation.org
    async with connect(session, sign=True) as client:
        done = await _send(client, patients.about(method, relation))
    _tell(session, method.removeprefix("recover_"), name, relation, done)


def _relation(session: Session, name: str, org: str | None) -> tuple[OpenWallet, KnownRelation]:
    wallet = open_wallet(session, name)
    return wallet, wallet.relation(org)


def _next_generation(wallet: OpenWallet, relation: KnownRelation) -> None:
    newer = KnownRelation(
        relation.org, relation.handle, relation.custodial, relation.generation + 1
    )
    wallet.contents = wallet.contents.with_relation(newer)
    wallet.save()


def _tell(session: Session, what: str, name: str, relation: KnownRelation, done: Committed) -> None:
    session.out.result(
        {
            "patient": name,
            "at": relation.org,
            "handle": relation.handle.hex(),
            "tx_id": done.tx_id,
            "height": done.height,
        },
        f"{session.out.mark(True)} {what}  {name} at {relation.org}  handle "
        f"{short(relation.handle.hex())}  block {done.height}",
    )
