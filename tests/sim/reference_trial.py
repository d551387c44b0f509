"""The reference model alone against planted bugs: does it disagree with each that breaks safety?

    .venv/bin/python -m tests.sim.reference_trial             all of them, one after the other
    .venv/bin/python -m tests.sim.reference_trial --only NAME …
    python -B -m tests.sim.reference_trial NEEDS RUNS         inside a mutant's copy of the code

Every other invariant is switched off, so that it is the model that disagrees. The second form
prints one line of JSON: {"runs", "words"}: how many runs it took, and what the model said.
"""

import gc
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from consensus.invariants import Watch
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import SIMULATOR, Mutant
from tests.mutants.needs import NEEDS
from tests.mutants.workshop import Workshop
from tests.sim.checkers import Checkers
from tests.sim.cluster import Cluster
from tests.sim.disk import Disks
from tests.sim.plan import draw
from tests.sim.promises import Promises
from tests.sim.reference_adapter import Reference
from tests.sim.signatures import Ledger

# Bugs under a rule of safety that break no agreement: the model is the protocol (messages, what is
# prepared and committed, the view change), and these lie beside it. Others judge them (tests/mutants).
_CONTRACTS = "what a block does is the contracts' (S16); everybody agrees on the same block"
_BYTES = "the bytes of a proposal: the model is told the verdict and does not read them"
_FAULTY = "it shows in a member that counts as faulty, and for those there is no model"
NO_AGREEMENT: dict[str, str] = {
    "a vote of mine that my journal lacks changes nothing": _FAULTY,
    "another header after a restart is signed": _FAULTY,
    "block time is the proposal's, even if it runs backwards": "a field of the header, derived alike",
    "uncertified state shown": "what a client is shown; nobody votes on it",
    "a scheduled end is no pending work": "a timer (L17): the model knows no clock",
    "who is suspended keeps its vote": _CONTRACTS,
    "a key that was replaced still opens everything": _CONTRACTS,
    "a certificate of another height is taken for a block": "the store itself refuses the block",
    "a transaction may stand twice in a proposal": _BYTES,
    "an expired transaction is valid": _BYTES,
    "the expiry window has no end": _BYTES,
    "a transaction does not name its genesis": _BYTES,
    "the journal takes two digests in one place": "no replica asks for it, and it never leaves",
    "the floor of the journal is lowered": "seen in the journal itself; no vote followed in 121 runs",
    "a failing disk becomes a receipt": _CONTRACTS,
    "a contract's exception ends the node": _CONTRACTS,
    "what a failed operation wrote stays": _CONTRACTS,
    "the depth of the caller decides an outcome": _CONTRACTS,
}

RUNS_MAX = 400
SEEDS_MAX = 5_000
OTHERS = (
    (Watch, "check"),
    (Ledger, "record"),
    (Disks, "appended"),
    (Promises, "stepped"),
    (Promises, "leaves"),
    (Checkers, "on_committed"),
    (Checkers, "on_executed"),
    (Checkers, "on_send"),
    (Checkers, "on_start"),
    (Checkers, "on_alarm"),
    (Checkers, "on_halt"),
    (Checkers, "on_upkeep"),
    (Checkers, "_proved"),
)


@contextmanager
def alone() -> Iterator[None]:
    """The other invariants of the simulator look away."""
    with ExitStack() as stack:
        for owner, name in OTHERS:
            assert callable(getattr(owner, name))
            stack.enter_context(patch.object(owner, name, lambda *_, **__: None))
        yield


def disagreement(needs: str, runs_max: int) -> tuple[int, str | None]:
    """How many runs it took, and what the model said."""
    runs = 0
    for seed in range(SEEDS_MAX):
        plan = draw(seed)
        if not NEEDS[needs](plan):
            continue
        runs += 1
        with alone():
            failure = Cluster(plan, observer=Reference(plan.faulty)).run().failure
        gc.collect()
        if failure is not None and failure.startswith("reference model: "):
            return runs, failure
        if runs == runs_max:
            break
    return runs, None


def safety_mutants() -> list[Mutant]:
    return [
        mutant
        for mutant in MUTANTS
        if mutant.judge == SIMULATOR
        and mutant.rule.startswith("S")
        and mutant.name not in NO_AGREEMENT
    ]


def ask(mutant: Mutant, workshop: Workshop, runs_max: int = RUNS_MAX) -> tuple[int, str | None]:
    """The second form, in a process of its own that runs the mutant."""
    with workshop.planted(mutant) as directory:
        done = subprocess.run(
            [sys.executable, "-B", "-m", "tests.sim.reference_trial", mutant.needs, str(runs_max)],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(directory)},
            capture_output=True,
            text=True,
            check=True,
        )
    answer = json.loads(done.stdout)
    return answer["runs"], answer["words"]


def ask_all(chosen: Sequence[str] = ()) -> int:
    names = {mutant.name for mutant in MUTANTS}
    assert names >= NO_AGREEMENT.keys()
    missed = 0
    with TemporaryDirectory(prefix="reference-") as directory:
        workshop = Workshop(Path(directory))
        for mutant in safety_mutants():
            if chosen and mutant.name not in chosen:
                continue
            runs, words = ask(mutant, workshop)
            missed += words is None
            sys.stdout.write(f"{mutant.rule} {mutant.name}: {runs} runs, {words or 'AGREES'}\n")
            sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    if len(sys.argv) == 1 or sys.argv[1] == "--only":
        sys.exit(ask_all(sys.argv[2:]))
    taken, words = disagreement(sys.argv[1], int(sys.argv[2]))
    sys.stdout.write(json.dumps({"runs": taken, "words": words}) + "\n")
