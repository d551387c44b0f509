"""Openings of tickets, for whoever may see a patient's trail in full; and what stays of them when
records are erased (rule X-7 of decision 0015).

Law of the file: only a signed ask opens anything: the owner's, a viewing delegate's, or one of the
custodian's own operator or administration, for the certified state says who they are *now*.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from contracts.context import Capacity
from contracts.members import identify
from contracts.state import ReadState
from node.logs import log_event
from node.record_subject import require_relation
from node.seen_asks import SeenAsks
from node.ticket_files import TicketFile, TicketFiles, ticket_name
from node.trail_files import TrailFiles
from salus.codec import Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.keys import verify
from salus.looks import (
    ASK_AHEAD_MS_MAX,
    Cut,
    InnerOpening,
    LookOpening,
    Openings,
    SignedAsk,
)
from salus.relation import Right
from salus.staff import StaffRole
from salus.statemap import SALT_BYTES
from salus.ticket import Ticket, ticket_key
from salus.trail import Start
from storage.errors import StorageError, VaultDamaged
from storage.state import StateStore
from storage.vault import Vault

log = logging.getLogger("salus.audit")

W = TypeVar("W", bound=Wire)

_REDUCED = b"r"  # in the vault, before a request id: a `LookOpening` without its inner part


class AuditDesk:
    """Of one organisation, over its ticket files and the certified state."""

    def __init__(
        self,
        files: TicketFiles,
        chain_id: str,
        now_ms: Callable[[], int],
        trails: TrailFiles,
        asks: SeenAsks,
    ) -> None:
        self.files, self.chain_id, self._now_ms, self._trails = files, chain_id, now_ms, trails
        self._asks = asks

    @property
    def vault(self) -> Vault:
        return self.files.vault

    @property
    def state(self) -> StateStore:
        return self.files.state

    async def trail(self, org: str, handle: bytes, start: Start | None) -> bytes:
        """A state file of the trail; the chain is every organisation's."""
        return await self._trails.file(org, handle, start)

    async def permits(self, org: str, handle: bytes, start: bytes | None) -> bytes:
        """A state file of the list of permits, of any custodian's relation."""
        return await self._trails.permits(org, handle, start)

    async def openings(self, signed: SignedAsk) -> Openings:
        """Raises `SalusError` (AUDIT_REFUSED, AUDIT_LATE, UNKNOWN_RELATION, RATE_LIMITED, BUSY)."""
        ask = signed.ask
        if (ask.chain_id, ask.custodian) != (self.chain_id, self.files.org):
            raise SalusError("the ask is for another custodian", code="AUDIT_REFUSED")
        now_ms = self._now_ms()
        if not now_ms < ask.expires_ms <= now_ms + ASK_AHEAD_MS_MAX:
            raise SalusError("the ask has expired, or expires too late", code="AUDIT_LATE")
        if not verify(ask.key, ask.payload(), signed.signature):
            raise SalusError("the signature does not fit the ask", code="AUDIT_REFUSED")
        self._require_right(ask.handle, ask.key, now_ms)
        # Last: only who may see fills the list of what was asked.
        if not self._asks.use("audit", ask.key, ask.nonce, ask.expires_ms, now_ms):
            raise SalusError("this ask was answered before", code="AUDIT_LATE")
        found = await asyncio.to_thread(
            lambda: tuple(self.opening(ask.handle, one) for one in ask.requests)
        )
        return Openings(found)

    def _require_right(self, handle: bytes, key: bytes, now_ms: int) -> None:
        relation = require_relation(self.state, self.files.org, handle)
        if key == relation.owner_at(now_ms) or Right.VIEW in relation.rights_at(key, now_ms):
            return
        identity = identify(ReadState(self._value, "members"), key, now_ms)
        if identity is not None and identity.member == self.files.org:
            if identity.capacity is Capacity.OPERATOR:
                return
            if StaffRole.ADMINISTRATION in identity.staff_roles:
                return
        raise SalusError("this key may not see the trail in full", code="AUDIT_REFUSED")

    def opening(self, handle: bytes, request_id: bytes) -> LookOpening | None:
        """For whoever has been let in already; None: nothing of this handle. An erased record's
        ticket has no inner part any more."""
        ticket = self._ticket(request_id)
        if ticket is None or ticket.handle != handle:
            return None
        try:
            file = self.files.find(request_id)
            return self._reduced(request_id) if file is None else opened(file)
        except StorageError as error:
            log_event(log, logging.ERROR, "ticket_file_damaged", error=error.code)
            return None  # the trail shows that its opening is missing

    def _reduced(self, request_id: bytes) -> LookOpening | None:
        stored = self.vault.record(_REDUCED + request_id)
        return None if stored is None else read_reduced(stored)

    # -- erasing ---------------------------------------------------------------------------------

    def leftovers(
        self, handle: bytes, is_erased: Callable[[bytes], bool]
    ) -> Sequence[tuple[bytes, bytes, bytes]]:
        """(name in the vault, name from now on, what it says from now on) of each ticket all of
        whose records `is_erased` (rule X-7)."""
        found = []
        for trailed in self.files.of_handle(handle):
            file = trailed.file
            if file is None or not all(is_erased(one.record_id) for one in file.ask.versions):
                continue
            reduced = LookOpening(
                file.ask.request,
                file.ask.signature,
                file.ask.request_salt,
                file.ask.records_salt,
                file.ask.versions,
                file.staff,
                file.tx_id,
                None,
            )
            name = ticket_name(file.request_id)
            found.append((name, _REDUCED + file.request_id, encode(reduced)))
        return found

    def _ticket(self, request_id: bytes) -> Ticket | None:
        raw = self._value(ticket_key(self.files.org, request_id))
        return None if raw is None else decode(raw, Ticket)

    def _value(self, key: bytes) -> bytes | None:
        stored = self.state.get(key)
        return None if stored is None else stored[SALT_BYTES:]


def opened(file: TicketFile) -> LookOpening:
    """All that a ticket's file says, but for digests of what was shown: those are of contents."""
    ask = file.ask
    return LookOpening(
        ask.request,
        ask.signature,
        ask.request_salt,
        ask.records_salt,
        ask.versions,
        file.staff,
        file.tx_id,
        InnerOpening(
            ask.care_salt,
            ask.care,
            file.decision_salt,
            file.weighing,
            file.opened,
            tuple(Cut(one.commitment, one.withheld, one.derived) for one in file.narrowed),
        ),
    )


def read_reduced(stored: bytes) -> LookOpening:
    """What is left of a ticket's file, as it lies in the vault. Raises `VaultDamaged`."""
    try:
        return decode(stored, LookOpening)
    except BadMessage:
        raise VaultDamaged("what is left of a ticket is not what was written") from None
