"""`salus org …`: what an organisation does in its own name."""

from pathlib import Path
from typing import TypeVar

import click

from cli.commands.patient_terms import read_terms
from cli.connect import connect, plain, waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus.acts import people
from salus.offer import Service, Surface, site, site_text
from salus.relation import terms_hash
from salus.wire_json import to_json


@group()
def org() -> None:
    """What an organisation does in its own name."""


@org.command()
@click.option(
    "--service", "services", multiple=True, metavar="WORD", help=f"Of {', '.join(Service)}."
)
@click.option("--site", "sites", multiple=True, metavar="156-110101", help="Country and division.")
@click.option(
    "--reach", "surfaces", multiple=True, metavar="WORD", help=f"Of {', '.join(Surface)}."
)
@click.option("--dry-run", is_flag=True, help="Show it; send nothing.")
@pass_session
@waits
async def offer(
    session: Session,
    services: tuple[str, ...],
    sites: tuple[str, ...],
    surfaces: tuple[str, ...],
    dry_run: bool,
) -> None:
    """Say in public what the organisation offers; it takes the place of what it said before."""
    act = people.offer(
        [_word(Service, one) for one in services],
        [site(one) for one in sites],
        [_word(Surface, one) for one in surfaces],
    )
    said = dict(act.args) | {"sites": [site_text(one) for one in act.args["sites"]]}
    if dry_run:
        session.out.result(said, "nothing sent (--dry-run)")
        return
    async with connect(session, sign=True) as client:
        done = await client.send(act)
    session.out.result(
        said | {"tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} offered  {', '.join(said['services']) or 'nothing'}  block {done.height}",
    )


@org.command("list")
@pass_session
@waits
async def list_(session: Session) -> None:
    """The public directory: organisations, kinds, and what each says that it offers."""
    async with connect(session) as client:
        found = await client.directory()
    rows = [
        (
            one.id,
            ", ".join(one.roles),
            one.status,
            "-" if one.offer is None else ", ".join(one.offer.services),
            "-" if one.offer is None else ", ".join(one.offer.sites),
            "-" if one.offer is None else ", ".join(one.offer.surfaces),
        )
        for one in found.items
    ]
    columns = ("ORG", "KINDS", "STATE", "SERVICES", "PLACES", "REACHED BY")
    session.out.table(plain(found), columns, rows)


W = TypeVar("W", Service, Surface)


def _word(kind: type[W], text: str) -> W:
    try:
        return kind(text)
    except ValueError:
        raise CliError("USAGE", f"«{text}» is none of {', '.join(kind)}") from None


@org.group()
def terms() -> None:
    """The terms that its patients accept, by version."""


@terms.command()
@click.argument("document", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Show the hash; send nothing.")
@pass_session
@waits
async def publish(session: Session, document: Path, dry_run: bool) -> None:
    """Publish the next version: of the document only its hash goes on the chain."""
    raw = read_terms(document)
    shown = {"document": terms_hash(raw).hex()}
    if dry_run:
        session.out.result(shown, f"{shown['document']}; nothing sent (--dry-run)")
        return
    async with connect(session, sign=True) as client:
        version, done = await client.terms.publish(raw)
    session.out.result(
        shown | {"version": version, "tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} version {version} published  block {done.height}",
    )


@terms.command()
@click.argument("organisation", metavar="ORG")
@pass_session
@waits
async def show(session: Session, organisation: str) -> None:
    """The newest version of an organisation, and the hash of its document."""
    async with connect(session) as client:
        newest = await client.terms.newest(organisation)
    if newest is None:
        raise CliError("UNKNOWN_TERMS", f"{organisation} published no terms")
    session.out.result(
        to_json(newest),
        f"version {newest.version}  block {newest.height}  document {newest.document.hex()}",
    )
