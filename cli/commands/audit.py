"""`salus audit …`: who saw a patient's records, when, and under which authority.

What the chain holds is verified here, by the genesis hash; what the custodian adds is held to the
commitments of the tickets. Nothing is believed because a node says it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.connect import short, waits
from cli.errors import CliError
from cli.group import group
from cli.output import printable
from cli.session import Session, pass_session
from salus.codes import Exit

if TYPE_CHECKING:
    from cli.wallets import OpenWallet
    from salus.audit_files import Gathered
    from salus.audit_story import Entry
    from salus.client import Client
    from salus.wallet import KnownRelation

_patient = click.option(
    "--patient",
    metavar="NAME|HANDLE",
    required=True,
    help="Whose trail: by wallet, or for an auditor by handle, with --at-org.",
)
_at = click.option("--at-org", "org", metavar="ORG", help="The custodian; default: see below.")
_HANDLE = re.compile(r"[0-9a-f]{64}")
_genesis = click.option(
    "--genesis", metavar="HASH", help="What to verify by; default: this home's own genesis."
)


@group()
def audit() -> None:
    """Who saw what, when, and by what right."""


@audit.command()
@_patient
@_at
@_genesis
@pass_session
@waits
async def show(session: Session, patient: str, org: str | None, genesis: str | None) -> int:
    """The trail of a patient: reads, denials, emergencies, erasures; at all custodians, or one.

    --as: the patient (default), a delegate who may view, or the custodian's auditor. Exit 1 if a
    trail is not complete, or if the custodian tells another story than the tickets."""
    from cli.audits import trusted_hash
    from salus.client import Trust

    anchor, node = trusted_hash(session, genesis), session.node
    found = []
    for relation, wallet in _relations(session, patient, org):
        session.node = node
        async with _asker(session, relation, wallet) as client:
            client.trust = Trust(anchor.hex())
            found.append(await client.audit.trail(relation.whose))
    rows = [row for gathered in found for row in map(_row, gathered.entries)]
    document = {"trails": [_document(gathered) for gathered in found]}
    session.out.table(
        document,
        ("TIME", "AT", "WHO", "PURPOSE", "AUTHORITY", "RECORDS", "RECEIPT", "CHECK"),
        rows,
    )
    if not session.out.json:
        for gathered in found:
            session.out.note(_standing(session, gathered))
    return Exit.OK if all(_good(gathered) for gathered in found) else Exit.NEGATIVE


@audit.command()
@_patient
@_at
@_genesis
@click.option(
    "--format",
    "kind",
    type=click.Choice(("fhir", "csv", "jsonl")),
    default="jsonl",
    show_default=True,
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="FILE; beside it FILE.manifest.json and FILE.proofs/.",
)
@pass_session
@waits
async def export(
    session: Session,
    patient: str,
    org: str | None,
    genesis: str | None,
    kind: str,
    output: Path,
) -> int:
    """The trail at one custodian as a file, with a signed manifest and all proofs.

    Whoever gets them checks them with «salus audit verify»: no node, no network."""
    from cli.audits import trusted_hash
    from salus.audit_files import manifest_path, proofs_path, write
    from salus.client import Trust

    anchor = trusted_hash(session, genesis)
    found = _relations(session, patient, org)
    if len(found) > 1:
        raise CliError("USAGE", "an export is of one custodian", next_step="--at-org ORG")
    ((relation, wallet),) = found
    for path in (output, manifest_path(output), proofs_path(output)):
        if path.exists():
            raise CliError("REFUSES_OVERWRITE", f"{path} is there already")
    async with _asker(session, relation, wallet) as client:
        client.trust = Trust(anchor.hex())
        gathered = await client.audit.trail(relation.whose)
        content, manifest, proofs = await client.audit.export(gathered, kind, output.name)
    if kind == "fhir":
        from node.fhir import check_fhir

        check_fhir(content, "application/fhir+json")  # our own edge must take what we give
    write(output, content, manifest, proofs)
    session.out.result(
        {
            "file": str(output),
            "manifest": str(manifest_path(output)),
            "proofs": len(proofs),
            "entries": len(gathered.entries),
            "height": gathered.trails[0].height,
            "complete": gathered.complete,
            "format": kind,
        },
        f"{len(gathered.entries)} entries  →  {output}  ({kind}), {len(proofs)} proofs\n"
        f"  {_standing(session, gathered)}\n"
        f"  check it anywhere: salus audit verify {output} --genesis HASH",
    )
    return Exit.OK if _good(gathered) else Exit.NEGATIVE


@audit.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--genesis", metavar="HASH", help="The genesis hash, from a source you believe.")
@pass_session
def verify(session: Session, file: Path, genesis: str | None) -> None:
    """Check an exported trail: signature, hashes, proofs, and that the file follows from them.

    No node, no network. Exit 1 if anything does not fit."""
    from cli.commands.verify import hash_of
    from salus.audit_files import verified
    from salus.errors import SalusError

    if genesis is None:
        raise CliError("NO_ANCHOR", "an export is checked against something you trust already")
    anchor = hash_of(genesis, "--genesis")
    try:
        manifest, checked = verified(file, anchor)
    except SalusError as error:
        session.out.result(
            {"verified": False, "reason": error.message, "code": error.code},
            f"NOT VERIFIED: {printable(error.message)}",
        )
        click.get_current_context().exit(Exit.NEGATIVE)
    good = checked.complete and checked.clean
    limit = f"says nothing about later than height {checked.height}"
    lines = [
        f"  {len(checked.entries)} entries of {manifest.custodian}, {checked.proofs} proofs of tickets",
        f"  {'complete' if checked.complete else 'NOT COMPLETE'} as of height {checked.height}; {limit}",
        f"  exported {manifest.exported}, signed by the relation's {checked.signer} key"
        if checked.signer != "other"
        else f"  exported {manifest.exported}, signed by a key that is not the relation's: {manifest.key}",
    ]
    if not checked.clean:
        lines.append("  the custodian's words do NOT lead to the tickets: see CHECK")
    lines.append("VERIFIED offline (no network used)")
    session.out.result(
        {
            "verified": True,
            "complete": checked.complete,
            "clean": checked.clean,
            "height": checked.height,
            "entries": len(checked.entries),
            "proofs": checked.proofs,
            "signer": checked.signer,
            "key": manifest.key,
            "exported": manifest.exported,
            "limit": limit,
        },
        "\n".join(map(printable, lines)),
    )
    if not good:
        click.get_current_context().exit(Exit.NEGATIVE)


def _relations(
    session: Session, patient: str, org: str | None
) -> list[tuple[KnownRelation, OpenWallet | None]]:
    """Those of a wallet, all or one; or the one that an auditor names by its handle."""
    from cli.wallets import open_wallet
    from salus.wallet import KnownRelation

    if _HANDLE.fullmatch(patient) is not None:
        if org is None:
            raise CliError("USAGE", "a handle is of one organisation", next_step="--at-org ORG")
        return [(KnownRelation(org, bytes.fromhex(patient), False, 0), None)]
    wallet = open_wallet(session, patient)
    known = wallet.contents.relations if org is None else (wallet.relation(org),)
    if not known:
        raise CliError("UNKNOWN_RELATION", f"«{patient}» is not registered anywhere")
    return [(relation, wallet) for relation in known]


@asynccontextmanager
async def _asker(
    session: Session, relation: KnownRelation, wallet: OpenWallet | None
) -> AsyncIterator[Client]:
    """A client that signs as the patient, or as whoever --as names."""
    from cli.owners import as_owner, at_custodian

    if wallet is None:
        async with at_custodian(session, relation, sign=True) as client:
            yield client
    else:
        async with as_owner(session, wallet, relation) as (client, _):
            yield client


def _row(entry: Entry) -> tuple[object, ...]:
    who = entry.by or "-"
    if entry.staff is not None:
        who = f"{who}/{short(entry.staff)}"
    count = f"{entry.count} × " if entry.kind == "denials" else ""
    return (
        entry.time or "-",
        entry.custodian,
        who,
        entry.purpose or "-",
        printable(f"{count}{entry.words}"),
        " ".join(short(one) for one in entry.records) or "-",
        entry.receipt or "-",
        entry.check if not entry.faults else f"{entry.check}: {' '.join(entry.faults)}",
    )


def _document(gathered: Gathered) -> dict[str, Any]:
    from salus.audit_story import plain

    newest, entries = gathered.trails[0], gathered.entries
    return {
        "custodian": gathered.org,
        "handle": gathered.handle.hex(),
        "height": newest.height,
        "block_hash": newest.block_hash.hex(),
        "complete": gathered.complete,
        "clean": gathered.clean,
        "opened": gathered.opened,
        "tickets": newest.tickets,
        "denials": newest.denials,
        "entries": [plain(entry) for entry in entries],
    }


def _standing(session: Session, gathered: Gathered) -> str:
    newest = gathered.trails[0]
    whole = "complete" if gathered.complete else "NOT COMPLETE"
    text = f"{gathered.org}: {whole} as of certified height {newest.height}"
    if not gathered.opened:
        text += "; only the custodian's node opens the tickets: --node URL"
    if not gathered.clean:
        text += "; the custodian tells ANOTHER STORY than the tickets"
    return f"{session.out.mark(_good(gathered))} {text}"


def _good(gathered: Gathered) -> bool:
    return gathered.complete and gathered.clean
