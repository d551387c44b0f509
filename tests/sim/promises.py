"""What each honest node promises by itself, asked at every step and by numbers of our own.

`consensus.invariants` asks the core about its own state; here what goes in is held against what
comes out (rules S9, S10, S12, L17–L19, L23). Nothing is changed, and nothing is believed that only
the core says, but what it has counted and where its timers stand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import ge
from typing import TYPE_CHECKING, Any

from consensus.config import ReplicaConfig
from consensus.effects import CatchUp, Effects, Evidence, Send, SendBlocks, ViewEntered, ViewLeft
from consensus.events import BlockWritten, CaughtUp, Event, Executed, PendingWork, Received, Tick
from consensus.messages import (
    NO_SIGNATURE,
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    Status,
    ViewChange,
    payload,
)
from salus.validators import VALIDATORS_MAX
from salus.vote import JOURNAL_PREPARED, JournalEntry, VoteDomain, VoteType

if TYPE_CHECKING:
    from consensus.state import State
    from tests.sim.machine import Machine

Place = tuple[type, int, int, int]  # kind of vote, view, sequence, sender

_VOTES = frozenset((PrePrepare, Prepare, Commit, Checkpoint))


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
    low: int = 0  # the watermark of the NEW-VIEW that it installed
    exposed: set[Place] = field(default_factory=set)


class Promises:
    def __init__(self, faulty: set[int]) -> None:
        self.faulty = faulty
        self.told: dict[int, _Told] = {}  # by address
        # By address: (epoch, sequence) → highest view of a prepared certificate on its disk.
        self.prepared: dict[int, dict[tuple[int, int], int]] = {}

    def born(self, node: Machine, config: ReplicaConfig) -> None:
        assert node.replica is not None
        s = node.replica.state
        told = _Told(config.vote_domain, config.validators.n, config.certified, config.epoch_end)
        told.view, told.wish, told.settled = s.view, s.wish, s.log.settled
        told.reached, told.proposed = list(s.reached), s.log.proposed > s.log.settled
        if s.new_view is not None:
            told.low = _lowest(s.new_view, s.base)
        self.told[node.address] = told

    def stepped(self, node: Machine, event: Any, effects: Effects) -> None:
        """An `Event` into the replica, and what came of it."""
        if node.member in self.faulty:
            return
        assert node.replica is not None
        told, s = self.told[node.address], node.replica.state
        action: Any
        for action in effects.deliver:
            done: type = type(action)
            if done is Evidence:
                told.exposed.add(_place(action.second))
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
                told.low = max(told.low, _lowest(s.new_view, s.base))
                _check_new_view(s, told.domain, s.new_view)
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
            if told.pending or told.proposed or told.end:
                self._complains_in_time(node, told, s)
            else:
                told.stuck = 0
        elif kind is PendingWork:
            told.pending = event.pending
        elif kind is Executed or kind is CaughtUp:
            told.end = told.end or event.epoch_end
            if kind is CaughtUp:
                told.on_disk = max(told.on_disk, event.height)
                told.given_up = 0
        elif kind is BlockWritten:
            told.on_disk = max(told.on_disk, event.height)
        if s.log.settled > told.settled:
            told.settled, told.given_up, told.stuck = s.log.settled, 0, 0
        told.proposed = s.log.proposed > s.log.settled

    def leaves(self, node: Machine, message: Any) -> None:
        """A `Message` is about to leave."""
        kind = type(message)
        if kind is Checkpoint or node.member in self.faulty:
            return
        assert node.replica is not None
        told, s = self.told[node.address], node.replica.state
        if kind is Status:
            assert message.certified <= told.on_disk, (
                f"n{node.member} says that {message.certified} is certified on its disk (S12)"
            )
        elif kind is NewView:
            senders = {view_change.sender for view_change in message.view_changes}
            assert len(senders) == _quorum(told.n), (
                f"a NEW-VIEW of {len(senders)} VIEW-CHANGEs (S9)"
            )
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
        assert joined or there >= _quorum(n), (
            f"n{node.member} asks for view {wish} and {there} members are known to be near (L18, L19)"
        )
        for sending in effects.send:
            if isinstance(sending, Send) and isinstance(sending.message, ViewChange):
                low = s.base if sending.message.low is None else sending.message.low.height
                assert low >= told.low, (
                    f"n{node.member} asks for view {wish} from {low}, below the watermark {told.low} "
                    "that it adopted (S10)"
                )
                self._tells_what_it_prepared(node, sending.message, low)
        if isinstance(event, Tick) and not joined:
            self._timed_out(node, told, s, old)
        told.wished_tick = s.tick

    def _timed_out(self, node: Machine, told: _Told, s: State, old: int) -> None:
        config, parameters = s.config, s.parameters
        if old == told.view:  # it was in its view
            work = told.pending or told.end > 0 or told.proposed
            assert work, f"n{node.member} left an idle view (L17)"
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
        near = sum(view >= s.view for view in s.reached) >= _quorum(s.n)
        if s.in_view_change or not (s.voter.active and near) or behind or full:
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
        if s.voter.active and s.voter.floor <= s.log.low:
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
        if message.signature != NO_SIGNATURE and not self._signed(told, s, message):
            return
        told.answered[sender] = s.tick
        if message.view < s.view and message.wish <= s.view:
            assert any(
                isinstance(sending, Send)
                and sending.to in (sender, None)  # None: this very STATUS completed it
                and isinstance(sending.message, NewView)
                for sending in effects.send
            ), f"n{node.member} does not show its NEW-VIEW to n{sender} (L20)"

    def _signed(self, told: _Told, s: State, message: SignedMessage) -> bool:
        key = s.validators.key(message.sender)
        return s.config.verifier(key, payload(told.domain, message), message.signature)

    # -- what was prepared (S7) -----------------------------------------------------------------

    def synced(self, node: Machine, effects: Effects) -> None:
        """The persist part of a step stands on disk."""
        for entry in effects.persist:
            if isinstance(entry, JournalEntry) and entry.kind == JOURNAL_PREPARED:
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
        assert not self._signed(told, s, message), (
            f"n{node.member} keeps silent about a double {type(message).__name__} of "
            f"n{message.sender} (L23)"
        )


def _counted(
    s: State, message: PrePrepare | Prepare | Commit | Checkpoint
) -> PrePrepare | Prepare | Commit | Checkpoint | None:
    """What this sender is known to have said in this place, where a second vote is still read."""
    sequence, sender = message.sequence, message.sender
    if isinstance(message, Checkpoint):
        if message.view != 0 or sequence in s.certificates or sequence not in s.checkpoints:
            return None
        return s.checkpoints[sequence].votes.get(sender)
    slot = s.log.slots.get(sequence)
    if slot is None or sender == s.me or message.view != s.view or not s.log.votable(sequence):
        return None
    if isinstance(message, PrePrepare):
        known = slot.pre_prepare
        return known if known is not None and known.sender == sender else None
    if isinstance(message, Commit) and slot.committed is None and s.view in slot.commits:
        return slot.commits[s.view].votes.get(sender)
    return None


def _place(message: object) -> Place:
    view, sender = message.view, message.sender  # type: ignore[attr-defined]
    return type(message), view, getattr(message, "sequence", 0), sender


def _check_new_view(s: State, domain: VoteDomain, message: NewView) -> None:
    """What is installed is signed throughout, and chosen as it must be (S8, S9)."""
    verifier, validators, n = s.config.verifier, s.validators, s.n
    signed: list[SignedMessage] = [message, *message.view_changes, *message.pre_prepares]
    best: dict[int, tuple[int, bytes]] = {}
    low = _lowest(message, s.base)
    for change in message.view_changes:
        if change.low is not None:
            header = domain.payload(
                VoteType.CHECKPOINT, s.epoch, 0, change.low.height, change.low.header_hash
            )
            signers = {
                signature.index
                for signature in change.low.signatures
                if verifier(validators.key(signature.index), header, signature.signature)
            }
            assert len(signers) >= _quorum(n), f"the watermark {low} is not proved (S8)"
        for prepared in change.prepared:
            vote = prepared.pre_prepare
            signed.append(vote)
            signed += [
                Prepare(vote.epoch, vote.view, vote.sequence, vote.digest, i.index, i.signature)
                for i in prepared.prepares
            ]
            prepared_by = {vote.sender, *(i.index for i in prepared.prepares)}
            assert len(prepared_by) >= _quorum(n), (
                f"view {message.view} begins with what {len(prepared_by)} members prepared (S6, S8)"
            )
            if vote.sequence > low:
                found = best.get(vote.sequence, (-1, b""))
                best[vote.sequence] = max(found, (vote.view, vote.digest))
    for one in signed:
        key = validators.key(one.sender)
        assert verifier(key, payload(domain, one), one.signature), (
            f"view {message.view} begins with a {type(one).__name__} that is not signed (S8, S9)"
        )
    highest = max(best, default=low)
    made = {vote.sequence: vote.digest for vote in message.pre_prepares}
    assert sorted(made) == list(range(low + 1, highest + 1)), "the choice leaves a gap (S9)"
    for sequence, (_, digest) in best.items():
        assert made[sequence] == digest, f"view {message.view} chose wrongly at {sequence} (S9)"


def _lowest(new_view: NewView, base: int) -> int:
    """The watermark that its VIEW-CHANGEs prove (S9)."""
    proved = [vc.low.height for vc in new_view.view_changes if vc.low is not None]
    return max(proved, default=base)


def _quorum(n: int) -> int:
    return (n + (n - 1) // 3) // 2 + 1
