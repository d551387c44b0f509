"""Openings of inner terms: what a permit says in full, kept by the custodian for its gate.

They come from the patient's device before the permit is sent, and lie sealed in the vault. Law of
the file: an opening goes by handle and commitment, so one that is wrong can never stand in the
place of the right one, and posting it twice changes nothing.
"""

import asyncio
from typing import Annotated

import msgspec

from node.record_subject import require_relation
from salus.codec import Bytes32, Wire, decode, encode
from salus.consent.terms import (
    TERMS_BYTES_MAX,
    TERMS_VERSION,
    Terms,
    decode_terms,
    terms_commitment,
)
from salus.consent.weigh import Opened
from salus.errors import BadMessage
from salus.hashing import hasher
from storage.errors import VaultDamaged
from storage.state import StateStore
from storage.vault import Vault

NAME_BYTES = 33  # in the vault; record ids have 16, so neither is taken for the other
# In memory, encoded: those of a thousand patients at one grantee, as people write them (4,000 take 4.4 MB).
# Decoded and weighed they take up to nineteen times as much, 100 MB of a node's 300.
KNOWN_BYTES_MAX = 5 * 2**20
OPENING_BYTES = 512  # of one that says little, with its names
_PREFIX = b"o"

_hash_name = hasher("vault-opening")


class Opening(Wire, frozen=True):
    """As it lies in the vault."""

    version: Annotated[int, msgspec.Meta(ge=TERMS_VERSION, le=TERMS_VERSION)]
    handle: Bytes32
    salt: Bytes32
    terms: Annotated[bytes, msgspec.Meta(max_length=TERMS_BYTES_MAX)]


class Openings:
    """Implements `node.api.view.OpeningsView` over the vault."""

    def __init__(self, vault: Vault, state: StateStore, org: str) -> None:
        self.vault, self.state, self.org = vault, state, org
        self._known: dict[tuple[bytes, bytes], Opened] = {}
        self._known_bytes = 0

    async def keep(self, handle: bytes, salt: bytes, terms: bytes) -> bytes:
        """Durable on return; gives the commitment that a permit names. Raises `SalusError`
        (UNKNOWN_RELATION, BAD_TERMS, NOT_CANONICAL, TOO_LARGE)."""
        require_relation(self.state, self.org, handle)
        commitment = terms_commitment(salt, decode_terms(terms))
        opening = encode(Opening(TERMS_VERSION, handle, salt, terms))
        await asyncio.to_thread(self.vault.put_record, _name(handle, commitment), opening)
        return commitment

    def find(self, handle: bytes, commitment: bytes) -> Terms | None:
        """The terms alone, as `opened`."""
        found = self.opened(handle, commitment)
        return None if found is None else found.terms

    def opened(self, handle: bytes, commitment: bytes) -> Opened | None:
        """Salt and terms that a permit of this handle commits to; None if nobody has shown them.

        Raises `VaultDamaged`: whoever decides must not take a damaged one for a missing one."""
        # What matches its commitment never changes, and it stays when records are erased.
        known = self._known.get((handle, commitment))
        if known is None:
            found = self._read(handle, commitment)
            if found is None:
                return None
            known, size = found
            if self._known_bytes >= KNOWN_BYTES_MAX:
                self._known, self._known_bytes = {}, 0
            self._known[handle, commitment] = known
            self._known_bytes += size + OPENING_BYTES
        return known

    def _read(self, handle: bytes, commitment: bytes) -> tuple[Opened, int] | None:
        """With its bytes in the vault."""
        stored = self.vault.record(_name(handle, commitment))
        if stored is None:
            return None
        try:
            opening = decode(stored, Opening)
            opened = Opened(opening.salt, decode_terms(opening.terms))
        except BadMessage:
            raise VaultDamaged("an opening of the vault is not what was written") from None
        if (opening.handle, opened.commitment) != (handle, commitment):
            raise VaultDamaged("an opening of the vault stands under another's name")
        return opened, len(stored)


def _name(handle: bytes, commitment: bytes) -> bytes:
    return _PREFIX + _hash_name(handle + commitment)
