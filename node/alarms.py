"""What must make somebody look: a lie of a peer, a lost journal, a state that is not the others'.

Law of the file: an alarm is seen in all three places, the log, the metrics and `status`; and a
halted node says not another word.
"""

import logging

from consensus.effects import Evidence, Halt, Quarantine, ViewLeft
from contracts.runtime import Fault
from node.admission import Admission
from node.divergence import Difference, Divergence
from node.evidence import EvidenceDesk
from node.gossip import GossipTask
from node.logs import log_event
from node.metrics import Metrics
from node.pipeline import Diverged, Unsigned
from node.runner import Runner
from node.seats import Seats
from node.standing import Voter
from node.sync import Sync
from node.vitals import Vitals

log = logging.getLogger("salus.node")


class Alarms:
    def __init__(
        self,
        vitals: Vitals,
        metrics: Metrics,
        seats: Seats,
        voter: Voter,
        runner: Runner,
        sync: Sync,
        admission: Admission,
        evidence: EvidenceDesk,
        gossip: GossipTask,
        divergence: Divergence,
    ) -> None:
        self.vitals, self.metrics, self.seats, self.voter = vitals, metrics, seats, voter
        self.runner, self.sync, self.admission = runner, sync, admission
        self.evidence, self.gossip, self.divergence = evidence, gossip, divergence

    def sound(self, action: Evidence | Quarantine | Halt | ViewLeft) -> None:
        """What the core has found."""
        match action:
            case ViewLeft(wish, reason):
                self.vitals.view_changes += 1
                self.metrics.consensus_view_changes_total.labels(reason.split(":", 1)[0]).inc()
                log_event(log, logging.WARNING, "view_change", wish=wish, reason=reason)
            case Evidence(culprit, first, second):
                member = self.seats.member(self.seats.epoch, culprit)
                assert member is not None, "the core accuses members of its epoch only"
                self.vitals.equivocations += 1
                self.metrics.consensus_equivocations_total.labels(member).inc()
                log_event(log, logging.ERROR, "equivocation", member=member)
                frame = self.evidence.frame(first, second)
                if frame is not None:
                    self.pass_on(None, frame)
            case Quarantine(reason):
                self.vitals.quarantined = reason
                self.voter.lose()
                self.sync.following = True
                log_event(log, logging.ERROR, "quarantine", reason=reason)
            case Halt(reason, height):
                self.halt(f"{reason} (height {height})")

    def diverged(self, wrong: Diverged | Unsigned) -> None:
        """A fetched block has another header than the one computed here (L24), or what nobody signed."""
        self.halt(str(wrong))

    def contract_fault(self, fault: Fault) -> None:
        """The receipt says it to everybody; this says it to whoever looks after the node (S16)."""
        self.vitals.contract_faults += 1
        self.metrics.contract_faults_total.labels(fault.contract).inc()
        log_event(
            log,
            logging.ERROR,
            "contract_fault",
            height=fault.height,
            tx_id=fault.tx_id.hex(),
            contract=fault.contract,
            method=fault.method,
            kind=fault.kind,
        )

    def halt(self, reason: str) -> None:
        self.vitals.halted = reason
        self.runner.install(None)  # Not another word: what was agreed on here is wrong.
        self.sync.stopped = True
        self.metrics.consensus_halted.set(1)
        self.admission.turn_away("HALTED", "this node has diverged; run salus doctor")
        log_event(log, logging.CRITICAL, "halted", reason=reason)
        self.divergence.begin()

    def explained(self, difference: Difference) -> None:
        """Others have shown what they wrote: where the search begins (L24)."""
        self.vitals.halted = f"{self.vitals.halted}; {difference}"
        log_event(
            log,
            logging.CRITICAL,
            "diverged",
            height=difference.height,
            key_hash=difference.key_hash,
            namespace=difference.namespace,
            how=difference.how,
            fields=", ".join(difference.fields),
        )

    def pass_on(self, source: str | None, evidence: bytes) -> None:
        """Let everybody but its source see the evidence, each once (L23)."""
        self.gossip.perform(self.gossip.gossip.evidence(evidence, source))
