"""Permits for this organisation: whom its readers may ask, and for whom.

Read from certified blocks, one after the other, also those that went by while the node was down;
the sealed field is opened with the organisation's box key, and what it says lies sealed in the
vault. Law of the file: a list to look things up in. The chain decides, at the custodian, every time.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator

from contracts.consent import GRANTED, REVOKED, GrantArgs
from node.logs import log_event
from node.record_subject import require_relation
from node.sync import BlockSource
from salus.block import Event, Proposal, Receipt
from salus.codec import Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage, SalusError, VerificationError
from salus.grant_notice import GrantNotice, open_notice
from salus.hashing import hasher
from salus.permit import Classes, Effect, Purpose
from salus.relation import DAY_MS, Day
from salus.transaction import Operation, Transaction
from salus.validators import MemberId
from storage.vault import Vault

INBOX_VERSION = 1
POSITION_BLOCKS = (
    4_096  # read again at a start at most: a second, and what is known is only renewed
)
YIELD_BLOCKS = 64  # so many receipts of the store are some milliseconds of the loop

_PREFIX = b"p"  # of names in the vault: 33 bytes, as openings have
_POSITION = _PREFIX + bytes(32)

_hash_name = hasher("vault-permit")
_log = logging.getLogger("salus.permits")


class KnownPermit(Wire, frozen=True):
    """As it lies in the vault."""

    version: Uint
    custodian: MemberId
    handle: Bytes32
    permit: Bytes32
    purpose: Purpose
    classes: Classes
    until_day: Day
    height: Uint  # of the grant
    here: Bytes32 | None  # the patient's handle at this organisation, if he proved it


class PermitInbox:
    """`source` gives certified blocks, `recent` the receipts of the newest without the store."""

    def __init__(
        self,
        vault: Vault,
        source: BlockSource,
        recent: Callable[[int], tuple[Receipt, ...] | None],
        chain_id: str,
        org: str | None,
        box_secret: bytes,
        now_ms: Callable[[], int],
    ) -> None:
        """`org`: None until a vote has made the node's key a member's; nobody grants it anything."""
        self.vault, self.source, self.recent = vault, source, recent
        self.chain_id, self.org, self._box_secret = chain_id, org, box_secret
        self._now_ms = now_ms
        self._known: dict[tuple[str, bytes], KnownPermit] = {}  # (custodian, permit); newest last
        self._grown = asyncio.Event()
        self.height = 0  # everything up to it has been read
        self._load()

    # -- looking up -----------------------------------------------------------------------------

    def custodians(self) -> tuple[str, ...]:
        """Who has let this organisation read anything, the newest first."""
        return tuple(dict.fromkeys(known.custodian for known in reversed(tuple(self._current()))))

    def of_patient(self, here: bytes) -> tuple[KnownPermit, ...]:
        """What a patient of this organisation has permitted elsewhere, the newest first."""
        return tuple(known for known in reversed(tuple(self._current())) if known.here == here)

    def _current(self) -> Iterator[KnownPermit]:
        today = self._now_ms() // DAY_MS
        return (known for known in self._known.values() if known.until_day >= today)

    # -- reading the chain ----------------------------------------------------------------------

    def grew(self) -> None:
        """There is another certified block."""
        self._grown.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._grown.clear()
            await self.catch_up()
            await self._grown.wait()

    async def catch_up(self) -> None:
        """Everything that is certified now."""
        while self.height < self.source.state.height():
            height = self.height + 1
            receipts = self.recent(height)
            if receipts is None:
                receipts = self.source.state.receipts(height)
            found = list(self._changes(receipts))
            if found:
                await asyncio.to_thread(self._store, found)
                self._note(found)
            self.height = height
            if found or height % POSITION_BLOCKS == 0:
                await asyncio.to_thread(self.vault.put_record, _POSITION, encode(height))
            elif height % YIELD_BLOCKS == 0:
                await asyncio.sleep(0)

    def _changes(self, receipts: Iterable[Receipt]) -> Iterator[KnownPermit | tuple[str, bytes]]:
        """Permits for us, and what names those that ended, in the order of the block."""
        for receipt in receipts:
            for event in receipt.events:
                if event.data.get("grantee") != self.org:
                    continue
                if event.kind == REVOKED.name:
                    org, permit = event.data["org"], event.data["permit"]
                    yield str(org), bytes.fromhex(str(permit))
                elif event.kind == GRANTED.name and event.data["effect"] == Effect.PERMIT.value:
                    yield self._granted(receipt, event)

    def _granted(self, receipt: Receipt, event: Event) -> KnownPermit:
        place = self.source.state.find_transaction(receipt.tx_id)
        block = None if place is None else self.source.block(place[0])
        assert place is not None, "a certified receipt has its transaction"
        assert block is not None, "a certified receipt has its block"
        raw = decode(block.proposal, Proposal).transactions[place[1]]
        operation = decode(decode(raw, Transaction).operations[receipt.operation], Operation)
        args = decode(operation.args, GrantArgs)
        return KnownPermit(
            INBOX_VERSION,
            args.org,
            args.handle,
            args.permit,
            args.purpose,
            args.classes,
            args.until_day,
            place[0],
            self._here(args),
        )

    def _here(self, args: GrantArgs) -> bytes | None:
        """What the sealed field says; nothing, if it says nothing of this very grant."""
        if not args.opening:
            return None
        assert self.org is not None, "it was granted to us"
        try:
            notice = open_notice(self.chain_id, self.org, args.opening, self._box_secret)
        except VerificationError as error:
            log_event(_log, logging.WARNING, "notice_unreadable", reason=error.message)
            return None
        said = (notice.custodian, notice.handle, notice.permit)
        if said != (args.org, args.handle, args.permit):
            log_event(_log, logging.WARNING, "notice_unreadable", reason="it is of another permit")
            return None
        if notice.here is None:
            return None
        if not self._proved(notice, notice.here.handle):
            log_event(_log, logging.WARNING, "notice_unproved")
            return None
        return notice.here.handle

    def _proved(self, notice: GrantNotice, here: bytes) -> bool:
        """Is the patient here who granted it there? By the owner's key of our own relation."""
        assert self.org is not None, "it was granted to us"
        state = self.source.state
        try:
            patient = require_relation(state, self.org, here)
        except SalusError:
            return False
        return notice.proves_here(self.chain_id, self.org, patient.owner_at(state.head.time_ms))

    # -- the vault ------------------------------------------------------------------------------

    def _store(self, found: list[KnownPermit | tuple[str, bytes]]) -> None:
        """In a thread: what is known is looked up in the loop meanwhile, and stays as it is."""
        fresh: set[tuple[str, bytes]] = set()
        for one in found:
            if isinstance(one, KnownPermit):
                fresh.add((one.custodian, one.permit))
                self.vault.put_record(_name(one.custodian, one.permit), encode(one))
            elif one in self._known or one in fresh:
                self.vault.drop_record(_name(*one))

    def _note(self, found: list[KnownPermit | tuple[str, bytes]]) -> None:
        for one in found:
            place = (one.custodian, one.permit) if isinstance(one, KnownPermit) else one
            self._known.pop(place, None)  # read again after a restart: it stays the newest
            if isinstance(one, KnownPermit):
                self._known[place] = one

    def _load(self) -> None:
        stored = self.vault.record(_POSITION)
        self.height = 0 if stored is None else decode(stored, int)
        found: list[KnownPermit] = []
        for name in self.vault.records():
            if len(name) != len(_POSITION) or not name.startswith(_PREFIX) or name == _POSITION:
                continue
            raw = self.vault.record(name)
            try:
                found += [] if raw is None else [decode(raw, KnownPermit)]
            except BadMessage:
                self.height = 0  # What is damaged is read from the chain again.
        for known in sorted(found, key=lambda known: known.height):
            self._known[known.custodian, known.permit] = known


def _name(custodian: str, permit: bytes) -> bytes:
    return _PREFIX + _hash_name(encode((custodian, permit)))
