"""`salus demo`: the story of the patient, told by the commands that people type, each step checked."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.e2e.shell import command, environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STORY_S = 500  # some forty processes, on a machine that is busy with the rest of the suite


def test_the_patients_story_ends_with_a_proof_that_needs_no_node(tmp_path: Path) -> None:
    """R12 too: the doctor finds the result in what she may read, and examines nothing twice."""
    mine = tmp_path / "mine.json"
    mine.write_text(
        json.dumps(
            {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "2823-3"}]},
                "effectiveDateTime": "2026-02-03",
            }
        )
    )
    home = tmp_path / "demo"
    done = subprocess.run(
        command("demo", "--story", "consent", "--bundle", mine, "--home", home, "--json"),
        capture_output=True,
        text=True,
        timeout=STORY_S,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *steps, last = map(json.loads, done.stdout.splitlines())
    assert last["verified"] is True
    assert last["steps"] == len(steps) == 13
    told = " ".join(step["what"] for step in steps)
    assert "of 2026-02-03 was found before it was ordered again" in told
    assert not list(home.rglob("gone.json"))
    log = "".join(path.read_text() for path in (home / "logs").iterdir())
    assert "Traceback" not in log
