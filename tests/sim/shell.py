"""One simulated node as its peers see it: what it sends, and what it makes of what comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from consensus.effects import Send, SendBlocks, SendBody, Sending
from consensus.events import BodyArrived, Received
from consensus.messages import Fetch, Message, PrePrepare, Status, decode_message
from node.net.frames import EvidenceFrame, Kind
from salus.certificate import CertifiedBlock
from salus.codec import decode
from salus.errors import BadMessage, SalusError
from tests.sim import trace
from tests.sim.founding import NAMES
from tests.sim.parts import run
from tests.sim.work import Worker

_REQUESTS = frozenset((Fetch, Status))


class Node(Worker):
    """The whole node: machine.py, work.py, and the network."""

    # -- sending --------------------------------------------------------------------------------

    def emit(self, sending: Sending) -> None:
        """As `Outlet.send`, without encoding: the network of the simulator carries objects."""
        if type(sending) is Send:
            message = sending.message
            cluster = self.cluster
            cluster.checkers.on_send(self, message)
            if cluster.watched:
                cluster.observer.leaves(self, message)
            cluster.promises.leaves(self, message)
            cluster.rules.leaves(self, message)
            if cluster.tracing:
                to = "all" if sending.to is None else str(sending.to)
                cluster.note(self, f"→ {to}: {trace.message(message)}")
            body = None
            if type(message) is PrePrepare and message.sender == self.hands.me:
                body = self.bodies.get(message.sequence, message.digest)
            if sending.to is None:
                self.broadcast(message, body)
            elif sending.to != self.hands.me:
                self.transmit(self.hands.numbers[sending.to], message, body)
        elif type(sending) is SendBody:
            found = self.bodies.get(sending.sequence, sending.digest)
            if found is not None:
                self.cluster.cover("S3 a body is served")
                peer = self.hands.numbers[sending.to]
                self.post(peer, "on_body", (sending.sequence, sending.digest, found))
        else:
            self.offer_blocks(cast(SendBlocks, sending))

    def broadcast(self, message: Message, body: bytes | None) -> None:
        self.cluster.network.broadcast(self, message, body)

    def transmit(self, member: int, message: Message, body: bytes | None) -> None:
        self.post(member, "on_message", (Received(message), body))

    def post(self, member: int, kind: str, payload: object) -> None:
        self.cluster.network.send(self, member, kind, payload)

    def offer_blocks(self, sending: SendBlocks) -> None:
        member = self.seats.member(sending.epoch, sending.to)
        if member is not None:
            self.fetcher.offer(member, sending.above)

    # -- receiving: as `Inlet` ------------------------------------------------------------------

    def on_message(self, source: int, payload: tuple[Received, bytes | None]) -> None:
        received, body = payload
        message = received.message
        if type(message) in _REQUESTS:
            # Never relayed and perhaps unsigned: they speak for the connection they came on.
            seat = self.seats.index(NAMES[source], message.epoch)
            if seat != message.sender and self.seats.known(message.epoch):
                return
        life = self.life
        self.step(received)
        if (
            body is not None
            and life == self.life
            and isinstance(message, PrePrepare)
            and self.cluster.digest(body) == message.digest
        ):
            self.arrived(message.sequence, message.digest, body)

    def on_bytes(self, source: int, frame: bytes) -> None:
        """What does not decode costs its sender; it never gets further (S2)."""
        try:
            message = decode_message(frame)
        except BadMessage:
            self.cluster.cover("S2 bytes that are no message, or not the only form of one")
            return
        self.on_message(source, (Received(message), None))

    def on_body(self, source: int, payload: tuple[int, bytes, bytes]) -> None:
        sequence, digest, body = payload
        if self.cluster.digest(body) == digest:
            self.arrived(sequence, digest, body)

    def arrived(self, sequence: int, digest: bytes, body: bytes) -> None:
        if self.wants(sequence, digest) and self.bodies.admit(sequence, digest, body):
            self.step(BodyArrived(sequence, digest))

    def on_get_blocks(self, source: int, above: int) -> None:
        self.fetcher.answer(source, above, asked=True)

    def on_blocks(self, source: int, blocks: Sequence[CertifiedBlock]) -> None:
        self.fetcher.receive(source, blocks)

    def on_frame(self, source: int, payload: tuple[Kind, bytes]) -> None:
        """Gossip and evidence."""
        kind, frame = payload
        try:
            if kind is Kind.EVIDENCE:
                self.on_evidence(source, frame)
            else:
                self.admission.receive(NAMES[source], kind, frame)
        except SalusError:
            self.cluster.cover("bad frame refused")

    def on_evidence(self, source: int, frame: bytes) -> None:
        messages = self.evidence.examine(decode(frame, EvidenceFrame))
        if len(messages) == 2 and self.evidence.passed_on(messages[0]):
            self.alarms.pass_on(NAMES[source], frame)
        life = self.life
        for message in messages:
            if life == self.life:
                self.step(Received(message))

    def intake(self, life: int, member: str, transactions: Sequence[bytes]) -> None:
        if life != self.life:
            return
        try:
            run(self.admission.intake(member, transactions))
        except SalusError:
            self.cluster.cover("forged transaction refused")

    def forward(self, life: int) -> None:
        if life == self.life:
            self.rumours.forward()

    # -- for the checkers and the liars ---------------------------------------------------------

    @property
    def height(self) -> int:
        return self.state.height() if hasattr(self, "state") else 0

    def block(self, height: int) -> CertifiedBlock | None:
        return cast(Any, self.source.block(height))
