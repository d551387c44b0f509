"""The same bytes under the other supported Python: else two hospitals part ways (L24).

`./scripts/setup-optional` makes `.venv-other`; where it cannot, these tests say what is missing.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SUPPORTED = ((3, 11), (3, 12))
PYTHON = ROOT / ".venv-other" / "bin" / "python"
GOLDEN = ("tests/golden", "tests/contracts/test_transcripts.py", "tests/consensus/test_golden.py")


def run(python: Path | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # What steers this run of pytest is not meant for that one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))}
    return subprocess.run(
        [python, *arguments],
        cwd=ROOT,
        env=environment | {"PYTHONHASHSEED": "random"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def other() -> Path:
    major, minor = next(version for version in SUPPORTED if version != sys.version_info[:2])
    wanted = f"{major}.{minor}"
    if not PYTHON.exists():
        pytest.skip(
            f"there is no {PYTHON.parents[1].name}: ./scripts/setup-optional makes it where it finds "
            f"Python {wanted} with its venv module (SALUS_OTHER_PYTHON names one)"
        )
    code = "import sys, msgspec, nacl, plyvel, pytest; print('%d.%d' % sys.version_info[:2])"
    asked = run(PYTHON, "-c", code)
    if asked.returncode:
        why = (asked.stderr.strip().splitlines() or ["it does not run"])[-1]
        pytest.skip(f"{PYTHON} is not what ./scripts/setup-optional makes: {why}")
    if asked.stdout.strip() != wanted:
        pytest.skip(f"{PYTHON} is Python {asked.stdout.strip()}, not {wanted}")
    return PYTHON


def test_chain_vectors_and_transcripts_are_the_same(other: Path) -> None:
    """Every root of the golden chain, every byte of the formats, every word of the transcripts."""
    done = run(other, "-m", "pytest", "-q", "-p", "no:cacheprovider", *GOLDEN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_a_simulated_run_is_the_same_event_by_event(other: Path) -> None:
    """One seed is one trace: no Python orders a set or a float of ours otherwise."""
    arguments = ("-m", "tests.sim", "--seeds", "40..43", "--explain")
    mine, theirs = run(sys.executable, *arguments), run(other, *arguments)
    assert (mine.returncode, theirs.returncode) == (0, 0), mine.stderr + theirs.stderr
    assert len(mine.stdout) > 20_000
    assert mine.stdout == theirs.stdout
