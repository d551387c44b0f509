"""What a plan must bring to show a given bug at all. Passing the other seeds over saves time and
proves nothing less: they could only kill a mutant earlier."""

from collections.abc import Callable

from tests.sim.faults import ALONE, LIARS, Change, CrashMode, Loss
from tests.sim.plan import Plan
from tests.sim.traps import BURST_TRANSACTIONS

# What a node knows at its start: it may not vote until an epoch has ended (S4).
_NOTICED = (Loss.JOURNAL, Loss.EVERYTHING, Loss.BACKUP, Loss.JOURNAL_COPY, Loss.JOURNAL_BIT)


def _lies(name: str) -> Callable[[Plan], bool]:
    return lambda plan: any(name in told for told in plan.liars.values())


def _loses(*losses: Loss) -> Callable[[Plan], bool]:
    return lambda plan: any(crash.loss in losses for crash in plan.crashes)


def _votes_on(change: Change) -> Callable[[Plan], bool]:
    return lambda plan: any(one.change is change for one in plan.politics)


def _power_cut(plan: Plan) -> bool:
    """Nearly everybody loses power at one moment."""
    times = [crash.time for crash in plan.crashes]
    return len(times) - len(set(times)) >= plan.n - 2 > 0


NEEDS: dict[str, Callable[[Plan], bool]] = {
    "any": lambda plan: True,
    "several": lambda plan: plan.n >= 4,
    "five or six": lambda plan: plan.n in (5, 6),
    "crash": lambda plan: bool(plan.crashes),
    "crash in a persist": lambda plan: any(c.mode is CrashMode.PERSIST for c in plan.crashes),
    "power cut": _power_cut,
    "lost journal": lambda plan: any(crash.loss in _NOTICED for crash in plan.crashes),
    "copied journal": _loses(Loss.JOURNAL_COPY, Loss.BACKUP),
    "older journal": _loses(Loss.JOURNAL_OLD),
    "older state": _loses(Loss.STATE),
    "damaged state": _loses(Loss.STATE_BIT),
    "votes lost unnoticed": _loses(Loss.UNNOTICED),
    "first backup": lambda plan: any(time == 0.0 for time, _ in plan.backups),
    "disk hangs": lambda plan: bool(plan.stalls),
    "no CHECKPOINTs": lambda plan: plan.no_checkpoints is not None,
    "misfit": lambda plan: bool(plan.misfits),
    "contract's bit": lambda plan: plan.contract_bit,
    "outgrown state": lambda plan: plan.needed is not None,
    "relapse": lambda plan: plan.relapse is not None,
    "relapse of a primary": lambda plan: plan.relapse == 1,  # it leads view 1 of the first epoch
    "ambush": lambda plan: plan.ambush_ms > 0,
    "burst": lambda plan: any(count == BURST_TRANSACTIONS for _, _, count in plan.load),
    "schism": lambda plan: plan.schism,
    "untimely": lambda plan: _lies("untimely")(plan) or _lies("bad-proposer")(plan),
    "late divergence": lambda plan: plan.late_divergence,
    "suspension": _votes_on(Change.SUSPEND),
    "lower limit": _votes_on(Change.LIMIT),
    "operator key": _votes_on(Change.OPERATOR),
    "liar": lambda plan: bool(plan.liars),
    **{f"liar: {name}": _lies(name) for name in (*LIARS, *ALONE)},
}
