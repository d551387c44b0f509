"""Another key in the place of one in force: made beside it, voted in, then put in its place.

    keys/NAME.next.json     the new key, until it is in force
    keys/NAME.replaced.json the old one, afterwards; a second rotation adds a number

Law of the file: every step can be done again after a crash in the middle; the old key is in place
until the last moment, and never overwritten.
"""

import os
from pathlib import Path

from cli.ceremony import sign_card
from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import public_key_of
from node.standing import NEXT_BIRTH_MARK, mark_birth, pass_birth_on
from salus import keystore
from salus.files import replace
from salus.genesis import from_json
from salus.join import Card, read_join
from salus.keys import SEED_BYTES, SigningKey
from salus.rotation import Rotation, make_rotation, write_rotation

ROTATED = (keystore.NODE, keystore.OPERATOR)  # the box key opens the vault: it has no successor yet


def next_key(home: NodeHome, capacity: str) -> Path:
    return home.keys / f"{capacity}.next.json"


def rotation_file(home: NodeHome, capacity: str) -> Path:
    return home.path / f"{capacity}.rotation.json"


def begin(home: NodeHome, capacity: str, password: str) -> Rotation:
    """Make the new key beside the one in force, and the file that others vote on; once made, the
    same key and file again."""
    chain_id = from_json(home.genesis.read_bytes()).chain_id
    member = read_join(home.join.read_bytes()).member.id
    path = next_key(home, capacity)
    if not path.exists():
        keystore.write(path, os.urandom(SEED_BYTES), password, kind=capacity)
        if capacity == keystore.NODE:
            # Nobody has signed with it yet, here or elsewhere (rule S4, decision 0006).
            (home.data / NEXT_BIRTH_MARK).unlink(missing_ok=True)
            mark_birth(home.data, NEXT_BIRTH_MARK)
    new = SigningKey.from_seed(keystore.unlock_seed(path, password))
    rotation = make_rotation(chain_id, member, capacity, new)
    replace(rotation_file(home, capacity), write_rotation(rotation).encode(), mode=0o644)
    return rotation


def finish(home: NodeHome, capacity: str, password: str) -> bytes:
    """Put the new key in its place, and sign the join file anew; gives its public key."""
    import msgspec

    present, waiting = home.keys / f"{capacity}.json", next_key(home, capacity)
    if waiting.exists():
        if present.exists():
            present.rename(_free(home.keys / f"{capacity}.replaced.json"))
        waiting.rename(present)
    if capacity == keystore.NODE:
        pass_birth_on(home.data)
    key = public_key_of(present)
    card = read_join(home.join.read_bytes())
    named = msgspec.structs.replace(card.member, **{f"{capacity}_key": key})
    if named != card.member:
        sign_card(home, Card(named, card.endpoint), None, password=password)
    rotation_file(home, capacity).unlink(missing_ok=True)
    return key


def waiting_key(home: NodeHome, capacity: str) -> bytes:
    """The public key that waits for its place, or that is in it already."""
    path = next_key(home, capacity)
    if not path.exists() and not rotation_file(home, capacity).exists():
        raise CliError(
            "FILE_NOT_FOUND",
            f"no new {capacity} key waits in {home.keys}",
            next_step=f"make one: salus keys rotate {capacity}",
        )
    return public_key_of(path if path.exists() else home.keys / f"{capacity}.json")


def _free(path: Path) -> Path:
    """The path, or with the first number that nobody has."""
    number = 1
    chosen = path
    while chosen.exists():
        number += 1
        chosen = path.with_name(f"{path.stem}-{number}.json")
    return chosen
