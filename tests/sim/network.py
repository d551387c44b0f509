"""The simulated network: delay, loss, duplication, reordering, cuts and slow links.

Everything travels in one priority queue of the cluster; the order of two messages on one link
is not kept. From `heal` on it is a good network: nothing is lost and little is late.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from consensus.events import Received
from consensus.messages import Checkpoint, Message, decode_message, encode_message

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.machine import Machine
    from tests.sim.shell import Node

GOOD_DELAY_MS = 5.0


class Network:
    def __init__(self, cluster: Cluster) -> None:
        plan = cluster.plan
        self.cluster = cluster
        self.random = cluster.random.random
        self.loss, self.duplicate, self.tail = plan.loss, plan.duplicate, plan.tail
        self.base, self.jitter = plan.base_ms, plan.jitter_ms
        self.codec = plan.codec
        self.blocked: set[tuple[int, int]] = set()
        self.twin_blocked: set[tuple[int, int]] = set()
        self.no_checkpoints_until = 0.0

    def send(self, source: Machine, member: int, kind: str, payload: Any) -> None:
        """To the node of a member, and to its twin if there is one."""
        if self.no_checkpoints_until and kind == "on_message" and self._is_lost(payload[0].message):
            return
        if self.codec and kind == "on_message":
            message = decode_message(encode_message(payload[0].message))
            payload = (Received(message), payload[1])
        for address in self.cluster.addresses[member]:
            self.carry(source, address, kind, payload)

    def broadcast(self, source: Node, message: Message, body: bytes | None) -> None:
        """A message to all other validators; the busiest line of the simulator."""
        if self.no_checkpoints_until and self._is_lost(message):
            return
        if self.codec:
            message = decode_message(encode_message(message))
        payload, addresses = (Received(message), body), self.cluster.addresses
        for member in source.hands.others:
            for address in addresses[member]:
                self.carry(source, address, "on_message", payload)

    def carry(
        self, source: Machine, address: int, kind: str, payload: Any, extra_ms: float = 0.0
    ) -> None:
        sender = source.address
        if self.blocked or self.twin_blocked:
            link = (sender, address)
            if link in self.blocked or link in self.twin_blocked:
                return
        random = self.random
        if self.loss and random() < self.loss:
            return
        delay = self.base[sender][address] + random() * self.jitter + extra_ms
        if self.tail and random() < self.tail:
            delay *= 10
        cluster, member = self.cluster, source.member
        cluster.at(delay, cluster.arrive, address, member, kind, payload)
        if self.duplicate and random() < self.duplicate:
            cluster.at(delay * 2, cluster.arrive, address, member, kind, payload)

    def lose_checkpoints(self, until: float) -> None:
        """None arrives before: what is committed is not certified, and the log fills (S12, L24)."""
        if not self.cluster.healed:
            self.no_checkpoints_until = until
            self.cluster.cover("no CHECKPOINT arrives")

    def _is_lost(self, message: Message) -> bool:
        if self.cluster.now >= self.no_checkpoints_until:
            self.no_checkpoints_until = 0.0
            return False
        return type(message) is Checkpoint

    def cut(self) -> None:
        """Recompute the blocked links: cuts may overlap."""
        now = self.cluster.now
        self.blocked = set()
        if self.cluster.healed:
            return
        for cut in self.cluster.plan.cuts:
            if cut.start <= now < cut.end:
                self.blocked |= cut.blocked

    def heal(self) -> None:
        self.loss = self.duplicate = self.tail = self.no_checkpoints_until = 0.0
        self.jitter = GOOD_DELAY_MS
        self.base = [[1.0] * len(row) for row in self.base]
        self.blocked = set()
