"""Changing node.toml: the operator's comments stay, and a file that would not be valid is not written."""

import os
from collections.abc import Mapping
from typing import Any

from cli.home import NodeHome
from node.config import load
from node.errors import ConfigError


def change(home: NodeHome, values: Mapping[str, Any], *, dry_run: bool = False) -> None:
    """`values`: «p2p.listen» → what the file says. Raises `ConfigError`."""
    import tomlkit

    document = tomlkit.parse(home.config.read_text())
    for name, value in values.items():
        table, _, key = name.rpartition(".")
        place: Any = document.setdefault(table, tomlkit.table()) if table else document
        place[key] = value
    temporary = home.config.with_name(".node.toml.new")
    temporary.write_text(tomlkit.dumps(document))
    try:
        load(temporary, environ=dict(os.environ))
    except ConfigError:
        temporary.unlink()
        raise
    if dry_run:
        temporary.unlink()
    else:
        temporary.replace(home.config)
