"""What a holder keeps of emergencies in its vault, kind by kind, as it is read when the node starts."""

from collections.abc import Iterator
from typing import TypeVar

from salus.codec import Wire, decode
from salus.errors import BadMessage
from storage.errors import VaultDamaged
from storage.vault import Vault

NAME_BYTES = 33  # of names in the vault: a letter for the kind, a hash

W = TypeVar("W", bound=Wire)


def kept_of(vault: Vault, letter: bytes, kind: type[W]) -> Iterator[W]:
    """All of one kind. Raises `VaultDamaged`."""
    for name in vault.records():
        if len(name) == NAME_BYTES and name[:1] == letter and (raw := vault.record(name)):
            try:
                yield decode(raw, kind)
            except BadMessage:
                raise VaultDamaged("a record of emergencies is not what was written") from None
