"""Which branch of which numbered rule a run has reached, for the coverage that the summary prints.

Law of the file: it looks on and judges nothing. What no simulated node can reach is in `ELSEWHERE`
with the tests that hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from consensus.effects import Effects, Evidence, Rejected, SendBlocks, ViewEntered, ViewLeft
from consensus.events import BlockWritten, Event, ProposalChecked, Received, Tick, Verdict
from consensus.messages import Checkpoint, Message, NewView, Prepare, PrePrepare, ViewChange

if TYPE_CHECKING:
    from consensus.state import State
    from tests.sim.cluster import Cluster
    from tests.sim.machine import Machine

ELSEWHERE = {
    "S1": "tests/salus/test_vote.py: what a signature covers",
    "B26": "tests/node/test_verify.py, tests/node/net: queues and slices need an event loop",
    "B27": "tests/salus/test_merkle.py: the domains of the trees",
}
RULES = (
    *(f"S{number}" for number in range(1, 17)),
    *(f"L{number}" for number in range(17, 25)),
    *(f"B{number}" for number in range(25, 30)),
)
# What can tell of a branch without an effect.
TELLING = frozenset((Checkpoint, ViewChange, Prepare, ProposalChecked, BlockWritten))


class Rules:
    def __init__(self, cluster: Cluster) -> None:
        self.cover = cluster.cover

    def stepped(self, node: Machine, event: Event, effects: Effects) -> None:
        kind = type(event)
        if kind is Received:
            self._received(node, event.message)  # type: ignore[union-attr]
        elif kind is ProposalChecked:
            verdict = event.verdict  # type: ignore[union-attr]
            if verdict is Verdict.INVALID:
                self.cover("S15 a proposal is refused")
            elif verdict is Verdict.OFF_CLOCK:
                self.cover("L21 a first proposal is off the clock")
        elif kind is BlockWritten:
            s = _state(node)
            self.cover("S12 a certified block is written")
            if s.log.committed > s.log.executing:
                self.cover("B28 execution waits for certificates")
        elif kind is Tick and effects.send:
            self.cover("L20 something is said again")
        if effects.deliver:
            for action in effects.deliver:
                self._action(node, action)
        for sending in effects.send:
            if type(sending) is SendBlocks:
                self.cover("L20 blocks are offered")

    def _received(self, node: Machine, message: Message) -> None:
        kind = type(message)
        if kind is Checkpoint:
            mine = _state(node).headers.get(message.sequence)  # type: ignore[union-attr]
            if mine is not None and mine != message.digest:  # type: ignore[union-attr]
                self.cover("L24 a member signs another header than mine")
        elif kind is ViewChange:
            if False in _state(node).checked.values():
                self.cover("S8 a forged VIEW-CHANGE is found out")
        elif kind is Prepare:
            s = _state(node)
            if message.sender == s.validators.primary(message.view):  # type: ignore[union-attr]
                self.cover("S5 a PREPARE of the primary is not counted")

    def _action(self, node: Machine, action: object) -> None:
        kind = type(action)
        if kind is ViewEntered:
            self._entered(_state(node))
        elif kind is ViewLeft:
            reason = action.reason  # type: ignore[attr-defined]
            if reason.startswith("others"):
                self.cover("L19 the wish of f+1 is joined")
            elif reason.startswith("no NEW-VIEW"):
                self.cover("L18 a view change takes too long")
            elif reason.startswith("pending"):
                self.cover("L17 pending work waits for too long")
            elif reason.startswith("the mempool"):
                self.cover("L22 a slow or censoring primary is given up")
        elif kind is Rejected:
            self.cover("B25 a lie or garbage is scored")
        elif kind is Evidence:
            self.cover("L23 evidence is shown")
            if type(action.first) is NewView:  # type: ignore[attr-defined]
                self.cover("S9 a false NEW-VIEW is refused")

    def _entered(self, s: State) -> None:
        assert s.new_view is not None
        if s.log.low > s.log.certified:
            self.cover("S10 a watermark above my own height is adopted")
        for vote in s.new_view.pre_prepares:
            if vote.sequence <= s.log.executing:
                self.cover("S6 an executed sequence is voted on again")
            self.cover("S11 a proposal is carried into a new view")

    def leaves(self, node: Machine, message: Message) -> None:
        kind = type(message)
        if kind is ViewChange:
            if message.prepared:  # type: ignore[union-attr]
                self.cover("S7 a VIEW-CHANGE shows what is prepared")
        elif kind is PrePrepare and _state(node).n in (5, 6):
            self.cover("S5 a quorum of five or six")


def _state(node: Machine) -> State:
    assert node.replica is not None
    return node.replica.state
