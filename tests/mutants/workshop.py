"""A copy of the code in a directory of its own, in which one mutant after the other is planted."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path
from typing import Self

import msgspec

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]

# The code, its tests, and the pages that some of those read.
PARTS = ("salus", "consensus", "contracts", "storage", "node", "cli", "tests", "configs", "docs")
FILES = ("pyproject.toml", "setup.cfg", "README.md", "ARCHITECTURE.md", "CHANGELOG.md")


class Done(msgspec.Struct, frozen=True):
    """How a trial ended, and what it wrote."""

    code: int
    out: str
    err: str


class Workshop:
    """Byte code is copied along with its source, so that only what a mutant changes is compiled
    again; children must run with `-B`, or what they compile would outlive the mutant."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, directory / part)
        for name in FILES:
            if (ROOT / name).is_file():
                shutil.copy2(ROOT / name, directory / name)

        self._trials: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._trials is not None:
            self._trials.communicate()  # its input ends
            self._trials = None

    def tried(self, arguments: Sequence[str]) -> Done:
        """A trial in the copy as it is now; raises `OSError` if none can be held."""
        if self._trials is None:
            # What steers this run of pytest is not meant for that one.
            environment = {
                k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "COV"))
            }
            self._trials = subprocess.Popen(
                [sys.executable, "-B", "-m", "tests.mutants.trial"],
                cwd=self.directory,
                env=environment | {"PYTHONPATH": str(self.directory)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        asked, told = self._trials.stdin, self._trials.stdout
        assert asked is not None
        assert told is not None
        asked.write(json.dumps(list(arguments)) + "\n")
        asked.flush()
        line = told.readline()
        if not line:
            raise OSError("the trials of mutants have ended; what they said stands above")
        return msgspec.json.decode(line, type=Done)

    @contextmanager
    def planted(self, mutant: Mutant) -> Iterator[Path]:
        """The copy with this bug in it; afterwards it is as before."""
        before = {file: (self.directory / file).read_text() for file in mutant.files}
        try:
            for edit in mutant.edits:
                edit.apply(self.directory)
            self._forget_byte_code(mutant)
            yield self.directory
        finally:
            for file, text in before.items():
                (self.directory / file).write_text(text)
            self._forget_byte_code(mutant)

    def _forget_byte_code(self, mutant: Mutant) -> None:
        # Python tells byte code by time and size of its source: a second is too coarse here.
        for file in mutant.files:
            Path(cache_from_source(str(self.directory / file))).unlink(missing_ok=True)
