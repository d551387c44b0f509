"""A candidate's node says that it has caught up, and counts from the next epoch on (rule S13).

The node follows as an observer. When it is behind nobody any more it sends `governance.ready`
with the newest certified height that it holds and the header there, by itself, like a rejoin.
"""

import logging
from collections.abc import Callable

from contracts.governance import ReadyArgs
from contracts.proposals import Candidacy, CandidacyStage, read_candidacy
from contracts.state import Read, ReadState
from node.errand import Errand
from salus.block import Header
from salus.codec import encode
from salus.transaction import Operation

WAIT_MAX_S = 60  # between two that the ledger refused, since the reason may last


class Ready(Errand):
    log = logging.getLogger("salus.ready")
    word = "ready_sent"
    meta = "readies"

    _wait_s = 1.0
    _rest_until_s = 0.0

    async def ask(self, head: Header, now_s: float) -> None:
        """Called about once a second while the node's candidacy waits and it is not behind."""
        if now_s < self._rest_until_s:
            return
        args = encode(ReadyArgs(head.height, head.hash()))
        if await self.send(Operation("governance", "ready", 1, args), head.height, now_s):
            self._rest_until_s = now_s + self._wait_s
            self._wait_s = min(2 * self._wait_s, WAIT_MAX_S)

    def begin_epoch(self) -> None:
        super().begin_epoch()
        self._wait_s, self._rest_until_s = 1.0, 0.0


def candidacy_of(read: Read, member: str) -> Candidacy | None:
    return read_candidacy(ReadState(read, "governance"), member)


def is_waited_for(read: Callable[[bytes], bytes | None], member: str | None) -> bool:
    """Has the consortium voted for this member, and not heard from its node yet?"""
    found = None if member is None else candidacy_of(read, member)
    return found is not None and found.stage is CandidacyStage.WAITING
