"""A liar: a node that runs the real core and says something else (at most f of them in a run).

It signs with its own key only. What it says lies in lies.py: each behaviour rewrites what leaves
for one peer, or speaks on its own at a tick; several may be combined. The same key used twice
(twins) is two honest nodes of one member, see cluster.py.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from consensus.effects import Action, Effects, Halt, Quarantine, SendBlocks
from consensus.events import Event, ProposalBuilt, Received
from consensus.messages import (
    NO_SIGNATURE,
    Message,
    NewView,
    payload,
)
from node.bodies import BodyMissing
from salus.block import proposal_digest
from salus.certificate import Certificate
from salus.errors import SalusError
from salus.statemap import StateTree
from salus.validators import ValidatorSet
from tests.sim.faults import Change
from tests.sim.founding import make_body
from tests.sim.lies import (
    REWRITES,
    SPEECHES,
    Parcel,
    agree,
    bad_body,
    false_blocks,
    flipped,
    untimely_body,
)
from tests.sim.machine import NOTHING
from tests.sim.shell import Node

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

MEMORY_MESSAGES_MAX = 200


class LiarNode(Node):
    """A node whose words pass its behaviours before they leave."""

    honest = False

    def __init__(self, cluster: Cluster, address: int, member: int, names: tuple[str, ...]) -> None:
        self.names = names
        self.half = [cluster.random.random() < 0.5 for _ in cluster.members]
        self.alternative: dict[tuple[int, int, int], bytes] = {}  # place → the other digest
        self.heard: deque[Message] = deque(maxlen=MEMORY_MESSAGES_MAX)
        self.certificates: list[Certificate] = []
        self.backdated: NewView | None = None  # what `forgeries.backdating` shows
        self.long: bytes | None = None  # its transaction that `lies.overlong` tells of
        self.behaviours = [REWRITES[name] for name in names if name in REWRITES]
        self.speeches = [SPEECHES[name] for name in names if name in SPEECHES]
        super().__init__(cluster, address, member)

    def step(self, event: Event) -> Effects:
        try:
            return super().step(event)
        except (AssertionError, SalusError, BodyMissing):
            # Its own lies came back to it. A liar that trips falls silent.
            self.cluster.note(self, "the liar's own core gave up")
            self.up = False
            self.life += 1
            self.forget()
            return NOTHING

    def on_message(self, source: int, payload: tuple[Received, bytes | None]) -> None:
        message = payload[0].message
        if message.sender == self.me:
            return  # It knows what it said.
        self.heard.append(message)
        if "yes-man" in self.names:
            agree(self, message)
        super().on_message(source, payload)

    def perform(self, action: Action) -> None:
        if not isinstance(action, (Quarantine, Halt)):
            super().perform(action)

    def tick(self, life: int) -> None:
        if life == self.life and self.random.random() < 0.1:
            self.half = [self.random.random() < 0.5 for _ in self.cluster.members]
        super().tick(life)
        if life == self.life and self.replica is not None:
            for speech in self.speeches:
                speech(self)

    def broadcast(self, message: Message, body: bytes | None) -> None:
        for member in self.hands.others:
            self.transmit(member, message, body)

    def transmit(self, member: int, message: Message, body: bytes | None) -> None:
        parcels: list[Parcel] = [(message, body)]
        for behaviour in self.behaviours:
            parcels = [out for parcel in parcels for out in behaviour(self, member, *parcel)]
        for out, its_body in parcels:
            super().transmit(member, out, its_body)

    def offer_blocks(self, sending: SendBlocks) -> None:
        if "false-blocks" in self.names:
            false_blocks(self, sending)
        else:
            super().offer_blocks(sending)

    def on_get_blocks(self, source: int, above: int) -> None:
        if "silent" not in self.names:
            super().on_get_blocks(source, above)

    def propose(self) -> ProposalBuilt | None:
        """Its own content in place of what the real proposer would say."""
        asked = self.proposer.open
        if asked is None or self.proposer.wait_ms() != 0:
            return None
        if "censor" in self.names:
            # Its own transactions, so that there is progress, and nobody else's; valid ones, since a
            # proposal that has expired (S15) costs it the view.
            tx = self.cluster.transaction(self.member, asked.sequence)
            transactions: tuple[bytes, ...] = (tx.raw,)
            body = make_body(asked.sequence, self.me, asked.view, self.clock_ms(), transactions)
        elif "bad-proposer" in self.names and (self.limit_falls or self.random.random() < 0.5):
            body = bad_body(self, asked)
        elif "untimely" in self.names and self.random.random() < 0.5:
            body = untimely_body(self, asked)
        elif "dripping" in self.names:
            fair = self.proposer.parameters
            self.proposer.parameters = msgspec.structs.replace(fair, block_transactions_max=1)
            built = super().propose()
            self.proposer.parameters = fair
            return built
        else:
            return super().propose()
        digest = proposal_digest(body)
        self.bodies.put(asked.sequence, digest, body)
        self.proposer.withdraw()
        return ProposalBuilt(asked.view, asked.sequence, digest)

    # -- forging --------------------------------------------------------------------------------

    def sign(self, message: Any) -> Any:
        """The message with this liar's own valid signature."""
        unsigned = msgspec.structs.replace(message, sender=self.me, signature=NO_SIGNATURE)
        signature = self.signer.sign(payload(self.cluster.founding.domain, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def say(self, message: Message, to: int | None = None) -> None:
        for member in self.hands.others:
            if to in (None, member):
                super().transmit(member, message, None)

    @property
    def me(self) -> int:
        """Its index in the set of the epoch; without a seat its lies are nobody's."""
        return self.hands.me or 0

    @property
    def limit_falls(self) -> bool:
        return any(one.change is Change.LIMIT for one in self.plan.politics)

    @property
    def limit_fell(self) -> bool:
        return self.epochs.replica.state.parameters.transaction_operations_max == 1

    @property
    def validators(self) -> ValidatorSet:
        return self.epochs.replica.state.validators

    @property
    def epoch(self) -> int:
        return self.epochs.replica.state.epoch

    @property
    def view(self) -> int:
        return self.epochs.replica.state.view


class BrokenTree(StateTree):
    """Of a machine that computes wrongly from some height on (L24)."""

    broken_from = 3
    bit = 1

    def update(self, height: int, buckets: Mapping[int, bytes]) -> bytes:
        root = super().update(height, buckets)
        return flipped(root, self.bit) if height >= self.broken_from else root


class OtherwiseBrokenTree(BrokenTree):
    """Of one that computes something else than the first."""

    bit = 2


class DivergedNode(Node):
    """It means well, and its headers are wrong: it must notice, and say no more."""

    honest = False

    def build(self) -> None:
        sound = self.plan.late_divergence and self.life == 0
        second = self.member == max(self.plan.liars)
        broken = OtherwiseBrokenTree if self.plan.schism and second else BrokenTree
        self.tree_type = StateTree if sound else broken
        super().build()
