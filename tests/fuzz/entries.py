"""Where bytes or text are turned into values, found in the source: nobody keeps that list by hand."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("salus", "consensus", "contracts", "storage", "node", "cli")

# The calls that make a value of bytes or text: ours, msgspec's, json's, and those of Python. Names
# of methods count too, whatever they are called on: `json.loads`, `Packer.unpack_from`.
CALLS = frozenset(
    (
        "decode",
        "decode_message",
        "decode_known",
        "decode_all",
        "loads",
        "load",
        "convert",
        "unpack",
        "unpack_from",
        "unpackb",
        "Unpacker",
        "raw_decode",
        "from_bytes",
        "fromhex",
        "b64decode",
        "b32decode",
        "a85decode",
        "literal_eval",
        "load_der_x509_certificate",
        "load_pem_x509_certificate",
        "model_validate",
        "from_mnemonic",
    )
)


def entries() -> dict[str, list[int]]:
    """`module:function` of every function that decodes something, and in which lines."""
    found: dict[str, list[int]] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for name, line in _calls(ast.parse(path.read_text(encoding="utf-8")), ""):
                found.setdefault(f"{module}:{name}", []).append(line)
    return found


def _calls(tree: ast.AST, owner: str) -> Iterator[tuple[str, int]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _calls(node, f"{owner}.{node.name}".lstrip("."))
            continue
        if isinstance(node, ast.Call) and _name(node.func) in CALLS:
            yield owner or "(module)", node.lineno
        yield from _calls(node, owner)


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name):
            return name
        case ast.Attribute(attr=name):
            return name
    return ""
