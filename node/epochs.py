"""One replica for each epoch, and everybody moved to it at once (rule S13, decision 0002).

A new epoch, or the start of this process, makes a replica of what stands on disk and tells each
part the set, the limits and the primary it works with from now on. A new view tells them the
primary. Law of the file: whether this node may vote is `Voter`'s word and nobody else's (S4).
"""

import logging
from collections.abc import Callable, Sequence

from consensus.config import ReplicaConfig
from consensus.effects import CheckProposal, ViewEntered
from consensus.replica import Replica
from contracts.members import rejoin_of
from contracts.proposals import CandidacyStage
from node.bodies import Bodies
from node.executor import Executor
from node.gossip import GossipTask
from node.logs import log_event
from node.mempool import Mempool
from node.outlet import Outlet
from node.pace import Pace
from node.pipeline import Pipeline
from node.proposer import Proposer
from node.ready import Ready, candidacy_of
from node.rejoin import Rejoin
from node.roster import Roster
from node.runner import Runner
from node.standing import Voter
from node.sync import Sync
from node.vitals import Vitals
from salus.epoch import EpochRecord
from salus.genesis import Genesis
from salus.keys import Signer, Verifier, verify
from storage.state import StateStore

log = logging.getLogger("salus.node")

ANOTHER = "another node with this key has rejoined, or said ready; if it is not this one, stop it"


class Epochs:
    """The replica at work, and the way to the next one."""

    replica: Replica

    def __init__(
        self,
        genesis: Genesis,
        signer: Signer,
        roster: Roster,
        state: StateStore,
        voter: Voter,
        executor: Executor,
        pipeline: Pipeline,
        bodies: Bodies,
        mempool: Mempool,
        pace: Pace,
        gossip: GossipTask,
        proposer: Proposer,
        runner: Runner,
        outlet: Outlet,
        sync: Sync,
        rejoin: Rejoin,
        ready: Ready,
        vitals: Vitals,
        on_pending: Callable[[], None],
        on_roster: Callable[[], None],
        verifier: Verifier = verify,
    ) -> None:
        """`on_pending`: a new replica does not know yet what waits; `on_roster`: other members, or
        other keys of theirs, than in the epoch before."""
        self.verifier = verifier
        self.genesis, self.domain = genesis, genesis.vote_domain()
        self.signer, self.roster, self.state, self.voter = signer, roster, state, voter
        self.executor, self.pipeline, self.bodies = executor, pipeline, bodies
        self.mempool, self.pace, self.gossip, self.proposer = mempool, pace, gossip, proposer
        self.runner, self.outlet, self.sync = runner, outlet, sync
        self.rejoin, self.ready, self.vitals = rejoin, ready, vitals
        self.on_pending, self.on_roster = on_pending, on_roster

    @property
    def member(self) -> str | None:
        """The organisation of this node, also when its key has been replaced."""
        return self.roster.organisation(self.signer.public_key)

    def begin(self, epoch: EpochRecord) -> None:
        """A new replica with the set of this epoch."""
        self._give_way(epoch)
        me = epoch.validators.index_of(self.signer.public_key)
        height = self.state.height()
        journal = self.voter.journal
        changed = self.roster.refresh()
        self.vitals.begin_epoch(epoch, me, self.roster.belonging(self.signer.public_key))
        halted = self.vitals.halted is not None
        voting = me is not None and self.voter.may_vote(epoch.epoch) and not halted
        self.replica = Replica(
            ReplicaConfig(
                vote_domain=self.domain,
                parameters=epoch.parameters,
                epoch=epoch.epoch,
                base=epoch.base,
                validators=epoch.validators,
                me=me,
                signer=self.signer if me is not None else None,
                verifier=self.verifier,
                journal=() if journal is None else journal.entries(),
                certified=height,
                certificate=None if height == epoch.base else self.state.certificate(height),
                epoch_end=epoch.end,
                voting=voting,
            )
        )
        self.sync.following = not voting
        self.bodies.begin_epoch(epoch.parameters)
        self.mempool.begin_epoch(epoch.parameters)
        self.pace.begin_epoch(epoch.parameters)
        self.proposer.begin_epoch(epoch.parameters, me, height)
        self.outlet.begin_epoch([v.member for v in epoch.validators.validators], me)
        self.runner.tick_s = epoch.parameters.tick_ms / 1000
        self.runner.install(None if halted else self.replica)
        if changed:
            self.on_roster()
        self._new_primary(epoch.validators.validators[self.replica.state.primary].member)
        self.on_pending()
        log_event(
            log,
            logging.INFO,
            "epoch",
            epoch=epoch.epoch,
            base=epoch.base,
            validators=epoch.validators.n,
            signing=self.vitals.signing(),
        )

    def over(self, following: EpochRecord) -> None:
        """The last block of an epoch is on disk."""
        if self.voter.journal is None and (
            self._granted(self.rejoin.sent) or self._counted(self.ready.sent)
        ):
            self.voter.rejoined(following.epoch, following.base)
            self.vitals.quarantined = None
        self.rejoin.begin_epoch()
        self.ready.begin_epoch()
        self.begin(following)

    def view_entered(self, entered: ViewEntered) -> None:
        """What only the old view had ordered waits again, and goes to the new primary."""
        member = self.pipeline.epoch.validators.validators[entered.primary].member
        log_event(log, logging.INFO, "view", view=entered.view, primary=member)
        self.mempool.release_above(self.proposer.last_committed)
        self._new_primary(member)

    def in_view(self, question: CheckProposal) -> bool:
        """A verdict for a view that is over must not mark transactions as ordered."""
        core = self.replica.state
        return question.view == core.view and not core.in_view_change

    def ticked(self) -> None:
        """What is decided is owed no more: what is left of it is this node's own work. The pool has
        let go of it when the view changed, if another sequence held it too, or never knew, if it was
        committed before it was judged; and would hold it against the primary (L17, L22)."""
        mempool, replica = self.mempool, self.replica
        mempool.committed(replica.state.log.committed)
        for sequence, digest in replica.decided:
            if mempool.is_decided(sequence, digest):
                continue
            proposal = self.bodies.parsed(digest) or self.pipeline.believed(sequence, digest)
            if proposal is not None:
                mempool.ordered([tx.id for tx in proposal.transactions], sequence, digest)
        self.runner.pending(mempool.owed > 0)

    def may_vote(self) -> bool:
        epoch = self.pipeline.epoch.epoch
        return self.voter.may_vote(epoch) and self.vitals.quarantined is None

    def _new_primary(self, primary: str) -> None:
        others = [member for member in self.roster.ids if member != self.member]
        gossip, taker = self.gossip, None if primary == self.member else primary
        gossip.gossip.begin_epoch(others, self.mempool.parameters.progress_timeout_ms)
        gossip.perform(gossip.gossip.primary_changed(taker, gossip.now_ms()))
        self.mempool.begin_view()
        self.pace.begin_view()

    def _give_way(self, epoch: EpochRecord) -> None:
        """Whoever holds a copy of our key, and asked with it for this epoch, votes in it: two must
        not (S4). Looked at again at a start: the process may have ended between the last block of
        the epoch before and this."""
        key = self.signer.public_key
        if self.voter.journal is None or epoch.epoch == 0:
            return
        before = self.state.epoch(epoch.epoch - 1).validators
        if before.index_of(key) is not None:
            another = self._rejoined() and not self._granted(self.rejoin.earlier())
        elif epoch.validators.index_of(key) is None:
            return
        else:  # A seat that is new came by a `ready`; one under another key was there before.
            seated = {validator.member for validator in before.validators}
            another = self.member not in seated and not self._counted(self.ready.earlier())
        if another:
            self.vitals.quarantined = ANOTHER
            self.voter.lose(void_before=epoch.epoch)
            log_event(log, logging.ERROR, "quarantine", reason=ANOTHER)

    def _rejoined(self) -> bool:
        """Was a `members.rejoin` of this validator granted in the epoch that is over?"""
        entry = None if self.member is None else rejoin_of(self.executor.read, self.member)
        return entry is not None and entry.epoch == self.pipeline.epoch.epoch - 1

    def _granted(self, sent: Sequence[bytes]) -> bool:
        """And was it one of these? A wiped node meets the rejoin of an earlier life while it
        catches up, which is no reason to vote: votes of the life in between are lost, and they may
        lie in the epoch that it began (S4)."""
        base = self.state.epoch(self.pipeline.epoch.epoch - 1).base
        if not self._rejoined():
            return False
        heights = (self._stood_at(tx_id) for tx_id in sent)
        return any(height is not None and height > base for height in heights)

    def _counted(self, sent: Sequence[bytes]) -> bool:
        """Is one of these the `ready` that made it a validator? If this very process has sent it, no
        life before can have voted in the epoch that begins, as with a rejoin. One that was refused
        shows that somebody else's was taken (S4)."""
        found = None if self.member is None else candidacy_of(self.executor.read, self.member)
        if found is None or found.stage is not CandidacyStage.COUNTED:
            return False
        return any(self._stood_at(tx_id) == found.ready_height for tx_id in sent)

    def _stood_at(self, tx_id: bytes) -> int | None:
        """The height at which the transaction was executed and not refused."""
        found = self.state.find_transaction(tx_id)
        if found is None:
            return None
        receipts = self.state.receipts(found[0])
        stood = any(receipt.ok for receipt in receipts if receipt.tx_id == tx_id)
        return found[0] if stood else None
