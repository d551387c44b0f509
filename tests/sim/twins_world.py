"""Five nodes with four keys, without chance, clock or disk: the world of the exhaustive twins.

Node 4 is the twin of node 0: the same key, the same code, other proposals. Everything between two
rounds of a world is plain data, so a world can be copied and told from others (`copied`,
`outline`); that is what makes the enumeration of exhaustive.py cheap.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any

from consensus import invariants
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
    ViewEntered,
    ViewLeft,
    WriteBlock,
)
from consensus.events import (
    BlockWritten,
    BodyArrived,
    CaughtUp,
    Complain,
    Event,
    Executed,
    PendingWork,
    ProposalBuilt,
    ProposalChecked,
    Received,
    Tick,
    Verdict,
)
from consensus.log import Log, Slot
from consensus.messages import Message, PreparedCertificate, PrePrepare
from consensus.proofs import null_digest
from consensus.replica import Replica
from consensus.signing import Voter
from consensus.state import State
from consensus.votes import Ballot, FutureVotes
from salus.certificate import Certificate
from salus.parameters import Parameters
from salus.validators import Validator, ValidatorSet
from salus.vote import VoteDomain

MEMBERS, NODES, TWIN = 4, 5, 4
HONEST = (1, 2, 3)
DOMAIN = VoteDomain("twins", bytes(32))
GENESIS = bytes(32)
# Said again after every tick; two ticks for a NEW-VIEW; one doubling, for the enumeration is short.
PARAMETERS = Parameters(
    watermark_window=8,
    in_flight_proposals_max=2,
    execute_ahead_max=2,
    tick_ms=100,
    progress_timeout_ms=400,
    view_change_timeout_ms=200,
    timeout_doublings_max=1,
)
EVENTS_MAX = 20_000  # in one round; more is a storm


class Broken(AssertionError):
    """What must hold does not."""


def member(address: int) -> int:
    return 0 if address == TWIN else address


def key(index: int) -> bytes:
    return bytes([index + 1]) * 32


def sign(public_key: bytes, payload: bytes) -> bytes:
    digest = sha256(public_key + payload).digest()
    return digest + digest


@lru_cache(maxsize=100_000)
def verify(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    return signature == sign(public_key, payload)


@dataclass(frozen=True)
class Signer:
    public_key: bytes

    def sign(self, payload: bytes) -> bytes:
        return sign(self.public_key, payload)


SET = ValidatorSet(0, tuple(Validator(f"n{i}", key(i)) for i in range(MEMBERS)))


class Shameless(State):
    """A twin's: it goes on though others show it votes in its name (S4 is for the honest)."""

    def quarantine(self, what: str) -> None:
        pass


@dataclass(slots=True)
class Node:
    address: int
    replica: Replica
    bodies: set[bytes] = field(default_factory=set)
    headers: list[bytes] = field(default_factory=lambda: [GENESIS])  # of what it executed,
    digests: list[bytes] = field(default_factory=lambda: [GENESIS])  # by height
    blocks: list[tuple[bytes, Certificate]] = field(default_factory=list)  # digest, certificate
    open: BuildProposal | None = None
    work: int = 0  # transactions that wait: bodies it may still propose
    waiting: list[Effects] = field(default_factory=list)
    releasing: bool = False


def birth(address: int) -> Node:
    index = member(address)
    config = ReplicaConfig(DOMAIN, PARAMETERS, 0, 0, SET, index, Signer(key(index)), verify)
    replica = Replica(config)
    if index == 0:
        replica.state.__class__ = Shameless
    return Node(address, replica)


class World:
    """`split`: the addresses on the side of node 0; messages do not cross to the other side.
    `order`: in which the nodes are served; it decides whose word comes first."""

    def __init__(self, order: tuple[int, ...] = tuple(range(NODES))) -> None:
        self.order = order
        self.nodes = [birth(address) for address in range(NODES)]
        self.agreed: dict[int, bytes] = {}  # height → what an honest node had committed there
        self.split: frozenset[int] = frozenset(range(NODES))
        self.healed = False
        self.fresh: list[bytes] = []  # bodies made after the heal
        self.queue: deque[tuple[int, Any]] = deque()
        self.events = 0

    # -- what the enumeration does --------------------------------------------------------------

    def round(self, split: frozenset[int], *, leave: bool) -> None:
        """Everybody leaves its view (but in the first round), a transaction comes, two ticks pass;
        whatever is said reaches this side of the split at once, and the other side never."""
        self.split = split
        for node in self.served():
            if leave:
                self.step(node, Complain())
        self.settle()
        for node in self.served():
            node.work += 1
            self.step(node, PendingWork(True))
            self.build(node)
        self.settle()
        for _ in range(2):
            self.tick()

    def served(self) -> list[Node]:
        return [self.nodes[address] for address in self.order]

    def tick(self) -> None:
        for node in self.served():
            self.step(node, Tick())
        self.settle()

    def settle(self) -> None:
        """First come, first served, until nobody has anything to say."""
        self.events = 0
        while self.queue:
            address, event = self.queue.popleft()
            self.step(self.nodes[address], event)
            self.events += 1
            if self.events > EVENTS_MAX:
                raise Broken(f"more than {EVENTS_MAX} events: the network never falls silent")

    def recover(self, ticks_max: int) -> int:
        """Everybody hears everybody; ticks until each honest node certified a fresh body."""
        self.split, self.healed = frozenset(range(NODES)), True
        for node in self.served():
            node.work = 1
            self.step(node, PendingWork(True))
            self.build(node)
        self.settle()
        for ticks in range(ticks_max + 1):
            if all(self.recovered(self.nodes[address]) for address in HONEST):
                return ticks
            self.tick()
        late = [a for a in HONEST if not self.recovered(self.nodes[a])]
        raise Broken(f"LIVENESS: {ticks_max} ticks after the heal, n{late} certified nothing fresh")

    def recovered(self, node: Node) -> bool:
        return any(digest in self.fresh for digest, _ in node.blocks)

    # -- the shell of a node --------------------------------------------------------------------

    def step(self, node: Node, event: Event) -> None:
        effects = node.replica.step(event)
        if effects.persist or effects.send or effects.deliver:
            node.waiting.append(effects)
            if not node.releasing:
                node.releasing = True
                while node.waiting:
                    self.release(node, node.waiting.pop(0))
                node.releasing = False

    def release(self, node: Node, effects: Effects) -> None:
        for item in effects.persist:
            if not isinstance(item, PersistBody) or item.digest in node.bodies:
                continue
            if item.digest != null_digest(item.sequence):
                raise Broken(f"n{node.address} stores a body that it does not hold (S3)")
        for sending in effects.send:
            if isinstance(sending, Send):
                self.post(node, sending.message, sending.to)
            elif isinstance(sending, SendBody):
                if sending.digest in node.bodies:
                    self.reach(node, sending.to, BodyArrived(sending.sequence, sending.digest))
            else:
                self.offer(node, sending)
        for action in effects.deliver:
            self.perform(node, action)

    def post(self, node: Node, message: Message, to: int | None) -> None:
        self.reach(node, to, Received(message))
        if to is None and isinstance(message, PrePrepare):
            self.reach(node, None, BodyArrived(message.sequence, message.digest))

    def reach(self, node: Node, to: int | None, event: Event) -> None:
        """To the nodes of one member, or of all others, on this side of the split."""
        here, me = node.address in self.split, member(node.address)
        for address in self.order:
            it = member(address)
            if (address in self.split) != here or it == me or to not in (None, it):
                continue
            self.queue.append((address, event))
            if isinstance(event, BodyArrived):
                self.nodes[address].bodies.add(event.digest)

    def offer(self, node: Node, sending: SendBlocks) -> None:
        here = node.address in self.split
        for address in self.order:
            if (address in self.split) == here and member(address) == sending.to:
                self.give_blocks(node, self.nodes[address])

    def give_blocks(self, source: Node, node: Node) -> None:
        """Each is believed for its certificate, and executed (S14)."""
        while len(node.blocks) < len(source.blocks):  # asked anew: a step may bring blocks as well
            height = len(node.blocks) + 1
            digest, certificate = source.blocks[height - 1]
            self.execute(node, height, digest)
            if node.headers[height] != certificate.header_hash:
                raise Broken(f"n{node.address} executes block {height} to another header")
            node.blocks.append((digest, certificate))
            self.commit(node, height, digest)
            self.step(node, CaughtUp(height, certificate, 0))

    def perform(self, node: Node, action: Action) -> None:
        honest = node.address in HONEST
        match action:
            case BuildProposal():
                node.open = action
                self.build(node)
            case CheckProposal(view, sequence, digest, _, _):
                self.step(node, ProposalChecked(view, sequence, digest, Verdict.VALID))
            case Execute(sequence, digest):
                self.commit(node, sequence, digest)
                if sequence > len(node.blocks):  # else a sync has passed it
                    self.execute(node, sequence, digest)
                    self.step(node, Executed(sequence, node.headers[sequence], 0))
            case WriteBlock(height, certificate):
                if height > len(node.blocks) + 1:
                    raise Broken(f"n{node.address} writes {height} after {len(node.blocks)} (S12)")
                if height > len(node.blocks):
                    if certificate.header_hash != node.headers[height]:
                        raise Broken(f"n{node.address} certifies another header at {height}")
                    node.blocks.append((node.digests[height], certificate))
                self.step(node, BlockWritten(height))
            case ViewEntered() | ViewLeft():
                node.open = None
            case CatchUp():
                for source in self.served():
                    if (source.address in self.split) == (node.address in self.split):
                        self.give_blocks(source, node)
            case Evidence(culprit):
                if honest and culprit != 0:
                    raise Broken(f"n{node.address} accuses honest n{culprit} (L23)")
            case Halt(reason) | Quarantine(reason) | Rejected(reason):
                if honest:
                    raise Broken(f"n{node.address}: {type(action).__name__}, {reason}")

    def execute(self, node: Node, height: int, digest: bytes) -> None:
        """In order, each height once (S6)."""
        if height < len(node.headers):
            if node.digests[height] != digest:
                raise Broken(f"n{node.address} executes two digests at height {height}")
            return
        if height != len(node.headers):
            raise Broken(f"n{node.address} executes {height} on {len(node.headers) - 1} (S6)")
        node.headers.append(sha256(node.headers[-1] + digest).digest())
        node.digests.append(digest)
        node.bodies.add(digest)

    def build(self, node: Node) -> None:
        asked = node.open
        if asked is None or not (node.work or asked.fill):
            return
        node.open, node.work = None, max(0, node.work - 1)
        words = f"{node.address} {asked.view} {asked.sequence} {self.healed} {len(self.fresh)}"
        digest = sha256(words.encode()).digest()
        if self.healed:
            self.fresh.append(digest)
        node.bodies.add(digest)
        self.step(node, ProposalBuilt(asked.view, asked.sequence, digest))

    def commit(self, node: Node, height: int, digest: bytes) -> None:
        if node.address in HONEST:
            agreed = self.agreed.setdefault(height, digest)
            if agreed != digest:
                raise Broken(f"AGREEMENT: two digests are committed at height {height}")

    def check(self) -> None:
        for address in HONEST:
            invariants.check(self.nodes[address].replica)


# -- copies and outlines --------------------------------------------------------------------------

_SLOTTED: dict[type, tuple[str, ...]] = {
    kind: tuple(kind.__slots__)  # type: ignore[attr-defined]
    for kind in (Voter, Log, Slot, Ballot, FutureVotes, Node)
}
_OPEN = (State, Shameless, Replica, World)


def copied(x: Any) -> Any:
    """What can change is copied, what cannot (messages, numbers, the config) is shared."""
    kind = type(x)
    if kind is dict:
        return {name: copied(value) for name, value in x.items()}
    if kind is list:
        return [copied(value) for value in x]
    if kind is set or kind is deque:
        return kind(x)
    names = _SLOTTED.get(kind)
    if names is not None:
        new = kind.__new__(kind)
        for name in names:
            setattr(new, name, copied(getattr(x, name)))
        return new
    if kind in _OPEN:
        new = kind.__new__(kind)
        new.__dict__.update((name, copied(value)) for name, value in x.__dict__.items())
        return new
    return x


def outline(world: World) -> bytes:
    """What the protocol makes of a world: views, logs, votes, and what certificates prove.

    Left out: whose signatures a certificate happens to carry, and when who was last answered (L20).
    Heights count from the lowest certified one, views from the lowest multiple of four, bodies are
    named in the order in which they are met: only what is relative steers what comes.
    """
    states = [node.replica.state for node in world.nodes]
    base = min(s.log.certified for s in states)
    first = min(s.view for s in states) // MEMBERS * MEMBERS
    names: dict[bytes | None, int] = {None: -1}

    def name(digest: bytes | None) -> int:
        return names.setdefault(digest, len(names))

    def prepared(found: PreparedCertificate | None) -> tuple[int, ...]:
        if found is None:
            return ()
        vote = found.pre_prepare
        return vote.sequence - base, vote.view - first, name(vote.digest)

    def slot(x: Slot) -> object:
        proposal = None if x.pre_prepare is None else x.pre_prepare.digest
        prepares = [(i, name(vote.digest)) for i, vote in sorted(x.prepares.votes.items())]
        commits = [
            (view - first, [(i, name(vote.digest)) for i, vote in sorted(ballot.votes.items())])
            for view, ballot in sorted(x.commits.items())
        ]
        bodies = sorted(map(name, x.bodies))
        return x.sequence - base, name(proposal), prepares, commits, prepared(x.prepared), bodies

    def node(x: Node) -> object:
        s, log = x.replica.state, x.replica.state.log
        heights = (log.low, log.certified, log.executed, log.committed)
        asked = [
            (i, vc.view - first, vc.low and vc.low.height - base, list(map(prepared, vc.prepared)))
            for i, vc in sorted(s.view_changes.items())
        ]
        fixed = () if s.new_view is None else s.new_view.pre_prepares
        return (
            (s.view - first, s.wish - first, [max(-1, view - first) for view in s.reached]),
            (s.halted is None, s.doublings, s.progress_left, s.view_change_left, x.work),
            [height - base for height in heights],
            [slot(log.slots[sequence]) for sequence in sorted(log.slots)],
            asked,
            [(p.sequence - base, name(p.digest)) for p in fixed if p.sequence > log.certified],
            (name(x.digests[-1]), x.open and (x.open.view - first, x.open.sequence - base)),
        )

    return sha256(repr([node(each) for each in world.served()]).encode()).digest()
