"""Faults that came to the plan later, and those that wait for their moment.

Law of the file: dice of its own, so that what a seed meant before, it still means.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

from salus.vote import VoteType
from tests.sim.faults import Change, Crash, CrashMode, Loss, Politics

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.machine import Machine
    from tests.sim.plan import Plan

BURST_TRANSACTIONS = 16  # a whole pool, at one node: what came earlier wrongs nobody (L17)
# The stretch of time in which an ambush looks for its moment: when nothing waits.
WATCH_MS = 10.0
RELAPSE_DOWN_MS = 50.0
AWAY_MS = 2_000.0  # longer than any patience with a primary
LIMIT_SHARE = 0.5  # of the runs of four with a bad proposer
RELAPSE_SHARE = 0.5  # of the runs in which it may happen


def draw(plan: Plan) -> None:
    if ("dripping",) in plan.liars.values():
        return  # Its weather is fair (weather.py).
    r = Random(plan.seed ^ 0x7A95)
    if plan.n > 3:
        _draw_disks(r, plan)
        _draw_moments(r, plan)
    if ("diverged",) in plan.liars.values() and r.random() < 0.5:
        plan.late_divergence = True
        liars = [i for i, names in plan.liars.items() if names == ("diverged",)]
        for _ in range(3):
            time, mode = r.uniform(0.1, 0.9) * plan.heal_at, r.choice(list(CrashMode))
            plan.crashes.append(Crash(time, liars[0], mode, 50.0))
    if 4 <= plan.n <= 6 and r.random() < 0.2:
        _draw_politics(r, plan)
    if r.random() < 0.1:
        time, node = r.random() * plan.heal_at, r.randrange(plan.n)
        plan.load += [(time, node, BURST_TRANSACTIONS), (time + 300.0, node, BURST_TRANSACTIONS)]
    plan.crashes.sort(key=lambda crash: crash.time)
    if any(crash.loss is Loss.STATE_BIT for crash in plan.crashes):
        plan.contract_bit = r.random() < 0.5
    if plan.n > 3 and r.random() < 0.03:
        well = [i for i in range(plan.n) if i not in plan.liars]
        plan.misfits.append((r.uniform(0.2, 0.9) * plan.heal_at, r.choice(well)))
    _draw_relapse(Random(plan.seed ^ 0x2E1A), plan)
    _draw_limit(Random(plan.seed ^ 0x11A1), plan)


def _draw_disks(r: Random, plan: Plan) -> None:
    if r.random() < 0.12:
        for _ in range(r.randrange(1, 4)):
            length = r.choice((300.0, 1_000.0, 2_000.0))
            plan.stalls.append((r.random() * plan.heal_at, r.randrange(plan.n), length))
    for crash in tuple(plan.crashes):
        if crash.loss in (Loss.NOTHING, Loss.UNNOTICED) or r.random() < 0.7:
            continue
        crash.loss = r.choice((Loss.STATE, Loss.STATE, Loss.JOURNAL_OLD, Loss.BACKUP))
        if crash.loss is Loss.STATE:  # and again, while it catches up
            again = crash.time + crash.down_ms + r.choice((300.0, 900.0))
            plan.crashes.append(Crash(again, crash.node, CrashMode.NOW, 50.0))
        if crash.loss is Loss.BACKUP:  # of the time before its first start
            plan.backups = [one for one in plan.backups if one[1] != crash.node]
            plan.backups.append((0.0, crash.node))


def _draw_moments(r: Random, plan: Plan) -> None:
    if r.random() < 0.03:
        start = r.uniform(0.1, 0.6) * plan.heal_at
        plan.no_checkpoints = (start, start + r.choice((1_000.0, 2_500.0)))
    censored = any("censor" in names for names in plan.liars.values())
    if r.random() < 0.06 and not censored:  # whose measure takes a long epoch
        plan.ambush_ms = r.choice((2_500.0, 4_000.0))
        # An end that comes early, and a load that leaves moments in which nothing waits.
        plan.parameters = msgspec.structs.replace(
            plan.parameters, epoch_blocks_max=plan.parameters.watermark_window
        )
        plan.load = plan.load[::2]


def _draw_politics(r: Random, plan: Plan) -> None:
    """As there, f of the smaller set still covers the faults."""
    faults = plan.faulty | plan.losers
    well = [i for i in range(plan.n) if i not in faults]
    for change in r.sample((Change.SUSPEND, Change.OPERATOR, Change.ACTIVATE), r.choice((1, 2))):
        gone = sum(one.change is Change.REMOVE for one in plan.politics)
        if change is Change.SUSPEND and (plan.n - gone - 2) // 3 < len(faults):
            continue
        time = r.uniform(0.0, 0.5) * plan.heal_at
        plan.politics.append(Politics(time, change, r.choice(well)))


def _draw_relapse(r: Random, plan: Plan) -> None:
    """Where nobody else counts among the f, and nobody's leaving makes them fewer."""
    fewer = any(one.change in (Change.REMOVE, Change.SUSPEND) for one in plan.politics)
    if r.random() < RELAPSE_SHARE and plan.n > 3 and not (plan.faulty or plan.losers or fewer):
        plan.relapse = r.randrange(plan.n)


def _draw_limit(r: Random, plan: Plan) -> None:
    """A limit falls under what a bad proposer had everybody verify before (`lies.overlong`). It leads
    once before that, for the first primary falls, and again in the first view of the next epoch."""
    told = [names for names in plan.liars.values() if "bad-proposer" in names]
    if not told or plan.n != 4 or r.random() >= LIMIT_SHARE:
        return
    plan.liars, plan.relapse = {1: ("bad-proposer",)}, None
    plan.crashes = [Crash(r.uniform(100.0, 600.0), 0, CrashMode.NOW, 500.0)]
    plan.backups, plan.cuts, plan.misfits = [], [], []
    plan.observers, plan.politics = 0, [Politics(0.0, Change.LIMIT, 2)]
    plan.parameters = msgspec.structs.replace(
        plan.parameters, epoch_blocks_max=plan.parameters.watermark_window
    )


def describe(plan: Plan) -> list[str]:
    lines = [f"{t:.0f} ms: the disk of n{i} hangs for {d:.0f} ms" for t, i, d in plan.stalls]
    if plan.no_checkpoints is not None:
        start, end = plan.no_checkpoints
        lines.append(f"{start:.0f}–{end:.0f} ms: no CHECKPOINT arrives")
    lines += [f"{t:.0f} ms: n{i} would sign once more, and other" for t, i in plan.misfits]
    if plan.relapse is not None:
        lines.append(f"the state of n{plan.relapse} falls back behind a NEW-VIEW in its journal")
    if plan.needed is not None:
        lines.append(f"the state of n{plan.needed} falls back by more than its window")
    if plan.ambush_ms:
        lines.append(
            f"once an end is fixed and all is idle, the primary is gone: {plan.ambush_ms:.0f} ms"
        )
    return lines


def misfit(node: Machine) -> None:
    """A fault in the process, not in the code: a vote goes to the journal that contradicts the newest
    one there. It must be refused, and the process ends (S4)."""
    if node.cluster.healed or not node.up or node.replica is None:
        return
    s, votes = node.replica.state, node.disks.votes
    plain = (VoteType.PREPARE, VoteType.COMMIT, VoteType.CHECKPOINT)
    newest = [e for e in votes.values() if e.kind in plain and e.epoch == s.epoch]
    if newest and s.voter.active and newest[-1].sequence > s.voter.floor:
        node.misfit = True
        node.cluster.note(node, f"its journal is given another {VoteType(newest[-1].kind).name}")
        node.persist_entry(msgspec.structs.replace(newest[-1], digest=bytes(32)))


class Ambush:
    """Nothing waits but the epoch's fixed end: now its primary stands still, and nobody sends
    anything. A scheduled end is pending work (S13)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.until = 0.0  # nobody sends before
        self.set = cluster.plan.ambush_ms > 0

    def end_is_fixed(self, node: Machine, end: int) -> None:
        """`node` has executed the block that fixes it."""
        if self.set and not self.cluster.healed:
            self.set = False
            self.until = self.cluster.now + self.cluster.plan.ambush_ms
            self._look(node.address, end)

    def _look(self, address: int, end: int) -> None:
        cluster = self.cluster
        node = cluster.nodes[address]
        if cluster.healed or cluster.now >= self.until:
            return
        if not node.up or node.replica is None:
            cluster.at(WATCH_MS, self._look, address, end)
            return
        s = node.replica.state
        if s.log.settled >= end:
            return
        busy = any(one.up and one.mempool.owed for one in cluster.upright)
        if busy or s.in_view_change or s.log.epoch_end != end:
            cluster.at(WATCH_MS, self._look, address, end)
            return
        primary = cluster.nodes[node.hands.numbers[s.primary]]
        cluster.note(primary, "stands still, for the epoch's end is fixed and nothing else waits")
        cluster.cover("S13 the primary is gone before a scheduled end")
        primary.paused_until = self.until


class Relapse:
    """A state store is replaced by the one of the moment when its node entered a view, once the
    floor of the journal has passed what that NEW-VIEW proposes again: the restart finds it there
    and may not vote for it (S12)."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.victim = cluster.plan.relapse
        self.entered = 0  # views since the start

    def on_view(self, node: Machine, epoch: int) -> None:
        """`node` has entered a view: is there anything to come back to?"""
        if node.address != self.victim or node.replica is None or self.cluster.healed:
            return
        self.entered += 1
        s = node.replica.state
        if s.new_view is None or s.me is None:
            return
        low = max(s.log.low, s.log.certified)
        again = [vote.sequence for vote in s.new_view.pre_prepares if vote.sequence > low]
        if again:
            node.disks.take_backup()
            self._look(node, self.entered, (epoch, again[0]))

    def _look(self, node: Machine, entered: int, passed: tuple[int, int]) -> None:
        cluster = self.cluster
        if cluster.healed or entered != self.entered or node.disks.floor[0] > passed[0]:
            return
        if not node.up or node.disks.floor < passed:
            cluster.at(WATCH_MS, self._look, node, entered, passed)
            return
        cluster.cover("S12 what a NEW-VIEW proposes again lies below the journal's floor")
        node.crash(Crash(cluster.now, node.address, CrashMode.NOW, RELAPSE_DOWN_MS, Loss.STATE))


class Outgrown:
    """A state store is replaced by one older than the window, while the journal holds votes on what
    nobody has certified: they must be told, and the restart has no room for them yet (S12). On each
    other seed the primary falls with it, so that a VIEW-CHANGE has to tell them."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.height = 0  # of the copy; 0: there is none yet

    def look(self) -> None:
        cluster, victim = self.cluster, self.cluster.plan.needed
        assert victim is not None
        node = cluster.nodes[victim]
        if cluster.healed:
            return
        if node.up and not self.height and node.height:
            node.disks.take_backup()
            self.height = node.height
        if node.up and self.height:
            said = max((entry.sequence for entry in node.disks.votes.values()), default=0)
            certified = max(one.height for one in cluster.nodes)
            if said > max(certified, self.height + cluster.plan.parameters.watermark_window):
                primary = self._primary(node)
                node.crash(Crash(cluster.now, victim, CrashMode.NOW, RELAPSE_DOWN_MS, Loss.STATE))
                if primary is not node and primary.up and cluster.plan.seed % 2:
                    primary.crash(Crash(cluster.now, primary.address, CrashMode.NOW, AWAY_MS))
                return
        cluster.at(WATCH_MS, self.look)

    def _primary(self, node: Machine) -> Machine:
        assert node.replica is not None
        return self.cluster.nodes[node.replica.state.primary]
