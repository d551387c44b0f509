"""`salus patient duplicates|find|searches …`: who seems to be registered twice, and who looked for whom.

All of it lies in this hospital's own vault; no other organisation learns of it (decision 0017).
"""

from pathlib import Path
from typing import Any

import click

from cli import identifiers
from cli.connect import connect, plain, short, waits
from cli.emergency_parties import talk_to_own
from cli.errors import CliError
from cli.group import command, group
from cli.hexes import hex_bytes
from cli.identifiers import identified
from cli.output import printable
from cli.session import Session, pass_session
from salus.desk_asks import NOTE_CHARS_MAX, REASON_CHARS_MAX, CaseState
from salus.desk_json import CaseForm

_at = click.option("--at", "org", metavar="ORG", help="The hospital; default: of the key or home.")
# As people say it; «open» opens a case again.
_STATES = {
    "same": CaseState.SAME_PERSON,
    "different": CaseState.DIFFERENT_PERSONS,
    "theft": CaseState.THEFT,
    "open": CaseState.OPEN,
}
_state = click.Choice(list(_STATES))


@group()
def duplicates() -> None:
    """Possible duplicates and thefts of identity that were noticed at registration."""


@duplicates.command("list")
@_at
@click.option("--state", type=_state, help="Only those in this state.")
@pass_session
@waits
async def list_(session: Session, org: str | None, state: str | None) -> None:
    """The cases of this hospital, newest first."""
    _own(session, org)
    async with connect(session, sign=True) as client:
        wanted = None if state is None else _STATES[state]
        answer = await client.desk.cases(state=wanted)
    rows = [
        (one.steps[0].time, one.case_id, one.state, ", ".join(met.org for met in one.met))
        for one in answer.items
    ]
    session.out.table(plain(answer), ("OPENED", "CASE", "STATE", "KNOWN AT"), rows)
    if answer.more:
        session.out.note("there are older ones: --state open")


@duplicates.command()
@click.argument("case_id")
@_at
@pass_session
@waits
async def show(session: Session, case_id: str, org: str | None) -> None:
    """One case: what was met, and what was said of it."""
    _own(session, org)
    async with connect(session, sign=True) as client:
        case = hex_bytes(case_id, 32, "CASE_ID")
        (found,) = (await client.desk.cases(case)).items
    session.out.result(plain(found), "\n".join(_told(found)))


@duplicates.command()
@click.argument("case_id")
@_at
@click.option(
    "--verdict",
    type=_state,
    required=True,
    help="One person; two; somebody uses another one's identity; or open again.",
)
@click.option("--note", default="", metavar="TEXT", help="Why, for colleagues; stays in the vault.")
@pass_session
@waits
async def close(session: Session, case_id: str, org: str | None, verdict: str, note: str) -> None:
    """Say what came of a case. It changes no relation: what follows is done by its own commands."""
    if len(note) > NOTE_CHARS_MAX:
        raise CliError("USAGE", f"--note has at most {NOTE_CHARS_MAX} characters")
    _own(session, org)
    async with connect(session, sign=True) as client:
        case = hex_bytes(case_id, 32, "CASE_ID")
        found = await client.desk.close(case, _STATES[verdict], note)
    session.out.result(plain(found), "\n".join(_told(found)))
    if found.state == CaseState.THEFT:
        session.out.note(
            "  next: speak with the other hospital; a relation that a thief holds is recovered by its"
            " owner: salus patient recover"
        )


@command()
@identified
@_at
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the search.")
@pass_session
@waits
async def find(
    session: Session, texts: tuple[str, ...], listed: Path | None, org: str | None, reason: str
) -> None:
    """In an emergency: at which organisations a person has a relation, by an identifier.

    --as names staff with the role emergency. Each search is kept, and counted."""
    typed = identifiers.given(texts, listed)
    if not typed:
        raise CliError("USAGE", "by which identifier? --identifier SYSTEM|VALUE")
    if not 1 <= len(reason) <= REASON_CHARS_MAX:
        raise CliError("USAGE", f"--reason has 1 to {REASON_CHARS_MAX} characters")
    _own(session, org)
    async with connect(session, sign=True) as client:
        answer = await client.desk.find(reason, typed)
    rows = [(one.org, one.handle) for one in answer.found]
    session.out.table(plain(answer), ("KNOWN AT", "HANDLE"), rows)


@command()
@_at
@click.option("--after", metavar="CURSOR", help="Continue behind this place, with older ones.")
@pass_session
@waits
async def searches(session: Session, org: str | None, after: str | None) -> None:
    """Who of this hospital looked for people by an identifier, why, and what was found; newest first."""
    before = None if after is None else hex_bytes(after, 16, "a place in the list")
    _own(session, org)
    async with connect(session, sign=True) as client:
        answer = await client.desk.searches(before)
    rows = [
        (
            one.time,
            short(one.staff),
            ", ".join(met.org for met in one.found) or "nobody",
            printable(one.reason),
        )
        for one in answer.items
    ]
    session.out.table(plain(answer), ("TIME", "STAFF", "FOUND AT", "REASON"), rows)
    if answer.next is not None and not session.out.json:
        session.out.note(f"more: salus patient searches --after {answer.next}")


def _own(session: Session, org: str | None) -> None:
    """The desk of one hospital: by --at, else of who signs, else of this home."""
    session.node = session.node or org
    talk_to_own(session)
    if session.node is None and session.home.is_testnet:
        raise CliError("USAGE", "at which hospital? --at ORG")


def _told(case: CaseForm) -> list[str]:
    lines: list[Any] = [
        f"case {case.case_id}  {case.state}",
        f"  relation  {case.handle}" + ("" if case.registered else "  (not registered)"),
    ]
    lines += [f"  known at  {one.org}  handle {one.handle}" for one in case.met]
    for step in case.steps:
        by = "operator" if step.staff is None else f"staff {short(step.staff)}"
        lines.append(f"  {step.time}  {step.state}  {by}  {printable(step.note)}".rstrip())
    return lines
