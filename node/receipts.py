"""Receipts of what this organisation's readers got: sent once, and not forgotten by a restart
(rule T-5).

A read is noted as *awaited* while it is asked for, and no more if it is not permitted; the reader's word makes it *unsent*; a transaction of the
node key goes out, again and again, until the certified state shows the receipt. Law of the file:
what is noted is in the vault before anybody is told; what the chain shows is noted no more.
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec

from contracts.access import ReceiptArgs, access
from node.api.view import Submitted
from node.logs import describe_error, log_event
from salus.codec import Bytes16, Bytes32, Uint, Wire, decode, encode
from salus.errors import BadMessage, SalusError
from salus.hashing import hasher
from salus.keys import Signer
from salus.statemap import SALT_BYTES
from salus.ticket import Ticket, arrival_commitment, ticket_key
from salus.transaction import Operation, build
from salus.validators import MemberId
from storage.state import StateStore
from storage.vault import Vault

RECEIPT_VERSION = 1
EXPIRY_BLOCKS = 64  # of the transaction; after that a new one is made
OFFER_S = 5.0  # so often it is looked after, on an idle chain too
NOTED_MAX = 10_000  # 300 bytes each; beyond it the oldest awaited ones are forgotten here: the
# custodian's trail goes on showing that their receipt is missing
NO_TICKET_MS = 86_400_000  # after a day no node is so far behind that the ticket may come yet
SENT_TOGETHER_MAX = 100  # transactions at once

_PREFIX = b"r"  # of names in the vault: 33 bytes, as openings have
_NAME_BYTES = 33

_hash_name = hasher("vault-receipt")
_hash_salt = hasher("receipt-salt")
_log = logging.getLogger("salus.receipts")


class ReceiptState(StrEnum):
    AWAITED = "awaited"  # the reader has not said that it arrived
    UNSENT = "unsent"  # it arrived, and the chain does not show it yet


class NotedReceipt(Wire, frozen=True):
    """As it lies in the vault."""

    version: Annotated[int, msgspec.Meta(ge=RECEIPT_VERSION, le=RECEIPT_VERSION)]
    custodian: MemberId
    request_id: Bytes16
    asked_ms: Uint
    digest: Bytes32 | None  # `salus.reading.arrived`; None while it is awaited

    @property
    def state(self) -> ReceiptState:
        return ReceiptState.AWAITED if self.digest is None else ReceiptState.UNSENT


class Receipts:
    """`seed`: a secret of this node, from which the salts come, so that none must be kept."""

    def __init__(
        self,
        vault: Vault,
        state: StateStore,
        key: Signer,
        chain_id: str,
        genesis_hash: bytes,
        submit: Callable[[Sequence[bytes]], Awaitable[Sequence[Submitted]]],
        seed: bytes,
        now_ms: Callable[[], int],
    ) -> None:
        self.vault, self.state, self.key = vault, state, key
        self.chain_id, self.genesis_hash, self.submit = chain_id, genesis_hash, submit
        self._seed, self._now_ms = seed, now_ms
        self._noted: dict[tuple[str, bytes], NotedReceipt] = {}  # oldest first
        self._sent: dict[tuple[str, bytes], int] = {}  # until which height a transaction may come
        self._wake = asyncio.Event()
        self._load()

    def noted(self) -> tuple[NotedReceipt, ...]:
        """All that is awaited or unsent, oldest first."""
        return tuple(self._noted.values())

    def missing(self) -> tuple[NotedReceipt, ...]:
        """Of reads that the certified state permitted, those of which it shows no receipt."""
        return tuple(
            note
            for place, note in self._noted.items()
            if (ticket := self._ticket(*place)) is not None and ticket.permitted
        )

    async def expect(self, custodian: str, request_id: bytes) -> bool:
        """A read is asked for, and may be permitted; durable on return. False: it was noted before."""
        place = custodian, request_id
        if place in self._noted:
            return False
        note = NotedReceipt(RECEIPT_VERSION, *place, self._now_ms(), None)
        self._noted[place] = note  # at once: a second one with this id must not take it away
        try:
            await self._note(note)
        except BaseException:
            self._noted.pop(place, None)
            raise
        awaited = [one for one in self._noted.values() if one.digest is None]
        for old in awaited[: max(0, len(self._noted) - NOTED_MAX)]:
            await self._forget(old)
        return True

    async def expect_no_more(self, custodian: str, request_id: bytes) -> None:
        """It was not permitted."""
        note = self._noted.get((custodian, request_id))
        if note is not None and note.digest is None:
            await self._forget(note)

    async def confirm(self, custodian: str, request_id: bytes, digest: bytes) -> None:
        """The reader has verified what arrived; durable on return, sent from then on. The same word
        twice changes nothing. Raises `SalusError` (UNKNOWN_TICKET): nothing was permitted."""
        place = custodian, request_id
        ticket = self._ticket(*place)
        if ticket is not None and ticket.receipt is not None:
            return
        noted = self._noted.get(place)
        if noted is None and (ticket is None or not ticket.permitted):
            raise SalusError("no read was permitted under this request", code="UNKNOWN_TICKET")
        if noted is None or noted.digest != digest:
            asked_ms = self._now_ms() if noted is None else noted.asked_ms
            await self._note(NotedReceipt(RECEIPT_VERSION, *place, asked_ms, digest))
        self._wake.set()

    # -- sending --------------------------------------------------------------------------------

    def grew(self) -> None:
        """There is another certified block."""
        if self._noted:
            self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(OFFER_S):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.step()
            except SalusError as error:  # the node takes none at present; it will
                log_event(_log, logging.WARNING, "receipts_wait", error=describe_error(error))

    async def step(self) -> None:
        """Drop what the chain shows; send what it does not, and what can no longer come."""
        height = self.state.height()
        due: list[NotedReceipt] = []
        for place, note in tuple(self._noted.items()):
            if note.digest is None:
                continue
            ticket = self._ticket(*place)
            if ticket is not None and (ticket.receipt is not None or not ticket.permitted):
                await self._forget(note)  # of a denial the chain takes none, whatever was said
            elif ticket is not None and height >= self._sent.get(place, 0):
                due.append(note)  # Before its ticket is here it would be refused.
        due = due[:SENT_TOGETHER_MAX]
        if not due:
            return
        for note in due:
            self._sent[note.custodian, note.request_id] = height + EXPIRY_BLOCKS
        answers = await self.submit([self._transaction(note, height) for note in due])
        for note, answer in zip(due, answers, strict=True):
            if answer.code is not None and answer.tx_id is not None:
                log_event(_log, logging.WARNING, "receipt_refused", code=answer.code)
                self._sent.pop((note.custodian, note.request_id), None)

    def _transaction(self, note: NotedReceipt, height: int) -> bytes:
        assert note.digest is not None
        salt = _hash_salt(self._seed + encode((note.custodian, note.request_id)))
        commitment = arrival_commitment(salt, note.digest)
        args = encode(ReceiptArgs(note.custodian, note.request_id, commitment))
        return build(
            (Operation(access.name, "receipt", access.version, args),),
            signer=self.key,
            chain_id=self.chain_id,
            genesis_hash=self.genesis_hash,
            nonce=os.urandom(16),
            expiry_height=height + EXPIRY_BLOCKS,
        ).raw

    def _ticket(self, custodian: str, request_id: bytes) -> Ticket | None:
        stored = self.state.get(ticket_key(custodian, request_id))
        return None if stored is None else decode(stored[SALT_BYTES:], Ticket)

    # -- the vault ------------------------------------------------------------------------------

    async def _note(self, note: NotedReceipt) -> None:
        place = note.custodian, note.request_id
        await asyncio.to_thread(self.vault.put_record, _name(*place), encode(note))
        self._noted[place] = note

    async def _forget(self, note: NotedReceipt) -> None:
        place = note.custodian, note.request_id
        self._noted.pop(place, None)
        self._sent.pop(place, None)
        await asyncio.to_thread(self.vault.drop_record, _name(*place))

    def _load(self) -> None:
        found: list[NotedReceipt] = []
        for name in self.vault.records():
            if len(name) != _NAME_BYTES or not name.startswith(_PREFIX):
                continue
            raw = self.vault.record(name)
            try:
                found += [] if raw is None else [decode(raw, NotedReceipt)]
            except BadMessage as error:  # one receipt less; the trail shows that it is missing
                log_event(_log, logging.ERROR, "receipt_damaged", error=describe_error(error))
        for note in sorted(found, key=lambda note: note.asked_ms):
            place = note.custodian, note.request_id
            ticket = self._ticket(*place)
            late = note.asked_ms + NO_TICKET_MS < self._now_ms()
            never = late if ticket is None else not ticket.permitted
            if note.digest is None and never:
                self.vault.drop_record(_name(*place))  # a crash while it was asked for
            else:
                self._noted[place] = note


def _name(custodian: str, request_id: bytes) -> bytes:
    return _PREFIX + _hash_name(encode((custodian, request_id)))
