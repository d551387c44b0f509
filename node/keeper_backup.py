"""A copy of a keeper for a safe place, and a keeper from it.

    FOLDER   keeper.json  genesis.json  member  epochs

The key lies in it under a password of its own. Law of the file: what a keeper believes is put back
before its key, so a restore that was cut off is no keeper and is done again; no keeper is ever
written over. It holds no document and no key of one: what the vault has erased stays erased, whatever
copy of a keeper there is (rule K-5).
"""

from dataclasses import dataclass
from pathlib import Path

from node.keeper_epochs import read_epochs
from node.keeper_process import EPOCHS, KEY, refuse_if_made
from salus import keystore
from salus.errors import SalusError
from salus.files import replace, write_new
from salus.genesis import Genesis, from_json, to_json
from salus.keystore import KeystoreError

COPY = "keeper.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """What a copy says of itself; its epochs are those that the keeper knew when it was made."""

    genesis: Genesis
    org: str
    public_key: bytes
    epochs: bytes | None


def backup(folder: Path, into: Path, password: str, new_password: str) -> Saved:
    """A copy of the keeper in `folder`; its key under `new_password`. Also while it runs. Raises
    `KeystoreError` (REFUSES_OVERWRITE, WRONG_PASSWORD …)."""
    if (into / COPY).exists():
        raise KeystoreError(
            f"{into} holds a copy of a keeper already",
            code="REFUSES_OVERWRITE",
            hint="Choose another folder; an older copy is good as long as the key is the same.",
        )
    secret = keystore.unlock_seed(folder / KEY, password)
    into.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("genesis.json", "member", EPOCHS):
        if (folder / name).exists():
            replace(into / name, (folder / name).read_bytes())
    keystore.write(into / COPY, secret, new_password, kind=keystore.BOX)
    return read(into)


def read(copy: Path) -> Saved:
    """Needs no password. Raises `SalusError` (NOT_FOUND, CONFIG_INVALID …)."""
    try:
        genesis = from_json((copy / "genesis.json").read_text())
        org = (copy / "member").read_text().strip()
    except (OSError, UnicodeDecodeError):
        raise SalusError(f"{copy} holds no copy of a keeper", code="CONFIG_INVALID") from None
    epochs = (copy / EPOCHS).read_bytes() if (copy / EPOCHS).exists() else None
    if epochs is not None:
        read_epochs(epochs)
    file = keystore.read(copy / COPY)
    if file.kind != keystore.BOX or not org:
        raise SalusError(f"{copy} holds no copy of a keeper", code="CONFIG_INVALID")
    return Saved(genesis, org, bytes.fromhex(file.address), epochs)


def restore(copy: Path, folder: Path, password: str, new_password: str) -> Saved:
    """The keeper of this copy in `folder`, its key under `new_password`. Its log begins anew. Raises
    `KeystoreError` (REFUSES_OVERWRITE: there is one; WRONG_PASSWORD: of the copy)."""
    refuse_if_made(folder)
    saved = read(copy)
    secret = keystore.unlock_seed(copy / COPY, password, anywhere=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace(folder / "genesis.json", to_json(saved.genesis).encode())
    replace(folder / "member", f"{saved.org}\n".encode())
    # A memory that lies there already is this keeper's own, and newer than the copy's.
    if saved.epochs is not None and not (folder / EPOCHS).exists():
        write_new(folder / EPOCHS, saved.epochs)
    keystore.write(folder / KEY, secret, new_password, kind=keystore.BOX)
    return saved
