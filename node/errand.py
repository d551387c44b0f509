"""A transaction that the node itself sends, and sends again until it has been executed.

One is under way at a time; a new one is made when the last can no longer commit, or was executed
and the reason is still there. Law of the file: signed by the node key, and rate-limited here.
"""

import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from node.api.view import Submitted
from node.logs import log_event
from salus.codec import Bytes32, decode, encode
from salus.forms import TransactionState
from salus.keys import Signer
from salus.transaction import Operation, build
from storage.state import StateStore

RETRY_BLOCKS = 64  # its expiry; on an idle chain nothing passes, and gossip goes on repeating it
RETRY_S = 5  # and so often it is offered again, should everybody have dropped it
SENT_MAX = 64  # ids; a new one is made only when the last has expired or was refused

_Ids = tuple[Bytes32, ...]


class Errand:
    """Base of what a node asks of the ledger in its own name."""

    log = logging.getLogger("salus.errand")
    word = "errand_sent"  # in the log
    meta = "errands"  # the entry of the state store that remembers what was sent

    def __init__(
        self,
        key: Signer,
        chain_id: str,
        genesis_hash: bytes,
        submit: Callable[[Sequence[bytes]], Awaitable[Sequence[Submitted]]],
        state: StateStore | None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        """`state`: remembers beyond this process what was sent; None: nothing does."""
        self.state, self.random = state, random
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

        Only these prove anything: a wiped node replays the chain, and what an earlier life sent
        and it meets there says nothing about the votes that this life has lost (S4)."""
        return tuple(self._sent)

    def earlier(self) -> tuple[bytes, ...]:
        """Ids of what this home has sent, in this process or before: one of these is no sign that
        somebody else has our key. It proves nothing more; for that, see `sent`."""
        stored = None if self.state is None else self.state.meta(self.meta)
        return self.sent if stored is None else decode(stored, _Ids)

    def _remember(self) -> None:
        """A new one is about to leave."""
        if self.state is not None:
            known = (*self.earlier(), *self.sent)
            self.state.put_meta(self.meta, encode(tuple(dict.fromkeys(known))[-SENT_MAX:]))

    def begin_epoch(self) -> None:
        """What was asked in the epoch before has been granted by now, or must be asked again."""
        self._raw, self._expiry_height = b"", 0
        self._sent.clear()

    async def send(self, operation: Operation, height: int, now_s: float) -> bool:
        """Make it, or offer it again; True once one was refused, and a new one has to be made."""
        if height < self._expiry_height and now_s < self._sent_s + RETRY_S:
            return False
        if not self._raw or height >= self._expiry_height:
            self._expiry_height = height + RETRY_BLOCKS
            tx = build(
                (operation,),
                signer=self.key,
                chain_id=self.chain_id,
                genesis_hash=self.genesis_hash,
                nonce=self.random(16),
                expiry_height=self._expiry_height,
            )
            self._raw = tx.raw
            self._sent.append(tx.id)
            self._remember()
            log_event(self.log, logging.WARNING, self.word, tx_id=tx.id.hex(), height=height)
        self._sent_s = now_s
        (answer,) = await self.submit([self._raw])
        if answer.height is None or answer.state is TransactionState.COMMITTED:
            return False  # What was granted takes effect with the epoch.
        self._raw = b""
        return True
