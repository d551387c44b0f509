"""The tests judged by planted bugs: the table is whole and fits the code, and a share of it, the
quick ones, is judged here. All of it: `./scripts/mutants`."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.mutants import judge, trial
from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import SIMULATOR, Edit, Mutant, simulated
from tests.mutants.needs import NEEDS
from tests.mutants.table import PAGE, rewrite, row, rows
from tests.mutants.workshop import ROOT, Workshop

RULES = (
    *(f"S{number}" for number in range(1, 17)),
    *(f"L{number}" for number in range(17, 25)),
    *(f"B{number}" for number in range(25, 30)),
    *(
        "C-5",
        "C-6",
        "I-4",
        "I-6",
        "I-10",
        "K-1",
        "K-2",
        "K-3",
        "K-4",
        "K-5",
        "T-1",
        "T-3",
        "T-4",
        "T-6",
    ),  # of docs/decisions/0010-patient.md
    *(
        f"G-{number}" for number in (1, 2, 3, 4, 5, 6, 10, 13, 16, 17, 18, 19, 20)
    ),  # and of 0013-gate.md
    *(f"X-{number}" for number in (1, 2, 3, 4, 5, 6, 7, 9, 10, 11)),  # and of 0015-erasure.md
    *(f"E-{number}" for number in range(1, 10)),  # and of 0014-emergency.md
    *(
        "P-1",
        "P-2",
        "P-3",
        "P-4",
        "P-5",
        "P-7",
        "P-8",
        "P-9",
        "P-11",
        "P-12",
        "P-13",
    ),  # and of 0016-pages.md
    *(
        "D-1",
        "D-2",
        "D-3",
        "D-4",
        "D-5",
        "D-6",
        "D-7",
        "D-8",
        "D-9",
    ),  # and of 0017-identity-tags.md
    "R-0",  # of docs/privacy.md
)

# What the plan of the proving ground asks for by name; a name here is the beginning of one there.
ASKED_FOR = (
    "quorum 2f+1 at n = 5 and 6",
    "no prepared certificate in VIEW-CHANGE",
    "unchecked certificate",
    "NEW-VIEW taken on trust",
    "low watermark of NEW-VIEW ignored",
    "exact-view timer",
    "own VIEW-CHANGE lost at restart",
    "votes are sent before they are synced",
    "uncapped timer",
    "non-growing timer",
    "f+1 rule moved by one node",
    "gap executed",
    "duplicate executed across views",
    "set of the wrong epoch",
    "evidence dropped",
    "bodies not held",
    "re-proposal clock check",
    "unbounded future buffer",
    "votes right after a wipe",
    "VIEW-CHANGE during quarantine",
    "the body is not synced before COMMIT",
    "re-proposal refused for its time",
    "executed sequence executed again",
    "uncertified state shown",
)


def edited(mutant: Mutant, root: Path) -> None:
    """The files of the mutant, as they are with the bug, under `root`."""
    for file in mutant.files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_text((ROOT / file).read_text())
    for edit in mutant.edits:
        edit.apply(root)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_each_bug_fits_the_code_and_has_a_judge(mutant: Mutant, tmp_path: Path) -> None:
    edited(mutant, tmp_path)
    for file in mutant.files:
        assert (tmp_path / file).read_text() != (ROOT / file).read_text()
        ast.parse((tmp_path / file).read_text())
    if mutant.judge == SIMULATOR:
        assert mutant.needs in NEEDS
        return
    file, _, test = mutant.judge.partition("::")
    assert f"def {test}(" in (ROOT / file).read_text()


def test_no_bug_is_a_slip_of_the_pen(tmp_path: Path) -> None:
    """A name that does not exist would be found by anybody."""
    for number, mutant in enumerate(MUTANTS):
        edited(mutant, tmp_path / str(number))
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_rule_is_broken_and_each_name_stands_once() -> None:
    assert {mutant.rule for mutant in MUTANTS} == set(RULES)
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= 60
    for asked in ASKED_FOR:
        assert any(name.startswith(asked) for name in names), asked


def test_a_bug_of_the_protocol_that_no_run_judges_has_a_reason() -> None:
    for mutant in MUTANTS:
        of_protocol = mutant.rule[0] in "SL" and mutant.judge != SIMULATOR
        assert bool(mutant.why) == of_protocol, mutant.name


def test_the_page_names_each_bug_and_its_rule() -> None:
    """`./scripts/mutants --rewrite` writes the table; how many seeds each took it alone can say."""

    def cells(line: str) -> list[str]:
        return [cell.strip() for cell in line.strip("|").split("|")]

    shown = [cells(line) for line in rows((ROOT / PAGE).read_text())]
    expected = [cells(row(judge.Verdict(mutant, True))) for mutant in MUTANTS]
    assert [line[:3] for line in shown] == [line[:3] for line in expected]
    assert not any("survives" in line[3] for line in shown)


def test_the_table_is_written_between_its_markers() -> None:
    page = (ROOT / PAGE).read_text()
    one = judge.Verdict(MUTANTS[0], False)
    written = rewrite(page, [one], MUTANTS)
    assert rows(written) == [row(one), *rows(page)[1:]]  # the others stay
    assert rows(rewrite(page, [one], MUTANTS[:1])) == [row(one)]
    assert written.split("<!--")[0] == page.split("<!--")[0]
    assert written.endswith(page.rsplit("-->", 1)[1])


# -- the judges judged ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with Workshop(tmp_path_factory.mktemp("workshop")) as made:
        yield made


COMMENT = Edit("consensus/votes.py", '"""Counting votes:', '"""The counting of votes:')


def test_what_is_no_bug_survives(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "SEEDS_MAX", 2)
    assert not judge.judge(simulated("S5", "another comment", COMMENT), workshop).killed
    named = "tests/consensus/test_votes.py::test_a_member_is_counted_once"
    harmless = replace(simulated("S5", "another comment", COMMENT), judge=named)
    assert not judge.judge(harmless, workshop).killed
    assert (workshop.directory / COMMENT.file).read_text() == (ROOT / COMMENT.file).read_text()


def test_what_shows_in_the_normal_case_is_no_use(workshop: Workshop) -> None:
    silent = Edit(
        "consensus/normal_case.py", "    s.send(vote)\n    check_committed", "    check_committed"
    )
    with pytest.raises(judge.Broken, match="normal case"):
        judge.judge(simulated("S6", "nobody says COMMIT", silent), workshop)


def test_a_judge_that_is_not_there_is_no_use(workshop: Workshop) -> None:
    absent = replace(simulated("S5", "x", COMMENT), judge="tests/consensus/test_votes.py::test_x")
    with pytest.raises(judge.Broken, match="cannot be run"):
        judge.judge(absent, workshop)


def test_a_text_that_does_not_stand_exactly_once_is_refused(tmp_path: Path) -> None:
    (tmp_path / "twice").write_text("a a")
    for old in ("a", "b"):
        with pytest.raises(ValueError, match="not once"):
            Edit("twice", old, "c").apply(tmp_path)


def test_a_run_that_does_not_end_is_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The alarm counts the core's time, not the clock's, and is an assertion like all others."""
    assert issubclass(trial.Hangs, AssertionError)
    with pytest.raises(trial.Hangs, match="s of a core"):
        trial.hangs(0, None)


# -- the share that every change must pass --------------------------------------------------------


@pytest.mark.parametrize(
    "mutant", [mutant for mutant in MUTANTS if mutant.quick], ids=lambda mutant: mutant.name
)
def test_a_planted_bug_is_caught(
    mutant: Mutant, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "SEEDS_MAX", 500)
    verdict = judge.judge(mutant, workshop, ranges=1)
    assert verdict.killed, f"{mutant.rule}: «{mutant.name}» survives"
