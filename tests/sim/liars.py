"""A liar: a node that runs the real core and says something else (at most f of them in a run).

It signs with its own key only. What it says lies in lies.py: each behaviour rewrites what leaves
for one peer, or speaks on its own at a tick; several may be combined. The same key used twice
(twins) is two honest nodes of one member, see cluster.py.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from consensus.effects import BuildProposal, Halt, Quarantine, SendBlocks
from consensus.events import ProposalBuilt
from consensus.messages import (
    NO_SIGNATURE,
    Message,
    payload,
)
from salus.block import proposal_digest
from salus.certificate import Certificate
from tests.sim import model
from tests.sim.lies import REWRITES, SPEECHES, Parcel, agree, bad_body, false_blocks
from tests.sim.shell import Node
from tests.sim.signatures import DOMAIN

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster

MEMORY_MESSAGES_MAX = 200


class LiarNode(Node):
    """A node whose words pass its behaviours before they leave."""

    honest = False

    def __init__(self, cluster: Cluster, address: int, member: int, names: tuple[str, ...]) -> None:
        self.names = names
        self.half = [cluster.random.random() < 0.5 for _ in range(cluster.plan.n)]
        self.alternative: dict[tuple[int, int, int], bytes] = {}  # place → the other digest
        self.heard: deque[Message] = deque(maxlen=MEMORY_MESSAGES_MAX)
        self.certificates: list[Certificate] = []
        self.behaviours = [REWRITES[name] for name in names if name in REWRITES]
        self.speeches = [SPEECHES[name] for name in names if name in SPEECHES]
        super().__init__(cluster, address, member)

    def step(self, event: object) -> None:
        try:
            super().step(event)  # type: ignore[arg-type]
        except AssertionError:
            # Its own lies came back to its core. A liar that trips falls silent.
            self.cluster.note(self, "the liar's own core gave up")
            self.up = False
            self.life += 1

    def on_message(self, payload: tuple[Message, bytes | None]) -> None:
        message = payload[0]
        if message.sender == self.member:
            return  # It knows what it said.
        self.heard.append(message)
        if "yes-man" in self.names:
            agree(self, message)
        super().on_message(payload)

    def perform(self, action: object) -> None:
        if not isinstance(action, (Quarantine, Halt)):
            super().perform(action)

    def tick(self, life: int) -> None:
        if life == self.life and self.random.random() < 0.1:
            self.half = [self.random.random() < 0.5 for _ in range(self.plan.n)]
        super().tick(life)
        if life == self.life:
            for speech in self.speeches:
                speech(self)

    def broadcast(self, message: Message, body: bytes | None) -> None:
        for member in range(self.plan.n):
            if member != self.member:
                self.transmit(member, message, body)

    def transmit(self, member: int, message: Message, body: bytes | None) -> None:
        parcels: list[Parcel] = [(message, body)]
        for behaviour in self.behaviours:
            parcels = [out for parcel in parcels for out in behaviour(self, member, *parcel)]
        for out, its_body in parcels:
            super().transmit(member, out, its_body)

    def emit(self, sending: object) -> None:
        if isinstance(sending, SendBlocks) and "false-blocks" in self.names:
            false_blocks(self, sending)
            return
        super().emit(sending)  # type: ignore[arg-type]

    def compose(self, asked: BuildProposal, transactions: tuple[bytes, ...]) -> bytes:
        if "censor" in self.names:
            transactions = ()
        if "bad-proposer" in self.names and self.random.random() < 0.5:
            return bad_body(self, asked, transactions)
        return super().compose(asked, transactions)

    def build_soon(self) -> None:
        if "censor" in self.names and self.open is not None:
            self.cluster.at(30.0, self.build_censored, self.life, self.open)
            return
        super().build_soon()

    def build_censored(self, life: int, asked: BuildProposal) -> None:
        """Its own transactions, so that there is progress, and nobody else's."""
        if life != self.life or self.open is not asked:
            return
        self.open = None
        own = (b"own %d %d" % (self.member, self.cluster.events),)
        body = model.make_body(asked.sequence, self.member, asked.view, self.clock_ms(), own)
        digest = proposal_digest(body)
        self.bodies[asked.sequence, digest] = body
        self.step(ProposalBuilt(asked.view, asked.sequence, digest))

    # -- forging --------------------------------------------------------------------------------

    def sign(self, message: Any) -> Any:
        """The message with this liar's own valid signature."""
        unsigned = msgspec.structs.replace(message, sender=self.member, signature=NO_SIGNATURE)
        return msgspec.structs.replace(
            unsigned, signature=self.signer.sign(payload(DOMAIN, unsigned))
        )

    def say(self, message: Message, to: int | None = None) -> None:
        for member in range(self.plan.n):
            if member != self.member and to in (None, member):
                super().transmit(member, message, None)

    @property
    def epoch(self) -> int:
        assert self.replica is not None
        return self.replica.state.epoch

    @property
    def view(self) -> int:
        assert self.replica is not None
        return self.replica.state.view
