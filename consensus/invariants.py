"""What must hold of a replica after every step; cheap enough to ask after each event.

A failure here is a bug of ours, so these are assertions. What needs several replicas or their
disks (agreement, no double vote across restarts) the simulator checks itself.
"""

from typing import Any

from consensus.events import (
    BodyArrived,
    BodyDropped,
    Event,
    Executed,
    ProposalBuilt,
    ProposalChecked,
    Received,
)
from consensus.log import (
    BODIES_PER_SLOT_MAX,
    OLD_COMMIT_VIEWS_MAX,
    OLD_COMMITS_PER_SENDER_MAX,
    Slot,
)
from consensus.messages import Checkpoint, Commit, Fetch, Prepare, PrePrepare, Status
from consensus.replica import Replica
from consensus.state import State

# After one of these, a step that moved nothing can have changed this one slot only.
_PLAIN_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint))
_SLOT_EVENTS = frozenset((BodyArrived, BodyDropped, ProposalBuilt, ProposalChecked, Executed))
# A step that had one of these and no effects has counted it at most: nothing below is touched but
# caps, which are asked with every tick.
COUNTED_AT_MOST = frozenset((Prepare, Checkpoint, Status, Fetch))


class Watch:
    """Follows one replica object and remembers what may only grow. `thorough`: whenever a height or
    a view has moved it looks at all of the replica; else with every tick."""

    def __init__(self, *, thorough: bool = True) -> None:
        self.thorough = thorough
        self._began = False
        self._view = self._wish = self._certified = self._low = self._executed = 0
        self._settled = self._writing = self._executing = self._proved = self._floor = 0
        self._epoch_end = self._committed = 0

    def check(self, replica: Replica, event: Event | None = None) -> None:
        """What the step of this event can have changed; all of it when time passed, when a view
        moved by what others said, and when no event is named."""
        s = replica.state
        moved = self._moved(s)
        if moved:
            self._may_only_grow(s)
            if self.thorough:
                check(replica)
                return
            if s.halted is None:
                _check_heights(s)
                _check_view(s)
        kind: type = type(event)
        if kind is Received:
            message: Any = event.message  # type: ignore[union-attr]
            if type(message) in _PLAIN_VOTES:
                check_one(replica, message.sequence)
            elif moved:
                check(replica)
            elif s.halted is None:
                _check_caps(s)
        elif kind in _SLOT_EVENTS:
            check_one(replica, event.sequence)  # type: ignore[union-attr]
        else:
            check(replica)

    def _moved(self, s: State) -> bool:
        """Asked after each step: one comparison after the other, and nothing is built."""
        log = s.log
        return (
            not self._began
            or log.settled != self._settled
            or log.committed != self._committed
            or log.executed != self._executed
            or log.executing != self._executing
            or log.writing != self._writing
            or log.certified != self._certified
            or log.low != self._low
            or log.epoch_end != self._epoch_end
            or s.view != self._view
            or s.wish != self._wish
            or s.proved != self._proved
            or s.voter.floor != self._floor
        )

    def _may_only_grow(self, s: State) -> None:
        log = s.log
        if self._began:
            # Not `committed`, which falls back with the window (log.py). Without a voice I follow
            # the views of others and wish for none (S4).
            assert s.view >= self._view, "a view is left behind (S3)"
            assert s.proved >= self._proved, "a proof is forgotten (S12)"
            assert s.voter.floor >= self._floor, "the floor runs backwards (S12)"
            assert s.wish >= self._wish or not s.voter.active, "a wish is taken back (S7)"
            assert log.certified >= self._certified
            assert log.low >= self._low
            assert log.executed >= self._executed
            assert log.executing >= self._executing
            assert log.settled >= self._settled
            assert log.writing >= self._writing
            assert log.epoch_end >= self._epoch_end, "an end that was fixed is open again (S13)"
        follows = self._began and not s.voter.active
        self._wish = max(s.wish, self._wish) if follows else s.wish
        self._view, self._proved, self._floor = s.view, s.proved, s.voter.floor
        self._certified, self._low, self._executed = log.certified, log.low, log.executed
        self._settled, self._writing, self._executing = log.settled, log.writing, log.executing
        self._epoch_end, self._committed = log.epoch_end, log.committed
        self._began = True


def check(replica: Replica) -> None:
    s = replica.state
    if s.halted is not None:
        assert not s.voter.active, "a halted replica signs nothing (L24)"
        return
    _check_heights(s)
    _check_view(s)
    _check_caps(s)
    primary = s.validators.primary(s.view)
    for number, slot in s.log.slots.items():
        _check_slot(s, number, slot, primary)


def check_one(replica: Replica, sequence: int) -> None:
    """What a vote on one sequence can have changed, and did not move anything."""
    s = replica.state
    if s.halted is None:
        slot = s.log.slots.get(sequence)
        if slot is not None:
            _check_slot(s, sequence, slot, s.validators.primary(s.view))


def _check_heights(s: State) -> None:
    log = s.log
    assert s.base <= log.certified <= log.executed <= log.executing <= log.committed
    assert log.certified <= log.writing <= log.executed
    assert log.certified <= log.low <= log.settled
    assert log.committed <= log.settled
    assert log.executing <= log.certified + s.parameters.execute_ahead_max  # B28
    assert s.voter.floor >= log.certified
    assert s.voter.withheld == 0 or s.voter.withheld > log.high, (
        "what the window holds is said (S12)"
    )
    assert (log.certificate is None) == (log.certified == s.base)
    assert (log.low_certificate is None) == (log.low == s.base)
    if log.certificate is not None:
        assert log.certificate.height == log.certified
    if log.low_certificate is not None:
        assert log.low_certificate.height == log.low
    if log.epoch_end:
        assert log.executed <= log.epoch_end, "nothing is executed past the epoch's end (S13)"


def _check_view(s: State) -> None:
    assert s.wish >= s.view
    assert (s.new_view is None) == (s.view == 0)
    if s.me is not None:
        assert s.reached[s.me] >= s.wish or not s.voter.active
        if s.in_view_change:
            assert s.view_changes[s.me].view == s.wish
    assert s.doublings <= s.parameters.timeout_doublings_max  # L18
    assert s.view_change_left is None or s.in_view_change
    assert s.building is None or s.leading


def _check_caps(s: State) -> None:
    """B25: nothing that peers can fill grows without bound."""
    window = s.parameters.watermark_window
    assert len(s.log.slots) <= 2 * window
    assert len(s.checkpoints) <= 2 * window
    assert len(s.certificates) <= 2 * window
    assert len(s.headers) <= s.parameters.execute_ahead_max
    assert len(s.view_changes) <= s.n
    assert len(s.false_views) <= 4 * s.n
    for size in s.future.sizes():
        assert size <= s.future.votes_max


def _check_slot(s: State, sequence: int, slot: Slot, primary: int) -> None:
    log = s.log
    assert log.near(sequence)
    assert slot.sequence == sequence
    assert len(slot.bodies) <= BODIES_PER_SLOT_MAX
    assert len(slot.commits) <= 1 + OLD_COMMIT_VIEWS_MAX + s.n * (1 + OLD_COMMITS_PER_SENDER_MAX)
    if slot.pre_prepare is not None:
        assert slot.pre_prepare.view == s.view
        assert slot.pre_prepare.sender == primary
    if slot.prepared is not None:  # S6
        assert len(slot.prepared.prepares) == s.quorum - 1
        assert slot.prepared.pre_prepare.view <= s.view
    if slot.committed is not None:  # S6: every commit is backed by a quorum of one view
        assert slot.commits[slot.committed_view].count(slot.committed) >= s.quorum
    if log.certified < sequence <= log.committed:
        assert slot.committed is not None
    if sequence <= log.executing:
        assert slot.committed in slot.persisted, "executed bodies are on disk (S3)"
    for commits in slot.commits.values():
        if s.me in commits.votes:
            digest = commits.votes[s.me].digest
            assert digest in slot.persisted, "no COMMIT without its body on disk (S3)"
