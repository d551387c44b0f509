"""The command line: last line for machines, exit code, the replay command of a failed seed."""

import json

import pytest

from tests.sim import run
from tests.sim.cluster import COUNTED, Result
from tests.sim.exhaustive import SPLITS
from tests.sim.report import Summary, report
from tests.sim.rules import RULES


def test_the_last_line_is_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seeds", "0..2", "--jobs", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    numbers = json.loads(lines[-1])
    assert " ".join(numbers) == (
        "runs failed counted events seconds signatures_per_s coverage too_few"
    )
    assert numbers["signatures_per_s"] is None  # nobody compares the time of two runs
    assert numbers["runs"] == numbers["counted"] == numbers["coverage"][COUNTED] == 2
    assert numbers["failed"] == 0
    assert len(lines) > 5  # the summary for people


def test_json_prints_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(["--seeds", "1..2", "--json", "--jobs", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_batch_says_how_fast_the_machine_was_just_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr(
        run.yardstick, "signatures_per_s", lambda jobs: done.append("measured") or 9000 * jobs
    )
    monkeypatch.setattr(run, "run_seeds", lambda seeds, jobs: iter(done.append("run") or ()))
    assert run.main(["--seeds", f"0..{run.YARDSTICK_SEEDS}", "--jobs", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert done == ["measured", "run"]
    assert json.loads(lines[-1])["signatures_per_s"] == 18_000
    assert any(line.startswith("18,000 signatures/s verified by all jobs") for line in lines)


def test_a_failed_seed_prints_the_command_that_replays_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "run_seed", lambda seed: Result(seed, 1, "a fork"))
    assert run.main(["--seeds", "7..8", "--json", "--jobs", "1"]) == 1
    out = capsys.readouterr().out
    assert "./scripts/simulate --seeds 7..8 --explain" in out
    assert json.loads(out.splitlines()[-1])["failed"] == 1


@pytest.mark.parametrize("failure", [None, "a fork"])
def test_by_night_the_twins_run_after_the_seeds_whatever_these_have_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, failure: str | None
) -> None:
    assert (run.NIGHTLY_SEEDS, len(SPLITS) ** run.NIGHTLY_TWINS) == (10**6, 2**20)
    monkeypatch.setattr(run, "NIGHTLY_SEEDS", 2)
    monkeypatch.setattr(run, "NIGHTLY_TWINS", 1)
    monkeypatch.setattr(run, "run_seed", lambda seed: Result(seed, 1, failure))
    assert run.main(["--nightly", "--json", "--jobs", "1"]) == (1 if failure else 0)
    numbers = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (numbers["runs"], numbers["failed"]) == (2, 2 if failure else 0)
    assert (numbers["twins"]["scenarios"], numbers["twins"]["failed"]) == (16, 0)


@pytest.mark.parametrize("text", ["5", "5..5", "a..b", "6..5"])
def test_a_wrong_range_is_refused(text: str) -> None:
    with pytest.raises(SystemExit) as caught:
        run.main(["--seeds", text])
    assert caught.value.code == 2


def test_the_summary_names_every_rule_and_marks_what_was_not_reached() -> None:
    summary = Summary()
    summary.add(Result(1, 1_500, None, [COUNTED, "S3 torn persist"], recovery=0.1))
    lines = list(report(summary))
    for rule in RULES:
        assert any(line.split()[-1:] and f" {rule} " in line for line in lines), rule
    (torn,) = [line for line in lines if "S3 torn persist" in line]
    (missed,) = [line for line in lines if " S9 " in line]
    assert "too few" not in torn
    assert missed.endswith("too few")
    numbers = summary.numbers()
    assert numbers["runs"] == 1
    assert numbers["coverage"] == {COUNTED: 1, "S3 torn persist": 1}
    assert set(numbers["too_few"]) >= {"S9", "≥ 2 view changes"}
    assert not {"S3", "S3 torn persist"} & set(numbers["too_few"])
