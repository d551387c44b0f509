"""What every command knows: the global options, where the output goes, which home and node.

Global options are accepted before the command and after it; the later one wins.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from cli.home import Home, Target
from cli.output import Output

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_TIMEOUT_S = 10.0


@dataclass
class Session:
    """The globals of one call."""

    home_path: Path = field(
        default_factory=lambda: Path(os.environ.get("SALUS_HOME") or Path.home() / ".salus")
    )
    home_given: bool = False  # by --home, not by the environment or the default
    node: str | None = field(default_factory=lambda: os.environ.get("SALUS_NODE"))
    key: str | None = None
    as_json: bool = False
    verbosity: int = 0
    color: bool = True
    timeout_s: float = DEFAULT_TIMEOUT_S
    yes: bool = False
    api_token: Path | None = None  # a file

    @cached_property
    def out(self) -> Output:
        return Output(as_json=self.as_json, verbosity=self.verbosity, color=self.color)

    @cached_property
    def home(self) -> Home:
        return Home(self.home_path.expanduser().absolute())

    def token(self, target: Target) -> str | None:
        """For the API of that node: the one of --api-token, else of the home, if it is its node."""
        if self.api_token is None:
            return target.token()
        from cli.keyfiles import read_password

        return read_password(self.api_token) or None

    def confirm(self, question: str) -> None:
        """Ask before something that cannot be undone; --yes answers, no terminal means no."""
        from cli.errors import CliError

        if self.yes:
            return
        if not os.isatty(0) or self.as_json:
            raise CliError("CONFIRM", f"{question} Not done.")
        if not click.confirm(question, err=True):
            raise click.Abort


def _session(context: click.Context) -> Session:
    return context.find_root().ensure_object(Session)


def _store(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        if context.get_parameter_source(parameter.name or "") in {
            None,
            click.core.ParameterSource.DEFAULT,
        }:
            return
        setattr(_session(context), name, value)
        if name == "home_path":
            _session(context).home_given = True

    return callback


def _store_verbosity(context: click.Context, parameter: click.Parameter, value: int) -> None:
    if value:
        _session(context).verbosity += value if parameter.name == "verbose" else -value


def global_options(*, hidden: bool) -> list[click.Option]:
    """Fresh option objects: shown in `salus --help`, accepted everywhere."""
    common: dict[str, Any] = {"expose_value": False, "hidden": hidden}

    def flag(*names: str, to: str, help: str, value: bool = True) -> click.Option:
        return click.Option(
            names, is_flag=True, flag_value=value, callback=_store(to), help=help, **common
        )

    return [
        click.Option(
            ["--home"],
            type=click.Path(file_okay=False, path_type=Path),
            callback=_store("home_path"),
            metavar="DIR",
            help="Home of a node, or root of a testnet (SALUS_HOME; default ~/.salus).",
            **common,
        ),
        click.Option(
            ["--node"],
            callback=_store("node"),
            metavar="NAME|URL",
            help="The node to talk to (SALUS_NODE; default: the one of the home).",
            **common,
        ),
        click.Option(
            ["--as"],
            callback=_store("key"),
            metavar="KEYNAME",
            help="Who signs (default: the node's operator).",
            **common,
        ),
        flag("--json", to="as_json", help="One JSON object (or NDJSON) on stdout, nothing else."),
        click.Option(
            ["-q", "--quiet"],
            count=True,
            callback=_store_verbosity,
            help="No progress on stderr.",
            **common,
        ),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            callback=_store_verbosity,
            help="More on stderr.",
            **common,
        ),
        flag("--no-color", to="color", value=False, help="No colours (also NO_COLOR)."),
        click.Option(
            ["--timeout"],
            type=click.FloatRange(min=0.1, max=3600),
            callback=_store("timeout_s"),
            metavar="SECONDS",
            help=f"How long to wait for an outcome (default {DEFAULT_TIMEOUT_S:g}).",
            **common,
        ),
        flag("--yes", to="yes", help="Answer every question with yes."),
        click.Option(
            ["--api-token"],
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            callback=_store("api_token"),
            metavar="FILE",
            help="A token for --node URL; the home's own goes to the home's own node alone.",
            **common,
        ),
    ]


def pass_session(function: F) -> F:
    """Give the command its `Session` as first argument."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        context = click.get_current_context()
        return context.invoke(function, _session(context), *args, **kwargs)

    from functools import update_wrapper

    return update_wrapper(wrapper, function)  # type: ignore[return-value]
