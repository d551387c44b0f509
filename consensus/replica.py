"""A PBFT replica as a pure state machine: events in, effects out. Rules: docs/consensus.md.

One object lives for one epoch. Law of the file: a step first handles its event, then does what
has become possible, in a fixed order; it reads no clock, disk or dice, so that one sequence of
events gives one sequence of effects.
"""

from collections.abc import Callable
from typing import Any

from consensus import checkpoint, normal_case, status, view_change
from consensus.config import ReplicaConfig
from consensus.effects import Effects
from consensus.events import (
    BlockWritten,
    BodyArrived,
    BodyDropped,
    CaughtUp,
    Complain,
    Event,
    Executed,
    PendingWork,
    ProposalBuilt,
    ProposalChecked,
    Received,
    Tick,
)
from consensus.messages import (
    Checkpoint,
    Commit,
    Fetch,
    NewView,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from consensus.restore import restore, resume
from consensus.snapshot import Snapshot, take_snapshot
from consensus.state import State

__all__ = ["Replica", "ReplicaConfig"]


class Replica:
    """Feed it every event of its validator, and perform what each step returns."""

    def __init__(self, config: ReplicaConfig) -> None:
        self.state = State(config)
        restore(self.state)

    def step(self, event: Event) -> Effects:
        """Persist → send → deliver, as effects.py says. A halted replica does nothing more."""
        s = self.state
        s.out = Effects()
        if s.halted is None:
            _EVENTS[type(event)](s, event)
            _follow(s)
            if s.has_halted():
                # Nothing of this step leaves: what never left binds nobody.
                s.out.persist.clear()
                s.out.send.clear()
        return s.out

    def wants(self, sequence: int, digest: bytes) -> bool:
        """Is this the body that I lack there? The shell takes no other from a peer (B25)."""
        slot = self.state.log.slots.get(sequence)
        return slot is not None and slot.wanted == digest and digest not in slot.bodies

    def counts_on(self, sequence: int, digest: bytes) -> bool:
        """Must the shell keep this body? It is voted on, or was persisted for a vote (S3)."""
        slot = self.state.log.slots.get(sequence)
        return slot is not None and (slot.wanted == digest or digest in slot.persisted)

    @property
    def waits_for_primary(self) -> bool:
        """Does the progress timer run, for another primary than me? For the shell's account (L22)."""
        s = self.state
        if s.in_view_change or s.primary == s.me or not s.voter.active:
            return False
        return view_change.work_pending(s)

    @property
    def decided(self) -> list[tuple[int, bytes]]:
        """(sequence, digest) of what is committed here, with its body, and not certified yet."""
        log, found = self.state.log, []
        for sequence in range(log.certified + 1, log.committed + 1):
            slot = log.slots.get(sequence)
            if slot is not None and slot.committed is not None and slot.committed in slot.bodies:
                found.append((sequence, slot.committed))
        return found

    def snapshot(self) -> Snapshot:
        """For status pages; a copy that nobody can change."""
        return take_snapshot(self.state)


def _follow(s: State) -> None:
    """What has become possible by the event, in this order: leave the view before saying more in
    it, execute before asking for proposals (the window counts commits). After most events
    nothing has, so each is asked for only where its first condition holds."""
    if s.voter.withheld and s.log.high >= s.voter.withheld:
        resume(s)
    if s.wake:
        _wake(s)
    if s.complaint is not None:
        view_change.leave_if_complaining(s)
    if s.views_moved:
        view_change.synchronise(s)
    if s.halted is None:
        log = s.log
        if log.executing < log.committed:
            normal_case.execute(s)
        if log.writing < log.executed:
            checkpoint.write(s)
        if s.leading:
            normal_case.propose(s)


def _wake(s: State) -> None:
    for sequence in s.wake:
        slot = s.log.slots.get(sequence)
        if slot is not None:  # The very first event may have settled it.
            normal_case.advance(s, slot)
    s.wake.clear()


def _on_received(s: State, event: Received) -> None:
    message = event.message
    if message.epoch != s.epoch:
        # A vote of another epoch is void (S13); only a STATUS asks for an answer.
        if isinstance(message, Status):
            status.on_other_epoch(s, message)
        return
    _MESSAGES[type(message)](s, message)


def _on_tick(s: State, _: Tick) -> None:
    s.tick += 1
    view_change.tick(s)
    status.tick(s)


def _on_pending_work(s: State, event: PendingWork) -> None:
    s.pending = event.pending


def _on_complain(s: State, _: Complain) -> None:
    s.complain("the mempool says that the primary starves a transaction")  # L17, L22


# An event or message that has no line here is a bug of ours: a KeyError, not a case.
_EVENTS: dict[type, Callable[[State, Any], None]] = {
    Received: _on_received,
    Tick: _on_tick,
    ProposalBuilt: normal_case.on_proposal_built,
    ProposalChecked: normal_case.on_proposal_checked,
    BodyArrived: normal_case.on_body_arrived,
    BodyDropped: normal_case.on_body_dropped,
    Executed: checkpoint.on_executed,
    BlockWritten: checkpoint.on_block_written,
    CaughtUp: checkpoint.on_caught_up,
    PendingWork: _on_pending_work,
    Complain: _on_complain,
}

_MESSAGES: dict[type, Callable[[State, Any], None]] = {
    PrePrepare: normal_case.on_pre_prepare,
    Prepare: normal_case.on_prepare,
    Commit: normal_case.on_commit,
    Checkpoint: checkpoint.on_checkpoint,
    ViewChange: view_change.on_view_change,
    NewView: view_change.on_new_view,
    Status: status.on_status,
    Fetch: normal_case.on_fetch,
}
