"""A handful of replicas in one thread, one queue, no chance: for transcripts and rule tests.

The shell is as small as can be: transactions are words, execution is a hash over what was
executed, the disk always keeps what was synced. The big simulator lies in tests/sim.
"""

from collections import deque
from dataclasses import dataclass, field

from consensus.config import ReplicaConfig
from consensus.effects import (
    Action,
    BuildProposal,
    CatchUp,
    CheckProposal,
    Effects,
    Evidence,
    Execute,
    Halt,
    PersistBody,
    Quarantine,
    Rejected,
    Send,
    SendBlocks,
    SendBody,
    Sending,
    ViewEntered,
    ViewLeft,
    WriteBlock,
)
from consensus.events import (
    BlockWritten,
    BodyArrived,
    CaughtUp,
    Event,
    Executed,
    PendingWork,
    ProposalBuilt,
    ProposalChecked,
    Received,
    Tick,
    Verdict,
)
from consensus.invariants import Watch
from consensus.messages import Fetch, Message, NewView, PrePrepare, Status, ViewChange
from consensus.replica import Replica
from salus.block import BLOCK_VERSION, Proposal, null_proposal, proposal_digest
from salus.certificate import Certificate
from salus.codec import decode, encode
from salus.hashing import hasher
from salus.parameters import Parameters
from salus.validators import Validator, ValidatorSet
from salus.vote import JournalEntry, VoteDomain

DOMAIN = VoteDomain("test-chain", bytes(32))
_sign = hasher("test-signature")
_header = hasher("test-header")


def key(index: int) -> bytes:
    return bytes([index + 1]) * 32


@dataclass(frozen=True)
class FakeSigner:
    public_key: bytes

    def sign(self, payload: bytes) -> bytes:
        return _sign(self.public_key + payload) * 2


def fake_verify(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    return signature == _sign(public_key + payload) * 2


def validator_set(n: int, epoch: int = 0) -> ValidatorSet:
    return ValidatorSet(epoch, tuple(Validator(f"h{i}", key(i)) for i in range(n)))


PARAMETERS = Parameters(
    watermark_window=8,
    in_flight_proposals_max=2,
    execute_ahead_max=4,
    tick_ms=100,
    progress_timeout_ms=1000,
    view_change_timeout_ms=1000,
)


@dataclass
class Block:
    certificate: Certificate
    digest: bytes
    header_hash: bytes
    epoch_end: int


@dataclass
class Node:
    """One validator: its replica, its disk, and what its memory would lose in a crash."""

    index: int
    replica: Replica
    watch: Watch
    # Disk.
    journal: list[JournalEntry] = field(default_factory=list)
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    chain: dict[int, Block] = field(default_factory=dict)
    # Memory.
    up: bool = True
    held: dict[bytes, bytes] = field(default_factory=dict)
    pool: list[bytes] = field(default_factory=list)
    headers: dict[int, tuple[bytes, bytes, int]] = field(default_factory=dict)
    building: BuildProposal | None = None
    waiting: deque[Effects] = field(default_factory=deque)
    releasing: bool = False
    events: list[Action] = field(default_factory=list)

    @property
    def height(self) -> int:
        return max(self.chain, default=0)


class Cluster:
    def __init__(self, n: int = 4, parameters: Parameters = PARAMETERS) -> None:
        self.n, self.parameters = n, parameters
        self.queue: deque[tuple[int, int, Message, bytes | None]] = deque()
        self.cut: list[tuple[int, int]] = []  # links that lose everything, one way
        self.lost: list[tuple[str, int]] = []  # messages (type, sequence) that get lost
        self.log: list[str] = []
        self.names: dict[bytes, str] = {bytes(32): "0"}
        self.nodes = [Node(i, self._replica(i, 0, None), Watch()) for i in range(n)]
        self.quiet = False  # STATUS and its answers stay out of the transcript

    def _replica(
        self, index: int, epoch: int, node: Node | None, *, voting: bool = True
    ) -> Replica:
        base, end = 0, 0
        if node is not None:
            ends = [h for h, block in sorted(node.chain.items()) if block.epoch_end == h]
            epoch, base = len(ends), max(ends, default=0)
            top = node.chain.get(node.height)
            end = top.epoch_end if top is not None and node.height > base else 0
        certified = base if node is None else node.height
        return Replica(
            ReplicaConfig(
                vote_domain=DOMAIN,
                parameters=self.parameters,
                epoch=epoch,
                base=base,
                validators=validator_set(self.n, epoch),
                me=index,
                signer=FakeSigner(key(index)),
                verifier=fake_verify,
                journal=() if node is None else tuple(node.journal),
                certified=certified,
                certificate=node.chain[certified].certificate
                if node is not None and certified > base
                else None,
                epoch_end=end,
                voting=voting,
            )
        )

    # -- what a test does -------------------------------------------------------------------------

    def submit(self, name: str, nodes: list[int] | None = None) -> None:
        for node in self.nodes if nodes is None else [self.nodes[i] for i in nodes]:
            if node.up:
                node.pool.append(name.encode())
                self.step(node, PendingWork(True))
                self._build(node)

    def tick(self, count: int = 1) -> None:
        for _ in range(count):
            for node in self.nodes:
                if node.up:
                    self.step(node, Tick())
            self.settle()

    def settle(self, steps_max: int = 100_000) -> None:
        """Deliver until the network is empty."""
        while self.queue and steps_max:
            steps_max -= 1
            self.deliver_next()
        assert steps_max, "the network never falls silent"

    def deliver_next(self) -> None:
        source, to, message, body = self.queue.popleft()
        if (source, to) in self.cut or not self.nodes[to].up:
            return
        if (type(message).__name__, getattr(message, "sequence", 0)) in self.lost:
            return
        self.receive(self.nodes[to], message, body)

    def receive(self, node: Node, message: Message, body: bytes | None = None) -> None:
        self.step(node, Received(message))
        if body is not None and isinstance(message, PrePrepare):
            node.held[proposal_digest(body)] = body
            self.step(node, BodyArrived(message.sequence, message.digest))

    def isolate(self, *indexes: int) -> None:
        for index in indexes:
            for other in range(self.n):
                self.cut += [(index, other), (other, index)]

    def heal(self) -> None:
        self.cut.clear()
        self.lost.clear()

    def crash(self, index: int) -> None:
        self.nodes[index].up = False
        self.queue = deque(entry for entry in self.queue if index not in entry[:2])

    def restart(self, index: int, *, voting: bool = True) -> None:
        node = self.nodes[index]
        node.up = True
        node.held, node.pool, node.headers, node.building = dict(node.bodies), [], {}, None
        node.watch = Watch()
        node.replica = self._replica(index, 0, node, voting=voting)

    # -- the shell --------------------------------------------------------------------------------

    def step(self, node: Node, event: Event) -> Effects:
        effects = node.replica.step(event)
        node.watch.check(node.replica)
        for item in effects.persist:
            if isinstance(item, PersistBody):
                body = node.held.get(item.digest, null_proposal(item.sequence))
                assert proposal_digest(body) == item.digest
                node.bodies[item.digest] = node.held[item.digest] = body
            else:
                node.journal.append(item)
        node.waiting.append(effects)
        self._release(node)
        return effects

    def _release(self, node: Node) -> None:
        """First in, first out, also when performing an effect steps the core again."""
        if node.releasing:
            return
        node.releasing = True
        while node.waiting:
            effects = node.waiting.popleft()
            for sending in effects.send:
                self._send(node, sending)
            for action in effects.deliver:
                node.events.append(action)
                self._act(node, action)
        node.releasing = False

    def _send(self, node: Node, sending: Sending) -> None:
        if isinstance(sending, SendBlocks):
            self._say(f"{node.index} → {sending.to}  blocks above {sending.above}")
            self._give_blocks(node, self.nodes[sending.to], sending.above)
        elif isinstance(sending, SendBody):
            if sending.digest in node.held:
                self._say(f"{node.index} → {sending.to}  body {self.name(sending.digest)}")
                peer = self.nodes[sending.to]
                if (node.index, peer.index) not in self.cut and peer.up:
                    peer.held[sending.digest] = node.held[sending.digest]
                    self.step(peer, BodyArrived(sending.sequence, sending.digest))
        else:
            self._post(node, sending)

    def _post(self, node: Node, sending: Send) -> None:
        message = sending.message
        if not (self.quiet and isinstance(message, Status)):
            to = "all" if sending.to is None else str(sending.to)
            self._say(f"{node.index} → {to}  {self.describe(message)}")
        body = None
        if isinstance(message, PrePrepare) and sending.to is None:
            body = node.held[message.digest]
        for other in range(self.n):
            if other != node.index and sending.to in (None, other):
                self.queue.append((node.index, other, message, body))

    def _act(self, node: Node, action: Action) -> None:
        match action:
            case BuildProposal():
                node.building = action
                self._build(node)
            case CheckProposal():
                verdict = self._judge(node, action)
                self.step(
                    node, ProposalChecked(action.view, action.sequence, action.digest, verdict)
                )
            case Execute(sequence, digest):
                self._execute(node, sequence, digest)
            case WriteBlock(height, certificate):
                if height not in node.chain:
                    self._write(node, height, certificate)
                self.step(node, BlockWritten(height))
                self._next_epoch(node)
            case ViewEntered(view, primary):
                node.building = None
                self._say(f"{node.index} enters view {view}, primary {primary}")
            case ViewLeft(wish, reason):
                node.building = None
                self._say(f"{node.index} asks for view {wish}: {reason}")
            case CatchUp(height):
                self._say(f"{node.index} asks for blocks up to {height}")
                self._pull(node, height)
            case Evidence(culprit, first, second):
                self._say(
                    f"{node.index} has evidence against {culprit}: "
                    f"{self.describe(first)} | {self.describe(second)}"
                )
            case Halt(reason, height):
                self._say(f"{node.index} HALTS at {height}: {reason}")
            case Quarantine(reason):
                self._say(f"{node.index} is quarantined: {reason}")
            case Rejected(reason):
                self._say(f"{node.index} rejects {reason}")

    def _build(self, node: Node) -> None:
        question = node.building
        if question is None or not (node.pool or question.fill):
            return
        node.building = None
        words = tuple(node.pool[:1])
        del node.pool[: len(words)]
        body = encode(
            Proposal(BLOCK_VERSION, question.sequence, node.index, question.view, 1, words)
        )
        digest = proposal_digest(body)
        node.held[digest] = body
        self.names[digest] = (
            "+".join(word.decode() for word in words) or f"empty{question.sequence}"
        )
        self.step(node, ProposalBuilt(question.view, question.sequence, digest))

    def _judge(self, node: Node, question: CheckProposal) -> Verdict:
        body = decode(node.held[question.digest], Proposal)
        if body.sequence != question.sequence or b"invalid" in body.transactions:
            return Verdict.INVALID
        if question.first and (body.proposer, body.origin_view) != (
            question.proposer,
            question.view,
        ):
            return Verdict.INVALID
        if question.first and b"off-clock" in body.transactions:
            return Verdict.OFF_CLOCK
        return Verdict.VALID

    def _execute(self, node: Node, sequence: int, digest: bytes) -> None:
        if sequence not in node.headers:
            self.execute_body(node, sequence, digest)
        if sequence in node.chain:
            header_hash, end = node.chain[sequence].header_hash, node.chain[sequence].epoch_end
        else:
            header_hash, _, end = node.headers[sequence]
        self._say(f"{node.index} executes s{sequence} {self.name(digest)}")
        self.step(node, Executed(sequence, header_hash, end))
        pending = bool(node.pool)
        self.step(node, PendingWork(pending))

    def execute_body(self, node: Node, sequence: int, digest: bytes) -> None:
        """What contracts do: a header hash, and perhaps the end of the epoch."""
        parent, end = bytes(32), 0
        if sequence - 1 in node.headers:
            parent, _, end = node.headers[sequence - 1]
        elif sequence - 1 in node.chain:
            parent, end = node.chain[sequence - 1].header_hash, node.chain[sequence - 1].epoch_end
        if end and end < sequence:
            end = 0
        body = decode(node.held[digest], Proposal)
        if b"end-epoch" in body.transactions and not end:
            end = sequence + self.parameters.watermark_window
        salt = b"broken" if b"diverge" in body.transactions and node.index == 3 else b""
        for word in body.transactions:
            if word in node.pool:
                node.pool.remove(word)
        header_hash = _header(parent + digest + salt)
        self.names[header_hash] = f"H{sequence}" + ("'" if salt else "")
        node.headers[sequence] = (header_hash, digest, end)

    def _write(self, node: Node, height: int, certificate: Certificate) -> None:
        header_hash, digest, end = node.headers.pop(height)
        assert certificate.header_hash == header_hash
        assert height == node.height + 1
        node.chain[height] = Block(certificate, digest, header_hash, end)
        node.bodies[digest] = node.held[digest]
        signers = " ".join(str(s.index) for s in certificate.signatures)
        self._say(f"{node.index} writes block {height} signed by {signers}")

    def _next_epoch(self, node: Node) -> None:
        top = node.chain[node.height]
        if top.epoch_end == node.height and node.replica.state.base < node.height:
            self._say(f"{node.index} begins an epoch above {node.height}")
            node.building = None
            node.waiting.clear()
            node.watch = Watch()
            node.replica = self._replica(node.index, 0, node, voting=True)
            self.step(node, PendingWork(bool(node.pool)))

    def _pull(self, node: Node, height: int) -> None:
        for peer in self.nodes:
            linked = (peer.index, node.index) not in self.cut and peer.up
            if linked and peer is not node and peer.height > node.height:
                self._give_blocks(peer, node, node.height)
                return

    def _give_blocks(self, giver: Node, taker: Node, above: int) -> None:
        """Checked by the taker's shell; here all blocks are true."""
        if (giver.index, taker.index) in self.cut or not taker.up:
            return
        for height in range(above + 1, giver.height + 1):
            if height <= taker.height:
                continue
            block = giver.chain[height]
            taker.held[block.digest] = giver.bodies[block.digest]
            if height not in taker.headers:
                self.execute_body(taker, height, block.digest)
            if taker.headers[height][0] != block.header_hash:
                return  # The shell would halt here.
            self._write(taker, height, block.certificate)
            self.step(taker, CaughtUp(height, block.certificate, block.epoch_end))
            self._next_epoch(taker)

    # -- words ------------------------------------------------------------------------------------

    def name(self, digest: bytes) -> str:
        for sequence in range(1, 200):
            if digest == proposal_digest(null_proposal(sequence)):
                return f"null{sequence}"
        return self.names.get(digest, digest.hex()[:8])

    def describe(self, message: Message) -> str:
        kind = type(message).__name__
        match message:
            case ViewChange(view=view, low=low, prepared=prepared):
                what = " ".join(
                    f"s{p.pre_prepare.sequence}/v{p.pre_prepare.view}:"
                    f"{self.name(p.pre_prepare.digest)}"
                    for p in prepared
                )
                return f"ViewChange v{view} low {low.height if low else 'base'} [{what}]"
            case NewView(view=view, view_changes=changes, pre_prepares=made):
                what = " ".join(f"s{p.sequence}:{self.name(p.digest)}" for p in made)
                senders = " ".join(str(c.sender) for c in changes)
                return f"NewView v{view} from {senders} [{what}]"
            case Status(view=view, wish=wish, certified=certified):
                asks = f" wishes v{wish}" if wish > view else ""
                return f"Status v{view}{asks} certified {certified}"
            case Fetch(sequence=sequence, digest=digest):
                return f"Fetch s{sequence} {self.name(digest)}"
            case _:
                view = "" if kind == "Checkpoint" else f"v{message.view} "
                return f"{kind} {view}s{message.sequence} {self.name(message.digest)}"

    def _say(self, line: str) -> None:
        self.log.append(line)
