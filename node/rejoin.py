"""A validator that lost its journal asks for a new epoch, in which it may vote again (rule S4).

It must not sign consensus messages, but it may send a transaction: `members.rejoin`, signed by
the node key. The contract allows one an epoch; here one is sent at a time, and again only when
the last one can no longer commit.
"""

import logging
import os
from collections.abc import Awaitable, Callable, Sequence

from node.logs import log_event
from salus.codec import encode
from salus.keys import SigningKey
from salus.transaction import Operation, build

log = logging.getLogger("salus.rejoin")

RETRY_BLOCKS = 64  # its expiry; on an idle chain nothing passes, and gossip goes on repeating it
RETRY_S = 5  # and so often it is offered again, should everybody have dropped it


class Rejoin:
    def __init__(
        self,
        key: SigningKey,
        chain_id: str,
        genesis_hash: bytes,
        submit: Callable[[Sequence[bytes]], Awaitable[object]],
    ) -> None:
        self.key, self.chain_id, self.genesis_hash, self.submit = (
            key,
            chain_id,
            genesis_hash,
            submit,
        )
        self._raw = b""
        self._expiry_height = 0
        self._sent_s = 0.0

    async def ask(self, height: int, now_s: float) -> None:
        """Called about once a second while quarantined and not behind."""
        if self._raw and height < self._expiry_height and now_s < self._sent_s + RETRY_S:
            return
        if not self._raw or height >= self._expiry_height:
            self._expiry_height = height + RETRY_BLOCKS
            tx = build(
                (Operation("members", "rejoin", 1, encode(())),),
                signer=self.key,
                chain_id=self.chain_id,
                genesis_hash=self.genesis_hash,
                nonce=os.urandom(16),
                expiry_height=self._expiry_height,
            )
            self._raw = tx.raw
            log_event(log, logging.WARNING, "rejoin_asked", tx_id=tx.id.hex(), height=height)
        self._sent_s = now_s
        await self.submit([self._raw])
