"""`salus completion SHELL`: the script that makes the shell complete our commands."""

import click
from click.shell_completion import get_completion_class

from cli.group import command
from cli.session import Session, pass_session

_WHERE = {
    "bash": 'eval "$(salus completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(salus completion zsh)"   in ~/.zshrc',
    "fish": "salus completion fish > ~/.config/fish/completions/salus.fish",
}


@command()
@click.argument("shell", type=click.Choice(sorted(_WHERE)))
@pass_session
def completion(session: Session, shell: str) -> None:
    """Completion for bash, zsh or fish."""
    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root, {}, "salus", "_SALUS_COMPLETE").source()
    session.out.result({"shell": shell, "script": script, "install": _WHERE[shell]}, script)
    if not session.out.json:
        session.out.note(_WHERE[shell])
