"""What an import check cannot see in the deterministic half (architecture.md).

Agreement and contracts must give the same bytes on every machine, so their source has no
floating point, no division that makes one, nothing that depends on the hash seed or on the
tables of a Unicode version, and contracts do not recurse (rule S16).
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PURE = [*sorted((ROOT / "consensus").rglob("*.py")), *sorted((ROOT / "contracts").rglob("*.py"))]
CONTRACTS = sorted((ROOT / "contracts").glob("*.py"))
DETERMINISTIC = [
    *PURE,
    *(
        ROOT / "node" / f"{name}.py"
        for name in ("executor", "genesis_block", "replay", "uncertified")
    ),
]

BANNED_CALLS = {"hash", "id", "float", "round", "vars", "globals", "eval", "exec", "open", "input"}
BANNED_NAMES = {"casefold", "unicodedata", "random", "time", "datetime", "secrets", "getrandbits"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
# What may take a set without showing its order.
ORDERLESS = {"sorted", "len", "min", "max", "sum", "any", "all", "set", "frozenset"}


def faults(source: str) -> list[str]:
    tree = ast.parse(source)
    found = []
    sets = _names_of_sets(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Constant(value=float() | complex()):
                found.append(f"{line}: a float")
            case ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
                found.append(f"{line}: /")
            case ast.Call(func=ast.Name(id=name)) if name in BANNED_CALLS:
                found.append(f"{line}: {name}()")
            case ast.Attribute(attr=name) if name in BANNED_NAMES:
                found.append(f"{line}: .{name}")
            case ast.Import(names=names) if any(n.name in BANNED_NAMES for n in names):
                found.append(f"{line}: import")
            case ast.For(iter=over) | ast.comprehension(iter=over) if _is_set(over, sets):
                if not _sorted_away(tree, node):
                    found.append(f"{over.lineno}: iteration over a set")
            case ast.Call(
                func=ast.Name(id="list" | "tuple" | "iter" | "enumerate"), args=[one, *_]
            ):
                if _is_set(one, sets):
                    found.append(f"{line}: a set turned into a sequence")
            case ast.Starred(value=one) if _is_set(one, sets):
                found.append(f"{line}: a set unpacked")
            case ast.Call(func=ast.Attribute(value=one, attr="pop"), args=[]) if _is_set(one, sets):
                found.append(f"{line}: pop of a set")
    return found


def _names_of_sets(tree: ast.AST) -> set[str]:
    """Names and attributes that are annotated or assigned as sets anywhere in the file."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=target, annotation=kind) if _set_type(kind):
                names.add(_name(target))
            case ast.arg(arg=name, annotation=kind) if kind is not None and _set_type(kind):
                names.add(name)
            case ast.Assign(targets=[target], value=value) if _is_set(value, set()):
                names.add(_name(target))
    return names - {""}


def _set_type(kind: ast.expr) -> bool:
    match kind:
        case ast.Subscript(value=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id="set" | "frozenset"):
            return True
        case ast.BinOp(left=left, right=right):
            return _set_type(left) or _set_type(right)
    return False


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _is_set(node: ast.expr, names: set[str]) -> bool:
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Call(func=ast.Attribute(attr=method)) if method in SET_METHODS:
            return True
        case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.Sub() | ast.BitXor()):
            return _is_set(left, names)
        case ast.Name() | ast.Attribute():
            return _name(node) in names
    return False


def _sorted_away(tree: ast.AST, part: ast.AST) -> bool:
    """Is the comprehension the argument of something that does not show the order?"""
    for node in ast.walk(tree):
        match node:
            case ast.SetComp(generators=generators) if part in generators:
                return True
            case ast.Call(
                func=ast.Name(id=name),
                args=[
                    ast.GeneratorExp(generators=generators) | ast.ListComp(generators=generators)
                ],
            ) if name in ORDERLESS and part in generators:
                return True
    return False


@pytest.mark.parametrize("path", DETERMINISTIC, ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_depends_on_the_machine(path: Path) -> None:
    assert faults(path.read_text()) == []


def recursions(source: str) -> list[str]:
    """Functions and methods of one module that can reach themselves by name."""
    calls: dict[str, set[str]] = {}
    for name, function in _functions(ast.parse(source), ""):
        owner = name.rpartition(".")[0]
        calls[name] = {
            called
            for call in ast.walk(function)
            if isinstance(call, ast.Call) and (called := _called(call.func, owner))
        }
    found = []
    for start in calls:
        reached: set[str] = set()
        todo = [start]
        while todo:
            new = calls.get(todo.pop(), set()) - reached
            reached |= new
            todo += sorted(new)
        if start in reached:
            found.append(start)
    return found


def _functions(tree: ast.AST, owner: str) -> list[tuple[str, ast.FunctionDef]]:
    found = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef):
            found.append((f"{owner}{node.name}", node))
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found += _functions(node, f"{node.name}." if isinstance(node, ast.ClassDef) else owner)
    return found


def _called(function: ast.expr, owner: str) -> str:
    match function:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id="self"), attr=name):
            return f"{owner}.{name}"
    return ""


# They walk over types, whose depth a declaration fixes, at import or outside of consensus.
OVER_TYPES = {"fields.py"}


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda p: p.name)
def test_contracts_do_not_recurse(path: Path) -> None:
    """Rule S16: how deep Python may stack calls must decide no outcome."""
    if path.name not in OVER_TYPES:
        assert recursions(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "x = 0.5",
        "x = 1 / 2",
        "x /= 2",
        "x = hash(y)",
        "x = id(y)",
        "x = float(y)",
        "x = y.casefold()",
        "import unicodedata",
        "for x in {1, 2}: pass",
        "for x in set(y): pass",
        "y = {1}\nfor x in y: pass",
        "def f(y: set[int]):\n    return [x for x in y]",
        "y: set[int] = make()\nz = list(y)",
        "z = [*{1, 2}]",
        "x = {1, 2}.pop()",
        "for x in set(y) - {1}: pass",
    ],
)
def test_the_check_sees_what_it_must(line: str) -> None:
    assert faults(line)


@pytest.mark.parametrize(
    "line",
    [
        "x = 1 // 2",
        "for x in sorted({1, 2}): pass",
        "x = 1 in {1, 2}",
        "x = {y for y in set(z)}",
        "x = sum(y for y in set(z))",
        "for x in [1, 2]: pass",
        "x = len({1})",
        "for x in {1: 2}: pass",
    ],
)
def test_the_check_lets_pass_what_is_harmless(line: str) -> None:
    assert faults(line) == []


def test_the_check_sees_recursion_through_others() -> None:
    assert recursions("def f(): g()\ndef g(): f()\ndef h(): f()") == ["f", "g"]
    assert recursions("class C:\n def f(self): self.f()") == ["C.f"]
    assert recursions("def f(): g()\ndef g(): pass") == []
