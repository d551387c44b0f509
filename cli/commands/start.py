"""`salus start`: checks what a person would have to check, then runs the node."""

import os
import signal

import click

from cli.errors import CliError
from cli.group import command
from cli.preflight import Preflight
from cli.session import Session, pass_session
from salus.codes import CODES, Exit


@command()
@click.option("--config-check", is_flag=True, help="Only check; start nothing.")
@click.option("--profile", type=click.Choice(["dev", "prod"]), help="Overrides node.toml.")
@click.option("--set", "settings", multiple=True, metavar="TABLE.KEY=VALUE", help="Override.")
@click.option(
    "--verify-all",
    is_flag=True,
    help="Catching up, check what clients signed, too (sync.verify_all).",
)
@click.option("--password-file", type=click.Path(dir_okay=False), help="Unlocks the keys.")
@pass_session
def start(
    session: Session,
    config_check: bool,
    profile: str | None,
    settings: tuple[str, ...],
    verify_all: bool,
    password_file: str | None,
) -> None:
    """Run the node of this home until SIGTERM."""
    # «Read node.toml again»: it has not been read yet, and by default the signal ends the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    home = session.home.node
    if not home.exists:
        hint = "a testnet is started by: salus testnet up" if session.home.is_testnet else ""
        raise CliError("NO_HOME", f"{home.path} is not the home of a node", next_step=hint)
    overrides = {} if profile is None else {"profile": profile}
    if verify_all:
        overrides["sync.verify_all"] = "true"
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise CliError("USAGE", f"{setting}: expected TABLE.KEY=VALUE")
        overrides[name] = value
    preflight = Preflight(home, overrides, dict(os.environ))
    findings = []
    for finding in preflight.run():
        findings.append(finding)
        if finding.ok is False:
            row = CODES.get(finding.code)
            code = Exit.CONFIG if finding.name == "config" or row is None else row.exit_code
            if finding.name == "keys":
                code = Exit.CONFIG
            raise CliError(
                finding.code, finding.detail, next_step=finding.next_step, exit_code=code
            )
    if config_check:
        lines = [f"{session.out.mark(f.ok)} {f.name:<10} {f.detail}" for f in findings]
        document = {"ok": True, "checks": [finding.document() for finding in findings]}
        session.out.result(document, "\n".join(lines))
        return
    from cli.keyfiles import password_for

    password = password_for(home, password_file)
    run_node(home.path, overrides, password)


def run_node(home: object, overrides: dict[str, str], password: str) -> None:
    """Returns after SIGTERM."""
    from pathlib import Path

    from cli import loop
    from node.process import run

    assert isinstance(home, Path)
    loop.run(run(home, overrides, password=password))
