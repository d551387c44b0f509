"""Meters at the seams: how long a sequence, a vote and a client's transaction take.

Each stands where two parts meet and measures what passes, so that no part knows of metrics it
has no use for. Law of the file: a block costs a handful of observations, however many
transactions it holds.
"""

import time
from collections.abc import Callable, Iterable
from itertools import islice

from consensus.effects import Action, CheckProposal, Execute, Send, Sending, WriteBlock
from consensus.messages import Commit, PrePrepare
from node.metrics import Metrics
from node.runner import Outlet
from salus.keys import Signer

Clock = Callable[[], float]

# What ends each phase of a sequence: my COMMIT leaves; a quorum of COMMITs is here; a quorum of
# CHECKPOINTs is here (executing lies in between); the batch is on disk.
PHASES = ("prepare", "commit", "certify", "write")

SUBMITTED_MAX = 200_000  # some pools full; what the pool dropped without a word is forgotten last
ROOM_SHARE = 64  # when there is no room, so much of it is made at once


class BlockMeter:
    """Between the runner and its outlet: the phases of each sequence as its effects show them.

    A phase counts only if this replica saw its beginning: one that follows or catches up tells
    less, never wrong."""

    def __init__(self, outlet: Outlet, metrics: Metrics, clock: Clock = time.perf_counter) -> None:
        self.outlet, self.metrics, self.clock = outlet, metrics, clock
        self._series = [metrics.consensus_phase_seconds.labels(phase) for phase in PHASES]
        self._open: dict[int, tuple[int, float]] = {}  # sequence → (phase, its beginning)
        self._written: float | None = None

    def send(self, sending: Sending) -> None:
        if type(sending) is Send and sending.to is None:
            message = sending.message
            if type(message) is Commit:
                self._reached(message.sequence, 1)
            elif type(message) is PrePrepare:
                self._proposed(message.sequence)
        self.outlet.send(sending)

    def act(self, action: Action) -> None:
        match action:
            case CheckProposal(sequence=sequence):
                self._proposed(sequence)
            case Execute(sequence=sequence):
                self._reached(sequence, 2)
            case WriteBlock(height=height):
                self._reached(height, 3)
        self.outlet.act(action)

    def written(self, height: int, *, fetched: bool) -> None:
        """The block is on disk; one that was fetched says nothing of how fast blocks come."""
        self._reached(height, 4)
        for sequence in [s for s in self._open if s <= height]:
            del self._open[sequence]
        now = self.clock()
        if self._written is not None and not fetched:
            self.metrics.consensus_block_interval_seconds.observe(now - self._written)
        self._written = None if fetched else now

    def _proposed(self, sequence: int) -> None:
        """Again in a new view, unless it was committed in an older one."""
        before = self._open.get(sequence)
        if before is None or before[0] < 2:
            self._open[sequence] = 0, self.clock()

    def _reached(self, sequence: int, phase: int) -> None:
        """`phase`: the one that begins."""
        now = self.clock()
        before = self._open.get(sequence)
        if before is not None and before[0] >= phase:
            return  # A vote is said again.
        if before is not None and before[0] == phase - 1:
            self._series[phase - 1].observe(now - before[1])
        self._open[sequence] = phase, now


class MeteredSigner:
    """A signer that says how long it takes, and how often it fails."""

    def __init__(self, signer: Signer, metrics: Metrics, clock: Clock = time.perf_counter) -> None:
        self.signer, self.metrics, self.clock = signer, metrics, clock

    @property
    def public_key(self) -> bytes:
        return self.signer.public_key

    def sign(self, payload: bytes) -> bytes:
        began = self.clock()
        try:
            return self.signer.sign(payload)
        except Exception:
            self.metrics.signer_errors_total.inc()
            raise
        finally:
            self.metrics.signer_seconds.observe(self.clock() - began)


class CommitMeter:
    """From a client's request to the certified block, for transactions submitted at this node."""

    def __init__(self, metrics: Metrics, clock: Clock = time.perf_counter) -> None:
        self.metrics, self.clock = metrics, clock
        self._submitted: dict[bytes, float] = {}

    def submitted(self, tx_ids: Iterable[bytes], began: float) -> None:
        """They wait in the pool; who submits one twice has waited since the first time."""
        submitted = self._submitted
        for tx_id in tx_ids:
            submitted.setdefault(tx_id, began)
        if len(submitted) > SUBMITTED_MAX:
            # More than need go: one walk over the holes before the oldest, not one for each request.
            left = SUBMITTED_MAX - SUBMITTED_MAX // ROOM_SHARE
            for tx_id in tuple(islice(submitted, len(submitted) - left)):
                del submitted[tx_id]

    def committed(self, tx_ids: Iterable[bytes]) -> None:
        """A block holds these; those of one request are one observation."""
        submitted = self._submitted
        if not submitted:
            return
        requests: dict[float, int] = {}
        for tx_id in tx_ids:
            began = submitted.pop(tx_id, None)
            if began is not None:
                requests[began] = requests.get(began, 0) + 1
        now = self.clock()
        for began, count in requests.items():
            self.metrics.tx_commit_seconds.observe(now - began, count)

    def expired(self, tx_ids: Iterable[bytes]) -> None:
        for tx_id in tx_ids:
            self._submitted.pop(tx_id, None)
