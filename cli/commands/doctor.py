"""`salus doctor`: what is wrong, why, and the next command. Works on a dead node, too."""

import click

from cli.connect import waits
from cli.diagnosis import Diagnosis
from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session
from salus.codes import Exit


@command()
@pass_session
@waits
async def doctor(session: Session) -> None:
    """Find what is wrong and name the next command.

    In a testnet without --node all nodes are examined. Exit 1 with faults.
    """
    if session.home.is_testnet and session.node is None:
        names: list[str | None] = [node.name for node in session.home.testnet.nodes]
    else:
        names = [session.node]
    diagnoses = []
    for name in names:
        target = session.home.target(name)
        diagnosis = Diagnosis(session.home, target, token=session.token(target))
        await diagnosis.run()
        diagnoses.append(diagnosis)
    if not diagnoses:
        raise CliError("NO_HOME", "there is no node here to examine")
    ok = all(diagnosis.ok for diagnosis in diagnoses)
    documents = [diagnosis.document() for diagnosis in diagnoses]
    lines = []
    for diagnosis in diagnoses:
        if len(diagnoses) > 1:
            lines.append(diagnosis.target.name)
        lines += [f"{session.out.mark(f.ok)} {f.name:<10} {f.detail}" for f in diagnosis.findings]
        cause, next_step = diagnosis.cause()
        if cause:
            lines.append(f"Cause: {cause}.  Next: {next_step}")
    document = documents[0] if len(names) == 1 else {"ok": ok, "nodes": documents}
    session.out.result(document, "\n".join(lines))
    if not ok:
        click.get_current_context().exit(Exit.NEGATIVE)
