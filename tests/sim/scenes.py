"""Scenes of one lie, or of one loss, each: what the mix of faults shows too seldom.

They take the place of runs in which nobody lies and nothing is lost. Law of the file: dice of its own,
so that all other seeds mean what they meant.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

from tests.sim.faults import Change, Crash, CrashMode
from tests.sim.weather import calm

if TYPE_CHECKING:
    from tests.sim.plan import Plan

# Of the runs that may become a scene; what is left of one stays as it was.
SCHISM_SHARE, BACKDATING_SHARE, UNTIMELY_SHARE, NEEDED_SHARE = 0.12, 0.18, 0.1, 0.1
# Who leads the first view is away for so long that the next view is begun without it.
AWAY_MS = (1_500.0, 2_500.0)
# A load under which a few windows pass before a run has seen enough.
LOAD_GAP_MS, LOAD_STRETCH = 50, 3


def draw(plan: Plan) -> None:
    """To be asked last: it looks at all the faults."""
    fewer = any(one.change in (Change.REMOVE, Change.SUSPEND) for one in plan.politics)
    if plan.n < 4 or plan.faulty or plan.losers or fewer:
        return
    r = Random(plan.seed ^ 0x5CE4E)
    die = r.random()
    if die < SCHISM_SHARE:
        _schism(r, plan)
    elif die < SCHISM_SHARE + BACKDATING_SHARE:
        _leads_second("backdating", r, plan)
    elif die < SCHISM_SHARE + BACKDATING_SHARE + UNTIMELY_SHARE:
        _leads_second("untimely", r, plan)
    elif die < SCHISM_SHARE + BACKDATING_SHARE + UNTIMELY_SHARE + NEEDED_SHARE:
        _needed(r, plan)


def _leads_second(name: str, r: Random, plan: Plan) -> None:
    """The first primary falls, and a liar leads the next view. The others need it for their quorum
    until the first one is back, which comes late into that view."""
    plan.liars = {1: (name,)}
    plan.politics = [one for one in plan.politics if one.target != 1]
    away = Crash(r.uniform(100.0, 600.0), 0, CrashMode.NOW, r.choice(AWAY_MS))
    kept = [crash for crash in plan.crashes if crash.node != 1]
    plan.crashes = sorted([*kept, away], key=lambda crash: crash.time)


def _schism(r: Random, plan: Plan) -> None:
    """f+1 members execute wrongly, each in its own way, so that no header reaches a quorum (L24). In
    this weather each of them says its header before it hears the others'."""
    if plan.n not in (4, 5):
        return  # With six the others are a quorum; with seven it takes three.
    calm(r, plan)
    plan.schism = True
    plan.liars = dict.fromkeys(r.sample(range(plan.n), 2), ("diverged",))


def _needed(r: Random, plan: Plan) -> None:
    """f members are silent, so the others need each of them. The state store of one is replaced by one
    that is older than its window (`traps.Outgrown`): it still owes them its votes (S12)."""
    members = r.sample(range(plan.n), (plan.n - 1) // 3 + 1)
    plan.needed = members.pop()
    plan.liars = dict.fromkeys(members, ("silent",))
    calm(r, plan)
    plan.relapse = None
    plan.parameters = msgspec.structs.replace(
        plan.parameters, watermark_window=8, execute_ahead_max=3, epoch_blocks_max=100_000
    )
    times = range(0, int(LOAD_STRETCH * plan.heal_at), LOAD_GAP_MS)
    plan.load = [(float(time), r.randrange(plan.n), 1) for time in times]
