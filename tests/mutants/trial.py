"""Runs inside the copy: is it still lawful in the normal case, and who notices the bug?

    python -B -m tests.mutants.trial JUDGE NEEDS FIRST LAST [FIRST LAST …]

Prints one line of JSON: {"lawful", "caught", "seeds", "words"}. `seeds`: how many seeds of each
range passed until one failed, that one included; null where none did.
"""

import gc
import json
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from types import FrameType

import pytest

from tests.mutants.mutant import SIMULATOR

NORMAL_CASE = Path("tests/consensus/golden/normal_case.txt")

# A run takes some tenths of a second; one that takes this much of a core hangs.
CPU_SECONDS_MAX = 120


class Hangs(AssertionError):
    """The run does not end."""


def lawful() -> bool:
    """The normal case, message by message. A bug that shows there needs no simulator."""
    from tests.consensus.test_golden import test_transcript

    try:
        test_transcript(NORMAL_CASE, False)
    except Exception:  # noqa: BLE001  # whatever it is, it is not the normal case
        return False
    return True


def seeds_until_death(needs: str, seeds: range) -> tuple[int | None, str]:
    """How many seeds it took, and what broke."""
    from tests.mutants.needs import NEEDS
    from tests.sim.cluster import run_seed
    from tests.sim.plan import draw

    shows = NEEDS[needs]
    for seed in seeds:
        if not shows(draw(seed)):
            continue
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS_MAX)
        try:
            failure = run_seed(seed).failure
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        gc.collect()
        if failure is not None:
            return seed - seeds.start + 1, failure
    return None, ""


def named_test_fails(tests: str) -> bool:
    """Exactly this: the test is there (or several, a space between), runs, and fails."""
    code = pytest.main(["-q", "-x", "--no-header", "-p", "no:cacheprovider", *tests.split()])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"{tests} cannot be run: pytest ended with {code!r}")
    return code == pytest.ExitCode.TESTS_FAILED


def main(arguments: list[str]) -> dict[str, object]:
    judge, needs, *bounds = arguments
    if not lawful():
        return {"lawful": False, "caught": False, "seeds": [], "words": ""}
    if judge != SIMULATOR:
        return {"lawful": True, "caught": named_test_fails(judge), "seeds": [], "words": ""}
    numbers = list(map(int, bounds))
    taken: list[int | None] = []
    words = ""
    for first, last in zip(numbers[::2], numbers[1::2], strict=True):
        seeds, said = seeds_until_death(needs, range(first, last))
        taken.append(seeds)
        words = words or said
    caught = any(seeds is not None for seeds in taken)
    return {"lawful": True, "caught": caught, "seeds": taken, "words": words}


def hangs(signum: int, frame: FrameType | None) -> None:
    raise Hangs(f"it took more than {CPU_SECONDS_MAX} s of a core")


if __name__ == "__main__":
    signal.signal(signal.SIGPROF, hangs)
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        result = main(sys.argv[1:])
    sys.stdout.write(json.dumps(result) + "\n")
