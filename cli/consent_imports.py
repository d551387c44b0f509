"""Importing and revoking a FHIR Consent as a whole: many grants, and what the wallet remembers of them.

Law of the file: the wallet knows each permit before it is sent, so that one revoke finds them all,
also after an import that broke off; and each transaction until its outcome is known. One that nobody
has heard of is sent again, the same bytes, before the wallet says anything new about that Consent: what
came later would stand beside it, unknown. So would what two commands at once grant: one goes alone.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import reduce

from msgspec import structs

from cli.errors import CliError
from cli.grantees import grantee
from cli.owners import as_owner, at_custodian, entry_of, named, relation_there
from cli.session import Session
from cli.wallets import OpenWallet
from salus.acts import permits
from salus.acts.act import Act
from salus.acts.permits import Grant
from salus.client import Client, Committed
from salus.client_consent import GRANTS_PER_TRANSACTION
from salus.client_errors import AuthError, NotReadyError, RejectedError, RequestError
from salus.consent.actor_map import read_entry
from salus.grant_notice import seal_notice
from salus.importing import Plan, Planned
from salus.keys import Signer
from salus.relation import RelationEntry
from salus.wallet import ImportedConsent, KnownRelation, Wallet


@dataclass(frozen=True, slots=True)
class Done:
    """`permits`: in the order of the plan; `height`: of the last transaction, None if none was sent."""

    permits: tuple[str, ...]
    revoked: tuple[str, ...]
    tx_ids: tuple[str, ...]
    height: int | None


def entry(session: Session, text: str) -> tuple[str, str]:
    """An entry of an actor map, with a member of staff by name too. Raises `SalusError` (BAD_MAP)."""
    key, target = read_entry(text)
    if target == "-":
        return key, target
    meant = grantee(session, target)
    return key, meant.org if meant.staff is None else f"{meant.org}/{meant.staff}"


async def members(
    session: Session, relation: KnownRelation, entries: Sequence[tuple[str, str]]
) -> dict[str, bytes]:
    """The active organisations with the keys that things are sealed to; the staff that `entries` name
    is there. Raises `SalusError` (UNKNOWN_STAFF)."""
    async with at_custodian(replace(session), relation) as client:
        listed = await client.query("members", "list_members")
        active = [one["id"] for one in listed["members"] if one["status"] == "active"]
        await client.consent.require_staff(active, entries)
    return {
        one["id"]: bytes.fromhex(one["box_key"])
        for one in listed["members"]
        if one["status"] == "active"
    }


async def carry_out(
    session: Session,
    wallet: OpenWallet,
    relation: KnownRelation,
    plan: Plan,
    keys: Mapping[str, bytes],
    cosigners: Sequence[str],
) -> Done:
    """Grant what is planned, denials first, and end what an earlier version granted. `keys`: of the
    members that it was planned for. Raises `CliError` (STORE_LOCKED)."""
    async with _alone(session, wallet, relation, plan.name) as (client, chain_id):
        entry = await entry_of(client, relation)
        before = wallet.contents.imported(relation.org, relation.handle, plan.name)
        ending = () if before is None else await _in_force(client, relation, before.permits)
        here = {
            org: await relation_there(client, wallet, chain_id, org)
            for org in {one.grantee for one in plan.permits}
        }
        made = [_grant(relation, one, chain_id, keys, here) for one in plan.permits]
        openings = tuple(one.opening for one in made)
        granted = tuple(opening.permit for opening in openings)
        _remember(wallet, relation, plan.name, ending + granted)
        wallet.update(lambda contents: reduce(Wallet.with_opening, openings, contents))
        for opening in openings:
            # First the custodian: its gate denies what it has no opening of.
            await client.keep_opening(opening.handle.hex(), opening.salt.hex(), opening.terms.hex())
        ends = [permits.revoke(relation.whose, permit) for permit in ending]
        acts = in_order(plan, [one.act for one in made], ends)
        sent = await _send(session, client, wallet, relation, plan.name, entry, acts, cosigners)
        _remember(wallet, relation, plan.name, granted)
    return Done(
        tuple(permit.hex() for permit in granted),
        tuple(permit.hex() for permit in ending),
        tuple(one.tx_id for one in sent),
        sent[-1].height if sent else None,
    )


def in_order(plan: Plan, grants: Sequence[Act], ends: Sequence[Act]) -> list[Act]:
    """`grants`: of the plan's permits, in its order; `ends`: of the version before. Wherever it breaks
    off, what is denied by both versions is denied: the custodian's own staff hear a denial in force alone."""
    denials = sum(one.denies for one in plan.permits)
    return [*grants[:denials], *ends, *grants[denials:]]


async def revoke(
    session: Session,
    wallet: OpenWallet,
    relation: KnownRelation,
    imported: ImportedConsent,
    cosigners: Sequence[str],
) -> Done:
    """End all permits of an imported Consent that are in force, as the wallet knows it now. Raises
    `CliError` (STORE_LOCKED)."""
    name = imported.name
    async with _alone(session, wallet, relation, name) as (client, _):
        imported = wallet.contents.imported(relation.org, relation.handle, name) or imported
        entry = await entry_of(client, relation)
        ending = await _in_force(client, relation, imported.permits)
        acts = [permits.revoke(relation.whose, permit) for permit in ending]
        sent = await _send(session, client, wallet, relation, name, entry, acts, cosigners)
        _remember(wallet, relation, name, ())
    return Done(
        (),
        tuple(permit.hex() for permit in ending),
        tuple(one.tx_id for one in sent),
        sent[-1].height if sent else None,
    )


@asynccontextmanager
async def _alone(
    session: Session, wallet: OpenWallet, relation: KnownRelation, name: str
) -> AsyncIterator[tuple[Client, str]]:
    """As the owner, and the chain's id, while no other command does the like with this wallet and nothing
    of that Consent is pending. Raises `CliError` (STORE_LOCKED), `PendingError`."""
    with wallet.alone():
        async with as_owner(session, wallet, relation) as (client, chain_id):
            await _settle(client, wallet, relation, name)
            yield client, chain_id


def find(wallet: OpenWallet, name: str) -> tuple[KnownRelation, ImportedConsent] | None:
    """The imported Consent of that name. Raises `CliError` (USAGE) if several custodians have one."""
    found = [one for one in wallet.contents.imports if one.name == name]
    if len(found) > 1:
        raise CliError(
            "USAGE", f"it was imported at {', '.join(one.org for one in found)}: revoke by permit"
        )
    return (wallet.relation(found[0].org), found[0]) if found else None


def _remember(
    wallet: OpenWallet, relation: KnownRelation, name: str, permits: tuple[bytes, ...]
) -> None:
    """Of these nothing is pending."""
    imported = ImportedConsent(relation.org, relation.handle, name, permits)
    wallet.update(lambda contents: contents.with_import(imported))


def _pending(
    wallet: OpenWallet, relation: KnownRelation, name: str, transaction: bytes | None
) -> None:
    """On disk on return."""

    def noted(contents: Wallet) -> Wallet:
        known = contents.imported(relation.org, relation.handle, name)
        assert known is not None, "its permits are remembered before they are sent"
        return contents.with_import(structs.replace(known, pending=transaction))

    wallet.update(noted)


async def _settle(client: Client, wallet: OpenWallet, relation: KnownRelation, name: str) -> None:
    """What became of a transaction that an earlier command gave up. Raises `PendingError` while nobody
    can say: then nothing new is signed."""
    known = wallet.contents.imported(relation.org, relation.handle, name)
    if known is None or known.pending is None:
        return
    try:
        await client.commit(known.pending)
    except RejectedError:
        pass  # it never comes, or it has come before: what stands is asked of the chain either way
    _pending(wallet, relation, name, None)


def _grant(
    relation: KnownRelation,
    one: Planned,
    chain_id: str,
    keys: Mapping[str, bytes],
    here: Mapping[str, tuple[bytes, Signer] | None],
) -> Grant:
    def seal(permit: bytes) -> bytes:
        about = relation.whose, one.purpose, permit, here[one.grantee]
        notice = permits.notice(chain_id, one.grantee, *about)
        return seal_notice(chain_id, one.grantee, notice, keys[one.grantee])

    return permits.planned(relation.whose, one, seal)


async def _in_force(
    client: Client, relation: KnownRelation, permits: Sequence[bytes]
) -> tuple[bytes, ...]:
    """Those that can be ended: one that was never sent, was revoked or dropped says nothing."""
    found = []
    for permit in permits:
        answer = await client.query(
            "consent",
            "permit",
            org=relation.org,
            handle=relation.handle.hex(),
            permit=permit.hex(),
        )
        stored = None if answer is None else answer["permit"]
        if stored is not None and stored["ended_height"] is None:
            found.append(permit)
    return tuple(found)


async def _send(
    session: Session,
    client: Client,
    wallet: OpenWallet,
    relation: KnownRelation,
    name: str,
    entry: RelationEntry,
    acts: Sequence[Act],
    cosigners: Sequence[str],
) -> list[Committed]:
    """Some of them a transaction, each of them whole or not at all."""
    chain_id = (await client.chain()).genesis.chain_id
    friends = [named(session, name, chain_id, relation, entry) for name in cosigners]
    signed = []
    for act in acts:
        for friend in friends:
            act = act.cosigned(chain_id, friend)
        signed.append(act.operation)
    done = []
    for start in range(0, len(signed), GRANTS_PER_TRANSACTION):
        some = signed[start : start + GRANTS_PER_TRANSACTION]
        built = await client.build(some)
        _pending(wallet, relation, name, built.raw)
        try:
            done.append(await client.commit(built))
        except (RejectedError, NotReadyError, RequestError, AuthError):
            # No node took it. Of all else, an answer that cannot be read too, nobody knows.
            _pending(wallet, relation, name, None)
            raise
    return done
