"""`salus record …`: documents in the node's vault, anchored on the chain.

A document goes encrypted into the vault of the node that is named; only salted commitments go
to the chain, signed by the organisation's operator.
"""

import re
import sys
from pathlib import Path
from typing import Any

import click

from cli.commands.record_list import find, list_
from cli.commands.record_read import get, show
from cli.commands.record_watch import watch
from cli.connect import connect, plain, short, waits
from cli.errors import CliError
from cli.group import group
from cli.media_types import by_name
from cli.session import Session, pass_session
from salus.client import Committed
from salus.forms_records import Staged

_HANDLE = re.compile(r"[0-9a-f]{64}")

_media_type = click.option(
    "--media-type", metavar="TYPE", help="Default by the name; .json means application/fhir+json."
)
_now = click.option(
    "--now", is_flag=True, help="Anchor it alone and at once, not with the node's next batch."
)
_dry_run = click.option("--dry-run", is_flag=True, help="Check the file here; send nothing.")


@group()
def record() -> None:
    """Documents in the vault, anchored on the chain."""


for _part in (get, list_, find, show, watch):
    record.add_command(_part)


@record.command()
@click.argument("file", metavar="FILE|-")
@click.option("--patient", metavar="NAME|HANDLE", help="Whose it is; kept in the vault alone.")
@click.option("--at", "org", metavar="ORG", help="The custodian; default: the patient's only one.")
@_media_type
@_now
@_dry_run
@pass_session
@waits
async def add(
    session: Session,
    file: str,
    patient: str | None,
    org: str | None,
    media_type: str | None,
    now: bool,
    dry_run: bool,
) -> None:
    """Store a document in the node's vault and anchor its commitment, with the node's next batch."""
    kind, content = _document(file, media_type)
    handle = None if patient is None else _handle(session, patient, org)
    if dry_run:
        return _checked(session, kind, content)
    async with connect(session, sign=True) as client:
        staged, done = await client.record_add(content, kind, handle=handle, now=now)
        version = f"{staged.record_id}@{staged.version}"
        await _say(
            session,
            staged,
            done,
            f"\n  proof: salus proof make --record {version} -o FILE"
            if handle is None
            else f"\n  read: salus record get {staged.record_id} --as KEY --purpose P -o FILE",
        )


@record.command()
@click.argument("record_id")
@click.argument("file", metavar="FILE|-")
@_media_type
@_now
@_dry_run
@pass_session
@waits
async def amend(
    session: Session, record_id: str, file: str, media_type: str | None, now: bool, dry_run: bool
) -> None:
    """A new version of a record; the old version is superseded, never overwritten."""
    kind, content = _document(file, media_type)
    if dry_run:
        return _checked(session, kind, content)
    async with connect(session, sign=True) as client:
        staged, done = await client.record_amend(content, kind, record_id, now=now)
        await _say(session, staged, done)


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
        await _say(session, staged, done)


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


async def _say(session: Session, staged: Staged, done: Committed, hint: str = "") -> None:
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
        f"{hint}"
    )
    session.out.result(document, text)
