"""Weather that lets one lie work: a primary that lets its transactions drip, and nothing worse (L22).

In most runs something else ends its view long before its peers have lost their patience. Law of the
file: dice of its own, so that the other seeds mean what they meant.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from tests.sim.plan import Plan

FAIR_SHARE = 0.3  # of the runs with such a liar
LOAD_GAP_MS = 250.0  # less than it takes its time, so that something always waits
LOAD_STRETCH = 3


def calm(r: Random, plan: Plan) -> None:
    """Nobody falls, no law changes, and nothing is lost or late."""
    plan.politics, plan.observers = [], 0
    plan.crashes, plan.backups, plan.cuts = [], [], []
    plan.jumps, plan.full, plan.pauses = [], [], []
    plan.stalls, plan.misfits, plan.no_checkpoints, plan.ambush_ms = [], [], None, 0.0
    plan.loss = plan.tail = 0.0
    plan.jitter_ms, plan.persist_ms = 2.0, r.choice((0.5, 3.0))
    plan.base_ms = [[2.0] * len(row) for row in plan.base_ms]


def draw(plan: Plan) -> None:
    """The liar leads the first view; nobody falls, and nothing is lost or late but its proposals."""
    r = Random(plan.seed ^ 0xFA12)
    slow = [names for names in plan.liars.values() if "slow-primary" in names]
    if plan.n < 4 or not slow or r.random() >= FAIR_SHARE:
        return
    plan.liars = {0: ("dripping",)}
    calm(r, plan)
    plan.parameters = msgspec.structs.replace(
        plan.parameters,
        in_flight_proposals_max=1,
        epoch_blocks_max=100_000,
        progress_timeout_ms=r.choice((400, 600)),
    )
    plan.load, time = [], 0.0
    while time < LOAD_STRETCH * plan.heal_at:
        time += r.expovariate(1.0) * LOAD_GAP_MS
        plan.load.append((time, r.randrange(plan.n), 1))
