"""`salus keeper …`: the process that alone opens the keys of patients' documents.

It has a folder of its own (default: `keeper` in the node's home; better: another user's), with its own
copy of genesis: what the node says it believes only as far as signatures lead from there.
"""

from pathlib import Path

import click

from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.keepers import answers
from cli.keyfiles import new_password, password_for, read_password
from cli.processes import KEEPER_FOLDER
from cli.session import Session, pass_session

_folder = click.option(
    "--dir", "folder", type=click.Path(file_okay=False, path_type=Path), help="Its folder."
)


@group()
def keeper() -> None:
    """The process that alone opens document keys."""


@keeper.command()
@_folder
@click.option(
    "--genesis",
    "genesis_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the node's home cannot be read: its genesis.json …",
)
@click.option("--org", metavar="ID", help="… and the organisation. The node is then told by hand.")
@click.option("--password-file", type=click.Path(dir_okay=False), help="Will open its key.")
@click.option("--dry-run", is_flag=True, help="Show what would be made; make nothing.")
@pass_session
def init(
    session: Session,
    folder: Path | None,
    genesis_file: Path | None,
    org: str | None,
    password_file: str | None,
    dry_run: bool,
) -> None:
    """Make the keeper's folder and key, with a copy of genesis, and name it in node.toml."""
    from cli.node_toml import change
    from node.keeper_process import make
    from salus.genesis import from_json

    apart = genesis_file is not None
    if apart != (org is not None) or (apart and folder is None):
        raise CliError("USAGE", "--genesis, --org and --dir go together")
    home = None if apart else session.home.existing(session.node)
    place = (folder or _default(session)).absolute()
    if home is not None:
        genesis_file, org = home.genesis, home.member()
    assert genesis_file is not None
    if org is None:
        raise CliError("NO_HOME", "the home is that of no organisation's node")
    genesis = from_json(genesis_file.read_bytes())
    document: dict[str, object] = {
        "folder": str(place),
        "org": org,
        "genesis_hash": genesis.hash().hex(),
    }
    if dry_run:
        session.out.result(document, "nothing made (--dry-run)")
        return
    password = password_for(NodeHome(place), password_file, confirm=True)
    public = make(place, genesis, org, password).hex()
    settings = _settings(home, place, public)
    if home is not None:
        change(home, settings)
    pairs = " ".join(f"{name} {value}" for name, value in settings.items())
    session.out.result(
        document | {"public_key": public, "named": home is not None},
        f"{session.out.mark(True)} keeper of {org}  {place}\n"
        f"  compare the genesis hash with the others: {genesis.hash().hex()}\n"
        + (
            "next: salus keeper start; restart the node, which now seals patients' documents to it"
            if home is not None
            else f"next, in the node's home: salus config set {pairs}"
        ),
    )


@keeper.command()
@_folder
@click.option("--password-file", type=click.Path(dir_okay=False), help="Unlocks its key.")
@click.option(
    "--group", metavar="NAME", help="Whose members may ask it; the node's, if it is another user's."
)
@pass_session
def start(
    session: Session, folder: Path | None, password_file: str | None, group: str | None
) -> None:
    """Run the keeper until SIGTERM."""
    from cli import loop
    from node.keeper_process import run

    place = _made(session, folder)
    loop.run(run(place, password_for(NodeHome(place), password_file), group))


@keeper.command()
@_folder
@pass_session
def status(session: Session, folder: Path | None) -> int:
    """Does it run, and how often has it opened keys?"""
    from node.keeper_epochs import opened
    from node.keeper_process import EPOCHS, LOG, SOCKET, public_key

    place = _made(session, folder)
    running = answers(place / SOCKET) is True
    log = place / LOG
    lines = sum(1 for line in log.open("rb") if line.strip()) if log.exists() else 0
    newest = opened(place / EPOCHS, 0).newest
    session.out.result(
        {
            "running": running,
            "org": (place / "member").read_text().strip(),
            "public_key": public_key(place).hex(),
            "unwrappings": lines,
            "epoch": 0 if newest is None else newest.epoch + 1,
            "height": 0 if newest is None else newest.height,
        },
        f"{session.out.mark(running)} {'runs' if running else 'does not run'}"
        f"  {lines} unwrappings on record  "
        + (
            "no epoch has ended that it knows of"
            if newest is None
            else f"believes epoch {newest.epoch + 1}, from block {newest.height}, and no older one"
        ),
    )
    return 0 if running else 1


@keeper.command()
@_folder
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--new-password-file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--password-file", type=click.Path(dir_okay=False), help="Unlocks its key.")
@pass_session
def backup(
    session: Session,
    folder: Path | None,
    output: Path,
    new_password_file: Path | None,
    password_file: str | None,
) -> None:
    """A copy of the keeper in a new folder, its key under another password. Without one, a lost
    keeper takes all patients' documents with it."""
    from node.keeper_backup import backup as copy

    place = _made(session, folder)
    password = password_for(NodeHome(place), password_file)
    saved = copy(place, output, password, new_password(new_password_file))
    session.out.result(
        {"folder": str(output), "org": saved.org, "public_key": saved.public_key.hex()},
        f"{session.out.mark(True)} keeper of {saved.org}  →  {output}\n"
        "  keep it and its password apart from each other, and from the node's backup",
    )


@keeper.command()
@click.argument("copy", type=click.Path(exists=True, file_okay=False, path_type=Path))
@_folder
@click.option("--copy-password-file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--password-file", type=click.Path(dir_okay=False), help="Will open its key.")
@click.option("--dry-run", is_flag=True, help="Read the copy; write nothing.")
@pass_session
def restore(
    session: Session,
    copy: Path,
    folder: Path | None,
    copy_password_file: Path | None,
    password_file: str | None,
    dry_run: bool,
) -> None:
    """The keeper from a copy that `keeper backup` made; never over another one."""
    from cli.node_toml import change
    from node import keeper_backup
    from salus.genesis import from_json

    saved = keeper_backup.read(copy)
    home = None if folder is not None else session.home.existing(session.node)
    place = (folder or _default(session)).absolute()
    if home is not None:
        ours = from_json(home.genesis.read_bytes()).hash(), home.member()
        if ours != (saved.genesis.hash(), saved.org):
            raise CliError("CONFIG_INVALID", f"{copy} is of another node's keeper")
    public = saved.public_key.hex()
    document = {
        "folder": str(place),
        "org": saved.org,
        "genesis_hash": saved.genesis.hash().hex(),
        "public_key": public,
    }
    if dry_run:
        session.out.result(document, "nothing written (--dry-run)")
        return
    opening = (
        password_for(NodeHome(copy))
        if copy_password_file is None
        else read_password(copy_password_file)
    )
    password = password_for(NodeHome(place), password_file, confirm=True)
    keeper_backup.restore(copy, place, opening, password)
    if home is not None:
        change(home, _settings(home, place, public))
    session.out.result(
        document,
        f"{session.out.mark(True)} keeper of {saved.org}  {place}\n"
        f"  compare the genesis hash with the others: {saved.genesis.hash().hex()}\n"
        "next: salus keeper start; it believes the epoch of the copy until it has seen a newer one",
    )


def _settings(home: NodeHome | None, place: Path, public: str) -> dict[str, str]:
    """Of node.toml."""
    from node.keeper_process import SOCKET

    inside = home is not None and place == home.path / KEEPER_FOLDER
    # By a name within the home, so that it can be moved.
    socket = f"{KEEPER_FOLDER}/{SOCKET}" if inside else str(place / SOCKET)
    return {"keeper.public_key": public, "keeper.socket": socket}


def _default(session: Session) -> Path:
    return session.home.local(session.node).path / KEEPER_FOLDER


def _made(session: Session, folder: Path | None) -> Path:
    from node.keeper_process import KEY

    place = folder or _default(session)
    if not (place / KEY).is_file():
        raise CliError("NO_HOME", f"{place} is no keeper's folder", next_step="salus keeper init")
    return place
