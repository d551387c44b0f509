"""The keys of a home: made at `init`, found by name, opened by a password from one of four places.

keys/node.json       signs votes and pins TLS      keys/operator.json  signs transactions
keys/box.json        receives sealed things        keys/password       opens them; dev only
"""

import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from cli.errors import CliError
from cli.home import NodeHome
from cli.session import Session
from node.standing import mark_birth
from salus import keystore
from salus.errors import BadMessage
from salus.keys import SEED_BYTES, Signer, SigningKey, box_public_key, parse_address

PASSWORD_BYTES_MAX = 1024
OWN_KEYS = (keystore.NODE, keystore.OPERATOR, keystore.BOX)


@dataclass(frozen=True)
class NodeKeys:
    """The keys of a new node, open in memory for as long as they sign its join file."""

    node: SigningKey
    operator: SigningKey
    box_public_key: bytes


def make_keys(
    home: NodeHome,
    password: str,
    *,
    keep_password: bool = True,
    kdf: keystore.Kdf = keystore.INTERACTIVE,
    random: Callable[[int], bytes] = os.urandom,
) -> NodeKeys:
    """Node, operator and box key of a home; raises if one exists."""
    seeds = {name: random(SEED_BYTES) for name in OWN_KEYS}
    for name in OWN_KEYS:
        path = home.keys / f"{name}.json"
        if path.exists():
            raise CliError("REFUSES_OVERWRITE", f"{path} exists; keys are never overwritten")
    for name, seed in seeds.items():
        keystore.write(home.keys / f"{name}.json", seed, password, kind=name, kdf=kdf)
    # The vote journal is born with the keys: only a node that has just been made may vote
    # without one (rule S4). An imported key gets no mark and rejoins at a new epoch.
    mark_birth(home.data)
    if keep_password:
        write_secret(home.keys / "password", password + "\n")
    return NodeKeys(
        SigningKey.from_seed(seeds[keystore.NODE]),
        SigningKey.from_seed(seeds[keystore.OPERATOR]),
        box_public_key(seeds[keystore.BOX]),
    )


def write_secret(path: Path, text: str) -> None:
    """A new file that only its owner can read."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)


def public_key_of(path: Path) -> bytes:
    """Whose key lies in a file; needs no password. Raises `KeystoreError`."""
    if not path.exists():
        raise FileNotFoundError(2, "no such key", str(path))
    file = keystore.read(path)
    if file.kind != keystore.BOX:
        return parse_address(file.address)
    if re.fullmatch(r"[0-9a-f]{64}", file.address) is None:
        raise BadMessage("a box key is 64 lower-case hex digits", code="BAD_KEYSTORE")
    return bytes.fromhex(file.address)


def signer_of(session: Session, home: NodeHome | None) -> Signer:
    """The key of --as: a name in keys/, a path, or a node of the testnet (its operator)."""
    path = _path_of(session, home)
    if not path.exists():
        raise CliError("FILE_NOT_FOUND", f"there is no key at {path}", next_step="salus keys list")
    return keystore.Keystore(path, password_for(NodeHome(path.parent.parent)))


def has_key(session: Session, home: NodeHome | None) -> bool:
    """Is there a key file for --as?"""
    try:
        return _path_of(session, home).exists()
    except CliError:  # no home, and no path either
        return False


def _path_of(session: Session, home: NodeHome | None) -> Path:
    name = session.key
    if name is not None and (os.sep in name or name.endswith(".json")):
        return Path(name).expanduser()
    if name is not None and session.home.is_testnet:
        for node in session.home.testnet.nodes:
            if node.name == name:
                return node.node_home.keys / "operator.json"
        if home is None or not (home.keys / f"{name}.json").exists():
            # One person's name in one hospital is enough to find the key.
            from cli.staff import employer

            org = employer(session, name)
            if org is not None:
                home = session.home.testnet.node(org).node_home
    if home is None:
        raise CliError(
            "USAGE", "no home, so no key to sign with", next_step="name one: --as PATH, or --home"
        )
    return home.keys / f"{name or keystore.OPERATOR}.json"


def password_for(home: NodeHome, password_file: str | None = None, *, confirm: bool = False) -> str:
    """--password-file, SALUS_PASSWORD_FILE, keys/password, or the person at the terminal."""
    named = password_file or os.environ.get("SALUS_PASSWORD_FILE")
    if named:
        return read_password(Path(named))
    beside = home.keys / "password"
    if beside.exists():
        return read_password(beside)
    if not os.isatty(0):
        raise CliError("NO_PASSWORD", f"the keys of {home.path} are locked")
    password: str = click.prompt("password", hide_input=True, err=True, confirmation_prompt=confirm)
    return password


def read_password(path: Path) -> str:
    """The first line of a file that nobody else can read."""
    # systemd hands a credential to its service by an ACL, which shows as the group's bits.
    granted = os.environ.get("CREDENTIALS_DIRECTORY")
    others = 0o007 if granted and path.parent == Path(granted) else 0o077
    if stat.S_IMODE(path.stat().st_mode) & others:
        raise CliError(
            "NO_PASSWORD",
            f"{path} can be read by others",
            next_step=f"chmod 600 {path}",
        )
    with path.open("rb") as stream:
        data = stream.read(PASSWORD_BYTES_MAX)
    try:
        password = data.split(b"\n", 1)[0].rstrip(b"\r").decode()
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise CliError("NO_PASSWORD", f"{path} holds no password")
    return password


def new_password(path: Path | None) -> str:
    """For a copy of a key: the first line of `path`, or what somebody types twice."""
    if path is not None:
        return read_password(path)
    if not os.isatty(0):
        raise CliError("NO_PASSWORD", "a new password is needed", next_step="--new-password-file")
    password: str = click.prompt(
        "new password", hide_input=True, err=True, confirmation_prompt=True
    )
    return password
