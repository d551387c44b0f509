"""`salus emergency …`: a summary for those who cannot be asked, and who opened it and why."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.commands import emergency_cases
from cli.connect import waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from cli.wallets import OpenWallet
    from salus.wallet import KnownRelation

_at = click.option("--at-org", "org", metavar="ORG", help="The custodian; default: the only one.")
_cosign = click.option(
    "--cosign", metavar="KEYNAME", help="Who co-signs, where the hospital holds the key."
)
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where it goes."
)


@group()
def emergency() -> None:
    """A summary for those who cannot be asked; who opened it, and why."""


for _command in (
    emergency_cases.cosign,
    emergency_cases.justify,
    emergency_cases.review,
    emergency_cases.dispute,
    emergency_cases.list_,
    emergency_cases.show,
):
    emergency.add_command(_command)


# -- the patient, beforehand ------------------------------------------------------------------


@emergency.command()
@click.argument("name")
@click.argument("file", metavar="FILE|-")
@_at
@click.option("--holders", metavar="A,B,…", help="Who keeps it; default: all active members.")
@click.option("--threshold", type=int, metavar="K", help="So many shares open it; default: least.")
@_cosign
@click.option("--dry-run", is_flag=True, help="Seal nothing, send nothing.")
@pass_session
@waits
async def summary(
    session: Session,
    name: str,
    file: str,
    org: str | None,
    holders: str | None,
    threshold: int | None,
    cosign: str | None,
    dry_run: bool,
) -> None:
    """Deposit the summary of patient NAME (FILE: an IPS document) with other members.

    They keep the ciphertext and a share of its key each; so many shares as --threshold says open it.
    Again after a holder has left: each deposit has a new key."""
    from cli import emergency_parties
    from cli.owners import as_owner
    from salus.emergency_share import SUMMARY_BYTES_MAX

    wallet, relation = _relation(session, name, org)
    document = _read(file, SUMMARY_BYTES_MAX)
    asked = None if holders is None else holders.split(",")
    async with as_owner(session, wallet, relation) as (client, _):
        desk = client.emergencies
        if dry_run:
            boxes, before = await desk.box_keys(asked), await desk.summary(relation.whose)
            public = {
                "at": relation.org,
                "holders": sorted(boxes),
                "threshold": await desk.threshold(threshold),
                "generation": before.generation + 1,
            }
            session.out.result(public, "nothing sent (--dry-run)")
            return
        signer = emergency_parties.cosigner(session, cosign)
        cosigners = () if signer is None else (signer,)
        done = await desk.deposit_summary(
            relation.whose, document, holders=asked, threshold=threshold, cosigners=cosigners
        )
    missing = sorted(done.missing)
    session.out.result(
        {
            "tx_id": done.committed.tx_id,
            "height": done.committed.height,
            "missing": dict(done.missing),
            "at": relation.org,
            "holders": list(done.holders),
            "threshold": done.threshold,
            "generation": done.generation,
        },
        f"{session.out.mark(True)} deposited  generation {done.generation}  {done.threshold} of "
        f"{len(done.holders)}: {', '.join(done.holders)}  block {done.committed.height}"
        + (f"\nnot yet at: {', '.join(missing)}; deposit again later" if missing else ""),
    )


@emergency.command("opt-out")
@click.argument("name")
@_at
@_cosign
@pass_session
@waits
async def opt_out(session: Session, name: str, org: str | None, cosign: str | None) -> None:
    """No emergency access for patient NAME; holders destroy what they keep."""
    await _opt(session, "opt_out", name, org, cosign)


@emergency.command("opt-in")
@click.argument("name")
@_at
@_cosign
@pass_session
@waits
async def opt_in(session: Session, name: str, org: str | None, cosign: str | None) -> None:
    """Emergency access again; the summary is to be deposited anew."""
    await _opt(session, "opt_in", name, org, cosign)


async def _opt(
    session: Session, method: str, name: str, org: str | None, cosign: str | None
) -> None:
    from cli import emergency_parties
    from cli.owners import as_owner

    wallet, relation = _relation(session, name, org)
    async with as_owner(session, wallet, relation) as (client, _):
        signer = emergency_parties.cosigner(session, cosign)
        cosigners = () if signer is None else (signer,)
        desk = client.emergencies
        send = desk.opt_out if method == "opt_out" else desk.opt_in
        done = await send(relation.whose, cosigners)
    emergency_parties.tell(session, method.replace("_", " "), done, {"at": relation.org})


# -- the clinician ----------------------------------------------------------------------------


@emergency.command("open")
@click.option("--patient", metavar="NAME", help="By a wallet of this home.")
@click.option("--handle", metavar="HANDLE", help="By the handle at --at-org.")
@click.option(
    "--card",
    metavar="CARD|-",
    help="By what stands on the patient's card; «-» reads it from stdin.",
)
@click.option(
    "--identifier",
    "texts",
    multiple=True,
    metavar="SYSTEM|VALUE",
    help="By a number of the person; «-» asks for it, or reads stdin. The search is kept and counted.",
)
@_at
@click.option(
    "--reason",
    required=True,
    metavar="CODE",
    help="unconscious, life_threatening, incapacitated, unidentified, disaster or other; committed.",
)
@click.option("--place", default="", help="Where; committed.")
@_output
@pass_session
@waits
async def open_(
    session: Session,
    patient: str | None,
    handle: str | None,
    card: str | None,
    texts: tuple[str, ...],
    org: str | None,
    reason: str,
    place: str,
    output: Path | None,
) -> None:
    """Open the emergency summary of somebody who cannot be asked; --as names the clinician.

    It stands on the chain before anything is read, the patient is told, and within days a
    justification is due. Where no block can be certified, holders give it late and enter that."""
    from cli import emergencies, emergency_parties, emergency_release, identifiers
    from salus.emergency_forms import (
        PLACE_CHARS_MAX,
        Details,
        EmergencyReason,
    )
    from salus.relation import Whose

    try:
        why = EmergencyReason(reason.lower())
    except ValueError:
        raise CliError("USAGE", f"--reason is one of {', '.join(EmergencyReason)}") from None
    if len(place) > PLACE_CHARS_MAX:
        raise CliError("USAGE", f"--place has at most {PLACE_CHARS_MAX} characters")
    async with emergency_parties.as_member(session) as client:
        if texts:
            typed = identifiers.given(texts, None)
            whom, whose = await emergencies.identified(session, client, typed, why.value, org)
        else:
            whom, whose = await emergencies.patient(session, client, patient, handle, card, org)
        details = Details(why, place, Path(session.key or "").stem[:PLACE_CHARS_MAX])
        opened = await client.emergencies.open(Whose(whom, whose), details)
        # Kept before it is sent: the answer may be lost.
        emergencies.keep(emergency_parties.home(session), opened.file)
        await emergency_release.release(session, client, opened.file, output, opened)


@emergency.command()
@click.argument("case_id")
@_output
@pass_session
@waits
async def fetch(session: Session, case_id: str, output: Path | None) -> None:
    """The summary of a case that was opened from this home: after a colleague has agreed, or once more.

    --as names the clinician who opened it."""
    from cli import emergencies, emergency_parties, emergency_release

    async with emergency_parties.as_member(session) as client:
        file = emergencies.kept(emergency_parties.home(session), case_id)
        await emergency_release.release(session, client, file, output)


def _relation(session: Session, name: str, org: str | None) -> tuple[OpenWallet, KnownRelation]:
    from cli.wallets import open_wallet

    wallet = open_wallet(session, name)
    return wallet, wallet.relation(org)


def _read(file: str, bytes_max: int) -> bytes:
    """One byte more than is allowed, so that it can be refused; «-» is standard input."""
    if file == "-":
        return sys.stdin.buffer.read(bytes_max + 1)
    with Path(file).open("rb") as stream:
        return stream.read(bytes_max + 1)
