"""`salus patient recover …` and `salus patient request`: new keys for a relation whose owner lost his.

Proposer, approvers and the patient's new device may be three machines: what they need of each other
is the request file (salus/key_request.py), which names no one.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from cli import key_requests
from cli.connect import waits
from cli.errors import CliError
from cli.group import command, group
from cli.hexes import hex_bytes
from cli.owners import (
    anybody,
    as_friend,
    as_owner,
    at_custodian,
    entry_of,
    now_ms,
    send,
    tell,
)
from cli.session import Session, pass_session
from cli.wallets import OpenWallet, make_or_open, open_wallet
from salus import key_request
from salus.acts import relations
from salus.key_request import KeyRequest, Use
from salus.patient_keys import Relation, delegate_key, guardian_key
from salus.relation import RelationEntry
from salus.wallet import KnownRelation

KEY_DIGITS_MIN = 8  # as commands shorten keys; nobody makes another key of theirs by chance

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_name = click.argument("name", required=False)
_request = click.option(
    "--request",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Instead of NAME: the request of the device that has the new key.",
)
_output = click.Path(dir_okay=False, path_type=Path)


@group()
def recover() -> None:
    """New keys for a relation whose owner lost his."""


@recover.command()
@_name
@_at
@_request
@click.option("-o", "--output", type=_output, metavar="FILE", help="Write a request to approve.")
@pass_session
@waits
async def propose(
    session: Session, name: str | None, org: str | None, file: Path | None, output: Path | None
) -> None:
    """Propose the next key of the wallet, or the requested one; a guardian or the organisation
    signs (--as)."""
    wallet, relation, asked = _meant(session, name, org, file)
    async with as_friend(session, relation) as (client, chain_id, _):
        if asked is None:
            assert wallet is not None
            wallet.next_generation(relation)
            asked = _next_key(wallet, chain_id, relation, Use.RECOVER)
        _of_chain(asked, chain_id)
        done = await send(client, relations.recover(asked))
    if output is not None:
        key_requests.write(output, asked)
    tell(session, "proposed", name, relation, done, new_key=asked.key.hex())


@recover.command()
@_name
@_at
@_request
@pass_session
@waits
async def approve(session: Session, name: str | None, org: str | None, file: Path | None) -> None:
    """Approve: a guardian, or without any the operator of another organisation (--as)."""
    wallet, relation, asked = _meant(session, name, org, file)
    async with as_friend(session, relation) as (client, chain_id, entry):
        proposed = _proposed(entry, relation)
        if asked is not None:
            _of_chain(asked, chain_id)
            mine = [key for key in proposed if key == asked.key]
        else:
            assert wallet is not None
            mine = [key for key in proposed if wallet.owns(chain_id, relation, key)]
        if not mine:
            whose = f"none of «{name}»" if asked is None else "not the one of the request"
            raise CliError("WRONG_KEY", f"the key that is proposed is {whose}")
        done = await send(client, relations.about("recover_approve", relation.whose, mine[-1]))
    tell(session, "approved", name, relation, done)


@recover.command()
@click.argument("name")
@_at
@click.option(
    "--proposal",
    metavar="KEY",
    help="The new key that is objected to, or how it begins; needed where several are proposed.",
)
@pass_session
@waits
async def cancel(session: Session, name: str, org: str | None, proposal: str | None) -> None:
    """The owner's key objects to a proposal, and with it to all; once in two waiting times."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, _):
        new_key = meant(_proposed(await entry_of(client, relation), relation), proposal)
        done = await send(client, relations.about("recover_cancel", relation.whose, new_key))
    tell(session, "cancelled", name, relation, done, new_key=new_key.hex())


@recover.command()
@_name
@_at
@_request
@pass_session
@waits
async def finish(session: Session, name: str | None, org: str | None, file: Path | None) -> None:
    """Put the new keys in force: approved, and the waiting time over. Anybody may (--as)."""
    _, relation, _ = _meant(session, name, org, file)
    async with at_custodian(session, relation) as client:
        chain_id = (await client.chain()).genesis.chain_id
        client.signer = anybody(session, chain_id, relation)
        done = await send(client, relations.finish(relation.whose))
    tell(session, "finished", name, relation, done)


@command()
@click.argument("name")
@click.option("--at", "org", metavar="ORG", required=True, help="The organisation.")
@click.option("--handle", metavar="HEX", help="The relation, where this wallet does not know it.")
@click.option(
    "--for",
    "use",
    type=click.Choice([one.value for one in Use]),
    default=Use.RECOVER.value,
    show_default=True,
    help="What the key is to be.",
)
@click.option(
    "--number",
    type=click.IntRange(0, 15),
    default=0,
    metavar="N",
    help="Of a guardian or delegate: times that it was one before.",
)
@click.option("-o", "--output", type=_output, metavar="FILE", required=True, help="The request.")
@pass_session
@waits
async def request(
    session: Session,
    name: str,
    org: str,
    handle: str | None,
    use: str,
    number: int,
    output: Path,
) -> None:
    """Write down which key this wallet would have, for others to bring to the chain: a new owner key,
    to recover or claim a relation, or the key of a guardian or delegate."""
    kind = Use(use)
    if kind in (Use.RECOVER, Use.CLAIM):
        wallet = make_or_open(session, name, None)
        known = wallet.contents.at(org)
        if known is not None and handle in (None, known.handle.hex()):
            relation = _newer(known)
        else:
            relation = KnownRelation(org, _handle(handle), False, 0)
    else:
        wallet, relation = open_wallet(session, name), KnownRelation(org, _handle(handle), False, 0)
    async with at_custodian(session, relation) as client:
        chain_id = (await client.chain()).genesis.chain_id
    if kind in (Use.RECOVER, Use.CLAIM):
        keys = wallet.keys(chain_id, wallet.take_over(relation))
        made = key_request.make(kind, chain_id, relation.whose, keys.signing, keys.public.box)
    else:
        derive = guardian_key if kind is Use.GUARDIAN else delegate_key
        key = derive(wallet.seed, Relation(chain_id, org), relation.handle, number)
        made = key_request.make(kind, chain_id, relation.whose, key)
    key_requests.write(output, made)
    session.out.result(
        {"request": str(output), "for": kind.value, "at": org, "key": made.key.hex()},
        f"{session.out.mark(True)} {output}: a key to {kind.value} at {org}; it holds no secret",
    )


# -- what is meant -------------------------------------------------------------------------------


def _meant(
    session: Session, name: str | None, org: str | None, file: Path | None
) -> tuple[OpenWallet | None, KnownRelation, KeyRequest | None]:
    if (name is None) == (file is None):
        raise CliError("USAGE", "name a patient of this home, or --request FILE")
    if file is not None:
        asked = key_requests.read(file, Use.RECOVER)
        return None, KnownRelation(asked.whose.org, asked.whose.handle, False, 0), asked
    assert name is not None
    wallet = open_wallet(session, name)
    return wallet, wallet.relation(org), None


def _next_key(wallet: OpenWallet, chain_id: str, relation: KnownRelation, use: Use) -> KeyRequest:
    keys = wallet.keys(chain_id, _newer(relation))
    return key_request.make(use, chain_id, relation.whose, keys.signing, keys.public.box)


def _newer(relation: KnownRelation) -> KnownRelation:
    return KnownRelation(relation.org, relation.handle, relation.custodial, relation.generation + 1)


def _of_chain(asked: KeyRequest, chain_id: str) -> None:
    if asked.chain_id != chain_id:
        raise CliError("BAD_KEY_REQUEST", "the request is for another chain")


def _proposed(entry: RelationEntry, relation: KnownRelation) -> list[bytes]:
    """The keys that are proposed, or the one that was approved; in the order of proposal."""
    recoveries = (entry.recovery,) if entry.recovery else entry.proposals_at(now_ms())
    if not recoveries:
        raise CliError("NO_RECOVERY", f"no recovery is open at {relation.org}")
    return [one.new_key for one in recoveries]


def meant(proposed: Sequence[bytes], beginning: str | None) -> bytes:
    """The one new key that is meant: a voice counts for a key, never for what came meanwhile. Raises
    `CliError` (USAGE, NO_RECOVERY)."""
    found = [key for key in dict.fromkeys(proposed) if key.hex().startswith(beginning or "")]
    if beginning is not None and len(beginning) < KEY_DIGITS_MIN:
        raise CliError("USAGE", f"--proposal: at least {KEY_DIGITS_MIN} hex digits of the new key")
    if not found:
        raise CliError("NO_RECOVERY", f"nothing is proposed that begins with «{beginning}»")
    if len(found) > 1:
        keys = ", ".join(key.hex() for key in found)
        raise CliError(
            "USAGE",
            f"which of {len(found)} proposals? their new keys: {keys}",
            next_step="salus patient recover cancel NAME --proposal KEY",
        )
    return found[0]


def _handle(text: str | None) -> bytes:
    if text is None:
        raise CliError(
            "USAGE",
            "this wallet does not know the relation",
            next_step="--handle HEX: the hospital, or a card, tells it",
        )
    return hex_bytes(text, 32, "a handle")
