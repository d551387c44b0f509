"""`salus erasure …`: have records erased, answer as a holder, see who has not answered.

An answer is a signed claim of the organisation that gives it. Nobody can prove that a copy is gone.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from cli.connect import connect, short, waits
from cli.erasures import told
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus.client import Client
from salus.erasure import Reply, Stage
from salus.keys import Signer
from salus.relation import Whose
from salus.report import utc
from salus.wallet import KnownRelation

_HANDLE = re.compile(r"[0-9a-f]{64}")
_RECORD = re.compile(r"[0-9a-f]{32}")

_at = click.option("--at-org", "org", metavar="ORG", help="The custodian; default: the only one.")


@group()
def erasure() -> None:
    """Have records erased, and see who has not answered."""


@erasure.command()
@click.option("--patient", metavar="NAME|HANDLE", required=True, help="Whose records.")
@_at
@click.option("--record", "records", metavar="RECORD_ID", multiple=True, required=True)
@click.option("--reason", default="", help="Committed on the chain as a salted hash only.")
@click.option(
    "--cosign",
    metavar="KEYNAME",
    help="A guardian or another organisation: then it begins at once. A must where the hospital holds the key.",
)
@click.option("--dry-run", is_flag=True, help="Check; send nothing.")
@pass_session
@waits
async def request(
    session: Session,
    patient: str,
    org: str | None,
    records: Sequence[str],
    reason: str,
    cosign: str | None,
    dry_run: bool,
) -> None:
    """Ask all who hold copies of these records to erase them. It cannot be undone.

    Signed by the patient's key; with a HANDLE, by a regulator's operator (--as). Without --cosign it begins
    after a waiting time, in which «salus erasure cancel» stops it."""
    ids = sorted(set(records))
    for one in ids:
        if _RECORD.fullmatch(one) is None:
            raise CliError("USAGE", f"«{one}» is no record id of 32 hex digits")
    if dry_run:
        session.out.result({"records": ids}, f"{len(ids)} records: nothing sent (--dry-run)")
        return
    session.confirm(f"Erase {len(ids)} records at every holder, for ever?")
    if _HANDLE.fullmatch(patient) is not None:
        if org is None:
            raise CliError("USAGE", "a handle is of one organisation", next_step="--at-org ORG")
        from cli.keyfiles import signer_of

        session.node = session.node or org
        async with connect(session, sign=True) as client:
            cosigners = []
            if cosign is not None:
                home = session.home.target(session.node).home
                cosigners = [signer_of(replace(session, key=cosign), home)]
            whose = Whose(org, bytes.fromhex(patient))
            await _request(session, client, whose, ids, reason, cosigners)
        return
    from cli.owners import as_owner, entry_of, named
    from cli.wallets import open_wallet

    wallet = open_wallet(session, patient)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        cosigners = []
        if cosign is not None:
            entry = await entry_of(client, relation)
            cosigners = [named(session, cosign, chain_id, relation, entry)]
        await _request(session, client, relation.whose, ids, reason, cosigners)


async def _request(
    session: Session,
    client: Client,
    whose: Whose,
    ids: list[str],
    reason: str,
    cosigners: Sequence[Signer],
) -> None:
    asked = await client.erasures.request(whose, ids, reason, cosigners)
    case, done = asked.case.hex(), asked.committed
    stands = await _told(client, whose.org, asked.case)
    begins = "begins now"
    if stands["stage"] == Stage.WAITING.value:
        begins = f"begins {utc(stands['due_ms'])}; until then: salus erasure cancel"
    session.out.result(
        {
            "case_id": case,
            "tx_id": done.tx_id,
            "height": done.height,
            "stage": stands["stage"],
            "due_ms": stands["due_ms"],
            "records": ids,
            # What opens the commitment, should somebody doubt it one day.
            "leaves": list(asked.leaves),
            "salt": asked.salt.hex(),
        },
        f"{session.out.mark(True)} requested  {len(ids)} records  case {case}"
        f"  block {done.height}\n  {begins}\n  who has answered: salus erasure show {case} --at-org {whose.org}",
    )


@erasure.command()
@click.argument("case_id")
@click.option("--at-org", "org", metavar="ORG", required=True, help="The custodian of the case.")
@click.option("--dry-run", is_flag=True, help="Show the case; send nothing.")
@pass_session
@waits
async def cancel(session: Session, case_id: str, org: str, dry_run: bool) -> None:
    """Stop an erasure that has not begun, by the key of --as: the patient's, a guardian's, or that of
    the regulator that asked."""
    from cli.owners import as_friend

    case = _case_id(case_id)
    session.node = session.node or (org if session.home.is_testnet else None)
    async with connect(session) as client:
        found = await client.erasures.case(org, case)
        if dry_run:
            session.out.result(told(org, case, found), "nothing sent (--dry-run)")
            return
    async with as_friend(session, KnownRelation(org, found.case.handle, False, 0)) as (
        client,
        _,
        _,
    ):
        done = await client.erasures.cancel(org, case)
    session.out.result(
        {"case_id": case_id, "tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} stopped  case {short(case_id)}  block {done.height}",
    )


@erasure.command()
@click.argument("case_id")
@click.option("--at-org", "org", metavar="ORG", required=True, help="The custodian of the case.")
@click.option(
    "--reply",
    type=click.Choice([reply.value.replace("_", "-") for reply in Reply]),
    default="erased",
    show_default=True,
)
@click.option("--reason", help="Of «retained»; committed as a salted hash only.")
@click.option("--dry-run", is_flag=True, help="Show the case; send nothing.")
@pass_session
@waits
async def confirm(
    session: Session, case_id: str, org: str, reply: str, reason: str | None, dry_run: bool
) -> None:
    """Answer for your organisation: that its copies are erased, that it holds none, or that a law
    makes it keep them. A signed claim."""
    word = Reply(reply.replace("-", "_"))
    if (word is Reply.RETAINED) != (reason is not None):
        raise CliError("USAGE", "«retained» has a --reason, and nothing else has one")
    case = _case_id(case_id)
    async with connect(session, sign=True) as client:
        if dry_run:
            session.out.result(await _told(client, org, case), "nothing sent (--dry-run)")
            return
        done, salt = await client.erasures.answer(org, case, word, reason)
    session.out.result(
        {
            "case_id": case_id,
            "reply": word.value,
            "tx_id": done.tx_id,
            "height": done.height,
            "reason_salt": None if salt is None else salt.hex(),
        },
        f"{session.out.mark(True)} answered  {reply}  case {short(case_id)}  block {done.height}",
    )


@erasure.command("carry-out")
@click.argument("case_id")
@pass_session
@waits
async def carry_out(session: Session, case_id: str) -> None:
    """Have your own node erase what a certified request names, where it does not by itself
    (`storage.erase_on_request = false`)."""
    case = _case_id(case_id)
    session.confirm("Erase what this case names, for ever?")
    async with connect(session) as client:
        await client.erasures.carry_out(case)
    session.out.result(
        {"case_id": case_id}, f"{session.out.mark(True)} the node erases and answers"
    )


@erasure.command()
@click.argument("case_id", required=False)
@click.option("--patient", metavar="NAME", help="All cases of this patient, by wallet.")
@_at
@pass_session
@waits
async def show(session: Session, case_id: str | None, patient: str | None, org: str | None) -> None:
    """A case, or all of a patient: who must answer, and who has not."""
    if (case_id is None) == (patient is None):
        raise CliError("USAGE", "name a case and its --at-org, or --patient")
    if patient is not None:
        from cli.owners import at_custodian
        from cli.wallets import open_wallet

        relation = open_wallet(session, patient).relation(org)
        async with at_custodian(session, relation) as client:
            found = await client.erasures.cases(relation.whose)
        cases = [told(relation.org, case, one) for case, one in found]
    else:
        assert case_id is not None
        if org is None:
            raise CliError("USAGE", "a case is of one custodian", next_step="--at-org ORG")
        async with connect(session) as client:
            cases = [await _told(client, org, _case_id(case_id))]
    rows = [
        (
            short(case["case_id"]),
            case["stage"],
            holder["member"],
            holder["holding"],
            holder["reply"] or ("NONE YET" if case["unanswered"] else "-"),
        )
        for case in cases
        for holder in case["holders"]
    ]
    document: Any = cases[0] if case_id is not None else {"cases": cases}
    session.out.table(document, ("CASE", "STAGE", "HOLDER", "WHY", "ANSWER"), rows)
    if not session.out.json:
        session.out.note("An answer is the holder's own claim.")


@erasure.command("list")
@click.option("--member", metavar="ORG", help="Who is asked; default: the node's organisation.")
@click.option("--open", "only_open", is_flag=True, help="Only what has no answer yet.")
@pass_session
@waits
async def list_(session: Session, member: str | None, only_open: bool) -> None:
    """What an organisation is asked to erase, newest first; what has begun and has no answer it owes."""
    async with connect(session) as client:
        who = member or (await client.status()).member
        if who is None:
            raise CliError("USAGE", "this node is no member's", next_step="--member ORG")
        items = await _asked(client, who)
    if only_open:
        items = [one for one in items if one["reply"] is None and one["stage"] == Stage.BEGUN.value]
    rows = [
        (
            short(one["case_id"]),
            one["custodian"],
            one["stage"],
            one["holding"],
            one["reply"] or ("-" if one["stage"] == Stage.CANCELLED.value else "NONE YET"),
        )
        for one in items
    ]
    session.out.table(
        {"member": who, "cases": items}, ("CASE", "CUSTODIAN", "STAGE", "WHY", "ANSWER"), rows
    )


async def _asked(client: Client, member: str) -> list[dict[str, Any]]:
    return [
        {
            "case_id": one.case.case.hex(),
            "custodian": one.case.org,
            "handle": one.handle.hex(),
            "stage": one.stage.value,
            "holding": one.holder.holding.value,
            "reply": None if one.holder.reply is None else one.holder.reply.value,
            "height": one.holder.height,
        }
        for one in await client.erasures.asked_of(member)
    ]


async def _told(client: Client, org: str, case: bytes) -> dict[str, Any]:
    return told(org, case, await client.erasures.case(org, case))


def _case_id(text: str) -> bytes:
    if _HANDLE.fullmatch(text) is None:
        raise CliError("USAGE", "a case id has 64 hex digits")
    return bytes.fromhex(text)
