"""What opens the commitments of a ticket, kept by the custodian: sealed in the vault by request id.

With it patient and auditor see who asked, by which signature, for which records, and can weigh the
decision again. Law of the file: durable before its ticket is sent. One whose ticket was never
certified opens nothing on the chain, and harms nobody.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, TypeVar

import msgspec

from salus.codec import Bytes16, Bytes32, Uint, Wire, decode, encode
from salus.consent.weighing import OpenedPermit, Weighing
from salus.errors import BadMessage, SalusError
from salus.permit import DOCKET_PERMITS_MAX
from salus.reading import Ask
from salus.statemap import SALT_BYTES as STATE_SALT_BYTES
from salus.ticket import (
    RECORDS_PER_TICKET_MAX,
    Ticket,
    TrailHead,
    ticket_key,
    trail_key,
)
from storage.errors import VaultDamaged
from storage.state import StateStore
from storage.vault import Vault

T = TypeVar("T")

TICKET_FILE_VERSION = 1
NAME_BYTES = 17  # in the vault; record ids have 16 and openings 33, so none is taken for another
_PREFIX = b"t"


class Narrowed(Wire, frozen=True):
    """A version of which not all was shown. `derived`: the commitment of what was made of it."""

    commitment: Bytes32
    disclosure: Bytes32  # the digest of the list of shown parts (salus/disclosure.py)
    withheld: Uint
    derived: Bytes32 | None


class TicketFile(Wire, frozen=True):
    """As it lies in the vault. `narrowed` is noted before the first byte leaves; all versions that
    it does not name were shown whole, if the ticket was permitted."""

    version: Annotated[int, msgspec.Meta(ge=TICKET_FILE_VERSION, le=TICKET_FILE_VERSION)]
    ask: Ask
    staff: Bytes32 | None  # the handle of the staff member whose key signed
    decision_salt: Bytes32
    weighing: Weighing
    opened: Annotated[tuple[OpenedPermit, ...], msgspec.Meta(max_length=DOCKET_PERMITS_MAX)]
    tx_id: Bytes32
    narrowed: Annotated[tuple[Narrowed, ...], msgspec.Meta(max_length=RECORDS_PER_TICKET_MAX)] = ()

    @property
    def request_id(self) -> Bytes16:
        return self.ask.request.request_id


@dataclass(frozen=True, slots=True)
class Trailed:
    """A ticket of the trail, and what opens it: None if this vault does not have it."""

    request_id: bytes
    ticket: Ticket
    file: TicketFile | None


class TicketFiles:
    """Of one organisation, over its vault and the certified state."""

    def __init__(self, vault: Vault, state: StateStore, org: str) -> None:
        self.vault, self.state, self.org = vault, state, org

    def require_new(self, request_id: bytes) -> None:
        """Raises `SalusError` (REQUEST_SEEN) if a ticket has this id, or a file: the ticket that it
        opens may be on its way, and nobody must put another in its place."""
        ticket = self._state(Ticket, ticket_key(self.org, request_id))
        if ticket is not None or self.vault.record(ticket_name(request_id)) is not None:
            raise SalusError("this custodian has seen the request", code="REQUEST_SEEN")

    async def put(self, file: TicketFile) -> None:
        """Durable on return."""
        await asyncio.to_thread(self.vault.put_record, ticket_name(file.request_id), encode(file))

    async def say_more(self, file: TicketFile) -> None:
        """In place of one that says less of the same ticket; durable on return. Raises `SalusError`
        (ERASED) if that one went with its records meanwhile (rule X-7)."""
        name, content = ticket_name(file.request_id), encode(file)
        if not await asyncio.to_thread(self.vault.replace_record, name, content):
            raise SalusError("the record was erased", code="ERASED")

    def find(self, request_id: bytes) -> TicketFile | None:
        """Raises `VaultDamaged`."""
        stored = self.vault.record(ticket_name(request_id))
        if stored is None:
            return None
        try:
            file = decode(stored, TicketFile)
        except BadMessage:
            raise VaultDamaged("a ticket's file of the vault is not what was written") from None
        if file.request_id != request_id:
            raise VaultDamaged("a ticket's file of the vault stands under another's name")
        return file

    def of_handle(self, handle: bytes) -> Iterator[Trailed]:
        """The patient's trail at this organisation, newest first, as the certified state has it:
        whoever leaves one out breaks the list (rule T-6). Raises `VaultDamaged` on the way."""
        head = self._state(TrailHead, trail_key(self.org, handle))
        request_id = None if head is None else head.newest
        while request_id is not None:
            ticket = self._state(Ticket, ticket_key(self.org, request_id))
            assert ticket is not None, "the trail names a ticket that is not there"
            yield Trailed(request_id, ticket, self.find(request_id))
            request_id = ticket.before

    def _state(self, kind: type[T], key: bytes) -> T | None:
        stored = self.state.get(key)
        return None if stored is None else decode(stored[STATE_SALT_BYTES:], kind)


def ticket_name(request_id: bytes) -> bytes:
    """In the vault."""
    assert len(request_id) == NAME_BYTES - 1
    return _PREFIX + request_id
