"""`salus consent …`: who may see what."""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import moments
from cli.commands.consent_check import check
from cli.commands.consent_import import import_
from cli.connect import waits
from cli.consent_options import custodian, patient_by_wallet, purpose_of_use, scopes_asked
from cli.cosign_options import cosigned
from cli.errors import CliError
from cli.group import group
from cli.output import printable
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from cli.wallets import OpenWallet
    from salus.wallet import ImportedConsent, KnownRelation


@group()
def consent() -> None:
    """Who may see what."""


@consent.command()
@patient_by_wallet
@custodian
@click.option(
    "--to", "grantee", metavar="ORG|STAFF", required=True, help="Who may read; ORG/STAFF too."
)
@scopes_asked
@purpose_of_use
@click.option("--until", metavar="90d|RFC3339", required=True, help="How long.")
@click.option(
    "--site",
    "sites",
    metavar="SYSTEM|VALUE",
    multiple=True,
    help="From there alone; again for each place.",
)
@click.option("--deny", is_flag=True, help="Deny it instead.")
@click.option("--dry-run", is_flag=True, help="Show what would stand on the chain; send nothing.")
@cosigned
@pass_session
@waits
async def grant(
    session: Session,
    patient: str,
    org: str | None,
    grantee: str,
    scopes: str,
    purpose: str,
    until: str,
    sites: tuple[str, ...],
    deny: bool,
    dry_run: bool,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """Permit an organisation, or one of its staff, to read; or deny it.

    With a hospital's key all that is wider than treatment at another organisation is co-signed."""
    from cli.cosigning import deliver
    from cli.grantees import box_key as box_key_of
    from cli.grantees import grantee as named
    from cli.owners import as_owner, entry_of, relation_there
    from cli.wallets import open_wallet
    from salus.acts import permits
    from salus.grant_notice import seal_notice
    from salus.granting import say
    from salus.scope import purpose_of
    from salus.site import parse_sites

    wallet = open_wallet(session, patient)
    relation, to, why = wallet.relation(org), named(session, grantee), purpose_of(purpose)
    now_ms = time.time_ns() // 1_000_000
    until_ms, where = moments.until(until, now_ms), parse_sites(sites)
    said = say(to, tuple(scopes.split(",")), why, now_ms, until_ms, deny=deny, sites=where)
    public = {
        "at": relation.org,
        "to": to.org,
        "reach": said.reach.value,
        "purpose": why.value,
        "classes": [kind.value for kind in said.classes],
        "effect": "deny" if deny else "permit",
    }
    if dry_run:
        session.out.result(public, "nothing sent (--dry-run)")
        return
    async with as_owner(session, wallet, relation) as (client, chain_id):
        box_key = await box_key_of(client, to.org)
        here = await relation_there(client, wallet, chain_id, to.org)

        def seal(permit: bytes) -> bytes:
            notice = permits.notice(chain_id, to.org, relation.whose, why, permit, here)
            return seal_notice(chain_id, to.org, notice, box_key)

        made = permits.grant(relation.whose, to, why, said, deny=deny, seal=seal)
        opening = made.opening
        # Kept before it is sent: a permit whose terms nobody knows could not be used.
        wallet.update(lambda contents: contents.with_opening(opening))
        # First the custodian: its gate denies what it has no opening of.
        await client.keep_opening(opening.handle.hex(), opening.salt.hex(), opening.terms.hex())
        entry = await entry_of(client, relation)
        done = await deliver(session, client, relation, entry, made.act, cosigners, draft)
    if done is None:
        return
    consent_id = opening.permit.hex()
    session.out.result(
        {"consent_id": consent_id, "tx_id": done.tx_id, "height": done.height} | public,
        f"{session.out.mark(True)} {public['effect']}  {to.org}  {', '.join(public['classes'])}"
        f"  consent {consent_id}  block {done.height}",
    )


@consent.command()
@click.argument("consent_id")
@click.option("--patient", metavar="NAME", help="Whose; default: who signs (--as).")
@click.option("--dry-run", is_flag=True, help="Show the permit; send nothing.")
@cosigned
@pass_session
@waits
async def revoke(
    session: Session,
    consent_id: str,
    patient: str | None,
    dry_run: bool,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """End a permit, at once and for ever; the patient signs, or a delegate (--as).

    The id of a Consent that was imported ends all of its permits that are in force. With a hospital's
    key the end of a denial is co-signed."""
    from cli import consent_imports
    from cli.cosigning import deliver
    from cli.hexes import hex_bytes
    from cli.owners import as_owner, entry_of, relation_with
    from cli.wallets import open_wallet
    from salus.acts import permits

    name = patient or session.key
    if name is None:
        raise CliError("USAGE", "whose permit? --as PATIENT")
    wallet = open_wallet(session, name)
    imported = consent_imports.find(wallet, consent_id)
    if imported is not None:
        await _revoke_imported(session, wallet, *imported, dry_run, cosigners, draft)
        return
    permit = hex_bytes(consent_id, 32, "a consent's id")
    relation = await relation_with(session, wallet, permit)
    if dry_run:
        shown = {"consent_id": consent_id, "at": relation.org}
        session.out.result(shown, "nothing sent (--dry-run)")
        return
    async with as_owner(session, wallet, relation) as (client, _):
        entry = await entry_of(client, relation)
        ended = permits.revoke(relation.whose, permit)
        done = await deliver(session, client, relation, entry, ended, cosigners, draft)
    if done is None:
        return
    session.out.result(
        {"consent_id": consent_id, "tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} revoked  consent {consent_id}  block {done.height}",
    )


async def _revoke_imported(
    session: Session,
    wallet: OpenWallet,
    relation: KnownRelation,
    imported: ImportedConsent,
    dry_run: bool,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    from cli import consent_imports

    if draft is not None:
        raise CliError("USAGE", "--draft is for one permit; co-sign with --cosign")
    permits = [permit.hex() for permit in imported.permits]
    if dry_run:
        shown = {"consent_id": imported.name, "at": relation.org, "permits": permits}
        session.out.result(shown, "nothing sent (--dry-run)")
        return
    done = await consent_imports.revoke(session, wallet, relation, imported, cosigners)
    session.out.result(
        {
            "consent_id": imported.name,
            "revoked": list(done.revoked),
            "tx_ids": list(done.tx_ids),
            "height": done.height,
        },
        f"{session.out.mark(True)} revoked  {len(done.revoked)} permits of consent"
        f" {printable(imported.name)}  block {done.height}",
    )


consent.add_command(check)
consent.add_command(import_)


@consent.command("list")
@patient_by_wallet
@custodian
@pass_session
@waits
async def list_(session: Session, patient: str, org: str | None) -> None:
    """All permits of a patient, newest first, as the chain has them; with their terms in full where
    this wallet knows them (else: salus patient rebuild)."""
    from msgspec import to_builtins

    from cli.owners import at_custodian
    from cli.wallets import open_wallet
    from salus.consent.terms import decode_terms
    from salus.terms_words import rules

    wallet = open_wallet(session, patient)
    relation = wallet.relation(org)
    where = {"org": relation.org, "handle": relation.handle.hex()}
    known = {
        one.permit.hex(): to_builtins(rules(decode_terms(one.terms)))
        for one in wallet.contents.openings
    }
    rows: list[dict[str, Any]] = []
    async with at_custodian(session, relation) as client:
        head = await client.query("consent", "newest", **where)
        at = None if head is None else head["newest"]
        while at is not None:
            # As many as the chain says: a node that lies could lead round in a circle.
            if len(rows) >= head["count"]:
                raise CliError("BAD_ANSWER", "the node's list of permits has no end")
            one = await client.query("consent", "permit", **where, permit=at)
            rows.append({"consent_id": at, **_row(one), "terms": known.get(at)})
            at = one["before"]
        height = await client.height()
    columns = ("consent_id", "to", "effect", "purpose", "classes", "terms", "until", "state")
    session.out.table(
        {"consents": rows, "height": height},
        tuple(name.upper() for name in columns),
        [tuple(_shown(row[name], name) for name in columns) for row in rows],
    )


def _row(found: dict[str, Any]) -> dict[str, Any]:
    """A permit as the query says it, in words."""
    permit = found["permit"] or {}
    ended = permit.get("ended_height")
    until = permit.get("until_day")
    return {
        "to": found["grantee"],
        "purpose": found["purpose"],
        "effect": permit.get("effect"),
        "reach": permit.get("reach"),
        "classes": permit.get("classes"),
        "until": None if until is None else str(date.fromordinal(_EPOCH_DAY + until)),
        "granted_height": permit.get("granted_height"),
        "ended_height": ended,
        "state": "replaced" if not permit else "active" if ended is None else "revoked",
    }


def _shown(value: Any, column: str) -> str:
    if column == "terms":
        return _in_short(value)
    return ", ".join(value) if isinstance(value, list) else str(value)


def _in_short(terms: list[dict[str, Any]] | None) -> str:
    """The root rule's types, and how many exceptions there are; --json has all."""
    if terms is None:
        return "-"
    types = ", ".join(terms[0].get("classes", ())) or "everything"
    exceptions = f" ({len(terms) - 1} exceptions)" if len(terms) > 1 else ""
    return printable(types + exceptions)


_EPOCH_DAY = date(1970, 1, 1).toordinal()
