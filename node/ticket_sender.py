"""The custodian's own transactions: tickets and counts of denials, signed by the node key.

Law of the file: made before it is sent, so that what opens a ticket can be on disk under its id; and
certified before anybody is told what it says.
"""

import os
from collections.abc import Awaitable, Callable, Sequence

from contracts.access import DenialsArgs, TicketArgs, access
from node.api.view import Submitted, TransactionView
from salus.block import Receipt
from salus.codec import encode
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.keys import Signer
from salus.transaction import Operation, ParsedTransaction, build

CERTIFIED_WITHIN_S = 20.0  # a slow block and a view change; longer, and nobody agrees on anything
DENIALS_EXPIRY_BLOCKS = 64  # as an errand's

_Submit = Callable[[Sequence[bytes]], Awaitable[Sequence[Submitted]]]
_Wait = Callable[[bytes, float], Awaitable[TransactionView]]


class TicketSender:
    """`submit`: as a node enters its own, whatever its clients have filled: a read is no client's.
    `wait`: as `NodeView` has it."""

    def __init__(
        self,
        key: Signer,
        chain_id: str,
        genesis_hash: bytes,
        submit: _Submit,
        wait: _Wait,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._key, self._chain_id, self._genesis_hash = key, chain_id, genesis_hash
        self._submit, self._wait, self._random = submit, wait, random

    def ticket(self, args: TicketArgs) -> ParsedTransaction:
        """It cannot be certified later than its request allows."""
        return self._build("ticket", args, args.expiry_height)

    def denials(self, args: DenialsArgs, height: int) -> ParsedTransaction:
        return self._build("denials", args, height + DENIALS_EXPIRY_BLOCKS)

    def _build(
        self, method: str, args: TicketArgs | DenialsArgs, expiry_height: int
    ) -> ParsedTransaction:
        return build(
            (Operation(access.name, method, access.version, encode(args)),),
            signer=self._key,
            chain_id=self._chain_id,
            genesis_hash=self._genesis_hash,
            nonce=self._random(16),
            expiry_height=expiry_height,
        )

    async def offer(self, tx: ParsedTransaction) -> None:
        """Into the pool. Raises `SalusError` with the code of the refusal."""
        (answer,) = await self._submit([tx.raw])
        if answer.code is not None and answer.height is None:
            raise SalusError(answer.detail or "the ledger refuses it", code=answer.code)

    async def certified(self, tx: ParsedTransaction) -> tuple[int, Receipt]:
        """Height and receipt of its one operation. Raises `SalusError`: NO_QUORUM while nothing is
        certified, EXPIRED, and the code of a receipt that refuses."""
        await self.offer(tx)
        found = await self._wait(tx.id, CERTIFIED_WITHIN_S)
        if found.state is TransactionState.EXPIRED:
            raise SalusError("it was not ordered before it expired", code="EXPIRED")
        if found.height is None:
            raise SalusError("no quorum certifies a block", code="NO_QUORUM")
        (receipt,) = found.receipts
        if not receipt.ok:
            raise SalusError("the ledger refuses it", code=receipt.code)
        return found.height, receipt
