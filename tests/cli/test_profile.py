"""configs/testnet.toml is what `salus testnet up` writes, apart from names and ports."""

from pathlib import Path

from cli.testnet import PROFILE
from node.config import load
from node.config_docs import render_toml

FILE = Path(__file__).parent.parent.parent / "configs" / "testnet.toml"

HEAD = (
    "# The settings of each node of a testnet (salus testnet up), which adds listen addresses and\n"
    "# peers. A profile for one machine: processes on loopback, no containers, no token.\n"
    "# Never use it where others can reach the ports. Written by tests/cli/test_profile.py.\n\n"
)


def test_the_profile_is_shown_as_a_file_and_valid(rewrite: bool) -> None:
    active = [
        line
        for line in render_toml(PROFILE).splitlines()
        if line and not line.startswith("#") and not line.startswith("[")
    ]
    tables: dict[str, list[str]] = {"": []}
    for name in PROFILE:
        table, _, key = name.rpartition(".")
        tables.setdefault(table, []).append(next(a for a in active if a.startswith(f"{key} = ")))
    text = HEAD + "version = 1\n" + "\n".join(tables.pop("")) + "\n"
    for table, lines in tables.items():
        text += f"\n[{table}]\n" + "\n".join(lines) + "\n"
    if rewrite:
        FILE.write_text(text)
    assert FILE.read_text() == text, "run: pytest tests/cli/test_profile.py --rewrite"
    assert load(FILE).config.dev.fault_injection
