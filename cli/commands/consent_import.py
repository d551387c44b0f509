"""`salus consent import`: a FHIR R4 Consent becomes permits on the chain, with its terms behind them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cli.connect import waits
from cli.consent_options import custodian, patient_by_wallet
from cli.group import command
from cli.output import printable
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from salus.importing import Plan, Planned


@command("import")
@click.argument("file", metavar="FILE|-")
@patient_by_wallet
@custodian
@click.option(
    "--ref",
    "parties",
    metavar="FILE|-",
    multiple=True,
    help="An Organization or Practitioner that the Consent names.",
)
@click.option(
    "--map",
    "mapped",
    metavar="REF=ORG|STAFF|-",
    multiple=True,
    help="Who REF (Type/id, or SYSTEM|VALUE) is here; «-»: nobody.",
)
@click.option(
    "--cosign",
    "cosigners",
    multiple=True,
    metavar="KEY",
    help="Who co-signs, of the keys and wallets at hand.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be granted and denied; send nothing.")
@pass_session
@waits
async def import_(
    session: Session,
    file: str,
    patient: str,
    org: str | None,
    parties: Sequence[str],
    mapped: Sequence[str],
    cosigners: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Grant what a FHIR R4 Consent says: permits on the chain, and its terms behind them.

    It is the patient's word of today: what was granted before gives way where it speaks of the same.
    A newer version of a Consent that was imported (the same id) takes its place; one that is not
    active ends its permits and grants nothing. Never more is permitted than the Consent says; what cannot
    be carried is refused, or left out and listed. To end it all: salus consent revoke its id."""
    from cli import consent_imports
    from cli.fhir_files import read_resource
    from cli.wallets import open_wallet
    from salus.importing import plan_fhir

    wallet = open_wallet(session, patient)
    relation = wallet.relation(org)
    resource, known = read_resource(file), [read_resource(each) for each in parties]
    entries = [consent_imports.entry(session, text) for text in mapped]
    members = await consent_imports.members(session, relation, entries)
    now_ms = time.time_ns() // 1_000_000
    plan = plan_fhir(resource, known, relation.org, members, entries, now_ms)
    before = wallet.contents.imported(relation.org, relation.handle, plan.name)
    if dry_run:
        ends = () if before is None else before.permits
        document = _document(plan, [], [permit.hex() for permit in ends])
        session.out.result(document, "\n".join([*_lines(plan), "nothing sent (--dry-run)"]))
        return
    done = await consent_imports.carry_out(session, wallet, relation, plan, members, cosigners)
    document = _document(plan, done.permits, done.revoked)
    document |= {"tx_ids": list(done.tx_ids), "height": done.height}
    told = f"{len(done.permits)} entered, {len(done.revoked)} ended"
    told += f"  consent {printable(plan.name)}  block {done.height}"
    session.out.result(document, "\n".join([*_lines(plan), f"{session.out.mark(True)} {told}"]))


def _document(plan: Plan, permits: Sequence[str], revoked: Sequence[str]) -> dict[str, Any]:
    rows = [
        {
            "consent_id": permits[number] if permits else None,
            "to": one.grantee,
            "effect": one.effect.value,
            "reach": one.said.reach.value,
            "purpose": one.purpose.value,
            "classes": [kind.value for kind in one.said.classes],
        }
        for number, one in enumerate(plan.permits)
    ]
    return {
        "consent_id": plan.name,
        "in_force": plan.in_force,
        "permits": rows,
        "revoked": list(revoked),
        "notes": list(plan.notes),
    }


def _lines(plan: Plan) -> list[str]:
    """In plain words, an organisation and effect a line."""
    return [_line(one) for one in plan.permits] + [
        f"note: {printable(note)}" for note in plan.notes
    ]


def _line(one: Planned) -> str:
    whom = one.grantee if one.said.reach.value == "organisation" else f"some at {one.grantee}"
    what = ", ".join(kind.value for kind in one.said.classes)
    fine = "" if one.said.reach.value == "organisation" and _plain(one) else ", as the terms say"
    return f"{one.effect.value}  {whom}  {one.purpose.value}  {what}{fine}"


def _plain(one: Planned) -> bool:
    return len(one.said.terms.rules) == 1
