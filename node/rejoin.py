"""A validator that lost its journal asks for a new epoch, in which it may vote again (rule S4).

It must not sign consensus messages, but it may send a transaction: `members.rejoin`, signed by
the node key. The contract allows one an epoch; here one is sent at a time, and again only when
the last one can no longer commit.
"""

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from node.api.view import Submitted
from node.logs import log_event
from salus.codec import encode
from salus.keys import Signer
from salus.transaction import Operation, build

log = logging.getLogger("salus.rejoin")

RETRY_BLOCKS = 64  # its expiry; on an idle chain nothing passes, and gossip goes on repeating it
RETRY_S = 5  # and so often it is offered again, should everybody have dropped it
SENT_MAX = 8  # ids of one epoch; a new one is made only when the last has expired


class Rejoin:
    def __init__(
        self,
        key: Signer,
        chain_id: str,
        genesis_hash: bytes,
        submit: Callable[[Sequence[bytes]], Awaitable[Sequence[Submitted]]],
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.random = random
        self.key, self.chain_id, self.genesis_hash, self.submit = (
            key,
            chain_id,
            genesis_hash,
            submit,
        )
        self._raw = b""
        self._expiry_height = 0
        self._sent_s = 0.0
        self._sent: deque[bytes] = deque(maxlen=SENT_MAX)

    @property
    def sent(self) -> tuple[bytes, ...]:
        """Ids of what this process has sent in the present epoch.

        Only these prove anything: a wiped node replays the chain, and the rejoin of an earlier
        life that it meets there says nothing about the votes that this life has lost (S4)."""
        return tuple(self._sent)

    def begin_epoch(self) -> None:
        """What was asked in the epoch before has been granted by now, or must be asked again."""
        self._raw, self._expiry_height = b"", 0
        self._sent.clear()

    async def ask(self, height: int, now_s: float) -> None:
        """Called about once a second while quarantined and not behind."""
        if height < self._expiry_height and now_s < self._sent_s + RETRY_S:
            return
        if not self._raw or height >= self._expiry_height:
            self._expiry_height = height + RETRY_BLOCKS
            tx = build(
                (Operation("members", "rejoin", 1, encode(())),),
                signer=self.key,
                chain_id=self.chain_id,
                genesis_hash=self.genesis_hash,
                nonce=self.random(16),
                expiry_height=self._expiry_height,
            )
            self._raw = tx.raw
            self._sent.append(tx.id)
            log_event(log, logging.WARNING, "rejoin_asked", tx_id=tx.id.hex(), height=height)
        self._sent_s = now_s
        (answer,) = await self.submit([self._raw])
        if answer.height is not None:
            # It was executed. If the ledger refused it as too soon, a new one must ask: on an
            # idle chain nothing else brings the height from which on it may.
            self._raw = b""
