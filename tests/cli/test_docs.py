"""The CLI reference is written by the CLI itself, so it cannot rot."""

from pathlib import Path

import click

from cli.main import cli
from salus.codes import Exit

DOC = Path(__file__).parent.parent.parent / "docs" / "cli.md"

_MEANING = {
    Exit.OK: "done",
    Exit.NEGATIVE: "a negative answer: doctor found faults, a proof does not hold",
    Exit.USAGE: "the command was called wrongly; `verify` without a trust anchor",
    Exit.REJECTED: "the transaction was refused and can never commit: do not retry",
    Exit.PENDING: "outcome unknown at the time-out; the id is printed: follow it, do not rebuild",
    Exit.NOT_FOUND: "no such thing",
    Exit.UNREACHABLE: "no node answers",
    Exit.NOT_AUTHORISED: "not authorised, wrong key or password",
    Exit.NOT_READY: "no quorum, or the node is catching up",
    Exit.BAD_DATA: "the input is not valid",
    Exit.UNAVAILABLE: "a port is taken, a node runs or does not start, a service is missing",
    Exit.BUG: "a fault in Salus; a report was written",
    Exit.REFUSES_OVERWRITE: "it exists and is never overwritten",
    Exit.IO: "input or output failed, the disk is full",
    Exit.RETRY: "temporary: try again",
    Exit.CONFIG: "the configuration or the home is wrong",
    Exit.INTERRUPTED: "interrupted by Ctrl-C",
}


def reference() -> str:
    lines = [
        "# Command line",
        "",
        "Written by the commands themselves: `pytest tests/cli/test_docs.py --rewrite`.",
        "",
        "Results go to stdout, progress to stderr. With `--json` stdout holds one JSON object (or",
        "one a line) and nothing else, for errors too. Words in brackets are explained in",
        "[errors.md](errors.md).",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "|---|---|",
        *(f"| {code.value} | {_MEANING[code]} |" for code in Exit),
        "",
    ]
    return "\n".join(lines + sections(cli, "salus"))


def sections(command: click.Command, path: str) -> list[str]:
    context = click.Context(
        command, info_name=path, terminal_width=100, help_option_names=["-h", "--help"]
    )
    lines = [f"## {path}", "", "```", command.get_help(context), "```", ""]
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            lines += sections(child, f"{path} {name}")
    return lines


def test_cli_reference_is_current(rewrite: bool) -> None:
    text = reference()
    if rewrite:
        DOC.write_text(text)
    assert DOC.read_text() == text, "run: pytest tests/cli/test_docs.py --rewrite"
