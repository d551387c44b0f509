"""`salus config …`: node.toml, read and changed with its comments kept."""

import json
import os
from typing import Any

import click

from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.node_toml import change
from cli.session import Session, pass_session
from node.config import Loaded, load
from node.config_tables import settings as declared
from node.errors import ConfigError
from node.settings import Setting
from salus.codes import Exit


@group()
def config() -> None:
    """Show, get, set and check node.toml."""


@config.command()
@click.option("--origin", is_flag=True, help="Where each value comes from.")
@pass_session
def show(session: Session, origin: bool) -> None:
    """Every setting with the value that is in force."""
    loaded = _load(session.home.existing(session.node))
    values = {name: (value, loaded.origins[name]) for name, value in _values(loaded).items()}
    document = {
        name: {"value": value, "origin": source} if origin else value
        for name, (value, source) in values.items()
    }
    rows = [
        (name, json.dumps(value, ensure_ascii=False), source)[: 3 if origin else 2]
        for name, (value, source) in values.items()
    ]
    session.out.table(document, ("SETTING", "VALUE", "ORIGIN")[: 3 if origin else 2], rows)


@config.command()
@click.argument("name", metavar="TABLE.KEY")
@pass_session
def get(session: Session, name: str) -> None:
    """One setting."""
    loaded = _load(session.home.existing(session.node))
    values = _values(loaded)
    if name not in values:
        raise _unknown(name)
    document = {"setting": name, "value": values[name], "origin": loaded.origins[name]}
    value = values[name]
    session.out.result(document, value if isinstance(value, str) else json.dumps(value))


@config.command("set")
@click.argument("pairs", nargs=-1, required=True, metavar="TABLE.KEY VALUE…")
@click.option("--dry-run", is_flag=True, help="Check the change; write nothing.")
@pass_session
def set_(session: Session, pairs: tuple[str, ...], dry_run: bool) -> None:
    """Change settings in node.toml; the file stays as it is where the result is not valid.

    What belongs together is set together: api.tls_cert api.crt api.tls_key api.key
    """
    home = session.home.existing(session.node)
    if len(pairs) % 2:
        raise CliError("USAGE", f"{pairs[-1]}: a setting and its value, by turns")
    written = {
        name: _written(name, value) for name, value in zip(pairs[::2], pairs[1::2], strict=True)
    }
    change(home, written, dry_run=dry_run)
    session.out.result(
        {"settings": written, "written": not dry_run},
        "\n".join(f"{name} = {json.dumps(value)}" for name, value in written.items())
        + ("  (not written)" if dry_run else "; restart the node"),
    )


@config.command()
@pass_session
def check(session: Session) -> None:
    """All faults of node.toml at once, each with its line."""
    home = session.home.existing(session.node)
    try:
        _load(home)
    except ConfigError as error:
        problems = [
            {
                "code": problem.code,
                "source": problem.source,
                "setting": problem.path,
                "message": problem.message,
                "suggestion": problem.suggestion,
            }
            for problem in error.problems
        ]
        text = "\n".join(str(problem) for problem in error.problems)
        session.out.result({"ok": False, "problems": problems}, text)
        click.get_current_context().exit(Exit.CONFIG)
    document = {"ok": True, "problems": []}
    session.out.result(document, f"{session.out.mark(True)} {home.config} is valid")


def _load(home: NodeHome) -> Loaded:
    return load(home.config, environ=dict(os.environ))


def _written(name: str, value: str) -> Any:
    setting = _declared().get(name)
    if setting is None:
        raise _unknown(name)
    try:
        return setting.written(setting.parse_text(value))
    except ValueError as error:
        raise CliError("CONFIG_VALUE", f"{name} {error}", exit_code=Exit.CONFIG) from None


def _declared() -> dict[str, Setting]:
    return {f"{t}.{k}" if t else k: setting for t, k, _, setting, _ in declared()}


def _values(loaded: Loaded) -> dict[str, Any]:
    """By path, as node.toml writes them."""
    values = {}
    for table, key, attribute, setting, _ in declared():
        holder = getattr(loaded.config, table) if table else loaded.config
        value = getattr(holder, attribute)
        values[f"{table}.{key}" if table else key] = (
            None if value is None else setting.written(value)
        )
    return values


def _unknown(name: str) -> CliError:
    from difflib import get_close_matches

    close = get_close_matches(name, _declared(), n=1)
    hint = f"did you mean {close[0]}?" if close else "all of them: salus config show"
    return CliError(
        "CONFIG_UNKNOWN_KEY", f"there is no setting «{name}»", next_step=hint, exit_code=2
    )
