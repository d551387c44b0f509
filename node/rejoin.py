"""A validator that lost its journal asks for a new epoch, in which it may vote again (rule S4).

It must not sign consensus messages, but it may send a transaction: `members.rejoin`, signed by
the node key. The contract allows one an epoch.
"""

import logging

from node.errand import Errand
from salus.codec import encode
from salus.transaction import Operation


class Rejoin(Errand):
    log = logging.getLogger("salus.rejoin")
    word = "rejoin_asked"
    meta = "rejoins"

    async def ask(self, height: int, now_s: float) -> None:
        """Called about once a second while quarantined and not behind.

        If the ledger refused one as too soon, a new one must ask: on an idle chain nothing else
        brings the height from which on it may."""
        await self.send(Operation("members", "rejoin", 1, encode(())), height, now_s)

    def begin_epoch(self) -> None:
        """Who asks may not yet know that he is behind: what was sent in an epoch that he took for
        the present one may be granted in the true one, and is his own there too."""
        self._raw, self._expiry_height = b"", 0
