"""`salus emergency …`, afterwards: colleagues, justifications, reviewers, the patient; and looking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import Command
from cli.output import printable
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from salus.client import Client

_at = click.option("--at-org", "org", metavar="ORG", help="The custodian; default: the only one.")
_text = click.option("--text", default="", help="Why; on the chain as a salted hash only.")


@click.command(cls=Command)
@click.argument("case_id")
@pass_session
@waits
async def cosign(session: Session, case_id: str) -> None:
    """Agree to a case as a clinician of another organisation; --as names the key."""
    from cli import emergencies, emergency_parties

    async with emergency_parties.as_member(session) as client:
        case = await emergencies.find(client, case_id)
        done = await client.emergencies.cosign(case)
    emergency_parties.tell(session, "co-signed", done, {"case_id": case_id})


@click.command(cls=Command)
@click.argument("case_id")
@_text
@pass_session
@waits
async def justify(session: Session, case_id: str, text: str) -> None:
    """Say why it was needed; as the clinician who opened it, or the organisation's operator."""
    from cli import emergencies, emergency_parties

    async with emergency_parties.as_member(session) as client:
        case = await emergencies.find(client, case_id)
        done = await client.emergencies.justify(case, text)
    emergency_parties.tell(session, "justified", done, {"case_id": case_id})


@click.command(cls=Command)
@click.argument("case_id")
@click.option(
    "--verdict", required=True, type=click.Choice(["justified", "abuse"]), help="What you decide."
)
@_text
@pass_session
@waits
async def review(session: Session, case_id: str, verdict: str, text: str) -> None:
    """Decide a case that your organisation was drawn for."""
    from cli import emergencies, emergency_parties
    from salus.emergency import Verdict

    async with emergency_parties.as_member(session) as client:
        case = await emergencies.find(client, case_id)
        done = await client.emergencies.review(case, Verdict(verdict), text)
    emergency_parties.tell(session, verdict, done, {"case_id": case_id, "verdict": verdict})


@click.command(cls=Command)
@click.argument("case_id")
@_text
@pass_session
@waits
async def dispute(session: Session, case_id: str, text: str) -> None:
    """Say that it was not right, as the patient; --as names the wallet. Nothing more is read under it."""
    from cli import emergencies, emergency_parties
    from cli.owners import as_owner
    from cli.wallets import open_wallet

    if session.key is None:
        raise CliError("USAGE", "whose case? --as PATIENT")
    wallet = open_wallet(session, session.key)
    async with connect(session) as client:
        case = await emergencies.find(client, case_id)
    relation = wallet.relation(case.org)
    if relation.handle != case.handle:
        raise CliError("NOT_AUTHORISED", f"the case is not of «{wallet.name}»")
    async with as_owner(session, wallet, relation) as (client, _):
        done = await client.emergencies.dispute(case, text)
    emergency_parties.tell(session, "disputed", done, {"case_id": case_id})


# -- looking ----------------------------------------------------------------------------------


@click.command("list", cls=Command)
@click.option("--patient", metavar="NAME", help="All cases of this patient.")
@click.option("--handle", metavar="HANDLE", help="All cases of a handle at --at-org.")
@_at
@pass_session
@waits
async def list_(session: Session, patient: str | None, handle: str | None, org: str | None) -> None:
    """Cases of a patient; without one, those of everybody that no reviewer has decided."""
    from cli import emergencies
    from salus.relation import Whose

    kept: dict[str, Any] = {}
    async with connect(session) as client:
        if patient is None and handle is None:
            cases = await client.emergencies.cases()
        else:
            where, whose = await emergencies.patient(session, client, patient, handle, None, org)
            cases = await client.emergencies.cases(Whose(where, whose))
            kept["summary"] = await _kept(session, client, where, whose)
        height = await client.height()
    rows = [emergencies.row(case) for case in cases]
    columns = ("case_id", "custodian", "opener", "state", "opened", "late")
    session.out.table(
        {"cases": rows, "height": height} | kept,
        tuple(name.upper() for name in columns),
        [tuple(str(row[name]) for name in columns) for row in rows],
    )


async def _kept(session: Session, client: Client, org: str, handle: bytes) -> dict[str, Any]:
    """Who keeps the summary, and which of them have left: then the patient deposits it anew (E-2)."""
    from salus.relation import Whose

    summary = await client.emergencies.summary(Whose(org, handle))
    listed = (await client.query("members", "list_members"))["members"]
    active = {one["id"] for one in listed if one["status"] == "active"}
    gone = [holder for holder in summary.holders if holder not in active]
    if gone:
        session.out.note(
            f"gone: {', '.join(gone)}. Deposit anew: salus emergency summary NAME FILE"
        )
    return {
        "deposited": summary.commitment is not None,
        "opted_out": summary.opted_out,
        "holders": list(summary.holders),
        "threshold": summary.threshold,
        "generation": summary.generation,
        "gone": gone,
    }


@click.command(cls=Command)
@click.argument("case_id")
@pass_session
@waits
async def show(session: Session, case_id: str) -> None:
    """How a case stands, who reviews it, and what opens its commitments, where this node may know."""
    from cli import emergencies, emergency_parties
    from salus.client_errors import ClientError

    if session.key is not None:
        emergency_parties.talk_to_own(session)
    async with connect(session) as client:
        case = await emergencies.find(client, case_id)
        said: dict[str, str] = {}
        try:
            notes, silent = await client.emergencies.notes(case.id)
        except ClientError as error:  # another one's node, or one without a vault
            notes, silent = (), (error.code,)
        for note in notes:
            text = emergencies.content_of(case, note)
            if text is not None:
                said[note.kind.value] = text
    shown = emergencies.row(case)
    lines = [f"{name}: {value}" for name, value in shown.items() if value not in (None, [])]
    lines += [f"{kind}: {printable(text)}" for kind, text in said.items()]
    session.out.result(shown | {"said": said, "silent": list(silent)}, "\n".join(lines))
