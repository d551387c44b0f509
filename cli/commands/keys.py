"""`salus keys …`: secret keys at rest, each in a file with a password."""

import os
from pathlib import Path

import click

from cli.commands.keys_pepper import pepper_
from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.keyfiles import new_password, password_for, public_key_of, read_password
from cli.session import Session, pass_session
from salus import keystore
from salus.keys import SEED_BYTES, SigningKey, address

_password_file = click.option(
    "--password-file", type=click.Path(dir_okay=False), help="Default: asks, or keys/password."
)


@group()
def keys() -> None:
    """Keys at rest: make, list, show, export, import."""


keys.add_command(pepper_)


@keys.command()
@click.argument("name")
@click.option("--kind", default="staff", show_default=True, help="What the key is for.")
@_password_file
@click.option("--dry-run", is_flag=True, help="Check; make nothing.")
@pass_session
def new(session: Session, name: str, kind: str, password_file: str | None, dry_run: bool) -> None:
    """Make a key under a name."""
    home = session.home.local(session.node)
    path = _path(home, name)
    if path.exists():
        raise CliError("REFUSES_OVERWRITE", f"{path} exists")
    if dry_run:
        session.out.result({"file": str(path), "kind": kind}, f"would make {path}")
        return
    password = password_for(home, password_file, confirm=True)
    file = keystore.write(path, os.urandom(SEED_BYTES), password, kind=kind)
    document = {"name": name, "kind": kind, "address": file.address, "file": str(path)}
    session.out.result(document, f"{session.out.mark(True)} {name}  {file.address}")


@keys.command("list")
@pass_session
def list_(session: Session) -> None:
    """The keys of this home; needs no password."""
    rows = []
    for home in _homes(session):
        for path in sorted(home.keys.glob("*.json")):
            file = keystore.read(path)
            rows.append((path.stem, file.kind, file.address, str(path)))
    names = ("name", "kind", "address", "file")
    document = {"keys": [dict(zip(names, row, strict=True)) for row in rows]}
    session.out.table(document, ("NAME", "KIND", "ADDRESS", "FILE"), rows)


@keys.command()
@click.argument("name", required=False, default="operator")
@click.option("--file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Open it too, to see that the password fits.")
@_password_file
@pass_session
def show(
    session: Session, name: str, file: Path | None, check: bool, password_file: str | None
) -> None:
    """Address, public key and kind of a key."""
    path = file or _path(session.home.local(session.node), name)
    stored = keystore.read(path)
    public = public_key_of(path)
    if check:
        keystore.unlock_seed(path, password_for(NodeHome(path.parent.parent), password_file))
    document = {
        "file": str(path),
        "kind": stored.kind,
        "address": address(public) if stored.kind != keystore.BOX else None,
        "public_key": public.hex(),
        "checked": check,
    }
    session.out.result(document)


@keys.command()
@click.argument("name")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--new-password-file", type=click.Path(dir_okay=False, path_type=Path))
@_password_file
@pass_session
def export(
    session: Session,
    name: str,
    output: Path,
    new_password_file: Path | None,
    password_file: str | None,
) -> None:
    """A copy of a key under another password, for a safe place."""
    home = session.home.local(session.node)
    path = _path(home, name)
    seed = keystore.unlock_seed(path, password_for(home, password_file))
    password = new_password(new_password_file)
    file = keystore.write(output, seed, password, kind=keystore.read(path).kind)
    session.out.result(
        {"file": str(output), "address": file.address},
        f"{session.out.mark(True)} {name}  →  {output}",
    )


@keys.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("name")
@click.option("--file-password-file", type=click.Path(dir_okay=False, path_type=Path))
@_password_file
@click.option("--dry-run", is_flag=True, help="Open it; write nothing.")
@pass_session
def import_(
    session: Session,
    file: Path,
    name: str,
    file_password_file: Path | None,
    password_file: str | None,
    dry_run: bool,
) -> None:
    """Put an exported key into this home under a name; never over an existing one.

    A validator's key belongs on one machine only: two nodes that sign with it are taken for
    a liar. The vote journal is not part of the backup, so the node rejoins at a new epoch.
    """
    home = session.home.local(session.node)
    path = _path(home, name)
    if path.exists():
        raise CliError("REFUSES_OVERWRITE", f"{path} exists")
    if file_password_file is not None:
        opening = read_password(file_password_file)
    else:
        opening = password_for(NodeHome(file.parent.parent))
    seed = keystore.unlock_seed(file, opening, anywhere=True)
    kind = keystore.read(file).kind
    if name in {keystore.NODE, keystore.OPERATOR, keystore.BOX} and kind != name:
        raise CliError("BAD_ARGUMENT", f"{file} holds a key of kind «{kind}», not «{name}»")
    if not dry_run:
        keystore.write(path, seed, password_for(home, password_file, confirm=True), kind=kind)
    session.out.result(
        {"name": name, "kind": kind, "file": str(path), "written": not dry_run},
        f"{session.out.mark(True)} {name} ({kind})" + ("  (not written)" if dry_run else ""),
    )


@keys.command()
@click.argument("name")
@click.option("--handle", metavar="HEX", required=True, help="Of the person: 32 random bytes.")
@click.option("--org", help="The organisation that employs. Default: this home's.")
@_password_file
@pass_session
def possession(
    session: Session, name: str, handle: str, org: str | None, password_file: str | None
) -> None:
    """A staff key signs that it belongs to an organisation: for members staff_register."""
    from salus.genesis import from_json
    from salus.staff import possession as payload

    home = session.home.local(session.node)
    if len(handle) != 64 or not all(letter in "0123456789abcdef" for letter in handle):
        raise CliError("USAGE", "--handle: expected 64 hex digits")
    employer = org or home.member()
    if employer is None:
        raise CliError("USAGE", "which organisation? --org")
    chain_id = from_json(home.genesis.read_bytes()).chain_id
    seed = keystore.unlock_seed(_path(home, name), password_for(home, password_file))
    key = SigningKey.from_seed(seed)
    document = {
        "key": key.public_key.hex(),
        "org": employer,
        "handle": handle,
        "possession": key.sign(payload(chain_id, employer, bytes.fromhex(handle))).hex(),
    }
    session.out.result(document)


@keys.command()
@click.argument("capacity", type=click.Choice(("node", "operator")))
@click.option("--finish", is_flag=True, help="The vote has taken effect: put the key in place.")
@_password_file
@click.option("--dry-run", is_flag=True, help="Check; make and move nothing.")
@pass_session
def rotate(
    session: Session, capacity: str, finish: bool, password_file: str | None, dry_run: bool
) -> None:
    """Another key for this home, by vote: made now, put in place with --finish.

    The file that it writes goes to a hospital with a vote (salus gov propose rotate-node-key), or is
    proposed by this one itself. The old key stays in force until the epoch that the vote brings.
    """
    from cli import key_rotation as rotation

    home = session.home.local(session.node)
    if finish:
        _finish_rotation(session, home, capacity, password_file, dry_run=dry_run)
        return
    path = rotation.next_key(home, capacity)
    if dry_run:
        session.out.result({"file": str(path), "exists": path.exists()}, f"would make {path}")
        return
    made = rotation.begin(home, capacity, password_for(home, password_file))
    file = rotation.rotation_file(home, capacity)
    document = {
        "file": str(file),
        "key": str(path),
        "address": address(made.new_key),
        "fingerprint": made.fingerprint(),
    }
    session.out.result(
        document,
        f"{session.out.mark(True)} {path}  {document['address']}\n"
        f"  fingerprint  {made.fingerprint()}   (read it aloud to whoever proposes)\n"
        f"next: back up {home.keys}; salus gov propose rotate-{capacity}-key --key-file {file}",
    )


@waits
async def _finish_rotation(
    session: Session, home: NodeHome, capacity: str, password_file: str | None, *, dry_run: bool
) -> None:
    """Only a key that the ledger knows as the member's takes the place: too early would cost the
    vote, and the way back is a rejoin."""
    from cli import key_rotation as rotation

    key = rotation.waiting_key(home, capacity)
    async with connect(session) as client:
        account = await client.account(address(key))
    if not account.active:
        raise CliError(
            "NOT_READY",
            f"the new {capacity} key is not in force yet",
            next_step="salus gov list; if this node cannot follow any more, ask another: --node URL",
        )
    if not dry_run:
        rotation.finish(home, capacity, password_for(home, password_file))
    session.out.result(
        {"capacity": capacity, "address": address(key), "written": not dry_run},
        f"{session.out.mark(True)} {address(key)} is the {capacity} key of {home.path}"
        + ("  (not written)" if dry_run else "")
        + ("\nnext: restart the node" if capacity == keystore.NODE else ""),
    )


def _homes(session: Session) -> list[NodeHome]:
    if session.home.is_testnet and session.node is None:
        return [node.node_home for node in session.home.testnet.nodes]
    return [session.home.local(session.node)]


def _path(home: NodeHome, name: str) -> Path:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise CliError("USAGE", "a key's name has letters, digits, «-» and «_»")
    return home.keys / f"{name}.json"
