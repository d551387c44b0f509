"""`salus consent …`: who may see what.

`check --fhir` asks no node: Consents, parties and a question come from files, and the answer is
that of the very function that a gate uses (salus/consent/decide.py).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.connect import waits
from cli.errors import CliError
from cli.group import group
from cli.output import printable
from cli.session import Session, pass_session
from salus.codes import Exit
from salus.errors import BadMessage

if TYPE_CHECKING:
    from salus.consent.decision import Decision

# Why, in words for people; a machine takes the reason itself.
_WHY = {
    "no_consent": "no consent was given",
    "not_active": "no consent ever came into force",
    "other_category": "no consent of this category",
    "other_purpose": "no consent for this purpose",
    "other_actor": "no consent for whoever asks",
    "other_role": "no consent for these roles",
    "other_site": "no consent for this place",
    "other_class": "no consent for these classes",
    "not_begun": "it is not in force yet",
    "expired": "it has expired",
    "revoked": "it was revoked, and revoking revives no older one",
    "denied": "it denies, and no exception permits",
    "excepted": "it permits, but an exception denies",
    "nothing_left": "it permits, but nothing of what is asked for remains",
    "permitted_in_part": "it permits a part",
    "permitted": "it permits",
}


_patient = click.option("--patient", metavar="NAME", required=True, help="Whose, by wallet.")
_custodian = click.option(
    "--at-org", "org", metavar="ORG", help="The custodian; default: the only one."
)
_scopes = click.option(
    "--scope",
    "scopes",
    metavar="C,C",
    default="summary",
    show_default=True,
    help="FHIR resource types or coarse classes.",
)
_purpose = click.option(
    "--purpose", metavar="P", default="TREAT", show_default=True, help="An HL7 purpose of use."
)


@group()
def consent() -> None:
    """Who may see what."""


@consent.command()
@click.option(
    "--fhir",
    "consents",
    metavar="FILE|-",
    multiple=True,
    help="A FHIR R4 Consent; several of one patient are decided together.",
)
@click.option(
    "--ref",
    "parties",
    metavar="FILE|-",
    multiple=True,
    help="An Organization or Practitioner that a Consent names.",
)
@click.option(
    "--query",
    metavar="FILE|-",
    help="The question: category, purposeOfUse, actor; class, role, site.",
)
@click.option("--at", metavar="RFC3339", help="When it is asked; with --fhir.")
@click.option("--patient", metavar="NAME", help="Instead of --fhir: whose permits on the chain.")
@_custodian
@click.option("--actor", metavar="ORG[/STAFF]", help="Who would read.")
@_scopes
@_purpose
@pass_session
def check(
    session: Session,
    consents: Sequence[str],
    parties: Sequence[str],
    query: str | None,
    at: str | None,
    patient: str | None,
    org: str | None,
    actor: str | None,
    scopes: str,
    purpose: str,
) -> None:
    """Decide a question: by FHIR Consents without a node, or by a patient's permits on the chain.

    Exit 0 for PERMIT, else 1."""
    if consents:
        if query is None or at is None or patient is not None:
            raise CliError("USAGE", "--fhir goes with --query and --at, and without --patient")
        return _check_fhir(session, consents, parties, query, at)
    if patient is None or actor is None:
        raise CliError("USAGE", "name --patient and --actor, or --fhir with --query and --at")
    asyncio.run(_check_chain(session, patient, org, actor, scopes, purpose))
    return None


def _check_fhir(
    session: Session, consents: Sequence[str], parties: Sequence[str], query: str, at: str
) -> None:
    from salus.consent.decide import decide
    from salus.consent.fhir import import_consents
    from salus.consent.query import read_query

    at_ms = _instant(at)
    request = read_query(_read(query))
    imported = import_consents(
        [_read(each) for each in consents], [_read(each) for each in parties]
    )
    decision = decide([each.consent for each in imported], request, at_ms)
    for each in imported:
        for note in each.notes:
            session.out.note(f"note: {printable(each.consent.name)}: {printable(note)}")
    _answer(session, decision)


async def _check_chain(
    session: Session, name: str, org: str | None, actor: str, scopes: str, purpose: str
) -> None:
    from cli import patients
    from cli.owners import at_custodian
    from cli.wallets import open_wallet
    from salus.granting import Grantee
    from salus.scope import purpose_of

    wallet = open_wallet(session, name)
    relation, grantee, why = wallet.relation(org), Grantee.parse(actor), purpose_of(purpose)
    async with at_custodian(session, relation) as client:
        answer = await client.query(
            "consent",
            "docket",
            org=relation.org,
            handle=relation.handle.hex(),
            grantee=grantee.org,
            purpose=why.value,
        )
        height = await client.height()
    docket = patients.docket_of(answer)
    now_ms = time.time_ns() // 1_000_000
    asked = tuple(scopes.split(","))
    decision = patients.decide_both(wallet, relation, docket, grantee, asked, why, now_ms)
    _answer(session, decision, height=height)


def _answer(session: Session, decision: Decision, **more: object) -> None:
    from salus.consent.decision import Verdict, to_json

    document = to_json(decision)
    session.out.result(document | more, "\n".join(map(printable, _lines(document))))
    if decision.verdict is not Verdict.PERMIT:
        click.get_current_context().exit(Exit.NEGATIVE)


@consent.command()
@_patient
@_custodian
@click.option("--to", "grantee", metavar="ORG[/STAFF]", required=True, help="Who may read.")
@_scopes
@_purpose
@click.option("--until", metavar="90d|RFC3339", required=True, help="How long.")
@click.option("--deny", is_flag=True, help="Deny it instead.")
@click.option("--dry-run", is_flag=True, help="Show what would stand on the chain; send nothing.")
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
    deny: bool,
    dry_run: bool,
) -> None:
    """Permit an organisation, or one of its staff, to read; or deny it."""
    from cli import patients
    from cli.owners import as_owner
    from cli.wallets import open_wallet
    from salus.granting import Grantee, say
    from salus.scope import purpose_of

    wallet = open_wallet(session, patient)
    relation, to, why = wallet.relation(org), Grantee.parse(grantee), purpose_of(purpose)
    now_ms = time.time_ns() // 1_000_000
    said = say(to, tuple(scopes.split(",")), why, now_ms, _until(until, now_ms), deny=deny)
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
    operation, opening = patients.grant(relation, to, why, said, deny=deny)
    # Kept before it is sent: a permit whose terms nobody knows could not be used.
    wallet.update(lambda contents: contents.with_opening(opening))
    async with as_owner(session, wallet, relation) as (client, _):
        # First the custodian: its gate denies what it has no opening of.
        await client.keep_opening(opening.handle.hex(), opening.salt.hex(), opening.terms.hex())
        done = await client.commit(await client.build([operation]))
    consent_id = opening.permit.hex()
    session.out.result(
        {"consent_id": consent_id, "tx_id": done.tx_id, "height": done.height} | public,
        f"{session.out.mark(True)} {public['effect']}  {to.org}  {', '.join(public['classes'])}"
        f"  consent {consent_id}  block {done.height}",
    )


@consent.command()
@click.argument("consent_id")
@click.option("--dry-run", is_flag=True, help="Show the permit; send nothing.")
@pass_session
@waits
async def revoke(session: Session, consent_id: str, dry_run: bool) -> None:
    """End a permit, at once and for ever; --as names the patient."""
    from cli import patients
    from cli.owners import as_owner
    from cli.wallets import open_wallet

    if session.key is None:
        raise CliError("USAGE", "whose permit? --as PATIENT")
    wallet = open_wallet(session, session.key)
    found = next((o for o in wallet.contents.openings if o.permit.hex() == consent_id), None)
    if found is None:
        raise CliError(
            "UNKNOWN_PERMIT",
            f"«{wallet.name}» granted no such consent from this device",
            next_step=f"salus consent list --patient {wallet.name}",
        )
    if dry_run:
        session.out.result({"consent_id": consent_id, "at": found.org}, "nothing sent (--dry-run)")
        return
    relation = wallet.relation(found.org)
    async with as_owner(session, wallet, relation) as (client, _):
        done = await client.commit(await client.build([patients.revoke(relation, found.permit)]))
    session.out.result(
        {"consent_id": consent_id, "tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} revoked  consent {consent_id}  block {done.height}",
    )


@consent.command("list")
@_patient
@_custodian
@pass_session
@waits
async def list_(session: Session, patient: str, org: str | None) -> None:
    """All permits of a patient, newest first, as the chain has them."""
    from cli.owners import at_custodian
    from cli.wallets import open_wallet

    wallet = open_wallet(session, patient)
    relation = wallet.relation(org)
    where = {"org": relation.org, "handle": relation.handle.hex()}
    rows: list[dict[str, Any]] = []
    async with at_custodian(session, relation) as client:
        head = await client.query("consent", "newest", **where)
        at = None if head is None else head["newest"]
        while at is not None:
            # As many as the chain says: a node that lies could lead round in a circle.
            if len(rows) >= head["count"]:
                raise CliError("BAD_ANSWER", "the node's list of permits has no end")
            one = await client.query("consent", "permit", **where, permit=at)
            rows.append({"consent_id": at, **_row(one)})
            at = one["before"]
        height = await client.height()
    columns = ("consent_id", "to", "effect", "purpose", "classes", "until", "state")
    session.out.table(
        {"consents": rows, "height": height},
        tuple(name.upper() for name in columns),
        [tuple(_shown(row[name]) for name in columns) for row in rows],
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


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else str(value)


_EPOCH_DAY = date(1970, 1, 1).toordinal()
_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000}


def _until(text: str, now_ms: int) -> int:
    """`90d`, `12h`, `30m` from now, or a time."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS_MS and number.isascii() and number.isdigit() and len(number) <= 6:
        return now_ms + int(number) * _UNITS_MS[unit]
    return _instant(text, "--until")


def _instant(text: str, option: str = "--at") -> int:
    from salus.consent.instant import parse_instant

    try:
        return parse_instant(text)
    except BadMessage as error:
        raise CliError("USAGE", f"{option}: {error.message}") from None


def _read(file: str) -> bytes:
    """One byte more than is allowed, so that the importer can refuse it; «-» is standard input."""
    from salus.consent.fhir_forms import RESOURCE_BYTES_MAX

    if file == "-":
        return sys.stdin.buffer.read(RESOURCE_BYTES_MAX + 1)
    with Path(file).open("rb") as stream:
        return stream.read(RESOURCE_BYTES_MAX + 1)


def _lines(document: dict[str, Any]) -> list[str]:
    """The answer for people: verdict, why, what to withhold, by which consents."""
    lines = [f"{document['decision']}: {_WHY[document['reason']]}"]
    for obligation in document["obligations"]:
        ((name, codes),) = obligation["parameters"].items()
        what = "carries one of" if name == "codes" else "carries none of"
        shown = ", ".join(f"{code['code']} ({code['system']})" for code in codes)
        lines.append(f"  withhold what {what}: {shown}")
    if document["consents"]:
        lines.append(f"  decided by: {', '.join(document['consents'])}")
    return lines
