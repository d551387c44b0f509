"""The root of the command line: fast, one manner of options, one manner of endings."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from cli import main
from cli.errors import CliError, from_library, from_os
from cli.group import Command
from cli.session import Session
from salus.client_errors import PendingError, RejectedError, UnreachableError
from salus.codes import CODES, Exit
from salus.errors import BadMessage, SalusError, VerificationError
from tests.cli.conftest import Salus

CLI = Path(main.__file__).parent


def commands(command: click.Command, path: str = "salus") -> list[tuple[str, click.Command]]:
    """Every command with its full name, groups included."""
    found = [(path, command)]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += commands(child, f"{path} {name}")
    return found


ALL = commands(main.cli)


def test_help_imports_nothing_heavy() -> None:
    """interfaces.md §1: importing aiohttp alone costs 290 ms, `--help` has 100."""
    program = (
        "import sys, cli.main\n"
        "assert cli.main.run(['--help']) == 0\n"
        "heavy = {'aiohttp', 'rich', 'cryptography', 'nacl', 'plyvel', 'msgspec', 'asyncio'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"


def test_the_table_says_what_each_command_says() -> None:
    for name, (_, text) in main.COMMANDS.items():
        command = main.cli.get_command(click.Context(main.cli), name)
        assert command is not None
        assert command.name == name
        said = (command.help or "").split("\n\n")[0].replace("\n", " ")
        assert said == text


@pytest.mark.parametrize("path", [path for path, command in ALL if isinstance(command, Command)])
def test_global_options_are_taken_after_every_command(path: str) -> None:
    command = dict(ALL)[path]
    names = {name for parameter in command.params for name in parameter.opts}
    assert {"--home", "--node", "--as", "--json", "--timeout", "--yes", "--no-color"} <= names


@pytest.mark.parametrize("before", [True, False])
def test_global_options_stand_before_the_command_or_after_it(
    before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Session] = []

    @click.pass_context
    def look(context: click.Context) -> None:
        seen.append(context.find_root().ensure_object(Session))

    monkeypatch.setattr(
        import_module("cli.commands.version"), "version", Command("version", callback=look)
    )
    options = ["--home", str(tmp_path), "--json", "--node", "x", "-v", "--timeout", "3"]
    assert main.run([*options, "version"] if before else ["version", *options]) == 0
    (session,) = seen
    assert session.home_path == tmp_path
    assert session.home_given
    assert (session.as_json, session.node, session.verbosity) == (True, "x", 1)
    assert session.timeout_s == 3


def test_of_an_option_given_twice_the_later_wins(salus: Salus, tmp_path: Path) -> None:
    result = salus("--home", "/nowhere", "status", "--home", tmp_path)
    assert str(tmp_path) in result.err


def test_an_unknown_command_is_usage_and_says_what_was_meant(salus: Salus) -> None:
    result = salus("statsu")
    assert result.code == Exit.USAGE
    assert "Did you mean «status»?" in result.err
    assert result.out == ""


def test_with_json_an_error_is_one_object_on_stdout(salus: Salus) -> None:
    result = salus("bogus", "--json")
    assert result.document["error"]["code"] == "USAGE"
    assert result.document["error"]["exit"] == result.code == Exit.USAGE
    assert result.err == ""


def test_a_fault_of_ours_writes_its_trace_to_a_file(
    salus: Salus, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = import_module("cli.commands.version")

    def explode(name: str) -> str:
        raise RuntimeError("planted")

    monkeypatch.setattr(module.metadata, "version", explode)
    result = salus("version", "--json")
    assert result.code == Exit.BUG
    assert "planted" not in result.out
    report = Path(result.document["error"]["report"])
    assert "RuntimeError: planted" in report.read_text()
    report.unlink()


def test_ctrl_c_ends_with_130(salus: Salus, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main.cli, "main", interrupted)
    assert salus("version").code == 130


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RejectedError("x", code="EXPIRED", tx_id="ab"), 3),
        (PendingError("x", tx_id="ab"), 4),
        (UnreachableError("x"), 6),
        (VerificationError("x"), 1),
        (SalusError("x", code="NO_QUORUM"), 8),
        (SalusError("x", code="WRONG_PASSWORD"), 7),
        (SalusError("x", code="UNKNOWN_RECORD"), 5),
        (BadMessage("x"), 65),
        (SalusError("x", code="POOL_FULL"), 75),
    ],
)
def test_exit_codes_of_the_library_errors(error: SalusError, code: int) -> None:
    """interfaces.md §3."""
    assert from_library(error).exit_code == code


def test_a_pending_transaction_names_its_id_and_forbids_a_second_one() -> None:
    known = from_library(PendingError("not committed in time", tx_id="ab" * 32))
    assert known.facts["tx_id"] == "ab" * 32
    assert known.lines().startswith("pending[PENDING]")
    assert "do NOT build it again" in known.lines()


@pytest.mark.parametrize(("number", "code"), [(28, 74), (98, 69), (2, 65), (17, 73), (13, 74)])
def test_exit_codes_of_the_system_errors(number: int, code: int) -> None:
    """ENOSPC, EADDRINUSE, ENOENT, EEXIST, EACCES as sysexits has them."""
    assert from_os(OSError(number, "x", "/some/file")).exit_code == code


def test_every_code_of_the_command_line_is_registered() -> None:
    used = {
        node.args[0].value
        for path in CLI.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "CliError"
        and isinstance(node.args[0], ast.Constant)
    }
    assert used
    assert used <= set(CODES)


def test_an_error_says_what_and_what_next() -> None:
    error = CliError("NO_HOME", "nothing here")
    assert error.exit_code == Exit.CONFIG
    assert error.lines() == f"error[NO_HOME] nothing here\n  next: {CODES['NO_HOME'].hint}"
