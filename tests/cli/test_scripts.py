"""The scripts and locks: what a stranger's machine gets before any of our code runs."""

import configparser
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted(
    path for path in [*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run"] if path.suffix != ".txt"
)
LOCKS = [ROOT / "scripts" / "requirements.txt", ROOT / "scripts" / "requirements-test.txt"]


def locked(path: Path) -> dict[str, str]:
    """Name → version of a lock file."""
    pairs = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE)
    return {name.lower().replace("_", "-").replace(".", "-"): version for name, version in pairs}


def declared(section: str, key: str) -> set[str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = [line for line in config[section][key].splitlines() if line and line[0] != "#"]
    names = {re.split(r"[><=;\s]", line)[0] for line in lines}
    return {name.lower().replace("_", "-").replace(".", "-") for name in names}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_executable_and_parse(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    if script.read_text().startswith(("#!/usr/bin/env bash", "#!/bin/sh")):
        subprocess.run(["bash", "-n", script], check=True)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_names_no_place_and_hashes_everything(lock: Path) -> None:
    """interfaces.md §1: plain requirements with hashes, naming no index or host."""
    text = lock.read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(-?(index|find|extra|trusted)|i |f )", text, re.MULTILINE)
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    for entry in filter(str.strip, entries):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_the_locks_hold_what_setup_cfg_declares() -> None:
    run, test = (locked(path) for path in LOCKS)
    assert declared("options", "install_requires") | {"setuptools"} <= set(run)
    assert declared("options.extras_require", "test") <= set(test)
    # One version in both: the tests try what users get.
    assert run.items() <= test.items()


def test_the_lock_can_build_the_package_without_an_index() -> None:
    """`pip install --no-build-isolation --no-index -e .` needs the backend of pyproject.toml."""
    wanted = re.search(r"setuptools>=(\d+)", (ROOT / "pyproject.toml").read_text())
    assert wanted is not None
    assert int(locked(LOCKS[0])["setuptools"].split(".")[0]) >= int(wanted[1])
