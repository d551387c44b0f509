"""node.toml with every setting explained, and docs/configuration.md: both from the structs.

`python -m node.config_docs` writes them; a test compares.
"""

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import get_type_hints

from node.config_tables import Config, settings
from node.settings import Setting, What

_TOML_HEAD = """\
# Settings of a Salus node. A line that begins with «#» and a key shows the default; remove the
# «#» to change it. Stronger than this file: the environment (SALUS_P2P__LISTEN) and the command
# line. See where a value comes from: salus config show --origin. Check: salus config check.
# Limits that all nodes must share (block sizes, timeouts, epochs) are not here: genesis has them.
"""

_DOC_HEAD = """\
# Configuration

Generated from `node/config_tables.py`. Order: defaults < `node.toml` < environment < command line. In the
environment a setting is `SALUS_<TABLE>__<KEY>`, as `SALUS_P2P__LISTEN`; lists have commas there.
Durations are written «200ms», sizes «1MiB». Unknown keys and bad values are errors, all reported
at once, each with its line. Paths are relative to the home of the node.

Consensus parameters are not here: genesis and governance hold what all nodes must share.
"""

# What stands for a setting that is not set by default.
_EXAMPLES = {What.ENDPOINT: "host:port", What.TEXT: "FILE", What.KEY: What.KEY.value}


def render_toml(values: Mapping[str, object] | None = None) -> str:
    """node.toml: documented defaults as comments; `values` («p2p.listen» → TOML value) active."""
    values = dict(values or {})
    lines = [_TOML_HEAD]
    current = ""
    for table, key, _, setting, default in settings():
        where = f"{table}.{key}" if table else key
        if table != current:
            current = table
            lines += ["", f"[{table}]  # {_doc(table)}"]
        lines += [f"# {line}" for line in _comment(setting)]
        if where in values:
            lines.append(f"{key} = {_value(values.pop(where))}")
        elif where == "version":
            lines.append(f"version = {default}")
        elif default is None:
            lines.append(f"# {key} = {_value(_EXAMPLES[setting.what])}")
        else:
            lines.append(f"# {key} = {_value(setting.written(default))}")
    assert not values, f"no such setting: {sorted(values)}"
    return "\n".join(lines) + "\n"


def render_reference() -> str:
    """docs/configuration.md."""
    lines = [_DOC_HEAD, "## Top", ""]
    head = ["| key | default | what |", "| --- | --- | --- |"]
    current = ""
    lines += head
    for table, key, _, setting, default in settings():
        if table != current:
            current = table
            lines += ["", f"## [{table}]", "", _doc(table), "", *head]
        shown = "not set" if default is None else f"`{_value(setting.written(default))}`"
        lines.append(f"| `{key}` | {shown} | {' '.join(_sentences(setting))} |")
    return "\n".join(lines) + "\n"


def write(root: Path) -> None:
    (root / "configs" / "node.toml").write_text(render_toml())
    (root / "docs" / "configuration.md").write_text(render_reference())


def _doc(table: str) -> str:
    return (get_type_hints(Config)[table].__doc__ or "").strip()


def _sentences(setting: Setting) -> list[str]:
    if setting.what in (What.COUNT, What.DURATION, What.SIZE) and setting.min < setting.max:
        return [setting.doc, f"({setting.range_text})"]
    if setting.what is What.CHOICE:
        return [setting.doc, f"(one of {', '.join(setting.choices)})"]
    if setting.what in (What.PEERS, What.ENDPOINT, What.KEY):
        return [setting.doc, f"({setting.what.value})"]
    return [setting.doc]


def _comment(setting: Setting) -> list[str]:
    return textwrap.wrap(" ".join(_sentences(setting)), 97)


def _value(value: object) -> str:
    """As TOML; JSON's texts, numbers, truth values and lists are TOML's too."""
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    write(Path(__file__).parent.parent)
