"""`scripts/simulate --compiled`: the same traces, and a way back where nothing can be compiled."""

import subprocess
import sys

import pytest

from tests.sim import compiled
from tests.sim.run import main

BUILD_SECONDS_MAX = 900  # for the failure only: some 150 CPU seconds on a busy machine


def _simulate(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "tests.sim", *arguments],
        cwd=compiled.ROOT,
        capture_output=True,
        timeout=BUILD_SECONDS_MAX,
        check=True,
    )


@pytest.mark.long
@pytest.mark.timeout(2 * BUILD_SECONDS_MAX)
def test_the_traces_of_machine_code_are_those_of_the_sources() -> None:
    try:
        folder = compiled.prepare()
    except compiled.CannotCompile as error:
        if "refuses" in str(error):
            raise
        pytest.skip(str(error))
    seeds = ("--seeds", "40..72", "--explain")
    ran = _simulate(*seeds, "--compiled")
    assert f"running from {folder}".encode() in ran.stderr
    assert len(ran.stdout) > 300_000
    assert ran.stdout == _simulate(*seeds).stdout


def test_every_module_that_is_compiled_exists() -> None:
    for package, names in compiled.MODULES.items():
        for name in names.split():
            assert (compiled.ROOT / package / f"{name}.py").exists(), f"{package}/{name}.py"


def test_without_a_compiler_it_runs_interpreted_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    assert compiled.run(["--seeds", "3..4", "--json"]) == 0
    out, err = capfd.readouterr()
    assert '"runs": 1, "failed": 0' in out
    assert "there is no C compiler" in err
    assert "interpreted" in err


@pytest.mark.parametrize("other", ["--long", "--nightly"])
def test_twins_are_not_compiled(other: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--compiled", other])
    assert caught.value.code == 2
    assert "--seeds" in capsys.readouterr().err


def test_another_source_is_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled._fingerprint("mypy")
    assert before == compiled._fingerprint("mypy") != compiled._fingerprint("another mypy")
    fewer = compiled._sources()[:-1]
    monkeypatch.setattr(compiled, "_sources", lambda: fewer)
    assert compiled._fingerprint("mypy") != before
