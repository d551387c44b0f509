"""The staff of an organisation: keys in its home, registered by its operator.

    keys/NAME.json    the person's key, under the home's password
    staff/NAME.json   handle and qualification, with the salt that opens its commitment

The chain has a random handle; who that is stands in these files alone.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import OWN_KEYS, password_for, public_key_of, write_secret
from cli.session import Session
from salus import keystore
from salus.acts import people
from salus.acts.act import Act
from salus.keys import SEED_BYTES, SigningKey
from salus.staff import SALT_BYTES, StaffRole

FOLDER = "staff"


class StaffFile(msgspec.Struct, frozen=True):
    """`salt` opens the commitment to `qualification`."""

    handle: str
    qualification: str
    salt: str


@dataclass(frozen=True, slots=True)
class StaffMember:
    """A person's key as it lies in a home."""

    name: str
    key: bytes
    file: StaffFile


def home_of(session: Session, org: str | None) -> NodeHome:
    """The home of an organisation: of a testnet by name, else the one at hand."""
    return session.home.local(session.node or org)


def make(home: NodeHome, name: str, qualification: str) -> StaffMember:
    """Key and file of a person. What lies there is taken: it was cut off before, or made by
    `salus keys new`. Raises `CliError` (REFUSES_OVERWRITE) for the name of a node's own key."""
    path, described = home.keys / f"{name}.json", _file(home, name)
    if name in OWN_KEYS:
        raise CliError("REFUSES_OVERWRITE", f"«{name}» is a key of the node itself")
    if described.exists():
        return find(home, name)
    if not path.exists():
        keystore.write(path, os.urandom(SEED_BYTES), password_for(home, confirm=True), kind="staff")
    file = StaffFile(os.urandom(32).hex(), qualification, os.urandom(SALT_BYTES).hex())
    described.parent.mkdir(mode=0o700, exist_ok=True)
    write_secret(described, json.dumps(msgspec.to_builtins(file), ensure_ascii=False) + "\n")
    return StaffMember(name, public_key_of(path), file)


def find(home: NodeHome, name: str) -> StaffMember:
    """Raises `CliError` (FILE_NOT_FOUND)."""
    described = _file(home, name)
    try:
        file = msgspec.json.decode(described.read_bytes(), type=StaffFile)
    except FileNotFoundError:
        raise CliError(
            "FILE_NOT_FOUND",
            f"{home.path} has no staff member «{name}»",
            next_step="salus staff list",
        ) from None
    except msgspec.DecodeError:
        raise CliError("CONFIG_INVALID", f"{described} is not what was written") from None
    return StaffMember(name, public_key_of(home.keys / f"{name}.json"), file)


def all_of(home: NodeHome) -> list[StaffMember]:
    """By name."""
    names = sorted(path.stem for path in (home.path / FOLDER).glob("*.json"))
    return [find(home, name) for name in names]


def registration(
    home: NodeHome,
    member: StaffMember,
    chain_id: str,
    org: str,
    roles: tuple[StaffRole, ...],
    from_ms: int,
    until_ms: int,
) -> Act:
    """For the operator to send; the person's key signs that it belongs there."""
    seed = keystore.unlock_seed(home.keys / f"{member.name}.json", password_for(home))
    handle, salt = bytes.fromhex(member.file.handle), bytes.fromhex(member.file.salt)
    return people.register(
        chain_id,
        org,
        handle,
        SigningKey.from_seed(seed),
        roles,
        (from_ms, until_ms),
        member.file.qualification,
        salt,
    )


def employer(session: Session, name: str) -> str | None:
    """Which node of the testnet has a staff key of this name; None if none, or outside a testnet.
    Raises `CliError` (USAGE) if several have."""
    if not session.home.is_testnet:
        return None
    found = [
        node.name
        for node in session.home.testnet.nodes
        if (node.node_home.keys / f"{name}.json").exists() and name not in OWN_KEYS
    ]
    if len(found) > 1:
        raise CliError("USAGE", f"{', '.join(found)} have a «{name}» each", next_step="--node ORG")
    return found[0] if found else None


def _file(home: NodeHome, name: str) -> Path:
    return home.path / FOLDER / f"{name}.json"
