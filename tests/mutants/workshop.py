"""A copy of the code in a directory of its own, in which one mutant after the other is planted."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import cache_from_source
from pathlib import Path

from tests.mutants.mutant import Mutant

ROOT = Path(__file__).parents[2]

# The code, its tests, and the pages that some of those read.
PARTS = ("salus", "consensus", "contracts", "storage", "node", "cli", "tests", "configs", "docs")
FILES = ("pyproject.toml", "setup.cfg", "README.md", "ARCHITECTURE.md", "CHANGELOG.md")


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
