"""`salus message …`: letters between a patient and the staff of his hospital.

A message is an encrypted document of the custodian's vault: who reads it, asks with a purpose, and it
stands in the patient's trail.
"""

import re
import sys

import click

from cli.connect import short, waits
from cli.errors import CliError
from cli.group import group
from cli.output import printable
from cli.session import Session, pass_session
from salus.codes import Exit
from salus.wallet import KnownRelation

_HANDLE = re.compile(r"[0-9a-f]{64}")

_patient = click.option("--patient", metavar="NAME|HANDLE", required=True, help="Whose.")
_org = click.option("--at", "org", metavar="ORG", help="The custodian; default: the only one.")


@group()
def message() -> None:
    """Letters between a patient and the staff of a hospital."""


@message.command()
@_patient
@_org
@click.option("--subject", default="", help="Sealed with the rest.")
@click.option("--text", metavar="TEXT|-", required=True, help="«-» reads standard input.")
@click.option("--reply-to", metavar="RECORD_ID", help="The message that this one answers.")
@click.option("--dry-run", is_flag=True, help="Check; send nothing.")
@pass_session
@waits
async def send(
    session: Session,
    patient: str,
    org: str | None,
    subject: str,
    text: str,
    reply_to: str | None,
    dry_run: bool,
) -> None:
    """Write to the patient (--as STAFF), or as the patient to the hospital (--as NAME).

    The author's key signs the message; the custodian's node keeps it, and its operator anchors it."""
    from cli import messages

    relation, name = _relation(session, patient, org)
    said = sys.stdin.read() if text == "-" else text
    if dry_run:
        session.out.result({"at": relation.org, "chars": len(said)}, "nothing sent (--dry-run)")
        return
    letter, staged, done = await messages.send(session, relation, name, subject, said, reply_to)
    session.out.result(
        {
            "record_id": staged.record_id,
            "author": letter.author.value,
            "at": relation.org,
            "tx_id": done.tx_id,
            "height": done.height,
        },
        f"{session.out.mark(True)} sent as {letter.author.value}  message {staged.record_id}"
        f"  block {done.height}",
    )


@message.command("list")
@_patient
@_org
@pass_session
@waits
async def list_(session: Session, patient: str, org: str | None) -> None:
    """The messages of a relation, newest first, without what they say.

    As the patient (--as NAME, the default where the wallet is here) by a session of his key; else
    what the node at hand keeps."""
    from cli import messages

    relation, name = _relation(session, patient, org)
    rows = [
        {
            "record_id": one.record_id,
            "state": one.versions[-1].state,
            "height": one.versions[-1].height,
        }
        for one in await messages.listed(session, relation, name)
    ]
    session.out.table(
        {"messages": rows},
        ("MESSAGE", "STATE", "BLOCK"),
        [(str(row["record_id"]), str(row["state"]), str(row["height"])) for row in rows],
    )


@message.command()
@click.argument("record_id")
@_patient
@_org
@click.option("--purpose", metavar="P", help="Default: PATRQT for the patient, else TREAT.")
@pass_session
@waits
async def read(
    session: Session, record_id: str, patient: str, org: str | None, purpose: str | None
) -> None:
    """Read a message through the gate, as --as; it stands in the trail. Exit 1 if it is denied."""
    from cli import messages, reading

    relation, name = _relation(session, patient, org)
    if session.key is None:
        session.key = name
    why = purpose or ("PATRQT" if session.key == name else "TREAT")
    found = await messages.read(session, relation, reading.wanted(record_id, why, "", None, None))
    if found is None:
        session.out.result({"decision": "DENY", "record_id": record_id}, "denied")
        click.get_current_context().exit(Exit.NEGATIVE)
    assert found is not None
    letter = found.message
    session.out.result(
        {
            "decision": "PERMIT",
            "record_id": record_id,
            "author": letter.author.value,
            "by": found.by,
            "sent": messages.sent_text(letter.sent_ms),
            "subject": letter.subject,
            "text": letter.text,
            "reply_to": letter.reply_to,
            "ticket_height": found.ticket_height,
        },
        f"from {letter.author.value} ({printable(found.by)}, key {short(letter.key)})\n"
        f"written {messages.sent_text(letter.sent_ms)}\n"
        f"{printable(letter.subject)}\n\n" + "\n".join(map(printable, letter.text.splitlines())),
    )


def _relation(session: Session, patient: str, org: str | None) -> tuple[KnownRelation, str | None]:
    """By a handle and --at, or by a wallet of this home, whose name comes along."""
    if _HANDLE.fullmatch(patient) is not None:
        if org is None:
            raise CliError("USAGE", "with a handle name the custodian: --at ORG")
        return KnownRelation(org, bytes.fromhex(patient), False, 0), None
    from cli.wallets import open_wallet

    wallet = open_wallet(session, patient)
    return wallet.relation(org), wallet.name
