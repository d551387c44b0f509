"""Clients and keys that speak for a relation: of its owner, its friends, its organisation."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from cli.connect import connect, short
from cli.errors import CliError
from cli.keyfiles import has_key, signer_of
from cli.session import Session
from cli.wallets import OpenWallet, has_wallet, open_wallet
from salus.acts.act import Act
from salus.client import Client, Committed
from salus.keys import Signer
from salus.patient_keys import Relation, delegate_key, guardian_key
from salus.relation import RelationEntry
from salus.wallet import KnownRelation

FRIEND_NUMBERS_MAX = (
    16  # times that somebody became a guardian, or a delegate, of one relation anew
)


def now_ms() -> int:
    """Block time follows the clocks of the validators; a moment off, and the chain says so."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def at_custodian(
    session: Session, relation: KnownRelation, *, sign: bool = False
) -> AsyncIterator[Client]:
    """A client of the relation's organisation where this home knows it, a testnet's; else of the
    node that the home belongs to: the chain is the same."""
    if session.home.is_testnet:
        session.node = session.node or relation.org
    async with connect(session, sign=sign) as client:
        yield client


async def standing(client: Client, relation: KnownRelation) -> RelationEntry | None:
    """The relation as the chain has it, or None."""
    return await client.patients.find(relation.whose)


async def entry_of(client: Client, relation: KnownRelation) -> RelationEntry:
    """The relation with a rotation that is due entered. Raises `CliError` (UNKNOWN_RELATION)."""
    found = await standing(client, relation)
    if found is None:
        raise CliError("UNKNOWN_RELATION", f"{relation.org} knows no such relation")
    return found.settled_at(now_ms())


async def relation_there(
    client: Client, wallet: OpenWallet, chain_id: str, org: str
) -> tuple[bytes, Signer] | None:
    """The patient's handle at another organisation, and its owner key if this wallet has the one in force:
    what a grantee is told, and what proves it."""
    there = wallet.contents.at(org)
    entry = None if there is None else await standing(client, there)
    if there is None or entry is None:
        return None
    owner = wallet.owner(chain_id, there, entry.owner_at(now_ms()))
    return None if owner is None else (there.handle, owner)


@asynccontextmanager
async def as_owner(
    session: Session, wallet: OpenWallet, relation: KnownRelation
) -> AsyncIterator[tuple[Client, str]]:
    """A client of the relation's organisation, and the chain's id. --as names another key than the
    wallet's: a delegate's, say."""
    async with at_custodian(session, relation) as client:
        chain_id = (await client.chain()).genesis.chain_id
        entry = await entry_of(client, relation)
        if session.key is not None and session.key != wallet.name:
            client.signer = named(session, session.key, chain_id, relation, entry)
        else:
            client.signer = _in_force(chain_id, wallet, relation, entry)
        yield client, chain_id


@asynccontextmanager
async def as_friend(
    session: Session, relation: KnownRelation
) -> AsyncIterator[tuple[Client, str, RelationEntry]]:
    """A client that signs with the key of --as: a guardian's or delegate's wallet, an organisation's
    operator; default the operator of the home. And the relation as it stands."""
    async with at_custodian(session, relation) as client:
        chain_id = (await client.chain()).genesis.chain_id
        entry = await entry_of(client, relation)
        client.signer = named(session, session.key, chain_id, relation, entry)
        yield client, chain_id, entry


async def relation_with(session: Session, wallet: OpenWallet, permit: bytes) -> KnownRelation:
    """The relation of a permit: as this device remembers it, or else by asking the chain, for a wallet
    that was rebuilt remembers none. Raises `CliError` (UNKNOWN_PERMIT)."""
    for opening in wallet.contents.openings:
        if opening.permit == permit:
            return wallet.relation(opening.org)
    for relation in wallet.contents.relations:
        asking = replace(session)  # its own: a testnet's relations are asked at their custodians
        async with at_custodian(asking, relation) as client:
            where = {"org": relation.org, "handle": relation.handle.hex()}
            found = await client.query("consent", "permit", **where, permit=permit.hex())
        if found is not None:
            return relation
    raise CliError(
        "UNKNOWN_PERMIT",
        f"no relation of «{wallet.name}» has this permit",
        next_step=f"salus consent list --patient {wallet.name}",
    )


def named(
    session: Session,
    name: str | None,
    chain_id: str,
    relation: KnownRelation,
    entry: RelationEntry,
) -> Signer:
    """The key of that name: a file in keys/, an organisation of the testnet, or a wallet; of a wallet
    the key by which this relation knows it. Raises `CliError` (WRONG_KEY)."""
    home = session.home.target(session.node).home
    other = replace(session, key=name)
    if name is None or os.sep in name or has_key(other, home) or not has_wallet(session, name):
        return signer_of(other, home)
    wallet = open_wallet(session, name)
    key = known_key(wallet, chain_id, relation, entry)
    if key is None:
        raise CliError(
            "WRONG_KEY",
            f"«{name}» is neither owner nor guardian nor delegate at {relation.org}",
        )
    return key


def anybody(session: Session, chain_id: str, relation: KnownRelation) -> Signer:
    """The key of --as for what anybody may do: a file's, or of a wallet the newest for this relation,
    in force or not."""
    home = session.home.target(session.node).home
    name = session.key
    if name is None or os.sep in name or has_key(session, home) or not has_wallet(session, name):
        return signer_of(session, home)
    wallet = open_wallet(session, name)
    return wallet.keys(chain_id, wallet.contents.at(relation.org) or relation).signing


def known_key(
    wallet: OpenWallet, chain_id: str, relation: KnownRelation, entry: RelationEntry
) -> Signer | None:
    """The key of this wallet that stands in the relation's entry."""
    own = wallet.contents.at(relation.org)
    if own is not None and own.handle == relation.handle:
        owner = wallet.owner(chain_id, own, entry.owner_key)
        if owner is not None:
            return owner
    of = Relation(chain_id, relation.org)
    delegates = {one.key for one in entry.delegates}
    for number in range(FRIEND_NUMBERS_MAX):
        guardian = guardian_key(wallet.seed, of, relation.handle, number)
        if guardian.public_key in entry.guardians:
            return guardian
        delegate = delegate_key(wallet.seed, of, relation.handle, number)
        if delegate.public_key in delegates:
            return delegate
    return None


def _in_force(
    chain_id: str, wallet: OpenWallet, relation: KnownRelation, entry: RelationEntry
) -> Signer:
    key = wallet.owner(chain_id, relation, entry.owner_key)
    if key is not None:
        return key
    raise CliError(
        "WRONG_KEY",
        f"the key of «{wallet.name}» at {relation.org} is none of this wallet",
        next_step="it was recovered or claimed elsewhere: use that device",
    )


async def send(client: Client, act: Act) -> Committed:
    return await client.commit(await client.build([act.operation]))


def tell(
    session: Session,
    what: str,
    name: str | None,
    relation: KnownRelation,
    done: Committed,
    **more: Any,
) -> None:
    """What was done to a relation, and in which block."""
    document = {
        "patient": name,
        "at": relation.org,
        "handle": relation.handle.hex(),
        **more,
        "tx_id": done.tx_id,
        "height": done.height,
    }
    whose = f"{name} at {relation.org}" if name else f"at {relation.org}"
    session.out.result(
        document,
        f"{session.out.mark(True)} {what}  {whose}  handle {short(relation.handle.hex())}"
        f"  block {done.height}",
    )
