"""The parts of a node that need an event loop, as the simulator stands in for them.

Everything that decides is the real thing (node/): these only change when and by what road it is
called. Law of the file: nothing here judges, counts or remembers what the real part would.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from consensus.effects import Action, Evidence, Execute, Halt, Quarantine, Sending, ViewLeft
from node.alarms import Alarms
from node.gossip_rules import Gossip, GossipSend
from node.judge import Judge
from node.mempool import Mempool
from node.outlet import Outlet
from node.pipeline import Diverged, Pipeline
from node.uncertified import Executed
from salus.certificate import CertifiedBlock
from salus.errors import SalusError
from salus.transaction import ParsedTransaction
from tests.sim.founding import number
from tests.sim.signatures import verifier

if TYPE_CHECKING:
    from tests.sim.shell import Node

JUDGE_MS = 1.0  # signatures of transactions are checked away from the loop
INTAKE_MS = 1.0
FORWARD_MS = 1.0  # a turn of the loop later; more on a busy node
BLOCKS_PER_ANSWER_MAX = 16
BLOCKS_WAITING_MAX = 64
POLL_TICKS = 2  # a node that only follows asks so often
OFFER_TICKS = 2
ANSWER_TICKS = 30


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine of the real node that waits for nothing here: its result, at once."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    work.close()
    raise AssertionError("the simulated node has no event loop to wait in")


class Inline:
    """`VerifyPool` without threads or loop."""

    async def verify(
        self, transactions: Sequence[ParsedTransaction], *, urgent: bool = False
    ) -> list[bool]:
        return [tx.signature_valid(verifier) for tx in transactions]


class LaterJudge(Judge):
    """Its work ends a little later, in simulated time."""

    node: Node

    def start(self, work: Coroutine[None, None, None]) -> None:
        self.node.cluster.at(JUDGE_MS, self.node.judged, self.node.life, work)


class SeenMempool(Mempool):
    """Tells the checkers of every transaction that it owes to a client of its own."""

    node: Node

    def _watch(self, entry: Any) -> None:
        anew = not entry.forwarded
        super()._watch(entry)
        if anew:
            self.node.cluster.promises.fairness.watched(self.node, entry.tx.id)

    def begin_view(self) -> list[ParsedTransaction]:
        self.node.cluster.promises.fairness.view_began(self.node)
        return super().begin_view()


class SeenPipeline(Pipeline):
    """Tells the checkers of every header."""

    node: Node

    def _executed(self, executed: Executed) -> None:
        super()._executed(executed)
        self.node.cluster.checkers.on_executed(self.node, executed)

    def write_next(self) -> None:
        """`Worker.write_soon` does, at the time of its disk."""


class Hands(Outlet):
    """What is to be done is done by the real one; what leaves, leaves as objects."""

    node: Node
    numbers: Sequence[int] = ()  # of the validators of the epoch, by index
    others: Sequence[int] = ()  # of all but this one

    def begin_epoch(self, members: Sequence[str], me: int | None) -> None:
        super().begin_epoch(members, me)
        self.numbers = [number(one) for one in members]
        self.others = [one for index, one in enumerate(self.numbers) if index != me]

    def send(self, sending: Sending) -> None:
        self.node.emit(sending)

    def act(self, action: Action) -> None:
        if type(action) is Execute:
            self.node.cluster.checkers.on_committed(self.node, action.sequence, action.digest)
        super().act(action)

    def nudge(self) -> None:
        self.node.nudge()


class HeardAlarms(Alarms):
    """An alarm of an honest node fails the seed, unless it tells of a liar."""

    node: Node

    def sound(self, action: Evidence | Quarantine | Halt | ViewLeft) -> None:
        self.node.cluster.checkers.on_alarm(self.node, action)
        super().sound(action)

    def halt(self, reason: str) -> None:
        self.node.cluster.checkers.on_halt(self.node, reason)
        super().halt(reason)


class Rumours:
    """`GossipTask`: the real rules, and a queue without workers."""

    def __init__(self, node: Node, gossip: Gossip) -> None:
        self.node, self.gossip = node, gossip
        self.entered: list[tuple[bytes, bytes]] = []

    def now_ms(self) -> int:
        return int(self.node.cluster.now)

    def perform(self, sends: Sequence[GossipSend]) -> None:
        for send in sends:
            self.node.post(number(send.member), "on_frame", (send.kind, send.payload))

    def admitted(self, transactions: Sequence[tuple[bytes, bytes]]) -> None:
        """Together with what comes meanwhile; a crash may come first."""
        if not self.entered:
            self.node.cluster.at(FORWARD_MS, self.node.forward, self.node.life)
        self.entered += transactions

    def forward(self) -> None:
        entered, self.entered = self.entered, []
        self.perform(self.gossip.admitted(entered, None, self.now_ms()))

    def put(self, member: str, transactions: Sequence[bytes]) -> bool:
        self.node.cluster.at(INTAKE_MS, self.node.intake, self.node.life, member, transactions)
        return True


class Fetcher:
    """`Sync`: asks one peer at a time and hands its blocks to the real pipeline, in order and as
    far as there is room; then the writer brings them to disk like all others."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.following = False
        self.stopped = False
        self.hint = 0
        self.ticks = 0
        self.asked_until = 0
        self.rest_until = 0
        self.offered: dict[int, int] = {}
        self.waiting: list[tuple[int, CertifiedBlock]] = []  # with the member that sent it

    @property
    def behind(self) -> bool:
        return self.hint > self.node.pipeline.queued_height

    def claim(self, member: str, height: int) -> None:
        pass

    def want(self, height: int) -> None:
        if height > self.node.pipeline.queued_height:
            self.hint = max(self.hint, height)
            self.ask()

    def tick(self) -> None:
        self.ticks += 1
        if self.behind or (self.following and self.ticks >= self.rest_until):
            self.ask()

    def ask(self) -> None:
        if self.stopped or self.ticks < self.asked_until:
            return
        node = self.node
        peers = [i for i in node.cluster.members if i != node.member]
        if peers:
            self.asked_until = self.ticks + ANSWER_TICKS
            peer = peers[int(node.random.random() * len(peers))]
            node.post(peer, "on_get_blocks", node.pipeline.queued_height)

    def offer(self, member: str, above: int) -> None:
        peer = number(member)
        if self.ticks >= self.offered.get(peer, -OFFER_TICKS) + OFFER_TICKS:
            self.offered[peer] = self.ticks
            self.answer(peer, above, asked=False)

    def answer(self, peer: int, above: int, *, asked: bool) -> None:
        node, found = self.node, []
        for height in range(above + 1, above + 1 + BLOCKS_PER_ANSWER_MAX):
            block = node.source.block(height)
            if block is None:
                break
            found.append(block)
        if found or asked:
            node.post(peer, "on_blocks", tuple(found))

    def receive(self, source: int, blocks: Sequence[CertifiedBlock]) -> None:
        self.asked_until = 0
        pipeline = self.node.pipeline
        if not blocks:
            self.hint = pipeline.queued_height
            self.rest_until = self.ticks + POLL_TICKS
            return
        if len(self.waiting) + len(blocks) <= BLOCKS_WAITING_MAX:
            self.waiting += [(source, block) for block in blocks]
        self.feed()

    def feed(self) -> None:
        """Called again whenever a block has been written."""
        node = self.node
        pipeline, executor = node.pipeline, node.executor
        while self.waiting and not self.stopped:
            source, block = self.waiting[0]
            height = block.header.height
            if height <= pipeline.queued_height:
                self.waiting.pop(0)
                continue
            if height > pipeline.queued_height + 1:
                self.waiting.pop(0)  # A gap: it is asked for again.
                continue
            if pipeline.queued_height == pipeline.epoch.end and node.state.height() < height - 1:
                return  # Once that is written, the next epoch's set is known.
            ahead = executor.head.height - executor.certified_head.height
            if height > executor.head.height and ahead >= (
                pipeline.epoch.parameters.execute_ahead_max
            ):
                return
            self.waiting.pop(0)
            try:
                pipeline.accept(block)
            except Diverged as diverged:
                node.alarms.diverged(diverged)
                return
            except SalusError:
                self.waiting = [one for one in self.waiting if one[0] != source]
                node.cluster.cover("S14 a false block is refused")
                continue
            node.cluster.cover("S14 a block is fetched")
            node.write_soon()
