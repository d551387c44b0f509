"""When the primary proposes, and what: the pacing of performance.md.

Propose at once when none of my proposals is uncommitted; otherwise when one commits, when a
block's worth of transactions waits, or after 20 ms. Unpaced one-transaction blocks burn the CPU
that everybody else needs (1.2–2 ms a block and node, however small).
"""

from collections.abc import Callable

from consensus.effects import BuildProposal
from consensus.events import ProposalBuilt
from node.bodies import Bodies
from node.mempool import Mempool
from salus.block import BLOCK_VERSION, ParsedProposal, Proposal
from salus.codec import encode
from salus.parameters import Parameters

BLOCK_INTERVAL_MAX_MS = 20
TRANSACTIONS_WORTH_A_BLOCK = 500
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

    def begin_epoch(self, parameters: Parameters, me: int | None, height: int) -> None:
        self.parameters, self.me, self.open = parameters, me or 0, None
        self.last_committed = max(self.last_committed, height)

    def permit(self, permission: BuildProposal) -> None:
        self.open = permission

    def withdraw(self) -> None:
        """The view changed: an open permission belongs to the past."""
        self.open = None

    def committed(self, sequence: int) -> None:
        self.last_committed = max(self.last_committed, sequence)

    def wait_ms(self) -> int | None:
        """How long until `propose` would say yes if nothing else happens; None: not by time."""
        if self.open is None or not (self.mempool.proposable or self.open.fill):
            return None
        if self._due():
            return 0
        return max(0, self.last_proposed_ms + BLOCK_INTERVAL_MAX_MS - self.now_ms())

    def propose(self) -> ProposalBuilt | None:
        """Build the proposal that the open permission allows, if it is time; else None."""
        permission = self.open
        if permission is None or not (self.mempool.proposable or permission.fill):
            return None
        now = self.now_ms()
        if not self._due() and now < self.last_proposed_ms + BLOCK_INTERVAL_MAX_MS:
            return None
        transactions = self.mempool.take(
            permission.sequence,
            self.parameters.block_transactions_max,
            self.parameters.block_bytes_max - PROPOSAL_OVERHEAD_BYTES,
        )
        if not transactions and not permission.fill:
            return None
        body = Proposal(
            BLOCK_VERSION,
            permission.sequence,
            self.me,
            permission.view,
            now,
            tuple(tx.raw for tx in transactions),
        )
        raw = encode(body)
        digest = self.bodies.put(permission.sequence, raw)
        self.bodies.remember_parsed(ParsedProposal(raw, body, transactions))
        self.open, self.last_proposed_ms = None, now
        return ProposalBuilt(permission.view, permission.sequence, digest)

    def _due(self) -> bool:
        assert self.open is not None
        return (
            self.open.fill
            or self.open.sequence == self.last_committed + 1
            or self.mempool.proposable >= TRANSACTIONS_WORTH_A_BLOCK
        )
