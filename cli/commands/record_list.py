"""`salus record list|find`: which records there are, and whether something was examined already."""

import click

from cli.connect import connect, plain, waits
from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session
from salus.codes import Exit


@command("list")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--after", metavar="CURSOR", help="Continue behind this place.")
@click.option("--patient", metavar="NAME|HANDLE", help="This patient's, by tickets of --as.")
@click.option("--at", "org", metavar="ORG", help="With --patient: this custodian alone.")
@click.option("--purpose", metavar="P", help="With --patient: PATRQT for a wallet, else TREAT.")
@click.option(
    "--scope", metavar="C,C", help="With --patient: coarse classes; default: all permitted."
)
@pass_session
@waits
async def list_(
    session: Session,
    limit: int,
    after: str | None,
    patient: str | None,
    org: str | None,
    purpose: str | None,
    scope: str | None,
) -> None:
    """Records in the node's vault, newest first; or a patient's, wherever they are kept.

    A patient's list is a read like any other: it is decided by a ticket at each custodian and stands in
    the patient's trail. «complete» means: all that the patient has there. A list of some classes never is, and
    says in `left_out` what it may lack, never whether there is any. Where only some kinds of a class are
    permitted nothing is listed."""
    if patient is not None:
        await _list_of(session, patient, org, purpose, scope)
        return
    if org or purpose or scope:
        raise CliError("USAGE", "--at, --purpose and --scope go with --patient")
    await _list_vault(session, limit, after)


async def _list_vault(session: Session, limit: int, after: str | None) -> None:
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


async def _list_of(
    session: Session, patient: str, org: str | None, purpose: str | None, scope: str | None
) -> None:
    from cli import record_lists, wallets
    from salus.scope import classes_of, purpose_of

    wallet = session.key is not None and wallets.has_wallet(session, session.key)
    why = purpose_of(purpose or ("PATRQT" if wallet else "TREAT"))
    classes = None if scope is None else classes_of(tuple(scope.split(",")))
    answers = await record_lists.lists(session, patient, org, why, classes)
    rows = [
        (one["record_id"], answer["custodian"], one["version"], ", ".join(one["classes"]))
        for answer in answers
        for one in answer["records"]
    ]
    records = [
        {**one, "custodian": answer["custodian"]} for answer in answers for one in answer["records"]
    ]
    session.out.table(
        {"records": records, "lists": answers}, ("RECORD", "AT", "VERSION", "CLASSES"), rows
    )
    for answer in answers:
        limits = record_lists.standing(answer)
        if limits is not None:
            session.out.note(limits)
    if not any(answer["decision"] == "PERMIT" for answer in answers):
        click.get_current_context().exit(Exit.NEGATIVE)


@command()
@click.option(
    "--patient", metavar="NAME|HANDLE", required=True, help="Whose; by a handle, the one here."
)
@click.option(
    "--code", metavar="SYSTEM|CODE", required=True, help="What would be examined, e.g. LOINC."
)
@click.option("--since", metavar="DATE", help="RFC 3339, or a FHIR date; default: ever.")
@click.option("--at", "org", metavar="ORG", help="This custodian alone.")
@click.option("--purpose", metavar="P", default="TREAT", show_default=True)
@pass_session
@waits
async def find(
    session: Session, patient: str, code: str, since: str | None, org: str | None, purpose: str
) -> None:
    """Was it examined already? Before something is ordered: results of this code at all hospitals.

    Each list and each record is read through its custodian's gate as --as, under a ticket. Exit 0 if
    there is a result, so that an order can be avoided; 1 if none was found."""
    from cli import record_lists
    from salus.consent.instant import parse_span
    from salus.ips.results import ResultCode
    from salus.scope import purpose_of

    wanted = ResultCode.parse(code)
    since_ms = 0 if since is None else parse_span(since).first_ms
    async with record_lists.reader(session, patient, org, purpose_of(purpose)) as at:
        done = await at.client.results.find(at.places, at.wish, at.key, wanted, since_ms)
    found = [
        {
            "record_id": one.sources[-1].record_id,
            "version": one.sources[-1].version,
            "custodian": one.sources[-1].custodian,
            "kind": one.kind,
            "code": code,
            "when": one.at,
            "status": one.status,
        }
        for one in done.found
    ]
    answers = [
        {key: value for key, value in record_lists.said(one).items() if key != "records"}
        for one in done.lists
    ]
    columns = ("when", "status", "kind", "custodian", "record_id", "version")
    session.out.table(
        {
            "found": found,
            "avoidable": bool(found),
            "reads": done.reads,
            "complete": done.whole,
            "unread": [{"record_id": name, "reason": why} for name, why in done.unread],
            "lists": answers,
        },
        tuple(name.upper() for name in columns),
        [tuple(str(row[name]) for name in columns) for row in found],
    )
    if not session.out.json:
        if not done.whole:
            session.out.note("not everything could be read: see --json, or ask the patient")
        if found:
            session.out.note(
                f"{session.out.mark(True)} it need not be examined again, if it is recent enough"
            )
        else:
            session.out.note("nothing was found")
    if not found:
        click.get_current_context().exit(Exit.NEGATIVE)
