"""Shares that a holder gave while nothing could be certified: what it owes the chain (rule E-8).

Law of the file: on disk before the share is given, offered until the certified state has it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from contracts.emergency import DeferredArgs, emergency
from node.api.view import Submitted
from node.emergency_files import kept_of
from node.emergency_state import EmergencyState
from node.logs import log_event
from node.me import Me
from node.waiters import Outcome, Waiters
from salus.codec import Bytes16, Bytes32, Uint, Wire, encode
from salus.emergency_forms import EmergencyRequest
from salus.emergency_wire import ShareAsk
from salus.errors import SalusError
from salus.transaction import Operation, ParsedTransaction, build
from storage.vault import Vault

ENTRY_VERSION = 1
ENTRY_EXPIRY_BLOCKS = 64  # an entry that is not in by then is made anew
ENTRY_WAIT_S = 20.0  # for one to be certified, before it is offered again

_LATE = b"L"  # before names in the vault
log = logging.getLogger("salus.emergency")

Submit = Callable[[Sequence[bytes]], Awaitable[Sequence[Submitted]]]


class LateEntry(Wire, frozen=True):
    """The journal's line of a share that was given without a certified case."""

    version: Uint
    request: EmergencyRequest
    key: Bytes32
    signature: bytes
    released_ms: Uint
    height: Uint  # the newest certified one at that time
    nonce: Bytes16  # of the transaction that enters it


class LateEntries:
    """`state`, `waiters`: certified and on disk."""

    def __init__(
        self,
        me: Me,
        vault: Vault,
        state: EmergencyState,
        waiters: Waiters,
        submit: Submit,
        random: Callable[[int], bytes],
    ) -> None:
        self._me, self._vault, self._state, self._waiters = me, vault, state, waiters
        self._submit, self._random = submit, random
        self.owed: dict[bytes, LateEntry] = {}  # by case
        self._load()

    @property
    def owes(self) -> bool:
        """Must entries get onto the chain before anything else is released here?"""
        return any(self._waiters.height > one.height for one in self.owed.values())

    def of(self, opener: str, staff: bytes) -> int:
        """How many of one clinician's are owed."""
        return sum(
            (one.request.opener, one.request.staff) == (opener, staff) for one in self.owed.values()
        )

    async def journal(self, ask: ShareAsk, now_ms: int) -> None:
        """On disk when it returns."""
        entry = LateEntry(
            ENTRY_VERSION,
            ask.request,
            ask.key,
            ask.signature,
            now_ms,
            self._waiters.height,
            self._random(16),
        )
        name = _LATE + ask.request.case
        await asyncio.to_thread(self._vault.put_record, name, encode(entry))
        self.owed[ask.request.case] = entry

    # -- entering -------------------------------------------------------------------------------

    async def enter(self) -> None:
        """Offer each once, as long as it may be certified."""
        for case in tuple(self.owed):
            await self._enter(self.owed[case])

    async def _enter(self, entry: LateEntry) -> None:
        case = entry.request.case
        if self._stands(case):
            await self._paid(case)
            return
        height = self._waiters.height
        tx = build(
            (_deferred(entry),),
            signer=self._me.key,
            chain_id=self._me.chain_id,
            genesis_hash=self._me.genesis_hash,
            nonce=self._random(16),
            first_height=0,
            expiry_height=height + ENTRY_EXPIRY_BLOCKS,
        )
        outcome = None
        while outcome is None and self._waiters.height <= height + ENTRY_EXPIRY_BLOCKS:
            outcome = await self._offer(tx)
            if self._stands(case):
                break
        if self._stands(case):
            await self._paid(case)
        elif outcome is not None:
            # Refused for good: it stays in the vault and in the log, for the regulator to ask for.
            code = outcome.receipts[0].code if outcome.receipts else ""
            log_event(log, logging.ERROR, "late_entry_refused", case=case.hex(), code=code)
            self.owed.pop(case, None)

    async def _offer(self, tx: ParsedTransaction) -> Outcome | None:
        """What a block says of it; None if none has come in time."""
        waits = asyncio.create_task(self._waiters.for_transaction(tx.id, ENTRY_WAIT_S))
        await asyncio.sleep(0)  # It waits before it is sent: a block may take it at once.
        try:
            await self._submit([tx.raw])
        except SalusError as error:  # the node takes none now; it will
            log_event(log, logging.WARNING, "late_entry_waits", code=error.code)
        return await waits

    def _stands(self, case: bytes) -> bool:
        found = self._state.case(case)
        return found is not None and self._me.org in found.holders

    async def _paid(self, case: bytes) -> None:
        await asyncio.to_thread(self._vault.put_record, _LATE + case, b"")
        self.owed.pop(case, None)
        log_event(log, logging.WARNING, "late_entry_certified", case=case.hex())

    def _load(self) -> None:
        """What this journal still owes."""
        for entry in kept_of(self._vault, _LATE, LateEntry):
            self.owed[entry.request.case] = entry


def _deferred(entry: LateEntry) -> Operation:
    request = entry.request
    args = DeferredArgs(
        request.org,
        request.handle,
        request.opener,
        entry.key,
        request.nonce,
        request.details,
        request.release_key,
        entry.signature,
        entry.released_ms,
    )
    return Operation(emergency.name, "deferred", emergency.version, encode(args))
