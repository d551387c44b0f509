"""One simulated node as its peers see it: what it sends, and what it makes of what comes."""

from __future__ import annotations

from consensus.effects import (
    Send,
    SendBlocks,
    SendBody,
    Sending,
)
from consensus.events import (
    BodyArrived,
    CaughtUp,
    Received,
)
from consensus.messages import Message, PrePrepare
from salus.block import proposal_digest
from salus.certificate import check_signatures
from salus.errors import SalusError
from tests.sim import model
from tests.sim.model import Block
from tests.sim.signatures import DOMAIN, verifier
from tests.sim.work import Worker, certified

BLOCKS_PER_ANSWER_MAX = 16


class Node(Worker):
    """The whole node: machine.py, work.py, and the network."""

    # -- sending --------------------------------------------------------------------------------

    def emit(self, sending: Sending) -> None:
        if isinstance(sending, Send):
            message = sending.message
            self.cluster.checkers.on_send(self, message)
            self.cluster.observer.leaves(self, message)
            self.cluster.promises.leaves(self, message)
            body = self.body_of(message) if isinstance(message, PrePrepare) else None
            if sending.to is None:
                self.broadcast(message, body)
            else:
                self.transmit(sending.to, message, body)
        elif isinstance(sending, SendBody):
            found = self.body(sending.sequence, sending.digest)
            if found is not None:
                self.cluster.cover("body served")
                self.post(sending.to, "on_body", (sending.sequence, sending.digest, found))
        else:
            self.offer_blocks(sending)

    def broadcast(self, message: Message, body: bytes | None) -> None:
        self.cluster.network.broadcast(self.address, self.member, (message, body))

    def transmit(self, member: int, message: Message, body: bytes | None) -> None:
        self.post(member, "on_message", (message, body))

    def post(self, member: int, kind: str, payload: object) -> None:
        self.cluster.network.send(self.address, member, kind, payload)

    def offer_blocks(self, sending: SendBlocks) -> None:
        blocks = self.disk.blocks[sending.above + 1 : sending.above + 1 + BLOCKS_PER_ANSWER_MAX]
        if blocks:
            self.post(sending.to, "on_blocks", tuple(blocks))

    # -- receiving ------------------------------------------------------------------------------

    def on_message(self, payload: tuple[Message, bytes | None]) -> None:
        message, body = payload
        arrived: BodyArrived | None = None
        if (
            body is not None
            and isinstance(message, PrePrepare)
            and proposal_digest(body) == message.digest
            and self.wants_body(message.sequence)
        ):
            self.bodies[message.sequence, message.digest] = body
            arrived = BodyArrived(message.sequence, message.digest)
        if arrived is not None and self.plan.body_first:
            self.step(arrived)
            arrived = None
            if not self.up:
                return
        self.step(Received(message))
        if arrived is not None and self.up:
            self.step(arrived)

    def wants_body(self, sequence: int) -> bool:
        """The shell's own bound: bodies within two windows of the certified height."""
        height = self.disk.head.height
        return height < sequence <= height + 2 * self.parameters.watermark_window

    def on_body(self, payload: tuple[int, bytes, bytes]) -> None:
        sequence, digest, body = payload
        if proposal_digest(body) == digest and self.wants_body(sequence):
            self.bodies[sequence, digest] = body
            self.step(BodyArrived(sequence, digest))

    def on_get_blocks(self, payload: tuple[int, int]) -> None:
        member, above = payload
        self.emit(SendBlocks(member, above, 0))

    def on_transactions(self, payload: tuple[bytes, ...]) -> None:
        for tx in payload:
            self.admit(tx)

    def on_blocks(self, blocks: tuple[Block, ...]) -> None:
        """Certified blocks: each certificate against the set of its height, each body executed
        on the block before (S14)."""
        last: Block | None = None
        for block in blocks:
            if not self.up:
                return
            head = self.disk.head
            if block.height != head.height + 1:
                continue
            mine = self.check_block(head, block)
            if mine is None:
                break
            self.disk.write_block(mine)
            self.cluster.cover("catch-up")
            self.cluster.checkers.on_certified(self, mine)
            self.note_executed(mine)
            last = mine
            if mine.ends_epoch:
                self.caught_up(mine)
                last = None
        if last is not None and self.up:
            self.caught_up(last)

    def check_block(self, head: Block, block: Block) -> Block | None:
        """My own execution of it with its certificate, or None if either is false."""
        try:
            mine = model.execute(
                head, block.body, proposal_digest(block.body), self.disk.executed, self.parameters
            )
            certificate = block.certificate
            if certificate is None or certificate.header_hash != mine.header_hash:
                return None
            if certificate.height != mine.height:
                return None
            check_signatures(
                certificate, model.validators(mine.epoch, self.plan.n), DOMAIN, verifier
            )
        except (SalusError, AssertionError):
            return None
        return certified(mine, certificate)

    def caught_up(self, block: Block) -> None:
        assert block.certificate is not None
        while self.stack and self.stack[0].height <= block.height:
            self.stack.pop(0)
        while self.executing and self.executing[0][0] <= block.height:
            self.executing.popleft()
        self.step(CaughtUp(block.height, block.certificate, block.end))
        self.after_certified(block)
