"""`salus keeper …`: the process that alone opens the keys of patients' documents.

It has a folder of its own (default: `keeper` in the node's home), with its own copy of genesis: what
the node says it believes only as far as signatures lead from there.
"""

import socket
from pathlib import Path

import click

from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.keyfiles import password_for
from cli.session import Session, pass_session

_folder = click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Its folder."
)


@group()
def keeper() -> None:
    """The process that alone opens document keys."""


@keeper.command()
@_folder
@click.option("--dry-run", is_flag=True, help="Show what would be made; make nothing.")
@pass_session
def init(session: Session, folder: Path | None, dry_run: bool) -> None:
    """Make the keeper's folder and key, with a copy of the node's genesis."""
    from node.keeper_process import make
    from salus.genesis import from_json

    home = session.home.local(session.node)
    place = folder or _default(home)
    org = home.member()
    if org is None:
        raise CliError("NO_HOME", f"{home.path} is not the home of an organisation's node")
    genesis = from_json(home.genesis.read_text())
    document = {"folder": str(place), "org": org, "genesis_hash": genesis.hash().hex()}
    if dry_run:
        session.out.result(document, "nothing made (--dry-run)")
        return
    public = make(place, genesis, org, password_for(NodeHome(place), confirm=True))
    session.out.result(
        document | {"public_key": public.hex()},
        f"{session.out.mark(True)} keeper of {org}  {place}\n"
        f"  compare the genesis hash with the others: {genesis.hash().hex()}",
    )


@keeper.command()
@_folder
@click.option("--password-file", type=click.Path(dir_okay=False), help="Unlocks its key.")
@pass_session
def start(session: Session, folder: Path | None, password_file: str | None) -> None:
    """Run the keeper until SIGTERM."""
    from cli import loop
    from node.keeper_process import run

    place = _made(session, folder)
    loop.run(run(place, password_for(NodeHome(place), password_file)))


@keeper.command()
@_folder
@pass_session
def status(session: Session, folder: Path | None) -> int:
    """Does it run, and how often has it opened keys?"""
    from node.keeper_process import LOG, SOCKET, public_key

    place = _made(session, folder)
    running = _answers(place / SOCKET)
    log = place / LOG
    lines = sum(1 for line in log.open("rb") if line.strip()) if log.exists() else 0
    session.out.result(
        {
            "running": running,
            "org": (place / "member").read_text().strip(),
            "public_key": public_key(place).hex(),
            "unwrappings": lines,
        },
        f"{session.out.mark(running)} {'runs' if running else 'does not run'}"
        f"  {lines} unwrappings on record",
    )
    return 0 if running else 1


def _default(home: NodeHome) -> Path:
    return home.path / "keeper"


def _made(session: Session, folder: Path | None) -> Path:
    from node.keeper_process import KEY

    place = folder or _default(session.home.local(session.node))
    if not (place / KEY).is_file():
        raise CliError("NO_HOME", f"{place} is no keeper's folder", next_step="salus keeper init")
    return place


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(str(path))
        except OSError:
            return False
    return True
