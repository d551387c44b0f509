"""docs/capabilities.md is held: every number once, every test that it names exists and runs nodes."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "capabilities.md"

# The chapters of the design's list that are about patients, and how many numbers each has.
CHAPTERS = {"I": 8, "R": 16, "X": 4, "L": 9}
VISION = {"L4", "L8", "L9"}  # outlooks by the design's own word
# What starts nodes as processes of their own: by command, or by the helpers of this folder.
STARTS_NODES = {"consortium", "network", "demo"}

_ROW = re.compile(r"^\| ([A-Z]+\d+) \| (.+?) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`((?:e2e|privacy)/test_\w+\.py)::(test_\w+)`")


def rows() -> list[tuple[str, str]]:
    """Number and the cell that says what shows it."""
    return [(row[1], row[3]) for row in _ROW.finditer(PAGE.read_text("utf-8"))]


def named() -> list[tuple[str, str]]:
    return sorted({(test[1], test[2]) for _, seen in rows() for test in _TEST.finditer(seen)})


@cache
def functions(file: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    body = ast.parse((TESTS / file).read_text("utf-8")).body
    return {node.name: node for node in body if isinstance(node, kinds)}


def starts_nodes(file: str) -> bool:
    """Does anything in the file call a helper that starts them, or type `testnet up`, or `demo`?"""
    for node in ast.walk(ast.parse((TESTS / file).read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        words = [one.value for one in node.args if isinstance(one, ast.Constant)]
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in STARTS_NODES or words[:2] == ["testnet", "up"] or words[:1] == ["demo"]:
            return True
    return False


def asserts(node: ast.AST) -> bool:
    """An assertion, or a helper that is named for one."""
    call = node.func if isinstance(node, ast.Call) else None
    return isinstance(node, ast.Assert) or (
        isinstance(call, ast.Name) and call.id.startswith("assert")
    )


def test_every_number_stands_there_once() -> None:
    numbers = [number for number, _ in rows()]
    wanted = [f"{letter}{n}" for letter, count in CHAPTERS.items() for n in range(1, count + 1)]
    assert sorted(numbers) == sorted(wanted)


def test_vision_is_what_the_design_calls_so_and_all_else_names_a_test() -> None:
    assert {number for number, seen in rows() if seen == "vision"} == VISION
    bare = [n for n, seen in rows() if n not in VISION and not _TEST.search(seen)]
    assert not bare
    odd = [n for n, seen in rows() if n not in VISION and "::" in _TEST.sub("", seen)]
    assert not odd, "a test that is named in another form is not checked"


@pytest.mark.parametrize(("file", "name"), named(), ids=lambda word: str(word))
def test_a_test_that_is_named_exists_and_its_file_starts_nodes(file: str, name: str) -> None:
    found = functions(file).get(name)
    assert found is not None, f"{file} has no {name}"
    assert any(map(asserts, ast.walk(found))), f"{name} checks nothing"
    assert starts_nodes(file)
