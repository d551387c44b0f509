"""`salus gov …`: the consortium changes its members, its keys and its limits by vote.

An operator of a validator proposes, which is its first vote; the others vote; what more than two
thirds approve takes effect with an epoch (docs/decisions/0006-governance.md).
"""

from pathlib import Path
from typing import Any

import click

from cli import ballots, governance
from cli.commands.gov_propose import propose
from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus.codes import Exit

_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@group()
def gov() -> None:
    """Change members, keys, parameters and contracts by vote."""


gov.add_command(propose)


@gov.command()
@click.argument("number", type=click.IntRange(min=1))
@click.argument("choice", type=click.Choice(("yes", "no")))
@click.option(
    "--member-file",
    type=_existing,
    metavar="FILE",
    help="The join or rotation file that you have; vote only if the proposal says the same.",
)
@click.option("--dry-run", is_flag=True, help="Simulate; send nothing.")
@pass_session
@waits
async def vote(
    session: Session, number: int, choice: str, member_file: Path | None, dry_run: bool
) -> None:
    """Vote on an open proposal; final."""
    async with connect(session, sign=True) as client:
        asked = await ballots.ask(client, number)
        if asked["stage"] != "open":
            raise CliError(
                "PROPOSAL_CLOSED",
                f"proposal {number} is {asked['stage']}: there is nothing to vote on",
                next_step=f"salus gov show {number}",
            )
        if member_file is not None:
            _compare(session, asked["change"], member_file)
        session.out.note(f"proposal {number}: {governance.effect(asked['change'])}")
        operation = ballots.vote(number, approve=choice == "yes")
        done = await ballots.send(session, client, operation, dry_run=dry_run)
        if done is not None:
            await ballots.tell(session, client, number, done)


@gov.command("list")
@click.option("--member", metavar="ID", help="Only those that concern or come from this member.")
@click.option("--stage", help="Only those: open, passed, effective, rejected, expired, lapsed.")
@click.option("--limit", type=click.IntRange(1, 1000), default=32, show_default=True)
@pass_session
@waits
async def list_(session: Session, member: str | None, stage: str | None, limit: int) -> None:
    """Proposals, the newest first."""
    found: list[dict[str, Any]] = []
    async with connect(session) as client:
        seated = [v.member for v in (await client.validators()).items]
        below = 0
        while len(found) < limit:
            answer = await client.query(ballots.CONTRACT, "list_proposals", below=below)
            page = answer["proposals"]
            found += [one for one in page if _wanted(one, member, stage)]
            if not page or page[-1]["number"] == 1:
                break
            below = page[-1]["number"]
    rows = []
    for one in found[:limit]:
        count = governance.Count(one, seated)
        votes = f"{len(count.approve)}/{count.needed}" if one["stage"] == "open" else ""
        rows.append(
            (one["number"], one["stage"], votes, one["proposer"], governance.effect(one["change"]))
        )
    columns = ("NUMBER", "STAGE", "VOTES", "PROPOSER", "CHANGE")
    session.out.table({"proposals": found[:limit]}, columns, rows)


@gov.command()
@click.argument("number", type=click.IntRange(min=1))
@click.option(
    "--reasons",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Is this the document?",
)
@click.option("--salt", metavar="HEX", help="With --reasons: what came with the document.")
@pass_session
@waits
async def show(session: Session, number: int, reasons: Path | None, salt: str | None) -> None:
    """What a proposal changes, who has voted, what is missing, when it lapses."""
    if (reasons is None) != (salt is None):
        raise CliError("USAGE", "--reasons and --salt go together")
    async with connect(session) as client:
        document, text = await ballots.describe(client, number)
    session.out.result(document, text)
    if reasons is not None and salt is not None:
        same = _commitment(reasons, salt) == document["proposal"]["reasons"]
        word = "is" if same else "is NOT"
        session.out.note(f"{session.out.mark(same)} {reasons} {word} the document of the proposer")
        if not same:
            click.get_current_context().exit(Exit.NEGATIVE)


def _commitment(document: Path, salt: str) -> str:
    from salus.governance import reasons_commitment

    try:
        return reasons_commitment(bytes.fromhex(salt), document.read_bytes()).hex()
    except ValueError:
        raise CliError("USAGE", "--salt: expected 64 hex digits") from None


def _compare(session: Session, change: dict[str, Any], file: Path) -> None:
    """The keys in a proposal are what its proposer typed; the file is what the hospital sent."""
    from cli.ceremony import keys_of

    told, fingerprint = keys_of(file)
    session.out.note(f"{file}: {told['member']}, fingerprint {fingerprint}")
    for name, value in told.items():
        if change.get(name) != value:
            raise CliError(
                "KEYS_DIFFER",
                f"the proposal has another {name} than {file}",
                next_step="do not vote for it; ask the proposer and the hospital",
            )
    session.out.note(f"{session.out.mark(True)} the proposal has the keys of {file}")


def _wanted(one: dict[str, Any], member: str | None, stage: str | None) -> bool:
    concerned = member in {None, one["proposer"], one["change"].get("member")}
    return concerned and stage in {None, one["stage"]}
