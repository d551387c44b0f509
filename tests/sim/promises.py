"""What each honest node promises by itself, asked at every step and by numbers of our own.

`consensus.invariants` asks the core about its own state; here what goes in is held against what
comes out (rules S9, S10, S12, L17–L19, L23). Nothing is changed, and nothing is believed that only
the core says, but what it has counted and where its timers stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import ge
from typing import TYPE_CHECKING, Any, cast

from consensus.config import ReplicaConfig
from consensus.effects import CatchUp, Effects, Evidence, Send, SendBlocks, ViewEntered, ViewLeft
from consensus.events import (
    BlockWritten,
    CaughtUp,
    Complain,
    Event,
    Executed,
    PendingWork,
    ProposalChecked,
    Received,
    Tick,
)
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    Fetch,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
)
from salus.validators import VALIDATORS_MAX
from salus.vote import JOURNAL_FLOOR, JOURNAL_PREPARED, JournalEntry, VoteDomain
from tests.sim import duties, patience
from tests.sim.choices import check_new_view, lowest, quorum

if TYPE_CHECKING:
    from consensus.state import State
    from tests.sim.machine import Machine
    from tests.sim.plan import Plan
    from tests.sim.signatures import Seals
    from tests.sim.work import Worker

Place = tuple[type, int, int, int]  # kind of vote, view, sequence, sender

_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint))
# Nothing follows for an honest node from one of these that had no effects.
PROMISE_NOTHING = frozenset((Prepare, Fetch))


@dataclass(slots=True)
class _Told:
    """What one replica object was told and has said."""

    domain: VoteDomain
    n: int  # of the epoch's set
    on_disk: int  # certified height
    end: int  # of the epoch, 0 while it is open
    pending: bool = False
    proposed: bool = False  # something that is not committed
    view: int = 0
    wish: int = 0
    wished_tick: int = 0  # when it asked for that
    given_up: int = 0  # views that gave nothing, one after the other
    settled: int = 0  # when that was last counted
    stuck: int = 0  # ticks for which work has waited in this view
    reached: list[int] = field(default_factory=list)  # what it knew of the members' views
    answered: dict[int, int] = field(default_factory=dict)  # member → tick of the last answer
    strangers: dict[int, int] = field(default_factory=dict)  # the same for older epochs
    progress_tick: int = 0  # when agreement last came further, or a view began
    doublings: int = 0
    shown: dict[int, int] = field(default_factory=dict)  # member → height it was last answered at
    low: int = 0  # the watermark of the NEW-VIEW that it installed
    floor: int = 0  # nothing at or below is voted on again
    kept: int = 0  # at or below, its journal had forgotten its votes when it was born
    mute: int = 0  # until this is below its watermark it may leave no view
    outgrown: bool = False  # its journal held more than its window, when it was born
    exposed: set[Place] = field(default_factory=set)


class Promises:
    def __init__(self, plan: Plan, seals: Seals) -> None:
        self.seals = seals
        self.faulty = plan.faulty
        self.diverged = {i for i, names in plan.liars.items() if names == ("diverged",)}
        self.amnesiac = self.faulty - set(plan.liars)  # honest, but for what they forgot
        self.fairness = patience.Fairness()
        self.told: dict[int, _Told] = {}  # by address
        # By address: (epoch, sequence) → highest view of a prepared certificate on its disk.
        self.prepared: dict[int, dict[tuple[int, int], int]] = {}

    def born(self, node: Machine, config: ReplicaConfig) -> None:
        assert node.replica is not None
        s = node.replica.state
        told = _Told(config.vote_domain, config.validators.n, config.certified, config.epoch_end)
        told.view, told.wish, told.settled = s.view, s.wish, s.log.settled
        told.reached, told.proposed = list(s.reached), s.log.proposed > s.log.settled
        told.floor = s.voter.floor
        journal = [e for e in config.journal if e.epoch == config.epoch]
        told.kept = max((e.sequence for e in journal if e.kind == JOURNAL_FLOOR), default=0)
        if s.new_view is not None:
            told.low = lowest(s.new_view, s.base)
        highest = max((e.sequence for e in journal), default=0)
        # The certificates of what it has prepared must all fit above its watermark (S7, S8).
        window = config.parameters.watermark_window
        told.mute = max(told.kept, highest - window)
        told.outgrown = highest > max(config.certified, told.low) + window
        self.told[node.address] = told

    def stepped(self, node: Machine, event: Any, effects: Effects) -> None:
        """An `Event` into the replica, and what came of it."""
        if node.member in self.faulty:
            if node.member in self.diverged:
                duties.diverged(cast("Worker", node), event)
            elif node.member in self.amnesiac:
                self._amnesiac(node, event)
            return
        assert node.replica is not None
        told, s = self.told[node.address], node.replica.state
        action: Any
        for action in effects.deliver:
            done: type = type(action)
            if done is Evidence:
                told.exposed.add(_place(action.second))
                if type(action.first) is type(action.second) is PrePrepare:
                    duties.met_two_proposals(node, s, action.first, told.mute)
            elif done is ViewLeft:
                self._left(node, told, s, event, effects, action.wish)
            elif done is CatchUp and type(event) is Tick:
                height = action.height
                claims = sum(claim >= height for claim in s.claimed)
                assert s.proved >= height or claims > (s.n - 1) // 3, (
                    f"n{node.member} looks for {height}, of which {claims} members speak (S14)"
                )
            elif done is ViewEntered:
                told.stuck = 0
                told.view = told.wish = s.view
                assert s.new_view is not None
                told.low = max(told.low, lowest(s.new_view, s.base))
                told.progress_tick, told.settled = s.tick, s.log.settled
                check_new_view(s, told.domain, self.seals, s.new_view)
        kind = type(event)  # the busiest lines of this file: no `match`, no isinstance
        if kind is Received:
            message = event.message
            about = type(message)
            if about in _VOTES:
                if about is not Prepare:
                    self._double_vote(node, told, s, message)
            elif s.halted is None:
                if s.reached != told.reached:
                    self._follows(node, told, s)
                if about is Status:
                    self._answers(node, told, s, message, effects)
        elif kind is Tick:
            assert s.doublings <= told.doublings or _leaves(effects), (
                f"n{node.member} doubles its timers and stays (L18)"
            )
            told.doublings = s.doublings
            if told.pending or told.proposed or told.end:
                self._complains_in_time(node, told, s)
            else:
                told.stuck = 0
        elif kind is ProposalChecked:
            duties.judged(cast("Worker", node), s, event, effects)
        elif kind is PendingWork:
            told.pending = event.pending
        elif kind is Complain:
            self.fairness.complained(cast("Worker", node))
        elif kind is Executed or kind is CaughtUp:
            told.end = told.end or event.epoch_end
            if kind is CaughtUp:
                told.on_disk = max(told.on_disk, event.height)
                told.given_up = 0
        elif kind is BlockWritten:
            told.on_disk = max(told.on_disk, event.height)
        if told.mute and told.mute <= s.log.low:
            if told.outgrown:
                node.cluster.cover("S12 an older state has come up to its journal")
            told.mute = 0
            if s.halted is None:
                self._follows(node, told, s)
        if s.log.settled > told.settled:
            told.settled, told.given_up, told.stuck = s.log.settled, 0, 0
            told.progress_tick = s.tick
            assert kind is BlockWritten or s.doublings <= max(0, told.doublings - 1), (
                f"n{node.member} keeps its timers after a commit (L18)"
            )
            told.doublings = s.doublings
        told.floor = s.voter.floor
        told.proposed = s.log.proposed > s.log.settled

    def leaves(self, node: Machine, message: Any) -> None:
        """A `Message` is about to leave."""
        kind = type(message)
        if node.member in self.faulty:
            return
        assert node.replica is not None
        told, s = self.told[node.address], node.replica.state
        if kind in _VOTES and message.sender == s.me:
            assert message.sequence > told.kept or message.epoch != s.epoch, (
                f"n{node.member} votes on {message.sequence}; its journal begins at {told.kept} (S12)"
            )
        if kind is Checkpoint:
            return
        if kind is Status:
            assert message.certified <= told.on_disk, (
                f"n{node.member} says that {message.certified} is certified on its disk (S12)"
            )
        elif kind is NewView:
            senders = {view_change.sender for view_change in message.view_changes}
            assert len(senders) == quorum(told.n), f"a NEW-VIEW of {len(senders)} VIEW-CHANGEs (S9)"
        elif kind in _VOTES and message.sender == s.me:
            here = (message.epoch, message.view) == (s.epoch, told.view)
            assert not here or message.sequence > told.low, (
                f"n{node.member} votes on {message.sequence}, and {told.low} is proved (S10)"
            )

    # -- views (L17, L18, L19) ------------------------------------------------------------------

    def _left(
        self, node: Machine, told: _Told, s: State, event: Event, effects: Effects, wish: int
    ) -> None:
        old, told.wish = told.wish, wish
        others = [view for member, view in enumerate(s.reached) if member != s.me]
        n, f = s.n, (s.n - 1) // 3
        joined = sum(view >= wish for view in others) >= f + 1
        # Of the members, so many are known to be where this one was; it is one of them.
        there = sum(view >= wish - 1 for view in others) + (old >= wish - 1)
        assert joined or there >= quorum(n), (
            f"n{node.member} asks for view {wish} and {there} members are known to be near (L18, L19)"
        )
        for sending in effects.send:
            if isinstance(sending, Send) and isinstance(sending.message, ViewChange):
                low = s.base if sending.message.low is None else sending.message.low.height
                assert low >= told.kept, (
                    f"n{node.member} vouches from {low} on; its journal begins at {told.kept} (S12)"
                )
                assert low >= told.low, (
                    f"n{node.member} asks for view {wish} from {low}, below the watermark {told.low} "
                    "that it adopted (S10)"
                )
                self._tells_what_it_prepared(node, sending.message, low)
        if not joined:
            if isinstance(event, Tick):
                self._timed_out(node, told, s, old)
            if old == told.view and isinstance(event, (Tick, Complain)):
                patience.left_by_itself(cast("Worker", node), s, told.view, told.end)
        told.wished_tick = s.tick

    def _timed_out(self, node: Machine, told: _Told, s: State, old: int) -> None:
        config, parameters = s.config, s.parameters
        if old == told.view:  # it was in its view
            work = told.pending or told.end > 0 or told.proposed
            assert work, f"n{node.member} left an idle view (L17)"
            patience.left_by_timer(node.member, s, told.progress_tick, told.end)
            return
        doublings = min(told.given_up, parameters.timeout_doublings_max)
        waited = s.tick - told.wished_tick
        assert waited >= config.view_change_ticks << doublings, (
            f"n{node.member} waited {waited} ticks for view {old}, the {told.given_up + 1}. time in "
            "a row (L18)"
        )
        told.given_up += 1

    def _complains_in_time(self, node: Machine, told: _Told, s: State) -> None:
        """While work waits that the primary could do, nobody waits for ever (L17)."""
        log, config = s.log, s.config
        behind = max(s.proved, s.weak_claim) > log.committed or s.split_height > log.certified
        full = log.settled >= min(log.high, told.end or log.high)
        near = sum(view >= s.view for view in s.reached) >= quorum(s.n)
        mute = told.mute > s.log.low  # `_left` would not let it go (S12)
        if s.in_view_change or not (s.voter.active and near) or behind or full or mute:
            told.stuck = 0
            return
        told.stuck += 1
        limit = config.progress_ticks << s.parameters.timeout_doublings_max
        assert told.stuck <= limit, f"n{node.member} waits for its primary for ever (L17)"

    def _follows(self, node: Machine, told: _Told, s: State) -> None:
        """The highest wish of each member counts, and what f+1 others ask for is joined (L19)."""
        if s.reached != told.reached:
            assert all(map(ge, s.reached, told.reached)), f"n{node.member} forgets a view (L19)"
            told.reached = list(s.reached)
        if s.voter.active and told.mute <= s.log.low:
            others = sorted((v for i, v in enumerate(s.reached) if i != s.me), reverse=True)
            f = (s.n - 1) // 3
            assert len(others) <= f or others[f] <= s.wish, (
                f"n{node.member} does not join view {others[f]} that f+1 others ask for (L19)"
            )

    def _answers(
        self, node: Machine, told: _Told, s: State, message: Status, effects: Effects
    ) -> None:
        """Whoever lacks the view gets its NEW-VIEW (L20)."""
        sender = message.sender
        if message.epoch < s.epoch and told.strangers.get(sender) != s.tick:
            told.strangers[sender] = s.tick
            assert sender >= VALIDATORS_MAX or any(
                isinstance(sending, SendBlocks) and sending.to == sender for sending in effects.send
            ), f"n{node.member} leaves n{sender} in epoch {message.epoch} (S13)"
        if (
            message.epoch != s.epoch
            or sender >= s.n
            or sender == s.me
            or message.wish < message.view
        ):
            return
        if told.answered.get(sender) == s.tick:
            return  # Once a tick (B25).
        if message.signature != NO_SIGNATURE and not self._signed(s, message):
            return
        told.answered[sender] = s.tick
        if message.view < s.view and message.wish <= s.view:
            assert any(
                isinstance(sending, Send)
                and sending.to in (sender, None)  # None: this very STATUS completed it
                and isinstance(sending.message, NewView)
                for sending in effects.send
            ), f"n{node.member} does not show its NEW-VIEW to n{sender} (L20)"
        if told.shown.get(sender, message.certified) == message.certified:
            _shows_commits(s, message, effects)
        told.shown[sender] = message.certified

    def _amnesiac(self, node: Machine, event: Any) -> None:
        assert node.replica is not None
        told, s = self.told[node.address], node.replica.state
        duties.lost_votes(cast("Worker", node), event, told.floor, told.view)
        told.floor, told.view = s.voter.floor, s.view

    def _signed(self, s: State, message: SignedMessage) -> bool:
        """Of this epoch."""
        return self.seals.valid(s.validators.key(message.sender), message)

    # -- what was prepared (S7) -----------------------------------------------------------------

    def synced(self, node: Machine, effects: Effects) -> None:
        """The persist part of a step stands on disk."""
        for entry in effects.persist:
            if type(entry) is JournalEntry and entry.kind == JOURNAL_PREPARED:
                views = self.prepared.setdefault(node.address, {})
                place = (entry.epoch, entry.sequence)
                views[place] = max(views.get(place, 0), entry.view)

    def lost_disk(self, node: Machine) -> None:
        self.prepared.pop(node.address, None)

    def _tells_what_it_prepared(self, node: Machine, message: ViewChange, low: int) -> None:
        """For each sequence above its watermark the certificate of the highest view (S7)."""
        told = {p.pre_prepare.sequence: p.pre_prepare.view for p in message.prepared}
        for (epoch, sequence), view in self.prepared.get(node.address, {}).items():
            if epoch == message.epoch and sequence > low:
                assert told.get(sequence, -1) >= view, (
                    f"n{node.member} prepared {sequence} in view {view}, and its VIEW-CHANGE for "
                    f"view {message.view} says {told.get(sequence)} (S7)"
                )

    # -- evidence (L23) -------------------------------------------------------------------------

    def _double_vote(
        self,
        node: Machine,
        told: _Told,
        s: State,
        message: PrePrepare | Prepare | Commit | Checkpoint,
    ) -> None:
        """A vote that contradicts one that is counted here is shown to everybody, once."""
        if message.epoch != s.epoch or s.halted is not None:
            return
        counted = _counted(s, message)
        if counted is None or counted.digest == message.digest:
            return
        if _place(message) in told.exposed:
            return
        assert not self._signed(s, message), (
            f"n{node.member} keeps silent about a double {type(message).__name__} of "
            f"n{message.sender} (L23)"
        )


def _counted(
    s: State, message: PrePrepare | Prepare | Commit | Checkpoint
) -> PrePrepare | Prepare | Commit | Checkpoint | None:
    """What this sender is known to have said in this place, where a second vote is still read."""
    sequence, sender = message.sequence, message.sender
    kind: type = type(message)
    if kind is Checkpoint:
        if message.view != 0 or sequence in s.certificates or sequence not in s.checkpoints:
            return None
        return s.checkpoints[sequence].votes.get(sender)
    slot = s.log.slots.get(sequence)
    if slot is None or sender == s.me or message.view != s.view or not s.log.votable(sequence):
        return None
    if kind is PrePrepare:
        known = slot.pre_prepare
        return known if known is not None and known.sender == sender else None
    if kind is Commit and slot.committed is None and s.view in slot.commits:
        return slot.commits[s.view].votes.get(sender)
    return None


def _leaves(effects: Effects) -> bool:
    return any(isinstance(action, ViewLeft) for action in effects.deliver)


def _shows_commits(s: State, message: Status, effects: Effects) -> None:
    """Whoever stands still gets, of all that is committed here above its height, the q COMMITs that
    prove it: those who sent them may have lost them since (L20)."""
    shown: dict[int, set[int]] = {}
    for sending in effects.send:
        if type(sending) is Send and sending.to == message.sender:
            vote = sending.message
            if type(vote) is Commit:
                shown.setdefault(vote.sequence, set()).add(vote.sender)
    for sequence, slot in s.log.slots.items():
        if sequence > message.certified and slot.committed is not None:
            proof = shown.get(sequence, set()) | {message.sender}
            assert len(proof) >= quorum(s.n), (
                f"n{s.me} shows {len(proof) - 1} COMMITs of what is committed at {sequence} (L20)"
            )


def _place(message: object) -> Place:
    view, sender = message.view, message.sender  # type: ignore[attr-defined]
    return type(message), view, getattr(message, "sequence", 0), sender
