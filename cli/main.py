"""`salus`: the table of commands, and what any ending of a command means to the shell."""

import json
import os
import sys
import time

import click

from cli.errors import CliError, from_library, from_os
from cli.group import LazyGroup
from salus.codes import Exit
from salus.errors import SalusError

COMMANDS = {
    "init": ("cli.commands.init:init", "Make keys, node.toml and a join file for one node."),
    "genesis": ("cli.commands.genesis:genesis", "The founding ceremony of a network."),
    "keys": ("cli.commands.keys:keys", "Keys at rest: make, list, show, export, import."),
    "start": ("cli.commands.start:start", "Run the node of this home until SIGTERM."),
    "status": ("cli.commands.status:status", "Height, view, primary, quorum and peers of a node."),
    "doctor": ("cli.commands.doctor:doctor", "Find what is wrong and name the next command."),
    "testnet": ("cli.commands.testnet:testnet", "A local network of separate processes."),
    "demo": ("cli.commands.demo:demo", "Four hospitals, one story, every step checked."),
    "record": ("cli.commands.record:record", "Documents in the vault, anchored on the chain."),
    "message": (
        "cli.commands.message:message",
        "Letters between a patient and the staff of a hospital.",
    ),
    "staff": (
        "cli.commands.staff:staff",
        "People of an organisation: their keys, roles and periods.",
    ),
    "patient": (
        "cli.commands.patient:patient",
        "Relations to organisations, and the keys that own them.",
    ),
    "consent": ("cli.commands.consent:consent", "Who may see what."),
    "audit": ("cli.commands.audit:audit", "Who saw what, when, and by what right."),
    "emergency": (
        "cli.commands.emergency:emergency",
        "A summary for those who cannot be asked; who opened it, and why.",
    ),
    "erasure": (
        "cli.commands.erasure:erasure",
        "Have records erased, and see who has not answered.",
    ),
    "org": ("cli.commands.org:org", "What an organisation does in its own name."),
    "fhir": ("cli.commands.fhir:fhir", "A patient's records from all hospitals, as FHIR R4."),
    "keeper": ("cli.commands.keeper:keeper", "The process that alone opens document keys."),
    "tx": ("cli.commands.tx:tx", "Build, sign, send and follow transactions."),
    "gov": ("cli.commands.gov:gov", "Change members, keys, parameters and contracts by vote."),
    "peer": ("cli.commands.peer:peer", "Where the other hospitals are: list, add and remove."),
    "query": ("cli.commands.query:query", "Blocks, transactions, state, validators, peers."),
    "block": ("cli.commands.query:block", "Short for: salus query block."),
    "events": ("cli.commands.events:events", "Follow what the contracts say, block by block."),
    "proof": ("cli.commands.proof:proof", "Make and show proof files."),
    "verify": ("cli.commands.verify:verify", "Check a proof file: no node, no network."),
    "db": ("cli.commands.db:db", "Check what a node has on its disk."),
    "config": ("cli.commands.config:config", "Show, get, set and check node.toml."),
    "api": ("cli.commands.api:api", "A raw call to the HTTP API."),
    "bench": (
        "cli.commands.bench:bench",
        "Throughput and latency of N validators on this machine.",
    ),
    "completion": ("cli.commands.completion:completion", "Completion for bash, zsh or fish."),
    "version": ("cli.commands.version:version", "Versions of Salus, Python and formats."),
}


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: docs/cli.md. First steps: salus demo",
)
def cli() -> None:
    """Run and use a node of the Salus health ledger.

    Global options stand before the command or after it.
    """


def main(arguments: list[str] | None = None) -> None:
    """The entry point: every ending becomes one exit code and, at most, one line of error."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """The exit code of one call; prints the error itself."""
    try:
        code = cli.main(arguments, prog_name="salus", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else Exit.OK
    except BrokenPipeError:
        # The reader went away (`salus events | head`); keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except click.exceptions.Exit as error:
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, EOFError):
        click.echo("interrupted", err=True)
        return Exit.INTERRUPTED
    except Exception as error:  # noqa: BLE001 (the one place where every ending is told)
        return _fail(error, arguments)


def _fail(error: Exception, arguments: list[str]) -> int:
    known = _known(error)
    if "--json" in arguments:
        click.echo(json.dumps(known.document(), ensure_ascii=False))
    else:
        click.echo(known.lines(), err=True)
    return known.exit_code


def _known(error: BaseException) -> CliError:
    while isinstance(error, BaseExceptionGroup):  # a TaskGroup wraps what went wrong inside
        error = error.exceptions[0]
    match error:
        case CliError():
            return error
        case click.UsageError():
            help_command = f"{error.ctx.command_path} --help" if error.ctx else "salus --help"
            return CliError("USAGE", error.format_message(), next_step=help_command)
        case click.FileError():
            return CliError("FILE_NOT_FOUND", error.format_message())
        case SalusError():
            return from_library(error)
        case Exception() if hasattr(error, "code") and hasattr(error, "hint"):
            # A store's error (storage/errors.py), without importing LevelDB to ask.
            return CliError(str(error.code), str(error), next_step=str(error.hint))
        case TimeoutError():
            return CliError("TIMEOUT", "no answer in time")
        case OSError():
            return from_os(error)
        case _:
            return _bug(error)


def _bug(error: BaseException) -> CliError:
    """Our own mistake: the trace goes to a file, not to the person."""
    import tempfile
    import traceback

    text = "".join(traceback.format_exception(error))
    try:
        handle, report = tempfile.mkstemp(prefix=f"salus-bug-{int(time.time())}-", suffix=".txt")
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError:
        report = "(the report could not be written)"
    return CliError(
        "BUG",
        f"a fault in Salus ({type(error).__name__}), not in what you did",
        next_step=f"send us {report}",
        report=report,
    )


if __name__ == "__main__":
    main()
