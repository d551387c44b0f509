"""Reading a patient's record at the command line: who asks, through which node, and what is said.

A member of staff asks through the organisation's node, with the key that it registered; a patient with
a wallet asks in his own name (PATRQT), through any node.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import staff, wallets
from cli.connect import connect
from cli.errors import CliError
from cli.keyfiles import signer_of
from cli.owners import entry_of, named
from cli.session import Session
from salus.asking import Wish
from salus.client import Client, Trust
from salus.client_access import Read
from salus.consent.terms import Code
from salus.files import write_new
from salus.genesis import from_json
from salus.keys import Signer
from salus.permit import Purpose
from salus.reading import CARE_BYTES_MAX
from salus.relation import Whose
from salus.scope import purpose_of
from salus.site import parse_site
from salus.wallet import KnownRelation

NO_SITE = "-"  # says nothing of where, though the node has a place


@dataclass(frozen=True, slots=True)
class Reading:
    """What was asked for."""

    record_id: bytes
    purpose: Purpose
    care: bytes
    permit: bytes | None
    version: int | None
    site: str | None = None  # SYSTEM|VALUE; None: the node's, if it has a single one


def wanted(
    record_id: str,
    purpose: str,
    care: str,
    permit: str | None,
    version: int | None,
    site: str | None = None,
) -> Reading:
    """Raises `CliError` (USAGE), `BadMessage` (BAD_PURPOSE, BAD_SITE)."""
    if site not in (None, NO_SITE):
        parse_site(site)
    if len(care.encode()) > CARE_BYTES_MAX:
        raise CliError("USAGE", f"--care has at most {CARE_BYTES_MAX} bytes")
    return Reading(
        _bytes(record_id, 16, "a record id"),
        purpose_of(purpose),
        care.encode(),
        None if permit is None else _bytes(permit, 32, "--permit"),
        version,
        site,
    )


async def site_of(client: Client, said: str | None, purpose: Purpose) -> Code | None:
    """The place that was said, or the only one of the node; a patient says none by himself."""
    if said is None and purpose is not Purpose.PATIENT_REQUEST:
        known = await client.access.sites()
        said = known[0] if len(known) == 1 else None
    return None if said in (None, NO_SITE) else parse_site(said)


async def read(session: Session, reading: Reading, output: Path, proof: Path | None) -> Read:
    """Ask, fetch, verify; then the proof file, if one is wished for."""
    for path in (output, proof):
        if path is not None and path.exists():
            raise CliError("REFUSES_OVERWRITE", f"{path} exists")
    async with at_node(session, reading.purpose) as client:
        chain = await client.chain()
        found = await client.access.locate(reading.record_id, version=reading.version)
        whose = Whose(found.custodian, found.located.handle)
        signer = await signer_at(session, client, reading.purpose, whose)
        member = (await client.status()).member
        if member is None:
            raise CliError("NOT_ENABLED", "this node is no member's: nobody reads through it")
        wish = Wish(
            chain.genesis.chain_id,
            member,
            reading.purpose,
            reading.care,
            reading.permit,
            await site_of(client, reading.site, reading.purpose),
        )
        done = await client.access.read(
            reading.record_id,
            wish,
            signer,
            output,
            version=reading.version,
            custodian=found.custodian,
            keep_opening=proof is not None,
            progress=lambda came, all_of: session.out.detail(f"{came} of {all_of} MiB"),
        )
        if proof is not None and done.path is not None:
            write_new(proof, await client.access.proof_of(done))
    return done


def said(done: Read) -> dict[str, Any]:
    """As --json prints it."""
    return {
        "decision": "PERMIT" if done.permitted else "DENY",
        "reason": done.reason,
        "ticket_tx": done.ticket_tx,
        "ticket_height": done.ticket_height,
        "redacted": done.redacted,
        "path": None if done.path is None else str(done.path),
        "media_type": done.media_type,
        "receipt": done.confirmed,
    }


@asynccontextmanager
async def at_node(session: Session, purpose: Purpose) -> AsyncIterator[Client]:
    """A client of the node that reads for whoever --as names, with the trust of its home."""
    if session.key is None:
        raise CliError("USAGE", "who reads? --as STAFF, or with PATRQT --as PATIENT")
    if may_own(session, purpose):
        known = wallets.open_wallet(session, session.key).contents.relations
        if session.home.is_testnet and known:
            session.node = session.node or known[0].org
    else:
        session.node = session.node or staff.employer(session, session.key)
    home = session.home.target(session.node).home
    genesis = session.home.path / "genesis.json" if home is None else home.genesis
    async with connect(session) as client:
        client.trust = Trust(from_json(genesis.read_bytes()).hash().hex())
        yield client


async def signer_at(session: Session, client: Client, purpose: Purpose, whose: Whose) -> Signer:
    """The person's key: of staff, or one that the relation knows: the patient's, a delegate's."""
    if not may_own(session, purpose):
        return signer_of(session, session.home.target(session.node).home)
    relation = KnownRelation(whose.org, whose.handle, False, 0)
    entry, chain = await entry_of(client, relation), await client.chain()
    return named(session, session.key, chain.genesis.chain_id, relation, entry)


def may_own(session: Session, purpose: Purpose) -> bool:
    """Does somebody with a wallet ask in a patient's name?"""
    wallet = session.key is not None and wallets.has_wallet(session, session.key)
    return wallet and purpose is Purpose.PATIENT_REQUEST


def _bytes(text: str, size: int, what: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != size:
        raise CliError("USAGE", f"{what} has {2 * size} hex digits")
    return found
