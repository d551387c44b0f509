"""Golden transcripts: a text file of `command`, `----`, expected output, blank line.

Lines that start with # explain and stay. `pytest --rewrite` writes what the code now says; read
the diff before you commit it.
"""

from collections.abc import Callable
from pathlib import Path


def check(path: Path, handle: Callable[[str], str], *, rewrite: bool = False) -> None:
    blocks = []
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        head = block.partition("\n----")[0]
        commands = [line for line in head.splitlines() if not line.startswith("#")]
        assert len(commands) == 1, f"{path.name}: one command per block, not {commands}"
        blocks.append(f"{head}\n----\n{handle(commands[0]).rstrip()}".rstrip())
    actual = "\n\n".join(blocks) + "\n"
    if rewrite:
        path.write_text(actual, encoding="utf-8")
    assert actual == path.read_text(encoding="utf-8")
