"""What a plan must bring to show a given bug at all. Passing the other seeds over saves time and
proves nothing less: they could only kill a mutant earlier."""

from collections.abc import Callable

from tests.sim.faults import LIARS, CrashMode, Loss
from tests.sim.plan import Plan

# What a node knows at its start: it may not vote until an epoch has ended (S4).
_NOTICED = (Loss.JOURNAL, Loss.EVERYTHING, Loss.BACKUP, Loss.JOURNAL_COPY, Loss.JOURNAL_BIT)


def _lies(name: str) -> Callable[[Plan], bool]:
    return lambda plan: any(name in told for told in plan.liars.values())


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
    "liar": lambda plan: bool(plan.liars),
    **{f"liar: {name}": _lies(name) for name in LIARS},
}
