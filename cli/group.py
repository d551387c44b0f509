"""click, with commands that are imported only when they are called.

Importing aiohttp alone costs 290 ms, so `salus --help` may import nothing but click: the table
in `cli.main` holds each command's one line of help beside the place where it lives, and a test
holds the two together.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import click

from cli.session import global_options

_EPILOG = "Global options (--home --node --as --json …) work here too, see: salus --help"


class Command(click.Command):
    """A command that takes the global options as well."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("epilog", _EPILOG)
        super().__init__(*args, **kwargs)
        taken = {name for parameter in self.params for name in parameter.opts}
        self.params += [
            option for option in global_options(hidden=True) if not taken.intersection(option.opts)
        ]


class Group(click.Group):
    """A family of commands, which take the global options as well."""

    command_class = Command
    group_class = type  # a group inside a group is a Group again

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += global_options(hidden=True)


class LazyGroup(click.Group):
    """The root: names and one-line helps from a table, modules on demand."""

    def __init__(self, *args: Any, table: dict[str, tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table  # name → (module:attribute, one line of help)
        self.params += global_options(hidden=False)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.table:
            return None
        module, attribute = self.table[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.table and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.table, n=1)
            hint = f" Did you mean «{close[0]}»?" if close else ""
            raise click.UsageError(f"there is no command «{args[0]}».{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self.table.items()])


def command(name: str | None = None, **kwargs: Any) -> Callable[[Callable[..., Any]], Command]:
    """`@command()`: a `Command` from a function."""
    return click.command(name, cls=Command, **kwargs)


def group(
    name: str | None = None, cls: type[Group] = Group, **kwargs: Any
) -> Callable[[Callable[..., Any]], Group]:
    """`@group()`: a `Group` from a function."""
    return click.group(name, cls=cls, **kwargs)
