"""The registry of code words is complete, consistent and documented."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from salus import care_codes, code_table
from salus.codes import CODES, Code, Exit, Family, lookup, reference

ROOT = Path(__file__).parents[2]
PACKAGES = ("salus", "consensus", "contracts", "storage", "node", "cli")
WORD = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")

# Not errors: the good outcome, and peers' refusals that have texts of their own beside them.
NO_ERRORS = {"OK"}

# Calls whose first argument is a code word.
FIRST_ARGUMENT = {"ApiError", "Refused", "CliError", "Refusal"}


def words_used() -> Iterator[tuple[str, str]]:
    """(word, where): `code="WORD"`, `code = "WORD"` in a class, `Refused("WORD")` and the like."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.name in ("codes.py", "code_table.py", "care_codes.py"):
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
                for value in _codes_of(node):
                    if WORD.fullmatch(value):
                        yield value, where


def _codes_of(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(value))):
            yield value
        case ast.keyword(arg="code", value=value):
            yield from _strings(value)
        case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in FIRST_ARGUMENT:
            yield from _strings(first)
        case ast.Tuple(elts=[ast.Constant(value=str(word)), ast.Constant() | ast.JoinedStr()]):
            yield word  # (code, reason)
        case ast.keyword(arg="refusals", value=ast.Dict(keys=keys)):
            yield from (key.value for key in keys if isinstance(key, ast.Constant))
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict(keys=keys)) if (
            name == "FRAMEWORK_CODES"
        ):
            yield from (key.id for key in keys if isinstance(key, ast.Name))


def _strings(value: ast.expr) -> Iterator[str]:
    match value:
        case ast.Constant(value=str(text)):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _strings(body)
            yield from _strings(orelse)


def test_every_word_that_the_source_uses_is_registered() -> None:
    missing = sorted({(w, where) for w, where in words_used() if w not in CODES.keys() | NO_ERRORS})
    assert not missing, "\n".join(f"{word}  {where}" for word, where in missing)


def test_the_collector_sees_the_words() -> None:
    used = {word for word, _ in words_used()}
    assert {"TOO_LARGE", "NOT_CANONICAL", "BAD_SIGNATURE", "UNKNOWN_BLOCK"} <= used


@pytest.mark.parametrize("row", CODES.values(), ids=lambda row: row.word)
def test_each_row_says_what_and_what_next(row: Code) -> None:
    assert WORD.fullmatch(row.word)
    assert len(row.word) <= 48
    assert row.title
    assert row.title[0].isupper()
    assert not row.title.endswith(".")
    assert row.hint.endswith((".", "?"))
    assert "|" not in row.title + row.hint, "the reference is a table"
    assert 400 <= row.status < 600 or row.word == "PENDING"


def test_retry_agrees_with_status_and_exit_code() -> None:
    for row in CODES.values():
        if row.status in (408, 429, 503):
            assert row.retryable, f"{row.word}: the status promises a retry"
        if row.exit_code in (Exit.REJECTED, Exit.BAD_DATA, Exit.USAGE):
            assert not row.retryable, f"{row.word}: the exit code says never"


def test_refusals_of_contracts_end_in_exit_3() -> None:
    for row in CODES.values():
        if row.family is Family.RECEIPT:
            assert row.exit_code is Exit.REJECTED, row.word


def test_an_unknown_word_is_never_retried_blindly() -> None:
    row = lookup("A_WORD_OF_TOMORROW")
    assert not row.retryable
    assert row.exit_code is Exit.BUG


def test_the_reference_page_is_the_generated_one(rewrite: bool) -> None:
    page = ROOT / "docs/errors.md"
    if rewrite:
        page.write_text(reference())
    assert page.read_text() == reference(), "pytest --rewrite writes it anew"


def test_no_table_of_rows_is_forgotten() -> None:
    words = {**vars(code_table), **vars(care_codes)}
    tables = {name for name, value in words.items() if isinstance(value, tuple)}
    assert tables <= {family.name for family in Family}
