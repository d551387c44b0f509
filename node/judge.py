"""Judges proposals of others by rule S15, and first ones by the clock (L21).

Verifying the signatures of transactions that this node meets for the first time is most of the
cost of a block; it runs in the verify pool, so the loop goes on handling votes meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine

from consensus.effects import CheckProposal
from consensus.events import ProposalChecked, Verdict
from node.bodies import Bodies
from node.mempool import Mempool
from node.verify import VerifyPool
from salus.block import ParsedProposal, VerifiedTransactions, check_proposal
from salus.epoch import EpochRecord
from salus.errors import SalusError
from salus.keys import Verifier
from salus.transaction import ParsedTransaction
from salus.vote import VoteDomain

log = logging.getLogger("salus.judge")


class _Unverified(VerifiedTransactions):
    """Takes from the mempool what is verified there and puts the rest off for the pool."""

    def __init__(self, mempool: Mempool, verifier: Verifier) -> None:
        super().__init__(verifier, mempool.get)

    def check(self, transactions: list[ParsedTransaction]) -> None:
        """Nothing yet: `Judge` verifies before it gives its verdict."""


class Judge:
    def __init__(
        self,
        bodies: Bodies,
        mempool: Mempool,
        pool: VerifyPool,
        domain: VoteDomain,
        verifier: Verifier,
        epoch: Callable[[], EpochRecord],
        now_ms: Callable[[], int],
        answer: Callable[[ProposalChecked], object],
        current: Callable[[CheckProposal], bool],
        fatal: Callable[[BaseException], None],
    ) -> None:
        """`current`: is the question still that of the core's view? `fatal`: takes what went wrong in the background, where nobody waits for it."""
        self.bodies, self.mempool, self.pool, self.domain = bodies, mempool, pool, domain
        self.epoch, self.now_ms, self.answer = epoch, now_ms, answer
        self.current, self.fatal = current, fatal
        self._unverified = _Unverified(mempool, verifier)
        self._tasks: set[asyncio.Task[None]] = set()  # at most one per open sequence and view

    def check(self, request: CheckProposal) -> None:
        """Start judging; the verdict comes back through `answer`, perhaps at once."""
        parsed = self.bodies.parsed(request.digest)
        if parsed is not None:
            self._decide(request, parsed)
            return
        raw = self.bodies.get(request.sequence, request.digest)
        if raw is None:
            # A sync passed this height while the question waited for the disk, or room was made.
            self.bodies.dropped(request.sequence, request.digest)
            return
        try:
            parsed = check_proposal(
                raw,
                request.sequence,
                self.domain.chain_id,
                self.domain.genesis_hash,
                self.epoch().parameters,
                self._unverified,
            )
        except SalusError as error:
            self._refuse(request, error.code, error.message)
            return
        new = self.mempool.unknown(parsed.transactions)
        if not new:
            self._accept(request, parsed)
            return
        self.start(self._verify(request, parsed, new))

    def start(self, work: Coroutine[None, None, None]) -> None:
        """In a task of the loop; the simulator, which has none, runs it at its own time."""
        task = asyncio.create_task(work, name="judge")
        self._tasks.add(task)
        task.add_done_callback(self._verified)

    def _verified(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.fatal(error)

    async def _verify(
        self, request: CheckProposal, parsed: ParsedProposal, new: list[ParsedTransaction]
    ) -> None:
        if all(await self.pool.verify(new, urgent=True)):
            self.mempool.remember(new)
            self._accept(request, parsed)
        else:
            self._refuse(request, "BAD_SIGNATURE", "a transaction's signature is not valid")

    def _accept(self, request: CheckProposal, parsed: ParsedProposal) -> None:
        self.bodies.remember_parsed(parsed)
        self._decide(request, parsed)

    def _decide(self, request: CheckProposal, parsed: ParsedProposal) -> None:
        verdict = Verdict.VALID
        if request.first:
            body = parsed.body
            drift_ms = abs(body.time_ms - self.now_ms())
            if body.proposer != request.proposer or body.origin_view != request.view:
                verdict = Verdict.INVALID
            elif drift_ms > self.epoch().parameters.clock_drift_max_ms:
                log.warning("off_clock", extra={"fields": {"drift_ms": drift_ms}})
                verdict = Verdict.OFF_CLOCK
        if verdict is Verdict.VALID and self.current(request):
            self.mempool.ordered([tx.id for tx in parsed.transactions], request.sequence)
        self.answer(ProposalChecked(request.view, request.sequence, request.digest, verdict))

    def _refuse(self, request: CheckProposal, code: str, message: str) -> None:
        log.warning(
            "bad_proposal",
            extra={"fields": {"sequence": request.sequence, "code": code, "reason": message}},
        )
        verdict = Verdict.INVALID
        self.answer(ProposalChecked(request.view, request.sequence, request.digest, verdict))
