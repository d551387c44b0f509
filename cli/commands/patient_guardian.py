"""`salus patient guardian …` and `salus patient veto`: friends who help when a key is lost or stolen.

A guardian is somebody with a wallet of his own, whose seed gives one key for each relation that he
guards. His word to become one is a request file, or his wallet lies in this home.
"""

from pathlib import Path

import click

from cli import key_requests
from cli.commands.patient_recover import approve
from cli.connect import waits
from cli.cosign_options import cosigned
from cli.cosigning import deliver
from cli.errors import CliError
from cli.group import command, group
from cli.hexes import hex_bytes
from cli.owners import FRIEND_NUMBERS_MAX, as_friend, as_owner, entry_of, known_key, send, tell
from cli.session import Session, pass_session
from cli.wallets import has_wallet, open_wallet
from salus import key_request
from salus.acts import relations
from salus.client import Client
from salus.key_request import KeyRequest, Use
from salus.patient_keys import Relation, delegate_key, guardian_key
from salus.relation import RelationEntry
from salus.wallet import KnownRelation

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_threshold = click.option(
    "--threshold", type=click.IntRange(0, 7), metavar="K", help="How many decide together."
)


@group()
def guardian() -> None:
    """Friends who approve a recovery and may veto a rotation, K of them together."""


guardian.add_command(approve)  # what a guardian mostly does; the same as recover approve


@guardian.command()
@click.argument("name")
@click.argument("friends", metavar="WALLET|FILE…", nargs=-1, required=True)
@_at
@_threshold
@cosigned
@pass_session
@waits
async def add(
    session: Session,
    name: str,
    friends: tuple[str, ...],
    org: str | None,
    threshold: int | None,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """Name guardians: wallets of this home, or the requests that they wrote on their own devices.

    It is co-signed: the first by another organisation, later by K guardians, a guardian and another
    organisation, or two other organisations. Without --threshold: more than half."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        entry = await entry_of(client, relation)
        new = [
            await asked_by(session, client, friend, chain_id, relation, Use.GUARDIAN)
            for friend in friends
        ]
        count = len({*entry.guardians, *(one.key for one in new)})
        unsigned = relations.set_guardians(
            relation.whose, entry, entry.guardians, new, threshold or count // 2 + 1
        )
        done = await deliver(session, client, relation, entry, unsigned, cosigners, draft)
    if done is not None:
        keys = [one.hex() for one in unsigned.args["guardians"]]
        k = unsigned.args["threshold"]
        tell(session, "guarded", name, relation, done, guardians=keys, threshold=k)


@guardian.command()
@click.argument("name")
@click.argument("friend", metavar="WALLET|KEY")
@_at
@_threshold
@cosigned
@pass_session
@waits
async def remove(
    session: Session,
    name: str,
    friend: str,
    org: str | None,
    threshold: int | None,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """Name one guardian less, by wallet of this home or by key; co-signed as add.

    Without --threshold: as it was, or fewer where so many are not left."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        entry = await entry_of(client, relation)
        kept = relations.without(entry, friend_key(session, friend, chain_id, relation, entry))
        k = min(entry.threshold, len(kept)) if threshold is None else threshold
        unsigned = relations.set_guardians(relation.whose, entry, kept, (), k)
        done = await deliver(session, client, relation, entry, unsigned, cosigners, draft)
    if done is not None:
        keys = [one.hex() for one in kept]
        tell(session, "guarded", name, relation, done, guardians=keys, threshold=k)


@command()
@click.argument("name", required=False)
@_at
@click.option("--handle", metavar="HEX", help="Instead of NAME, with --at: the relation.")
@pass_session
@waits
async def veto(session: Session, name: str | None, org: str | None, handle: str | None) -> None:
    """A guardian (--as) objects to a rotation that waits; K of them stop it."""
    if name is not None:
        relation = open_wallet(session, name).relation(org)
    elif org is not None and handle is not None:
        relation = KnownRelation(org, hex_bytes(handle, 32, "a handle"), False, 0)
    else:
        raise CliError("USAGE", "name a patient of this home, or --at ORG and --handle HEX")
    async with as_friend(session, relation) as (client, _, entry):
        if entry.rotation is None:
            raise CliError("NO_ROTATION", f"no rotation waits at {relation.org}")
        about = relations.about("veto", relation.whose, entry.rotation.new_key)
        done = await send(client, about)
    tell(session, "vetoed", name, relation, done)


async def asked_by(
    session: Session,
    client: Client,
    friend: str,
    chain_id: str,
    relation: KnownRelation,
    use: Use,
) -> KeyRequest:
    """What a friend asks for: by his request file, or made now from his wallet in this home."""
    if not has_wallet(session, friend):
        asked = key_requests.read(Path(friend), use)
        where = (asked.chain_id, asked.whose.org, asked.whose.handle)
        if where != (chain_id, relation.org, relation.handle):
            raise CliError("BAD_KEY_REQUEST", f"{friend} is for another relation")
        return asked
    seed, of = open_wallet(session, friend).seed, Relation(chain_id, relation.org)
    derive = guardian_key if use is Use.GUARDIAN else delegate_key
    for number in range(FRIEND_NUMBERS_MAX):  # a key is entered once: the first that never was
        key = derive(seed, of, relation.handle, number)
        if await client.query("identity", "by_key", public_key=key.public_key.hex()) is None:
            return key_request.make(use, chain_id, relation.whose, key)
    raise CliError("KEY_IN_USE", f"«{friend}» came and went here {FRIEND_NUMBERS_MAX} times")


def friend_key(
    session: Session, friend: str, chain_id: str, relation: KnownRelation, entry: RelationEntry
) -> bytes:
    """The public key of a friend, said as hex or by a wallet of this home."""
    if not has_wallet(session, friend):
        return hex_bytes(friend, 32, f"«{friend}» is no wallet of this home, and no key")
    key = known_key(open_wallet(session, friend), chain_id, relation, entry)
    if key is None:
        raise CliError("WRONG_KEY", f"«{friend}» has no key at {relation.org}")
    return key.public_key
