"""What requests of erasure are about, in the vault until they were carried out (rules X-2, X-10).

They come before their requests, and some requests never come. Law of the file: what was kept is known
after a restart, the operator's word too; and what can never be asked for does not stay.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, NamedTuple

import msgspec

from node.record_files import RECORD_ID_BYTES
from salus.codec import Bytes16, Bytes32, Uint, Wire, decode, encode
from salus.erasure import LEAVES_MAX
from salus.errors import BadMessage, SalusError
from storage.errors import StorageError, StoreVersion, VaultDamaged
from storage.vault import Vault

WANTED_VERSION = 2
RECORDS_MAX = 256  # of one case
REASON_CHARS_MAX = 200
WAITING_MAX = 1_000  # openings that wait for their request; most have 5 kB
WAITING_PER_HANDLE_MAX = 16  # a patient asks for all records at once; nobody fills all the room

_PREFIX = b"w"  # in the vault, before the case id
_NAME_BYTES = 33


class Wanted(Wire, frozen=True):
    """The opening of a request. `until_height`: what could be signed when it came has expired there;
    `agreed_height`: certified when the operator agreed, None if he has not."""

    version: Uint
    case: Bytes32
    handle: Bytes32
    records_salt: Bytes32
    reason_salt: Bytes32
    reason: Annotated[str, msgspec.Meta(max_length=REASON_CHARS_MAX)]
    records: Annotated[tuple[Bytes16, ...], msgspec.Meta(min_length=1, max_length=RECORDS_MAX)]
    leaves: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=LEAVES_MAX)]
    until_height: Uint
    agreed_height: Uint | None


class Held(NamedTuple):
    """What is known of an opening without its file."""

    handle: bytes
    until_height: int
    agreed_height: int | None


class ErasureOpenings:
    """By case. Used by one task at a time but for `keep`."""

    def __init__(self, vault: Vault, damaged: Callable[[StorageError], None]) -> None:
        """`damaged`: takes what made one unreadable; such a one stays, for its case has not been answered."""
        self._vault = vault
        self._held: dict[bytes, Held | None] = {}  # None: unreadable
        self._opening: dict[bytes, bytes] = {}  # on their way into the vault: case → handle
        for name in vault.records():
            if len(name) != _NAME_BYTES or not name.startswith(_PREFIX):
                continue
            case = name[1:]
            self._held[case] = None
            try:
                self._held[case] = _held(self.read(case))
            except StorageError as error:
                damaged(error)

    def cases(self) -> tuple[bytes, ...]:
        """Of those that are on disk, ascending."""
        return tuple(sorted(self._held))

    def __contains__(self, case: bytes) -> bool:
        return case in self._held

    def __len__(self) -> int:
        return len(self._held)

    async def keep(self, wanted: Wanted, is_asked: Callable[[bytes], bool]) -> None:
        """Durable on return. `is_asked`: does the chain have this case? Raises `SalusError`
        (DUPLICATE_CASE, BUSY)."""
        case = wanted.case
        if case in self._held or case in self._opening:
            raise SalusError("this case was opened before", code="DUPLICATE_CASE")
        self._require_room(wanted.handle, is_asked)
        self._opening[case] = wanted.handle
        try:
            await asyncio.to_thread(self._vault.put_record, erasure_name(case), encode(wanted))
        finally:
            del self._opening[case]
        self._held[case] = _held(wanted)  # not before: whoever walks over them reads their files

    def _require_room(self, handle: bytes, is_asked: Callable[[bytes], bool]) -> None:
        """What stands on the chain waits for no request any more; it has cost its place there."""
        handles = [one and one.handle for case, one in self._held.items() if not is_asked(case)]
        handles += self._opening.values()
        if len(handles) >= WAITING_MAX or handles.count(handle) >= WAITING_PER_HANDLE_MAX:
            raise SalusError("too many requests wait already", code="BUSY")

    async def agree(self, case: bytes, height: int) -> None:
        """The operator's word, at a certified height; durable on return. Raises `SalusError`
        (UNKNOWN_CASE), `StorageError`."""
        wanted = msgspec.structs.replace(self.read(case), agreed_height=height)
        name = erasure_name(case)
        written = await asyncio.to_thread(self._vault.replace_record, name, encode(wanted))
        if not written or case not in self._held:  # it has gone meanwhile
            raise SalusError("nothing waits under this case id", code="UNKNOWN_CASE")
        self._held[case] = _held(wanted)

    def agreed_height(self, case: bytes) -> int | None:
        held = self._held[case]
        return None if held is None else held.agreed_height

    def is_late(self, case: bytes, height: int) -> bool:
        """Can a request that was signed when it came stand in no block any more (rule X-10)?"""
        held = self._held[case]
        return held is not None and height > held.until_height

    async def drop(self, case: bytes) -> None:
        """Nobody needs it any more. No `erase`: that writes a file for each document there is, and asking
        for what never comes, or is stopped, costs the asker nothing."""
        await asyncio.to_thread(self._vault.drop_record, erasure_name(case))
        self.forget(case)

    def forget(self, case: bytes) -> None:
        """Its file is gone."""
        self._held.pop(case, None)

    def read(self, case: bytes) -> Wanted:
        """Raises `VaultDamaged`, `StoreVersion`."""
        stored = self._vault.record(erasure_name(case))
        assert stored is not None, "its name was read from the vault"
        return read_wanted(stored)


def read_wanted(stored: bytes) -> Wanted:
    """As it lies in the vault. Raises `VaultDamaged`, `StoreVersion`."""
    try:
        wanted = decode(stored, Wanted)
    except BadMessage:
        raise VaultDamaged("a request of erasure in the vault is not what was written") from None
    if wanted.version != WANTED_VERSION:
        raise StoreVersion(f"a request of erasure has format version {wanted.version}")
    return wanted


def erasure_name(case: bytes) -> bytes:
    """In the vault."""
    return _PREFIX + case


def _held(wanted: Wanted) -> Held:
    return Held(wanted.handle, wanted.until_height, wanted.agreed_height)


assert _NAME_BYTES != RECORD_ID_BYTES, "record ids have a length of their own"
