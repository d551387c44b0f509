"""`salus record get|show`: a document comes back, and the versions of a record."""

import sys
from pathlib import Path

import click

from cli.connect import connect, plain, waits
from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session
from salus.codes import Exit
from salus.files import write_new


@command()
@click.argument("record_id")
@click.option("--purpose", metavar="P", help="Of a patient's record: why, e.g. TREAT, PATRQT.")
@click.option("--care", metavar="TEXT", default="", help="The visit or referral; sealed.")
@click.option("--permit", metavar="ID", help="The consent to cite; default: the newest that fits.")
@click.option(
    "--site",
    metavar="SYSTEM|VALUE",
    help="From where, one of the node's; default: its only one; «-»: say nothing.",
)
@click.option("--version", "number", type=click.IntRange(min=1), help="Default: the newest.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--proof", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@pass_session
@waits
async def get(
    session: Session,
    record_id: str,
    purpose: str | None,
    care: str,
    permit: str | None,
    site: str | None,
    number: int | None,
    output: Path | None,
    proof: Path | None,
) -> None:
    """Read a document: a patient's through the gate of its custodian, an own one from the vault.

    With --purpose it is asked for with the key of --as, wherever it is kept; a ticket on the chain
    decides, and what comes is verified here. Exit 0 for PERMIT, 1 for a denial. A transfer that
    broke off goes on when the command is given again. --proof writes a file for salus verify."""
    if purpose is not None:
        if output is None:
            raise CliError("USAGE", "where to? -o FILE")
        await _get_through_gate(
            session, record_id, purpose, care, permit, site, number, output, proof
        )
        return
    if care or permit or site or proof:
        raise CliError("USAGE", "--care, --permit, --site and --proof go with --purpose")
    if session.out.json and output is None:
        raise CliError("USAGE", "with --json the document goes to a file: -o FILE")
    async with connect(session) as client:
        kind, content = await client.record_document(record_id, number)
    if output is None:
        sys.stdout.buffer.write(content)
        return
    write_new(output, content)
    document = {"media_type": kind, "bytes": len(content), "file": str(output)}
    session.out.result(document, f"{len(content)} bytes ({kind})  →  {output}")


async def _get_through_gate(
    session: Session,
    record_id: str,
    purpose: str,
    care: str,
    permit: str | None,
    site: str | None,
    number: int | None,
    output: Path,
    proof: Path | None,
) -> None:
    from cli import reading

    wanted = reading.wanted(record_id, purpose, care, permit, number, site)
    done = await reading.read(session, wanted, output, proof)
    text = f"{session.out.mark(done.permitted)} {done.reason}  ticket block {done.ticket_height}"
    if done.path is not None:
        text += f"  →  {done.path}" + ("  (parts are withheld)" if done.redacted else "")
    session.out.result(reading.said(done), text)
    if done.permitted and not done.confirmed:
        session.out.note(f"{session.out.mark(None)} the node has not taken the receipt")
    if not done.permitted:
        click.get_current_context().exit(Exit.NEGATIVE)


@command()
@click.argument("record_id")
@pass_session
@waits
async def show(session: Session, record_id: str) -> None:
    """The versions of a record, with their transactions."""
    async with connect(session) as client:
        form = await client.record(record_id)
    rows = [
        (v.version, v.state, "-" if v.height is None else v.height, v.tx_id or "-", v.commitment)
        for v in form.versions
    ]
    session.out.table(plain(form), ("VERSION", "STATE", "HEIGHT", "TX", "COMMITMENT"), rows)
