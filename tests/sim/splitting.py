"""A module in two for mypyc: it drops the options and field types of a `msgspec.Struct` and refuses
exceptions of our own, so these classes stay interpreted, in a module beside it, and what only uses
them is compiled.

What stays: those classes, and whatever of the module they name, and so on. Law of the file: no
statement is changed, each is in one of the two modules, in its order; imports are in both.
"""

import ast

SUFFIX = "_kept"
_ROOTS = {"Struct", "Wire", "Exception", "AssertionError"}


def split(source: str, module: str) -> tuple[str, str] | None:
    """The text of `module` + `SUFFIX` and what is left of the module; None if nothing would be
    gained."""
    tree = ast.parse(source)
    known = set(_ROOTS)
    names: dict[ast.stmt, set[str]] = {each: _defined(each) for each in tree.body}
    kept: set[ast.stmt] = set()
    for each in tree.body:
        if isinstance(each, ast.ClassDef) and any(_last(base) in known for base in each.bases):
            kept.add(each)
            known.add(each.name)
    if not kept:
        return None
    while True:
        named = {name for each in kept for name in _named(each)}
        more = {
            each
            for each in tree.body
            if not _is_import(each) and each not in kept and names[each] & named
        }
        if not more:
            break
        kept |= more
    functions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    left = [each for each in tree.body if each not in kept]
    if not any(isinstance(each, functions) for each in left):
        return None
    stay = sorted({name for each in kept for name in names[each]})
    last_import = max(index for index, each in enumerate(left) if _is_import(each))
    beside = [each for each in tree.body if each in kept or _is_import(each)]
    theirs = f"from {module}{SUFFIX} import {', '.join(stay)}\n"
    before, after = left[: last_import + 1], left[last_import + 1 :]
    return _text(source, beside), _text(source, before) + theirs + _text(source, after)


def _defined(statement: ast.stmt) -> set[str]:
    """The names that a statement of a module gives it, but for imports."""
    if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return {statement.name}
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return {
            node.id
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
    return set()


def _named(statement: ast.stmt) -> set[str]:
    return {
        node.id
        for node in ast.walk(statement)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _is_import(statement: ast.stmt) -> bool:
    """Also those for the type checker alone."""
    if isinstance(statement, ast.If):
        return all(_is_import(each) for each in statement.body + statement.orelse)
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _last(base: ast.expr) -> str:
    return base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")


def _text(source: str, statements: list[ast.stmt]) -> str:
    """Their lines as they stand, for comments speak to the type checker."""
    lines = source.splitlines(keepends=True)
    return "".join("".join(lines[_first(each) - 1 : each.end_lineno]) for each in statements)


def _first(statement: ast.stmt) -> int:
    decorators = getattr(statement, "decorator_list", [])
    return min([statement.lineno, *(each.lineno for each in decorators)])
