"""When the primary proposes, and what: the pacing of performance.md.

Propose at once when none of my proposals is uncommitted; otherwise when one commits, when a
block's worth of transactions waits, or after 20 ms. Over a long way the few proposals that may be under way
are spread evenly over the time that one takes, unless as many transactions wait as a block may hold (their
bytes are not asked): sent as soon as they may be, they would go half empty, and then none for as long.
Unpaced one-transaction blocks burn the CPU
that everybody else needs (several ms a block and node, however small): so when proposals begin to
take long to commit, the least interval between two widens towards 20 ms, and back. Where they wait
for busy nodes, more blocks only make the wait longer: then it widens to what a commit takes, less
a long way between the nodes, and to half as much again where enough waits to be worth it.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Sequence

from consensus.effects import BuildProposal
from consensus.events import ProposalBuilt
from node.bodies import Bodies
from node.logs import log_event
from node.mempool import Mempool
from salus.block import BLOCK_VERSION, ParsedProposal, Proposal, check_proposal
from salus.codec import encode
from salus.errors import SalusError
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction

log = logging.getLogger("salus.proposer")

BLOCK_INTERVAL_MAX_MS = 20
LATE_INTERVAL_MAX_MS = 80
TIMEOUT_SHARE = 12  # nor longer than this: a sixth of what makes a transaction late (node/pace.py)
TRANSACTIONS_WORTH_A_BLOCK = 500
# What a block costs however small, in transactions (4.5 ms and 90 µs a node). Where so many wait, busy nodes take
# proposals this much further apart: at 5,000 transactions a second one by one, four nodes on four cores, 6 % less CPU
# than without, and no longer a wait. Twice as far is as cheap, and slower.
TRANSACTIONS_LIKE_A_BLOCK = 50
APART = 1.5
BUSY_COMMIT_MS = 12  # an idle network of four commits in less; more means that loops are late
WIDEN_MS, NARROW_MS = 4, 1
# The quickest commit is the length of the way, and what others take longer is queues (as in
# LEDBAT, RFC 6817). It is forgotten at some ms a minute: machines and ways change.
FLOOR_RISE_MS = 0.01  # per block
COMMITS_SEEN = 4  # the quickest of so many is the way, and what queues on it at all times
PROPOSAL_OVERHEAD_BYTES = 64  # envelope of a proposal beside its transactions


class Proposer:
    """Holds the core's one open permission to propose and uses it when it pays."""

    def __init__(self, mempool: Mempool, bodies: Bodies, now_ms: Callable[[], int]) -> None:
        self.mempool, self.bodies, self.now_ms = mempool, bodies, now_ms
        self.parameters = Parameters()
        self.me = 0
        self.open: BuildProposal | None = None
        self.last_committed = 0
        self.last_proposed_ms = 0
        self._proposed_ms: dict[int, int] = {}  # when, by sequence; at most the window in flight
        self._floor_ms = math.inf  # the quickest commit of late
        self.interval_ms = 0  # the least between two proposals now
        self._took_ms = deque[int](maxlen=COMMITS_SEEN)

    def begin_epoch(self, parameters: Parameters, me: int | None, height: int) -> None:
        self.parameters, self.me = parameters, me or 0
        self.interval_ms = min(self.interval_ms, self._late_max_ms())
        self.withdraw()
        self.last_committed = max(self.last_committed, height)

    def permit(self, permission: BuildProposal) -> None:
        self.open = permission

    def withdraw(self) -> None:
        """The view or epoch changed: an open permission belongs to the past, and so does what was
        under way."""
        self.open = None
        self._proposed_ms.clear()
        self._took_ms.clear()

    def committed(self, sequence: int) -> None:
        self.last_committed = max(self.last_committed, sequence)
        proposed_ms = self._proposed_ms.pop(sequence, None)
        if proposed_ms is not None and (took_ms := self.now_ms() - proposed_ms) >= 0:
            self._pace(took_ms)  # else the clock was set back, which is no quick commit

    def _pace(self, took_ms: int) -> None:
        """A proposal of mine took so long to commit."""
        self._took_ms.append(took_ms)
        self._floor_ms = min(took_ms, self._floor_ms + FLOOR_RISE_MS)
        far_ms = max(0, self._floor_ms - BLOCK_INTERVAL_MAX_MS)
        most = min(self._late_max_ms(), max(BLOCK_INTERVAL_MAX_MS, int(took_ms - far_ms)))
        wanted = self.interval_ms + (WIDEN_MS if took_ms > BUSY_COMMIT_MS else -NARROW_MS)
        self.interval_ms = min(most, max(0, wanted))

    def wait_ms(self) -> int | None:
        """How long until `propose` would say yes if nothing else happens; None: not by time."""
        if self.open is None or not (self.mempool.proposable or self.open.fill):
            return None
        since_ms = self.now_ms() - self.last_proposed_ms
        # A clock that was set back must not silence a primary.
        return max(0, self._interval_ms() - since_ms) if since_ms >= 0 else 0

    def propose(self) -> ProposalBuilt | None:
        """Build the proposal that the open permission allows, if it is time; else None."""
        permission = self.open
        if permission is None or not (self.mempool.proposable or permission.fill):
            return None
        if self.wait_ms():
            return None
        now = self.now_ms()
        transactions = self.mempool.take(
            permission.sequence,
            self.parameters.block_transactions_max,
            self.parameters.block_bytes_max - PROPOSAL_OVERHEAD_BYTES,
        )
        if not transactions and not permission.fill:
            return None
        proposal = self._checked(permission, now, transactions)
        self.bodies.put(permission.sequence, proposal.digest, proposal.raw)
        self.bodies.remember_parsed(proposal)
        self.open, self.last_proposed_ms = None, now
        self._proposed_ms[permission.sequence] = now
        if len(self._proposed_ms) > self.parameters.in_flight_proposals_max:
            del self._proposed_ms[next(iter(self._proposed_ms))]  # a sync has passed it by
        return ProposalBuilt(permission.view, permission.sequence, proposal.digest)

    def _checked(
        self, permission: BuildProposal, now: int, transactions: Sequence[ParsedTransaction]
    ) -> ParsedProposal:
        """Judged by the very function with which the others will judge it (S15). What the pool let
        in by mistake must cost this block its content, not this node its standing as primary."""
        mempool, sequence = self.mempool, permission.sequence
        body = Proposal(
            BLOCK_VERSION,
            sequence,
            self.me,
            permission.view,
            now,
            tuple(tx.raw for tx in transactions),
        )
        try:
            return check_proposal(
                encode(body),
                sequence,
                mempool.chain_id,
                mempool.genesis_hash,
                self.parameters,
                mempool,
            )
        except SalusError as error:
            if not transactions:
                raise
            log_event(log, logging.ERROR, "own_proposal_refused", code=error.code)
            return self._checked(permission, now, ())

    def _interval_ms(self) -> int:
        """How long after my last proposal the next one may go."""
        assert self.open is not None
        waiting = self.mempool.proposable
        if self.open.fill or waiting >= self.parameters.block_transactions_max:
            return 0
        if self.open.sequence == self.last_committed + 1:
            return 0 if waiting >= TRANSACTIONS_WORTH_A_BLOCK else self._spread_ms(waiting)
        apart_ms = self._apart_ms()
        if waiting >= TRANSACTIONS_WORTH_A_BLOCK and apart_ms <= BLOCK_INTERVAL_MAX_MS:
            return 0
        return max(BLOCK_INTERVAL_MAX_MS, self._spread_ms(waiting), apart_ms)

    def _spread_ms(self, waiting: int) -> int:
        if waiting < TRANSACTIONS_LIKE_A_BLOCK or self.interval_ms <= BLOCK_INTERVAL_MAX_MS:
            return self.interval_ms
        return min(self._late_max_ms(), int(APART * self.interval_ms))

    def _late_max_ms(self) -> int:
        share_ms = self.parameters.progress_timeout_ms // TIMEOUT_SHARE
        return min(LATE_INTERVAL_MAX_MS, max(BLOCK_INTERVAL_MAX_MS, share_ms))

    def _apart_ms(self) -> int:
        """Between two proposals, if as many as may be under way share the time that one of them takes."""
        if len(self._took_ms) < COMMITS_SEEN:
            return 0
        apart_ms = min(self._took_ms) // self.parameters.in_flight_proposals_max
        return min(self._late_max_ms(), apart_ms)
