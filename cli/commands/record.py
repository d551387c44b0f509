"""`salus record …`: documents in the node's vault, anchored on the chain.

A document goes encrypted into the vault of the node that is named; only salted commitments go
to the chain, signed by the organisation's operator.
"""

import re
import sys
from pathlib import Path
from typing import Any

import click

from cli.connect import connect, plain, short, waits
from cli.errors import CliError
from cli.group import group
from cli.media_types import by_name
from cli.session import Session, pass_session
from salus.client import Client, Committed
from salus.files import write_new
from salus.forms import Staged

_HANDLE = re.compile(r"[0-9a-f]{64}")

_media_type = click.option(
    "--media-type", metavar="TYPE", help="Default by the name; .json means application/fhir+json."
)
_dry_run = click.option("--dry-run", is_flag=True, help="Check the file here; send nothing.")


@group()
def record() -> None:
    """Documents in the vault, anchored on the chain."""


@record.command()
@click.argument("file", metavar="FILE|-")
@click.option("--patient", metavar="NAME|HANDLE", help="Whose it is; kept in the vault alone.")
@click.option("--at", "org", metavar="ORG", help="The custodian; default: the patient's only one.")
@_media_type
@_dry_run
@pass_session
@waits
async def add(
    session: Session,
    file: str,
    patient: str | None,
    org: str | None,
    media_type: str | None,
    dry_run: bool,
) -> None:
    """Store a document in the node's vault and anchor its commitment."""
    kind, content = _document(file, media_type)
    handle = None if patient is None else _handle(session, patient, org)
    if dry_run:
        return _checked(session, kind, content)
    async with connect(session, sign=True) as client:
        staged, done = await client.record_add(content, kind, handle=handle)
        await _say(session, client, staged, done)


@record.command()
@click.argument("record_id")
@click.argument("file", metavar="FILE|-")
@_media_type
@_dry_run
@pass_session
@waits
async def amend(
    session: Session, record_id: str, file: str, media_type: str | None, dry_run: bool
) -> None:
    """A new version of a record; the old version is superseded, never overwritten."""
    kind, content = _document(file, media_type)
    if dry_run:
        return _checked(session, kind, content)
    async with connect(session, sign=True) as client:
        staged, done = await client.record_amend(content, kind, record_id)
        await _say(session, client, staged, done)


@record.command()
@click.argument("record_id")
@click.option("--reason", required=True, help="Committed on the chain as a salted hash only.")
@click.option("--dry-run", is_flag=True, help="Show the record; send nothing.")
@pass_session
@waits
async def retract(session: Session, record_id: str, reason: str, dry_run: bool) -> None:
    """End a record without a successor."""
    async with connect(session, sign=True) as client:
        if dry_run:
            session.out.result(plain(await client.record(record_id)), "nothing sent (--dry-run)")
            return
        _, done = await client.record_retract(record_id, reason)
    session.out.result(
        {"record_id": record_id, "tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} retracted  record {record_id}  block {done.height}",
    )


@record.command()
@click.argument("record_id")
@pass_session
@waits
async def resume(session: Session, record_id: str) -> None:
    """Anchor a version that lies staged in the vault: its first try was cut off."""
    async with connect(session, sign=True) as client:
        staged, done = await client.record_resume(record_id)
        await _say(session, client, staged, done)


@record.command()
@click.argument("record_id")
@click.option("--version", "number", type=click.IntRange(min=1), help="Default: the newest.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path))
@pass_session
@waits
async def get(session: Session, record_id: str, number: int | None, output: Path | None) -> None:
    """Read a document out of the node's vault."""
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


@record.command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--after", metavar="CURSOR", help="Continue behind this place.")
@pass_session
@waits
async def list_(session: Session, limit: int, after: str | None) -> None:
    """Records in the node's vault, newest first."""
    async with connect(session) as client:
        page = await client.records(after=after, limit=limit)
    rows = [
        (
            r.record_id,
            len(r.versions),
            r.versions[-1].state,
            "-" if r.versions[-1].height is None else r.versions[-1].height,
            r.media_type,
        )
        for r in page.items
    ]
    session.out.table(plain(page), ("RECORD", "VERSIONS", "STATE", "HEIGHT", "TYPE"), rows)
    if page.next and not session.out.json:
        session.out.note(f"more: salus record list --after {page.next}")


@record.command()
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


@record.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--once", is_flag=True, help="What is there now, then end.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--state", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.option("--retry-refused", is_flag=True, help="Try files again that were refused before.")
@click.option("--dry-run", is_flag=True, help="Check the files here; send nothing.")
@pass_session
@waits
async def watch(
    session: Session,
    folder: Path,
    once: bool,
    report: Path | None,
    state: Path | None,
    retry_refused: bool,
    dry_run: bool,
) -> int:
    """Serve a folder: each whole file becomes a record, once.

    Files that are still being written are left alone, links are not followed. A file is known by
    its content: a changed one is a new record. What is done is kept in --state (default:
    watch.journal in the node's home), so that nothing is anchored twice after a kill. Refused
    files are told with codes and next steps in --report (default: watch-report.json beside it),
    the only place where names of files stand.
    """
    from cli.watch_command import serve

    return await serve(
        session,
        folder,
        once=once,
        report=report,
        state=state,
        retry_refused=retry_refused,
        dry_run=dry_run,
    )


def _handle(session: Session, patient: str, org: str | None) -> str:
    """A patient's handle as it is, or by the name of a wallet; a testnet's node is then chosen."""
    if _HANDLE.fullmatch(patient) is not None:
        session.node = session.node or org
        return patient
    from cli.wallets import open_wallet

    relation = open_wallet(session, patient).relation(org)
    if session.home.is_testnet:
        session.node = session.node or relation.org
    return relation.handle.hex()


def _document(file: str, media_type: str | None) -> tuple[str, bytes]:
    kind = media_type or by_name(file)
    if kind is None:
        raise CliError("USAGE", f"{file}: say what it is with --media-type")
    return kind, sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def _checked(session: Session, kind: str, content: bytes) -> None:
    """The same check that the node makes at its edge."""
    from node.fhir import check_fhir

    checked = check_fhir(content, kind)
    for notice in checked.notices if checked else ():
        session.out.note(f"{session.out.mark(None)} not checked  {notice}")
    session.out.result(
        {
            "media_type": kind,
            "bytes": len(content),
            "valid": True,
            "resources": checked.resources if checked else 0,
            "schemaless": checked.schemaless if checked else 0,
        },
        f"{session.out.mark(True)} {len(content)} bytes, {kind}: nothing sent (--dry-run)",
    )


async def _say(session: Session, client: Client, staged: Staged, done: Committed) -> None:
    document: dict[str, Any] = {
        "record_id": staged.record_id,
        "version": staged.version,
        "tx_id": done.tx_id,
        "height": done.height,
        "commitment": staged.commitment,
        "root": staged.root,
        "resources": staged.resources,
        "schemaless": staged.schemaless,
        "notices": list(staged.notices),
    }
    for notice in staged.notices:
        session.out.note(f"{session.out.mark(None)} not checked  {notice}")
    text = (
        f"{session.out.mark(True)} committed  record {staged.record_id} version {staged.version}"
        f"  block {done.height}  tx {short(done.tx_id)}"
        f"\n  proof: salus proof make --record {staged.record_id}@{staged.version} -o FILE"
    )
    session.out.result(document, text)
