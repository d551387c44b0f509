"""Where a patient wants to be told, and what was told: one sealed file of the vault for each relation
that gave a contact.

It never leaves the custodian: not to the chain, not to a log. Law of the file: a box is replaced as a
whole, and each of its messages knows the event that it came from, so nothing is queued twice.
"""

import logging
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated

import msgspec

from node.logs import log_event
from node.notices import Language, Notice
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from storage.errors import VaultDamaged
from storage.vault import Vault

log = logging.getLogger("salus.outbox")

BOX_VERSION = 2
ADDRESS_CHARS_MAX = 256  # RFC 5321 §4.5.3.1.3 for mail; a postal address has less
MESSAGES_MAX = 64  # the newest; what happened stands on the chain for ever
PENDING_MAX = (
    4_096  # boxes with something to send that one file names: 135 kB, written with each block
)
NAME_BYTES = 33  # in the vault; record ids have 16

_PREFIX = b"n"
_PROGRESS = b"outbox"
_hash_name = hasher("vault-contact")


class CarrierName(StrEnum):
    EMAIL = "email"
    WEBHOOK = "webhook"
    PRINT = "print"


class Contact(Wire, frozen=True):
    carrier: CarrierName
    address: Annotated[str, msgspec.Meta(min_length=1, max_length=ADDRESS_CHARS_MAX)]
    language: Language


class Delivery(StrEnum):
    QUEUED = "queued"
    SENT = "sent"
    FAILED = "failed"  # given up


class Message(Wire, frozen=True):
    """A notice on its way. `to`: where it goes when not by the box's contact: to the one before."""

    notice: Notice
    to: Contact | None
    height: Uint  # of the first event that it tells of
    index: Uint
    delivery: Delivery
    attempts: Uint
    due_ms: Uint  # by the clock: not before
    changed_ms: Uint  # sent, given up, or tried last; 0: not tried

    @property
    def waits(self) -> bool:
        return self.delivery is Delivery.QUEUED


class Box(Wire, frozen=True):
    """The file. `seen_height`, `seen_index`: of the newest event that it counted. `contact`: None when
    it was taken back, and the one before is still to be told."""

    version: Annotated[int, msgspec.Meta(ge=BOX_VERSION, le=BOX_VERSION)]
    handle: Bytes32
    contact: Contact | None
    seen_height: Uint
    seen_index: Uint
    messages: Annotated[tuple[Message, ...], msgspec.Meta(max_length=MESSAGES_MAX)]

    def waiting(self) -> Iterator[tuple[Contact, Message]]:
        """What is to be sent, and where."""
        for one in self.messages:
            contact = one.to or self.contact
            if one.waits and contact is not None:
                yield contact, one


class Progress(Wire, frozen=True):
    """How far the chain was read, and which boxes have something to send; where PENDING_MAX of them are
    named, there may be more."""

    version: Annotated[int, msgspec.Meta(ge=BOX_VERSION, le=BOX_VERSION)]
    height: Uint
    pending: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=PENDING_MAX)]


class Boxes:
    """Over a vault. Which boxes there are is known from their names; they are opened one by one."""

    def __init__(self, vault: Vault) -> None:
        self.vault = vault
        self.names = {
            name for name in vault.records() if len(name) == NAME_BYTES and name.startswith(_PREFIX)
        }

    def __iter__(self) -> Iterator[bytes]:
        return iter(sorted(self.names))

    def name(self, handle: bytes) -> bytes:
        return _PREFIX + _hash_name(handle)

    def read(self, name: bytes) -> Box | None:
        """Raises `VaultDamaged`."""
        stored = self.vault.record(name) if name in self.names else None
        if stored is None:
            return None
        box = read_box(stored)
        if self.name(box.handle) != name:
            raise VaultDamaged("a contact of the vault stands under another's name")
        return box

    def readable(self, name: bytes) -> Box | None:
        """None, and an alarm, if it is damaged: one bad sector must not keep the others' news."""
        try:
            return self.read(name)
        except VaultDamaged as error:  # «salus db check» names the file
            log_event(log, logging.ERROR, "outbox_damaged", code=error.code)
            return None

    def write(self, box: Box) -> None:
        name = self.name(box.handle)
        self.vault.put_record(name, encode(box))
        self.names.add(name)

    def drop(self, handle: bytes) -> None:
        """Contact and messages go; erased for good with the vault's next epoch key."""
        name = self.name(handle)
        self.names.discard(name)
        self.vault.drop_record(name)

    def progress(self) -> Progress | None:
        stored = self.vault.record(_PROGRESS)
        return None if stored is None else read_progress(stored)

    def keep(self, progress: Progress) -> None:
        self.vault.put_record(_PROGRESS, encode(progress))


def read_box(stored: bytes) -> Box:
    """As it lies in the vault. Raises `VaultDamaged`."""
    try:
        return decode(stored, Box)
    except BadMessage:
        raise VaultDamaged("a contact of the vault is not what was written") from None


def read_progress(stored: bytes) -> Progress:
    """As `read_box`."""
    try:
        return decode(stored, Progress)
    except BadMessage:
        raise VaultDamaged("the outbox's progress is not what was written") from None
