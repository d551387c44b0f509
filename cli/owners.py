"""A client that signs as the owner of a relation: with the key that is in force on the chain."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from cli.connect import connect
from cli.errors import CliError
from cli.keyfiles import signer_of
from cli.patients import relation_of
from cli.session import Session
from cli.wallets import OpenWallet
from salus.client import Client
from salus.keys import Signer
from salus.relation import RelationEntry
from salus.wallet import KnownRelation


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
    where = {"org": relation.org, "handle": relation.handle.hex()}
    return relation_of(await client.query("identity", "relation_of", **where))


@asynccontextmanager
async def as_owner(
    session: Session, wallet: OpenWallet, relation: KnownRelation
) -> AsyncIterator[tuple[Client, str]]:
    """A client of the relation's organisation, and the chain's id. --as names another key than the
    wallet's: a delegate's, say."""
    async with at_custodian(session, relation) as client:
        chain_id = (await client.chain()).genesis.chain_id
        if session.key is not None and session.key != wallet.name:
            client.signer = signer_of(session, session.home.target(session.node).home)
        else:
            client.signer = await _in_force(client, chain_id, wallet, relation)
        yield client, chain_id


async def _in_force(
    client: Client, chain_id: str, wallet: OpenWallet, relation: KnownRelation
) -> Signer:
    found = await standing(client, relation)
    if found is None:
        raise CliError("UNKNOWN_RELATION", f"{relation.org} knows no such relation")
    # Block time follows the clocks of the validators; a moment off, and the chain says so.
    owner = found.owner_at(time.time_ns() // 1_000_000)
    key = wallet.owner(chain_id, relation, owner)
    if key is not None:
        return key
    raise CliError(
        "WRONG_KEY",
        f"the key of «{wallet.name}» at {relation.org} is none of this wallet",
        next_step="it was recovered or claimed elsewhere: use that device",
    )
