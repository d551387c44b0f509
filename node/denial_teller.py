"""Counts of denials on their way to the chain (rule G-13).

Law of the file: a count is told once. What was sent may be certified as long as it has not expired,
however long nobody agreed on anything: until then the same bytes are sent again, and nothing else.
"""

import asyncio
import logging
from collections.abc import Callable

from contracts.access import DenialsArgs
from node.denials import DenialBook, Denials
from node.logs import log_event
from node.ticket_sender import TicketSender
from salus.errors import SalusError
from salus.transaction import ParsedTransaction
from storage.state import StateStore

log = logging.getLogger("salus.gate")

CLOSE_WITHIN_S = 3.0  # for what is left when the node stops


class DenialTeller:
    """`clock`: seconds that only grow."""

    def __init__(
        self,
        book: DenialBook,
        sender: TicketSender,
        state: StateStore,
        clock: Callable[[], float],
    ) -> None:
        self._book, self._sender, self._state, self._clock = book, sender, state, clock
        self._telling: list[tuple[Denials, ParsedTransaction]] = []
        self._one_at_a_time = asyncio.Lock()  # the gate's tick may come while the node stops

    async def tell(self, now_s: float) -> None:
        """`now_s`: infinity tells all."""
        async with self._one_at_a_time:
            await self._tell(now_s)

    async def _tell(self, now_s: float) -> None:
        if not self._telling:
            self._telling = [(told, self._made(told)) for told in self._book.due(now_s)]
        while self._telling:
            told, tx = self._telling[0]
            try:
                await self._sender.certified(tx)
            except SalusError as error:
                log_event(log, logging.WARNING, "denials_not_told", code=error.code)
                if error.retryable:
                    return
                if error.code == "EXPIRED":
                    self._book.take_back(told, self._clock())
            del self._telling[0]

    def _made(self, told: Denials) -> ParsedTransaction:
        args = DenialsArgs(told.handle, told.requester, told.times)
        return self._sender.denials(args, self._state.height())

    async def close(self) -> None:
        """Before the node stops: what was counted and not told."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self.tell(float("inf"))  # if some wait already: those
                await self.tell(float("inf"))
        except TimeoutError:
            log_event(log, logging.WARNING, "denials_not_told", code="NO_QUORUM")
