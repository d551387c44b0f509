"""Faults that came to the plan later, and those that wait for their moment.

Law of the file: dice of its own, so that what a seed meant before, it still means.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

from tests.sim.faults import Change, Crash, CrashMode, Loss, Politics

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.machine import Machine
    from tests.sim.plan import Plan

BURST_TRANSACTIONS = 16  # a whole pool, at one node: what came earlier wrongs nobody (L17)
# The stretch of time in which an ambush looks for its moment: when nothing waits.
WATCH_MS = 10.0


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


def describe(plan: Plan) -> list[str]:
    lines = [f"{t:.0f} ms: the disk of n{i} hangs for {d:.0f} ms" for t, i, d in plan.stalls]
    if plan.no_checkpoints is not None:
        start, end = plan.no_checkpoints
        lines.append(f"{start:.0f}–{end:.0f} ms: no CHECKPOINT arrives")
    if plan.ambush_ms:
        lines.append(
            f"once an end is fixed and all is idle, the primary is gone: {plan.ambush_ms:.0f} ms"
        )
    return lines


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
        busy = any(one.up and one.mempool.owed for one in cluster.honest())
        if busy or s.in_view_change or s.log.epoch_end != end:
            cluster.at(WATCH_MS, self._look, address, end)
            return
        primary = cluster.nodes[node.hands.numbers[s.primary]]
        cluster.note(primary, "stands still, for the epoch's end is fixed and nothing else waits")
        cluster.cover("S13 the primary is gone before a scheduled end")
        primary.paused_until = self.until
