"""A whole consortium in one priority queue: one seed is one run is one trace.

Nothing here depends on hash order, wall clocks or memory addresses; the only dice are
`Random(seed)`. Law of the file: first the plan's faults until `heal_at`, then a good network
with all honest nodes up, in which a fresh transaction must be certified everywhere in time.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from inspect import iscoroutine
from random import Random
from typing import Any

from consensus.events import Event
from contracts.errors import StoreFailed
from salus.block import proposal_digest
from salus.transaction import ParsedTransaction
from storage.errors import StoreDamaged, StoreUnavailable
from storage.state import BlockBatch
from tests.sim import trace
from tests.sim.checkers import Checkers
from tests.sim.execution import Outcomes
from tests.sim.faults import Change, Crash
from tests.sim.founding import Founding, anchor, poisoned, refused, retract, supersede
from tests.sim.liars import DivergedNode, LiarNode
from tests.sim.light import check_light_client
from tests.sim.machine import Machine
from tests.sim.network import Network
from tests.sim.observer import Observer
from tests.sim.plan import Plan, draw
from tests.sim.poison import HOWS, with_poison
from tests.sim.politics import Assembly, last_call
from tests.sim.power import PowerCut
from tests.sim.promises import Promises
from tests.sim.reference_adapter import Reference
from tests.sim.rules import Rules
from tests.sim.schism import unclear
from tests.sim.shell import Node
from tests.sim.signatures import Ledger, Seals
from tests.sim.traps import Ambush, Outgrown, Relapse, misfit
from tests.sim.work import Worker

# In each such seed every node does everything itself (execution.py), and is looked at after every
# step (`invariants.Watch`).
THOROUGH_SEEDS = 8
EVENTS_MAX = 150_000  # a run that needs more is a storm, and that is a failure
# The faults go on until so much has happened, and stop there: many runs find more than long ones.
FAULTY_EVENTS_MIN, FAULTY_EVENTS_MAX = 1_000, 1_080
COUNTED = "≥ 1,500 events"
COUNTED_EVENTS_MIN = 1_500  # a run of four and more has at least so many, the calm ones included
HEAL_STRETCH = 3
REGISTRY = with_poison()  # one for all runs: contracts have no memory
# A block waits for the disk for each vote, the body and the batch, of two in flight; and for messages.
BLOCK_PERSISTS, BLOCK_MS = 12, 200.0
FRESH_BLOCKS = 400  # the fresh transaction outlives a censor's whole measure of fairness (L17)
POLL_MS = 50.0
CLIENT_MS = 1.0  # a client has heard of a block
OLD_KEYS = 4  # of so many one is signed with an operator key that was replaced
AGAIN = 8  # of so many a client sends one that was sent before
SENT_MAX = 64  # are remembered for that
TWIN_SPLIT_MS = 700.0


def liveness_bound_ticks(plan: Plan) -> int:
    """Stated bound: after the heal, f+2 views with fully grown timers, and the length of an epoch
    that has to end (rejoin) with its retransmissions."""
    p = plan.parameters
    progress = -(-p.progress_timeout_ms // p.tick_ms)
    change = -(-p.view_change_timeout_ms // p.tick_ms)
    f = (plan.n - 1) // 3
    return (f + 2) * ((progress + change) << p.timeout_doublings_max) + 12 * (progress + change)


@dataclass(slots=True)
class Result:
    seed: int
    events: int
    failure: str | None
    covered: list[str] = field(default_factory=list)
    rejections: dict[str, int] = field(default_factory=dict)
    recovery: float = 0.0  # share of the liveness bound that was used
    heights: int = 0


class Cluster:
    def __init__(
        self,
        plan: Plan,
        say: Callable[[str], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.plan = plan
        self.say = say
        self.tracing = say is not None
        self.random = Random(plan.seed ^ 0x5EED)
        self.now = 0.0
        self.events = 0
        self._order = 0
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.covered: dict[str, int] = {}
        self.rejections: dict[str, int] = {}
        self.views: dict[int, int] = {}  # epoch → highest view that somebody entered
        self.founding = Founding(plan.n, plan.parameters, REGISTRY, plan.observers)
        self.members = list(range(plan.n + plan.observers))
        self.ledger = Ledger(plan.faulty, self.founding.domain)
        self.seals = Seals(self.founding.domain)
        self.checkers = Checkers(self)
        self.thorough = plan.seed % THOROUGH_SEEDS == 0
        if observer is None:
            observer = Reference(plan.faulty)
        self.observer = observer
        self.watched = type(observer) is not Observer  # the busiest lines ask
        self.outcomes: Outcomes | None = None if self.thorough else {}
        self.digests: dict[bytes, bytes] = {}
        self.signed: dict[int, tuple[object, bool]] | None = None if self.thorough else {}
        self.promises = Promises(plan, self.seals)
        self.ambush = Ambush(self)
        self.relapse = Relapse(self)
        self.rules = Rules(self)
        self.addresses = [[member] for member in self.members]
        self.network = Network(self)
        self.nodes: list[Node] = []
        self.twins: list[tuple[int, int]] = []
        for member in self.members:
            names = plan.liars.get(member, ())
            if names == ("diverged",):
                self.nodes.append(DivergedNode(self, member, member))
            elif names and names != ("twins",):
                self.nodes.append(LiarNode(self, member, member, names))
            else:
                self.nodes.append(Node(self, member, member))
        for member, names in sorted(plan.liars.items()):
            if names == ("twins",) and not self.twins:
                self.nodes.append(Node(self, plan.n, member))
                self.addresses[member].append(plan.n)
                self.twins.append((member, plan.n))
        self.upright = [node for node in self.nodes if node.member not in plan.faulty]
        self.healed = False
        self.healed_at = self.recovered_at = 0.0
        self.done = False
        self.recovered: set[int] = set()
        self.turns: dict[tuple[int, int], set[int]] = {}  # (epoch, view) after the heal → by whom
        self.taken: set[int] = set()  # who has the fresh transaction in its pool
        self.number = 0
        self.upgrades = any(one.change is Change.ACTIVATE for one in plan.politics)
        self.sent: deque[bytes] = deque(maxlen=SENT_MAX)

    # -- the queue ------------------------------------------------------------------------------

    def at(self, delay: float, call: Callable[..., None], *args: Any) -> None:
        self._order += 1
        heappush(self._heap, (self.now + delay, self._order, call, args))

    def arrive(self, address: int, source: int, kind: str, payload: Any) -> None:
        node = self.nodes[address]
        if not node.up:
            return
        if node.paused_until > self.now:
            self.at(node.paused_until - self.now, self.arrive, address, source, kind, payload)
            return
        if kind == "on_message":  # the busiest road
            node.on_message(source, payload)
        else:
            getattr(node, kind)(source, payload)

    def run(self) -> Result:
        """Never raises: a failure is a result."""
        failure: str | None = None
        logged = logging.root.manager.disable
        logging.disable(logging.CRITICAL)  # the nodes' logs are not the trace, and cost time
        try:
            self._run()
        except AssertionError as error:
            failure = str(error) or f"assertion {trace.where(error)}"
        except (Exception, StoreFailed, PowerCut) as error:  # noqa: BLE001  # the seed has failed
            failure = f"{type(error).__name__}: {error} {trace.where(error)}"
        finally:
            logging.disable(logged)
            for _, _, _, args in self._heap:
                if args and iscoroutine(args[-1]):
                    args[-1].close()
        if failure is not None and self.say is not None:
            for node in self.nodes:
                self.say(f"{'':9}  n{node.address}  {trace.standing(node)}")
            self.say(f"{self.now:9.1f}  FAILED: {failure}")
        p = self.plan
        bound = liveness_bound_ticks(p) * p.parameters.tick_ms
        return Result(
            p.seed,
            self.events,
            failure,
            sorted(self.covered),
            self.rejections,
            (self.recovered_at - self.healed_at) / bound if self.healed else 0.0,
            max(node.height for node in self.nodes),
        )

    def _run(self) -> None:
        self._schedule()
        while not self.done:
            try:
                self._go_on()
            except (StoreDamaged, StoreFailed):
                self._ends("STORE_DAMAGED", lambda node: node.disks.met_damage)
            except StoreUnavailable as error:
                self._ends(error.code, lambda node: node.disks.power.full)
        self._finish()

    def _go_on(self) -> None:
        heap = self._heap
        while not self.done:
            self.now, _, call, args = heappop(heap)
            call(*args)
            assert self.events < EVENTS_MAX, f"more than {EVENTS_MAX} events: a storm"

    def _ends(self, why: str, who: Callable[[Node], bool]) -> None:
        """A store failed under a node, in whatever it did: its process ends, as a real one does."""
        for node in self.nodes:
            if node.up and who(node):
                node.die(why)
                return
        raise AssertionError(f"a store fails without a reason: {why}")

    def _schedule(self) -> None:
        plan = self.plan
        for node in self.nodes:
            self.at(self.random.random() * 50.0, node.start)
        for crash in plan.crashes:
            self.at(crash.time, self._crash, crash)
        for time, address, jump in plan.jumps:
            self.at(time, self._jump, address, jump)
        for time, address, length in plan.full:
            self.at(time, self._fill, address, length)
        for time, address in plan.backups:
            self.at(time, self._back_up, address)
        for cut in plan.cuts:
            self.at(cut.start, self.network.cut)
            self.at(cut.end, self.network.cut)
        for time, address, length in plan.pauses:
            self.at(time, self._pause, address, length)
        for time, address, length in plan.stalls:
            self.at(time, self._stall, address, length)
        for time, address in plan.misfits:
            self.at(time, misfit, self.nodes[address])
        if plan.needed is not None:
            self.at(0.0, Outgrown(self).look)
        if plan.no_checkpoints is not None:
            start, end = plan.no_checkpoints
            self.at(start, self.network.lose_checkpoints, end)
        for time, address, count in plan.load:
            self.at(time, self._load, address, count)
        if self.twins:
            self.at(0.0, self._split_twins)
        if plan.politics:
            self.at(0.0, Assembly(self, plan.politics).round)
        self.at(POLL_MS, self._until_healed)

    def _until_healed(self) -> None:
        """The faults last for `heal_at` or longer, until enough has happened; never too long."""
        plan, enough = self.plan, FAULTY_EVENTS_MIN if self.plan.n > 3 else 0
        over = self.now >= plan.heal_at and (
            self.events >= enough or self.now >= HEAL_STRETCH * plan.heal_at
        )
        if over or self.events >= FAULTY_EVENTS_MAX:
            self._heal()
        else:
            self.at(POLL_MS, self._until_healed)

    def _crash(self, crash: Crash) -> None:
        if not self.healed:
            self.nodes[crash.node].arm(crash)

    def _pause(self, address: int, length: float) -> None:
        if self.healed:
            return
        self.nodes[address].paused_until = self.now + length
        self.cover("pause")

    def _stall(self, address: int, length: float) -> None:
        if not self.healed:
            self.nodes[address].stalled_until = self.now + length
            self.cover("disk hangs")

    def _load(self, address: int, count: int) -> None:
        node = self.nodes[address]
        if self.now < self.ambush.until:
            return
        for _ in range(count):
            if node.up:
                raw = self.transaction(node.member, node.height).raw
                if self.number % AGAIN == 0 and self.sent:
                    raw = self.sent[self.number // AGAIN % len(self.sent)]
                self.sent.append(raw)
                node.submit(raw)

    def _jump(self, address: int, jump_ms: float) -> None:
        if not self.healed:
            self.nodes[address].clock_offset_ms += jump_ms
            self.cover("clock jumps")

    def _fill(self, address: int, length: float) -> None:
        """The disk of a node is full, until somebody has made room."""
        if not self.healed:
            self.nodes[address].disks.power.full = True
            self.at(length, self._make_room, address)
            self.cover("disk full")

    def _make_room(self, address: int) -> None:
        self.nodes[address].disks.power.full = False

    def _back_up(self, address: int) -> None:
        self.nodes[address].disks.take_backup()

    def transaction(self, of: int, height: int) -> ParsedTransaction:
        """What a client of this member would send now."""
        self.number += 1
        die = self.random.random()
        index = self.number
        if die < (0.15 if self.upgrades or self.plan.contract_bit else 0.75):
            operation = anchor(index)
        elif self.upgrades and die < 0.75:
            # Of either version: which one is active is what such a run is about.
            operation = poisoned(index % HOWS, 1 + (index // HOWS) % 2)
        elif self.plan.contract_bit and die < 0.9:
            operation = poisoned(index % HOWS)
        elif die < 0.85:
            operation = retract(max(1, index - 5))
        elif die < 0.95:
            operation = supersede(max(1, index - 5))
        elif die < 0.98:
            operation = refused(index % 64)
        else:
            operation = poisoned(index % HOWS)
        life = 60 if self.random.random() < 0.9 else 4
        old_key = index % OLD_KEYS == 0
        return self.founding.transaction(of, operation, max(1, height + life), old_key=old_key)

    def _split_twins(self) -> None:
        """Each peer talks to one of the two, some to both; drawn anew all the time."""
        member, twin = self.twins[0]
        blocked = {(member, twin), (twin, member)}
        for peer in range(self.plan.n):
            if peer != member:
                side = self.random.random()
                if side < 0.45:
                    blocked |= {(peer, twin), (twin, peer)}
                elif side < 0.9:
                    blocked |= {(peer, member), (member, peer)}
        self.network.twin_blocked = blocked
        self.at(TWIN_SPLIT_MS, self._split_twins)

    # -- liveness -------------------------------------------------------------------------------

    def _heal(self) -> None:
        """Good network, everybody back, and one fresh transaction at every honest node."""
        if self.say is not None:
            self.say(f"{self.now:9.1f}  HEAL")
        self.healed = True
        self.healed_at = self.now
        self.network.heal()
        for node in self.nodes:
            node.armed = None
            node.paused_until = node.stalled_until = 0.0
            node.clock_offset_ms = self.plan.skew_ms[node.address] / 4
            node.disks.power.full = False
            if not node.up and node.honest:
                node.start()
        longest = min(node.height for node in self.upright) + FRESH_BLOCKS
        self.fresh = self.founding.transaction(0, anchor(0), longest)
        self.at(liveness_bound_ticks(self.plan) * self.plan.parameters.tick_ms, self._too_late)
        self._poll()

    def _send_fresh(self) -> None:
        """Again and again, as a client does that was told to come later."""
        for node in self.upright:
            done = node.address in self.recovered or node.address in self.taken
            if node.up and not done and node.submit(self.fresh.raw) is None:
                self.taken.add(node.address)

    def _poll(self) -> None:
        self.at(POLL_MS, self._poll)  # first: a store may fail in what follows
        self._send_fresh()
        if next(self._missing(), None) is None:
            self.recovered_at = self.recovered_at or self.now
            self.done = self.events >= COUNTED_EVENTS_MIN or self.plan.n < 4

    def _missing(self) -> Iterator[str]:
        """Who has not certified the fresh transaction, or has a vote and may not use it yet."""
        if self.plan.schism:
            yield from unclear(self)
            return
        for node in self.upright:
            if node.address not in self.recovered:
                yield f"n{node.member} has not certified the fresh transaction"
            elif node.seated and (node.replica is None or not node.replica.state.voter.active):
                yield f"n{node.member} does not vote again"

    def _too_late(self) -> None:
        missing = "; ".join(self._missing())
        ticks = liveness_bound_ticks(self.plan)
        assert not missing, f"LIVENESS: {ticks} ticks after the heal {missing}"

    def _finish(self) -> None:
        plan = self.plan
        highest = sum(self.views.values())
        if highest >= 2:
            self.cover("≥ 2 view changes")
        if plan.n < 4:
            self.cover("B29 fewer than four, so nobody may lie")
        if self.events >= COUNTED_EVENTS_MIN:
            self.cover(COUNTED)
        for names in plan.liars.values():
            for name in names:
                self.cover(f"liar: {name}")
        check_light_client(self)
        if not plan.faulty:
            self.cover("nobody lies")
            assert not self.rejections, f"honest words were rejected: {sorted(self.rejections)}"

    # -- what the nodes report ------------------------------------------------------------------

    def on_certified(self, node: Worker, batch: BlockBatch) -> None:
        if self.upgrades and batch.header.height + 1 == batch.header.epoch_end:
            self.at(CLIENT_MS, last_call, node, node.life)
        if self.healed and self.fresh.id in batch.tx_ids:
            if not self.recovered:
                self._fair()
            self.recovered.add(node.address)

    def _fair(self) -> None:
        """L22: known to f+1 honest nodes, it commits within f+1 primaries; one has had its turn when
        all honest nodes had entered its view and left it again. A liar may take each turn but one."""
        plan = self.plan
        # Where a block takes about as long as the timer, honest primaries lose their views, too,
        # until the timers have grown (L18). Two seeds were read (400 ms, and 60 ms for each of the
        # three synced votes of a block): each primary committed one or two blocks and lost its view
        # over the next one, each commit halved the timers again, and the fresh transaction stood
        # behind a whole pool. Nobody left it out; the plan's disks were too slow for the plan's timer.
        if plan.parameters.progress_timeout_ms < BLOCK_PERSISTS * plan.persist_ms + BLOCK_MS:
            return
        f = (plan.n - 1) // 3
        honest = {node.address for node in self.upright}
        turns = sorted(place for place, who in self.turns.items() if who >= honest)
        primaries = {(epoch + view) % plan.n for epoch, view in turns[:-1]}
        assert len(primaries) <= f + 1, (
            f"LIVENESS: the fresh transaction waited while {len(primaries)} primaries came and went"
        )

    def on_view(self, node: Machine, epoch: int, view: int) -> None:
        weak = (self.plan.n - 1) // 3 + 1
        if self.healed and len(self.taken) >= weak and not self.plan.politics:
            self.turns.setdefault((epoch, view), set()).add(node.address)
        self.views[epoch] = max(self.views.get(epoch, 0), view)
        self.relapse.on_view(node, epoch)

    def cover(self, what: str) -> None:
        self.covered[what] = self.covered.get(what, 0) + 1

    def digest(self, body: bytes) -> bytes:
        """Of a proposal: everybody hears the same bytes."""
        found = self.digests.get(body)
        if found is None:
            found = self.digests[body] = proposal_digest(body)
        return found

    def note(self, node: Machine, text: str) -> None:
        if self.say is not None:
            self.say(f"{self.now:9.1f}  n{node.address}  {text}")

    def note_event(self, node: Machine, event: Event) -> None:
        if self.say is not None:
            self.say(f"{self.now:9.1f}  n{node.address}  {trace.event(event)}")

    def dissolve(self) -> None:
        """Cuts the cycles (nodes know their cluster, parts their node), so that all memory of the
        run is free at once: the next one finds it warm, and the collector has nothing to do."""
        self._heap.clear()
        for each in (*self.nodes, self):
            # Compiled objects have none; then the collector does it (`run.run_quietly`).
            getattr(each, "__dict__", self._heap).clear()


def run_seed(seed: int, say: Callable[[str], None] | None = None) -> Result:
    cluster = Cluster(draw(seed), say)
    result = cluster.run()
    cluster.dissolve()
    return result
