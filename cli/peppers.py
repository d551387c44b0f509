"""The pepper of identity tags as files: at the founding, in a node's home, and on its way to a member.

DRAFT.secret     in the clear, where the founding is drafted; deleted once all have installed
GENESIS.pepper   a sealed copy for each founder, beside the document
pepper.json      in a home: this member's sealed copy (salus/pepper.py); keys/box.json opens it
"""

import os
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import password_for, write_secret
from salus import files, keystore, pepper
from salus.errors import BadMessage, VerificationError
from salus.genesis import NO_PEPPER, Genesis
from salus.identity_tag import PEPPER_BYTES
from salus.pepper import PEPPER_FILE_BYTES_MAX, PepperFile


def draft_secret(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.secret")


def beside(genesis: Path) -> Path:
    """The founders' copies that `assemble` writes beside the document."""
    return genesis.with_name(f"{genesis.name}.pepper")


def make(draft: Path) -> bytes:
    """A new pepper beside a draft; its commitment."""
    made = os.urandom(PEPPER_BYTES)
    write_secret(draft_secret(draft), made.hex() + "\n")
    return pepper.commitment(made)


def for_founders(draft: Path, founding: Genesis) -> PepperFile | None:
    """Sealed for each founder; None for a founding without a pepper. Raises `CliError`
    (NO_PEPPER, WRONG_PEPPER)."""
    if founding.pepper_commitment == NO_PEPPER:
        return None
    path = draft_secret(draft)
    try:
        secret = bytes.fromhex(path.read_text("ascii").strip())
    except FileNotFoundError:
        raise CliError(
            "NO_PEPPER",
            f"{path} is missing: the pepper that «genesis new» made",
            next_step="put it beside the draft, or draft anew: salus genesis new",
        ) from None
    except ValueError:
        secret = b""
    if len(secret) != PEPPER_BYTES or pepper.commitment(secret) != founding.pepper_commitment:
        raise CliError("WRONG_PEPPER", f"{path} is not the pepper that the draft names")
    boxes = {member.id: member.box_key for member in founding.members}
    return pepper.sealed(secret, founding.chain_id, boxes)


def read(path: Path) -> PepperFile:
    """Raises `BadMessage` (BAD_PEPPER_FILE) with the name of the file."""
    with path.open("rb") as stream:
        data = stream.read(PEPPER_FILE_BYTES_MAX + 1)
    try:
        return pepper.read(data)
    except BadMessage as error:
        raise CliError(error.code, f"{path}: {error.message}") from None


def require(path: Path, file: PepperFile, founding: Genesis, member: str) -> None:
    """Raises `CliError` (WRONG_PEPPER) with the name of the file."""
    try:
        pepper.require(file, founding.chain_id, founding.pepper_commitment, member)
    except VerificationError as error:
        raise CliError(error.code, f"{path}: {error.message}") from None


def box_key_of(founding: Genesis, to: str, found: dict[str, Any] | None) -> bytes:
    """Of a member, as a node answered for it. A founder's stands in genesis, for ever: there no node is
    believed. Raises `CliError` (UNKNOWN_MEMBER, MEMBER_SUSPENDED, NOT_PROVED)."""
    if found is None or found["status"] == "removed":
        raise CliError("UNKNOWN_MEMBER", f"the chain has no member «{to}»")
    if found["status"] != "active":
        raise CliError("MEMBER_SUSPENDED", f"«{to}» is suspended: it gets no secret meanwhile")
    key = bytes.fromhex(found["box_key"])
    if any(member.id == to and member.box_key != key for member in founding.members):
        raise CliError("NOT_PROVED", f"this node names another box key of «{to}» than genesis")
    return key


def place(home: NodeHome, file: PepperFile, member: str) -> None:
    """This member's copy into the home, and no other one."""
    own = PepperFile(file.format, file.chain_id, file.commitment, {member: file.copies[member]})
    files.replace(home.pepper, pepper.write(own).encode())


def held(home: NodeHome, founding: Genesis, password_file: str | None = None) -> bytes:
    """The pepper itself, for as long as a copy is made of it. Raises `CliError` (NO_PEPPER,
    WRONG_PEPPER)."""
    member = home.member()
    if member is None or not home.pepper.exists():
        raise CliError("NO_PEPPER", f"{home.pepper} is missing")
    file = read(home.pepper)
    require(home.pepper, file, founding, member)
    return opened(home, home.pepper, file, member, password_file)


def opened(
    home: NodeHome, path: Path, file: PepperFile, member: str, password_file: str | None = None
) -> bytes:
    """With the box key of the home. Raises `CliError` (WRONG_PEPPER)."""
    secret = keystore.unlock_seed(home.keys / "box.json", password_for(home, password_file))
    try:
        return pepper.opened(file, member, secret)
    except VerificationError as error:
        raise CliError(error.code, f"{path}: {error.message}") from None
