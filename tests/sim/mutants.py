"""Planted bugs: what the simulator is worth is what it catches.

Each mutant breaks one rule by replacing one function of the core for the time of a run. `needs`
says which plans can show it at all; the others are skipped, but counted among the seeds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from unittest.mock import patch

import msgspec

from consensus import checkpoint, normal_case, replica, restore, status, view_change
from consensus.effects import Effects, Execute
from consensus.events import ProposalChecked, Verdict
from consensus.log import Log
from consensus.messages import ViewChange
from consensus.proofs import Choice, Proofs
from consensus.signing import Voter
from consensus.state import State
from consensus.votes import Ballot
from node.standing import Voter as StandingVoter
from salus.validators import ValidatorSet
from salus.vote import VoteType
from storage import keys
from storage.blocks import BlockStore
from storage.journal import VoteJournal
from tests.sim.plan import CrashMode, Plan
from tests.sim.shell import Node

Patches = list[tuple[Any, str, Any]]


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    rule: str
    patches: Callable[[], Patches]
    needs: Callable[[Plan], bool] = lambda plan: True
    slow: bool = False  # too many runs, or too long ones, for the share of the test suite

    @contextmanager
    def planted(self) -> Iterator[None]:
        patchers = [patch.object(owner, name, new) for owner, name, new in self.patches()]
        for patcher in patchers:
            patcher.start()
        try:
            yield
        finally:
            for patcher in reversed(patchers):
                patcher.stop()


# -- what a plan must bring -----------------------------------------------------------------------


def _lies(*names: str) -> Callable[[Plan], bool]:
    return lambda plan: any(name in told for told in plan.liars.values() for name in names)


def _crashes(plan: Plan) -> bool:
    return any(crash.mode is CrashMode.PERSIST for crash in plan.crashes)


def _power_cut(plan: Plan) -> bool:
    times = [crash.time for crash in plan.crashes]
    return len(times) - len(set(times)) >= plan.n - 2 > 0


def _several(plan: Plan) -> bool:
    return plan.n >= 4


# -- the bugs -------------------------------------------------------------------------------------


def _small_quorum() -> Patches:
    return [(ValidatorSet, "quorum", property(lambda self: 2 * self.f + 1))]


def _weak_quorum() -> Patches:
    return [(ValidatorSet, "quorum", property(lambda self: self.f + 1))]


def _send_before_persist() -> Patches:
    real = Node.step

    def eager(self: Node, event: Any) -> Effects:
        core = self.replica
        if core is None:
            return Effects()
        step = core.step

        def stepped(its_event: Any) -> Effects:
            effects = step(its_event)
            for sending in effects.send:
                self.emit(sending)
            effects.send.clear()
            return effects

        with patch.object(core, "step", stepped, create=True):
            return real(self, event)

    return [(Node, "step", eager)]


def _no_journal_at_restart() -> Patches:
    return [(VoteJournal, "entries", lambda self: ())]


def _wiped_votes_at_once() -> Patches:
    def naive(self: StandingVoter, standing: Any) -> None:
        self._create(first_epoch=0, floor=(0, 0))

    return [(StandingVoter, "_open", naive)]


def _trusting_new_view() -> Patches:
    def trusting(self: Proofs, new_view: Any, known: Any) -> Choice:
        lowest = max(new_view.view_changes, key=lambda vc: 0 if vc.low is None else vc.low.height)
        low = self.base if lowest.low is None else lowest.low.height
        chosen = tuple((vote.sequence, vote.digest) for vote in new_view.pre_prepares)
        return Choice(low, lowest.low, chosen)

    return [(Proofs, "check_new_view", trusting)]


def _unchecked_prepared() -> Patches:
    return [(Proofs, "_check_prepared_signatures", lambda self, prepared: None)]


def _unchecked_form() -> Patches:
    return [(Proofs, "_check_prepared_form", lambda self, prepared: None)]


def _unchecked_signatures() -> Patches:
    return [(Proofs, "signed", lambda self, message: True)]


def _ignored_low_watermark() -> Patches:
    real = view_change._enter

    def deaf(s: State, message: Any, choice: Choice) -> None:
        real(s, message, Choice(s.log.low, s.log.low_certificate, choice.digests))

    return [(view_change, "_enter", deaf)]


def _prepared_not_told() -> Patches:
    real = Voter.view_message

    def forgetful(self: Voter, unsigned: Any, out: Effects) -> Any:
        if isinstance(unsigned, ViewChange):
            unsigned = msgspec.structs.replace(unsigned, prepared=())
        return real(self, unsigned, out)

    return [(Voter, "view_message", forgetful)]


def _lowest_view_chosen() -> Patches:
    from consensus import proofs

    def lowest(view_changes: Any, base: int) -> Choice:
        flipped = [
            msgspec.structs.replace(
                change,
                prepared=tuple(
                    msgspec.structs.replace(
                        p,
                        pre_prepare=msgspec.structs.replace(
                            p.pre_prepare, view=10**6 - p.pre_prepare.view
                        ),
                    )
                    for p in change.prepared
                ),
            )
            for change in view_changes
        ]
        return real(flipped, base)

    real = proofs.choose
    return [(module, "choose", lowest) for module in (proofs, view_change, restore)]


def _executed_again() -> Patches:
    real = normal_case.execute

    def twice(s: State) -> None:
        before = len(s.out.deliver)
        real(s)
        again = [action for action in s.out.deliver[before:] if isinstance(action, Execute)]
        if s.view > 0:
            s.out.deliver.extend(again)

    return [(normal_case, "execute", twice)]


def _gaps_out_of_order() -> Patches:
    real = normal_case.execute

    def hasty(s: State) -> None:
        real(s)
        for sequence in sorted(s.log.slots):
            slot = s.log.slots[sequence]
            ahead = sequence > s.log.executing + 1 and slot.committed in slot.bodies
            if ahead and slot.committed is not None and s.view > 0:
                s.deliver(Execute(sequence, slot.committed))
                return

    return [(normal_case, "execute", hasty)]


def _body_not_synced() -> Patches:
    real = BlockStore.put_bodies

    def lazy(self: BlockStore, bodies: Any, *, sync: bool = True) -> None:
        real(self, bodies, sync=False)
        cast(Any, self.kv)._apply({keys.body_key(s, d): None for s, d, _ in bodies})

    return [(BlockStore, "put_bodies", lazy)]


def _votes_after_leaving() -> Patches:
    return [(State, "in_view_change", property(lambda self: False))]


def _votes_counted_twice() -> Patches:
    real = Ballot.count
    return [(Ballot, "count", lambda self, digest: 2 * real(self, digest))]


def _any_proposal_is_valid() -> Patches:
    def gullible(s: State, event: ProposalChecked) -> None:
        real(s, ProposalChecked(event.view, event.sequence, event.digest, Verdict.VALID))

    real = normal_case.on_proposal_checked
    return [(replica, "_EVENTS", {**replica._EVENTS, ProposalChecked: gullible})]


def _clock_rules_all() -> Patches:
    """A re-proposal refused by the clock: two production chains died of it (L21)."""
    real = normal_case.accept

    def strict(s: State, message: Any, *, first: bool) -> None:
        real(s, message, first=True)

    return [(normal_case, "accept", strict)]


def _epoch_runs_on() -> Patches:
    def endless(self: Log, sequence: int) -> bool:
        return self.low < sequence <= self.low + self.window

    return [(Log, "votable", endless), (Log, "provable", Log.near)]


def _checkpoint_not_repeated() -> Patches:
    return [(status, "_say_again", lambda s: None)]


def _exact_view_only() -> Patches:
    """Wait for exactly my view instead of counting higher wishes (L19)."""

    def exact(self: State) -> int:
        there = sum(view == self.wish for view in self.reached)
        return self.wish if there >= self.quorum else 0

    return [(State, "quorum_view", property(exact))]


def _wish_of_one() -> Patches:
    """Join the highest wish of anybody, not the one that f+1 ask for (L19)."""
    return [(ValidatorSet, "weak", property(lambda self: 1))]


def _never_catches_up() -> Patches:
    return [(status, "_catch_up", lambda s: None), (status, "_answer", lambda s, message: None)]


def _certificate_of_few() -> Patches:
    real = checkpoint.on_checkpoint

    def hasty(s: State, message: Any) -> None:
        quorum = s.quorum
        s.quorum = max(1, quorum - 1)
        try:
            real(s, message)
        finally:
            s.quorum = quorum

    return [(replica, "_MESSAGES", {**replica._MESSAGES, type_of("Checkpoint"): hasty})]


def type_of(name: str) -> type:
    return next(kind for kind in replica._MESSAGES if kind.__name__ == name)


def _two_primaries() -> Patches:
    """Anybody's PRE-PREPARE is taken (S5, S6)."""
    real = normal_case.on_pre_prepare

    def anybody(s: State, message: Any) -> None:
        with patch.object(ValidatorSet, "primary", lambda self, view: message.sender):
            real(s, message)

    return [(replica, "_MESSAGES", {**replica._MESSAGES, type_of("PrePrepare"): anybody})]


def _vote_forgotten() -> Patches:
    """The journal misses PREPAREs (S3)."""
    real = Voter._journal

    def leaky(
        self: Voter, kind: Any, view: int, sequence: int, digest: bytes, content: bytes, out: Any
    ) -> None:
        real(self, kind, view, sequence, digest, content, Effects() if kind is PREPARE else out)

    return [(Voter, "_journal", leaky)]


PREPARE = VoteType.PREPARE

MUTANTS = (
    Mutant("quorum 2f+1 for n = 5, 6", "S5", _small_quorum, lambda plan: plan.n in (5, 6)),
    Mutant("quorum f+1", "S5", _weak_quorum, _several),
    Mutant("votes sent before they are synced", "S3", _send_before_persist),
    Mutant("PREPAREs not journalled", "S3", _vote_forgotten),
    Mutant("journal not read at restart", "S3", _no_journal_at_restart, _crashes),
    Mutant("a lost journal votes at once", "S4", _wiped_votes_at_once, lambda p: bool(p.losers)),
    Mutant("bodies not synced before COMMIT", "S3", _body_not_synced, _power_cut),
    Mutant("votes counted twice", "S5", _votes_counted_twice, _several),
    Mutant("signatures not checked", "S2", _unchecked_signatures, _lies("flooder", "replayer")),
    Mutant("PRE-PREPARE of anybody", "S6", _two_primaries, _lies("flooder")),
    Mutant("NEW-VIEW taken on trust", "S9", _trusting_new_view, _lies("lying-new-view")),
    Mutant(
        "prepared signatures not checked", "S8", _unchecked_prepared, _lies("forged-view-change")
    ),
    Mutant(
        "prepared form not checked", "S8", _unchecked_form, _lies("forged-view-change"), slow=True
    ),
    Mutant("prepared not told in VIEW-CHANGE", "S7", _prepared_not_told, _several),
    Mutant("lowest view chosen", "S9", _lowest_view_chosen, _several, slow=True),
    Mutant(
        "low watermark of NEW-VIEW ignored", "S10", _ignored_low_watermark, _power_cut, slow=True
    ),
    Mutant("votes on after VIEW-CHANGE", "S7", _votes_after_leaving, _several),
    Mutant("executed again after a view change", "S6", _executed_again, _several),
    Mutant("executed over a gap", "S6", _gaps_out_of_order, _several),
    Mutant("certificate of q−1", "S12", _certificate_of_few, _several),
    Mutant("epoch runs past its end", "S13", _epoch_runs_on),
    Mutant("any proposal is valid", "S15", _any_proposal_is_valid, _lies("bad-proposer")),
    Mutant("re-proposals judged as first ones", "L21", _clock_rules_all, _several, slow=True),
    Mutant("the wish of one is followed", "L19", _wish_of_one, _lies("inflated-view")),
    Mutant("only exactly my view counts", "L19", _exact_view_only, _several, slow=True),
    Mutant("nothing is said again", "L20", _checkpoint_not_repeated, _several),
    Mutant("nobody is helped to catch up", "L20", _never_catches_up, _several),
)
