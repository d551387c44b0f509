"""A planted bug: which rule it breaks, what it changes, and who must notice.

A mutant is data. Its edits are exact text that stands exactly once in its file, so that a change of
the code cannot leave a mutant behind that does nothing.
"""

from dataclasses import dataclass
from pathlib import Path

SIMULATOR = "simulator"


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file` (from the root of the project) the one place that reads `old` becomes `new`."""

    file: str
    old: str
    new: str

    def apply(self, root: Path) -> None:
        """Raises `ValueError` unless `old` stands exactly once in the file."""
        path = root / self.file
        text = path.read_text()
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.file}: stands {found} times and not once: {self.old!r}")
        path.write_text(text.replace(self.old, self.new))


@dataclass(frozen=True, slots=True)
class Mutant:
    """`judge` is `SIMULATOR` or the one test that must fail (a pytest node id). `needs` names what
    a plan must bring to show the bug at all (needs.py); other seeds are passed over, and counted.
    `quick` ones are judged within ./scripts/test as well. `why`: of a bug of the protocol (S, L), why a
    named test must judge it, and no run can."""

    rule: str
    name: str
    edits: tuple[Edit, ...]
    judge: str
    needs: str = "any"
    quick: bool = False
    why: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(edit.file for edit in self.edits))


def simulated(
    rule: str, name: str, *edits: Edit, needs: str = "any", quick: bool = False
) -> Mutant:
    """A bug of the protocol: some seed of the simulator must fail."""
    return Mutant(rule, name, edits, SIMULATOR, needs, quick)


def by_test(
    rule: str, name: str, test: str, *edits: Edit, quick: bool = False, why: str = ""
) -> Mutant:
    """A bug of codec, crypto, storage, bounds, or of what f liars cannot bring about."""
    return Mutant(rule, name, edits, test, quick=quick, why=why)
