"""A module in two: nothing is lost, nothing is changed, and what must stay interpreted stays."""

import ast
import sys
from pathlib import Path

import pytest

from tests.sim import compiled
from tests.sim.splitting import SUFFIX, split

SOURCE = '''"""Words."""

from decimal import Decimal

import msgspec

LIMIT = 3
OTHER = 4


class Pair(msgspec.Struct, frozen=True):
    left: Decimal

    def near(self) -> bool:
        return _near(self.left, LIMIT)  # a comment stays with its line


class Refused(Exception):
    """One of our own."""


def _near(value: Decimal, limit: int) -> bool:
    return value < limit


def make(value: Decimal) -> Pair:
    if value > OTHER:
        raise Refused
    return Pair(value)
'''


def _names(source: str) -> list[str]:
    return [each.name for each in ast.parse(source).body if hasattr(each, "name")]


def test_what_a_struct_needs_stays_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves = split(SOURCE, "pairs")
    assert halves is not None
    kept, left = halves
    assert _names(kept) == ["Pair", "Refused", "_near"]
    assert _names(left) == ["make"]
    assert "a comment stays" in kept
    assert "OTHER = 4" in left
    assert "OTHER" not in kept
    (tmp_path / f"pairs{SUFFIX}.py").write_text(kept)
    (tmp_path / "pairs.py").write_text(left)
    monkeypatch.syspath_prepend(str(tmp_path))
    import pairs  # type: ignore[import-not-found]

    try:
        assert pairs.make(pairs.Decimal(1)).near()
        with pytest.raises(pairs.Refused):
            pairs.make(pairs.Decimal(5))
    finally:
        for name in ("pairs", f"pairs{SUFFIX}"):
            del sys.modules[name]


def test_a_module_of_structs_alone_is_left_as_it_is() -> None:
    assert split(SOURCE.partition("def _near")[0].replace("_near(", "max("), "pairs") is None
    assert split("import os\n\n\ndef plain() -> None: ...\n", "plain") is None


@pytest.mark.parametrize("name", compiled.SPLIT.split())
def test_each_statement_stands_in_one_half(name: str) -> None:
    source = (compiled.ROOT / f"{name}.py").read_text()
    halves = split(source, name.replace("/", "."))
    assert halves is not None, f"{name} has nothing to stay, or nothing else"
    whole = ast.parse(source).body
    imports = [ast.dump(each) for each in whole if isinstance(each, (ast.Import, ast.ImportFrom))]
    others = [ast.dump(each) for each in whole if ast.dump(each) not in imports]
    found = [ast.dump(each) for half in halves for each in ast.parse(half).body]
    for each in others:
        assert found.count(each) >= 1
    for each in imports:
        assert found.count(each) == 2
    assert len(found) <= len(others) + 2 * len(imports) + 2  # TYPE_CHECKING, and the new import
