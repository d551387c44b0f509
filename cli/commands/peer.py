"""`salus peer …`: where the other hospitals' nodes are, in node.toml.

Who is a member the ledger says; the configuration only says where to find them.
"""

from pathlib import Path

import click

from cli.ceremony import own_key, read_cards, set_peers, unset_peer
from cli.commands.query import query_peers
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus.keys import address

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
RELOAD = "the node reads it at SIGHUP: systemctl reload salus"


@group()
def peer() -> None:
    """Where the other hospitals are: list, add and remove."""


peer.add_command(query_peers, "list")


@peer.command()
@click.argument("joins", type=_file, nargs=-1, required=True, metavar="JOIN…")
@click.option("--dry-run", is_flag=True, help="Read the files; write nothing.")
@pass_session
def add(session: Session, joins: tuple[Path, ...], dry_run: bool) -> None:
    """Put the places that join files name into node.toml; for a new hospital or one that moved."""
    home = session.home.existing(session.node)
    cards = read_cards(joins)
    places = {card.member.node_key: card.endpoint for card, _ in cards}
    if not dry_run:
        set_peers(home, places, own=own_key(home))
    rows = [
        {"member": card.member.id, "address": address(card.member.node_key), "at": card.endpoint}
        for card, _ in cards
    ]
    for card, _ in cards:
        session.out.note(f"{card.member.id} at {card.endpoint}   {card.fingerprint()}")
    document = {"peers": rows, "written": not dry_run}
    session.out.result(document, f"{session.out.mark(True)} {len(rows)} in {home.config}; {RELOAD}")


@peer.command()
@click.argument("key", metavar="ADDRESS")
@click.option("--dry-run", is_flag=True, help="Look; write nothing.")
@pass_session
def remove(session: Session, key: str, dry_run: bool) -> None:
    """Take a peer out of node.toml, by the address of its key (sal1…): one that has left."""
    home = session.home.existing(session.node)
    if not unset_peer(home, key, dry_run=dry_run):
        raise CliError("FILE_NOT_FOUND", f"{home.config} names no peer {key}", exit_code=5)
    document = {"removed": key, "written": not dry_run}
    session.out.result(document, f"{session.out.mark(True)} removed; at the next start")
