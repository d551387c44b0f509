"""`salus patient …`: a patient's relations to organisations, and the keys that own them.

The seed lies in this home under a password (cli/wallets.py). What is shown here of a person is
the name that the user gave the wallet; the chain sees a handle.
"""

import click

from cli import patients
from cli.connect import connect, short, waits
from cli.errors import CliError
from cli.group import group
from cli.owners import as_owner, at_custodian, standing
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
    async with connect(session, sign=True) as client:
        chain_id = (await client.chain()).genesis.chain_id
        relation = wallet.new_relation(chain_id, org, custodial=custodial)
        # Kept before it is sent: the answer may be lost. So the wallet alone does not say that it
        # is registered.
        known = wallet.contents.at(org)
        if known is None:
            wallet.update(lambda contents: contents.with_relation(relation))
        elif await standing(client, known) is not None:
            raise CliError("DUPLICATE_HANDLE", f"«{name}» is registered at {org} already")
        done = await _send(client, patients.register(wallet, chain_id, relation))
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
        _next_generation(wallet, relation)
        done = await _send(client, patients.rotate(wallet, chain_id, relation))
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
    async with at_custodian(session, relation, sign=True) as client:
        chain_id = (await client.chain()).genesis.chain_id
        _next_generation(wallet, relation)
        done = await _send(client, patients.recover(wallet, chain_id, relation))
    _tell(session, "proposed", name, relation, done)


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def approve(session: Session, name: str, org: str | None) -> None:
    """Approve: a guardian, or without any the operator of another organisation (--as)."""
    wallet, relation = _relation(session, name, org)
    async with at_custodian(session, relation, sign=True) as client:
        chain_id = (await client.chain()).genesis.chain_id
        new_key = await _proposed(client, relation)
        if not wallet.owns(chain_id, relation, new_key):
            raise CliError("WRONG_KEY", f"the key that is proposed is none of «{name}»")
        done = await _send(client, patients.about("recover_approve", relation, new_key))
    _tell(session, "approved", name, relation, done)


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def cancel(session: Session, name: str, org: str | None) -> None:
    """The owner's key objects; once."""
    wallet, relation = _relation(session, name, org)
    async with as_owner(session, wallet, relation) as (client, _):
        new_key = await _proposed(client, relation)
        done = await _send(client, patients.about("recover_cancel", relation, new_key))
    _tell(session, "cancelled", name, relation, done)


@recover.command()
@click.argument("name")
@_at
@pass_session
@waits
async def finish(session: Session, name: str, org: str | None) -> None:
    """Put the new keys in force: approved, and the waiting time over."""
    _, relation = _relation(session, name, org)
    async with at_custodian(session, relation, sign=True) as client:
        done = await _send(client, patients.finish(relation))
    _tell(session, "finished", name, relation, done)


async def _send(client: Client, operation: Operation) -> Committed:
    return await client.commit(await client.build([operation]))


async def _proposed(client: Client, relation: KnownRelation) -> bytes:
    """The key that a recovery proposes, as it stands."""
    found = await standing(client, relation)
    if found is None or found.recovery is None:
        raise CliError("NO_RECOVERY", f"no recovery is open at {relation.org}")
    return found.recovery.new_key


def _relation(session: Session, name: str, org: str | None) -> tuple[OpenWallet, KnownRelation]:
    wallet = open_wallet(session, name)
    return wallet, wallet.relation(org)


def _next_generation(wallet: OpenWallet, relation: KnownRelation) -> None:
    """Before the key is sent, for the answer may be lost: a key that stands on the chain and that
    the wallet does not look for would lock its owner out."""
    newer = KnownRelation(
        relation.org, relation.handle, relation.custodial, relation.generation + 1
    )
    wallet.update(lambda contents: contents.with_relation(newer))


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
