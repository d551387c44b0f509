"""`salus consent check`: what a gate would decide.

With `--fhir` it asks no node: Consents, parties and a question come from files, and the answer is
that of the very function that a gate uses (salus/consent/decide.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cli import moments
from cli.consent_options import custodian, purpose_of_use, scopes_asked
from cli.errors import CliError
from cli.group import command
from cli.output import printable
from cli.session import Session, pass_session
from salus.codes import Exit

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


@command()
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
@custodian
@click.option("--actor", metavar="ORG|STAFF", help="Who would read; ORG/STAFF too.")
@scopes_asked
@purpose_of_use
@click.option("--site", metavar="SYSTEM|VALUE", help="From where; with --patient.")
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
    site: str | None,
) -> None:
    """Decide a question: by FHIR Consents without a node, or by a patient's permits on the chain.

    Exit 0 for PERMIT, else 1."""
    if consents:
        if query is None or at is None or patient is not None:
            raise CliError("USAGE", "--fhir goes with --query and --at, and without --patient")
        return _check_fhir(session, consents, parties, query, at)
    if patient is None or actor is None:
        raise CliError("USAGE", "name --patient and --actor, or --fhir with --query and --at")
    asyncio.run(_check_chain(session, patient, org, actor, scopes, purpose, site))
    return None


def _check_fhir(
    session: Session, consents: Sequence[str], parties: Sequence[str], query: str, at: str
) -> None:
    from cli.fhir_files import read_resource
    from salus.consent.decide import decide
    from salus.consent.fhir import import_consents
    from salus.consent.query import read_query

    at_ms = moments.instant(at)
    request = read_query(read_resource(query))
    imported = import_consents(
        [read_resource(each) for each in consents], [read_resource(each) for each in parties]
    )
    decision = decide([each.consent for each in imported], request, at_ms)
    for each in imported:
        for note in each.notes:
            session.out.note(f"note: {printable(each.consent.name)}: {printable(note)}")
    _answer(session, decision)


async def _check_chain(
    session: Session,
    name: str,
    org: str | None,
    actor: str,
    scopes: str,
    purpose: str,
    site: str | None,
) -> None:
    from cli import patients
    from cli.grantees import box_key
    from cli.grantees import grantee as named
    from cli.owners import at_custodian
    from cli.wallets import open_wallet
    from salus.client_access import docket_of
    from salus.scope import purpose_of
    from salus.site import parse_site

    wallet = open_wallet(session, name)
    relation, grantee, why = wallet.relation(org), named(session, actor), purpose_of(purpose)
    async with at_custodian(session, relation) as client:
        await box_key(client, grantee.org)  # a slip of the pen is no «no»
        answer = await client.query(
            "consent",
            "docket",
            org=relation.org,
            handle=relation.handle.hex(),
            grantee=grantee.org,
            purpose=why.value,
        )
        height = await client.height()
    docket = docket_of(answer)
    now_ms = time.time_ns() // 1_000_000
    asked = tuple(scopes.split(","))
    place = None if site is None else parse_site(site)
    decision = patients.decide_both(wallet, docket, grantee, asked, why, now_ms, place)
    _answer(session, decision, height=height)


def _answer(session: Session, decision: Decision, **more: object) -> None:
    from salus.consent.decision import Verdict, to_json

    document = to_json(decision)
    session.out.result(document | more, "\n".join(map(printable, _lines(document))))
    if decision.verdict is not Verdict.PERMIT:
        click.get_current_context().exit(Exit.NEGATIVE)


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
