"""`scripts/simulate --compiled`: the same traces, and a way back where nothing can be compiled."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim import compiled, run
from tests.sim.run import main

BUILD_SECONDS_MAX = 900  # for the failure only: some 240 CPU seconds on a busy machine


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


def test_what_is_compiled_puts_nothing_in_a_method_s_place() -> None:
    """Machine code has no such place: for a day no compiled run came past its first line, and only --long saw it."""
    modules = [
        f"{package}/{name}" for package, names in compiled.MODULES.items() for name in names.split()
    ]
    for module in (*modules, *compiled.SPLIT.split()):
        assert "ignore[method-assign" not in (compiled.ROOT / f"{module}.py").read_text(), module


def test_without_a_compiler_it_runs_interpreted_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    lines: list[str] = []
    assert compiled.run(["--seeds", "3..4", "--json"], lines.append) == 0
    assert '"runs": 1, "failed": 0' in lines[-1]
    err = capfd.readouterr().err
    assert "there is no C compiler" in err
    assert "interpreted" in err


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the machine code is asked for; it answers with numbers."""
    asked: list[list[str]] = []

    def run(arguments: list[str], say: Callable[[str], None]) -> int:
        asked.append(arguments)
        say("a summary")
        say('{"runs": 5000, "failed": 1}')
        return 1

    monkeypatch.setattr(compiled, "run", run)
    return asked


def test_many_seeds_are_compiled_unless_they_shall_not_be(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "run_seeds", lambda seeds, jobs: iter(()))
    many = f"0..{compiled.FROM_SEEDS}"
    assert main(["--seeds", many, "--jobs", "3"]) == 1
    assert asked == [["--interpreted", f"--seeds={many}", "--jobs=3"]]
    assert capsys.readouterr().out == 'a summary\n{"runs": 5000, "failed": 1}\n'
    assert main(["--seeds", many, "--interpreted", "--json"]) == 0
    assert main(["--seeds", f"1..{compiled.FROM_SEEDS}", "--json"]) == 0
    assert len(asked) == 1
    assert main(["--seeds", "3..4", "--compiled", "--json"]) == 1
    assert asked[1][-1] == "--json"


def test_by_night_the_seeds_are_compiled_and_the_twins_are_not(
    asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "NIGHTLY_TWINS", 1)
    assert main(["--nightly", "--json", "--jobs", "1"]) == 1
    assert asked == [["--interpreted", f"--seeds=0..{run.NIGHTLY_SEEDS}", "--jobs=1", "--json"]]
    assert '"twins": {"scenarios": 16' in capsys.readouterr().out


def test_twins_are_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--compiled", "--long"])
    assert caught.value.code == 2
    assert "--seeds" in capsys.readouterr().err


def test_the_collector_is_shown_each_attribute_once(tmp_path: Path) -> None:
    """mypyc visits one twice where a subclass has another default: loggers that others held were
    cleared in the middle of a batch."""
    visit, number = "    Py_VISIT(self->_log);\n", "        Py_VISIT(AsObject(self->_n));\n"
    before = f"first_traverse(FirstObject *self)\n{{\n{visit}    if (Check(self->_n)) {{\n{number}    }}\n"
    source = tmp_path / "__native_first.c"
    source.write_text(f"{before}{visit}}}\n\nsecond_traverse(S *self)\n{{\n{visit}}}\n")
    compiled._visit_once(source)
    text = source.read_text()
    assert text == f"{before}}}\n\nsecond_traverse(S *self)\n{{\n{visit}}}\n"
    compiled._visit_once(source)
    assert source.read_text() == text


def test_another_source_is_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled._fingerprint("mypy")
    assert before == compiled._fingerprint("mypy") != compiled._fingerprint("another mypy")
    fewer = compiled._sources()[:-1]
    monkeypatch.setattr(compiled, "_sources", lambda: fewer)
    assert compiled._fingerprint("mypy") != before
