"""Runs inside the copy: is it still lawful in the normal case, and who notices the bug?

    python -B -m tests.mutants.trial

Each line of its input asks: [JUDGE, NEEDS, FIRST, LAST, FIRST, LAST, …]. A child of this process that
has imported no code of Salus before answers, with {"lawful", "caught", "seeds", "words"} and exit code
0: `seeds` is how many seeds of each range passed until one failed, that one included; null where none
did. What it said is told as {"code", "out", "err"}, one line each.
"""

import gc
import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from tempfile import TemporaryFile
from types import FrameType

import pytest

from tests.mutants.mutant import SIMULATOR

NORMAL_CASE = Path("tests/consensus/golden/normal_case.txt")

# What is no mutant's, and takes most of the time that a short trial takes.
IMPORTED = ("aiohttp.web", "cryptography.x509", "hypothesis.strategies", "jinja2", "msgspec", "nacl.signing",
            "plyvel", "prometheus_client", "pytest_asyncio", "rich.table", "uvloop", "xdist")  # fmt: skip

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
    # That some plugins are imported already is meant.
    quiet = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    code = pytest.main(
        ["-q", "-x", "--no-header", "-p", "no:cacheprovider", *quiet, *tests.split()]
    )
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


def asked() -> list[str]:
    """Returns in a child, with what it shall find out; ends when nobody asks any more."""
    for name in IMPORTED:
        import_module(name)
    own = {"salus", "consensus", "contracts", "storage", "node", "cli"}
    assert not own & set(sys.modules), "a mutant must find nothing imported"
    for line in sys.stdin:
        with TemporaryFile() as out, TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                nothing = os.open(os.devnull, os.O_RDONLY)
                for source, target in ((nothing, 0), (out.fileno(), 1), (err.fileno(), 2)):
                    os.dup2(source, target)
                arguments: list[str] = json.loads(line)
                return arguments
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        sys.stdout.write(json.dumps({"code": code, "out": texts[0], "err": texts[1]}) + "\n")
        sys.stdout.flush()
    raise SystemExit(0)


if __name__ == "__main__":
    questions = asked()
    signal.signal(signal.SIGPROF, hangs)
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        result = main(questions)
    sys.stdout.write(json.dumps(result) + "\n")
