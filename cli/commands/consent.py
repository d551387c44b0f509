"""`salus consent …`: who may see what.

`check --fhir` asks no node: Consents, parties and a question come from files, and the answer is
that of the very function that a gate uses (salus/consent/decide.py).
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from cli.errors import CliError
from cli.group import group
from cli.output import printable
from cli.session import Session, pass_session
from salus.codes import Exit
from salus.errors import BadMessage

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


@group()
def consent() -> None:
    """Who may see what."""


@consent.command()
@click.option(
    "--fhir",
    "consents",
    metavar="FILE|-",
    multiple=True,
    required=True,
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
    required=True,
    help="The question: category, purposeOfUse, actor; class, role, site.",
)
@click.option("--at", metavar="RFC3339", required=True, help="When it is asked.")
@pass_session
def check(
    session: Session,
    consents: Sequence[str],
    parties: Sequence[str],
    query: str,
    at: str,
) -> None:
    """Decide a question by FHIR Consents; exit 0 for PERMIT, else 1.  No node is needed."""
    from salus.consent.decide import decide
    from salus.consent.decision import Verdict, to_json
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
    document = to_json(decision)
    session.out.result(document, "\n".join(map(printable, _lines(document))))
    if decision.verdict is not Verdict.PERMIT:
        click.get_current_context().exit(Exit.NEGATIVE)


def _instant(text: str) -> int:
    from salus.consent.instant import parse_instant

    try:
        return parse_instant(text)
    except BadMessage as error:
        raise CliError("USAGE", f"--at: {error.message}") from None


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
