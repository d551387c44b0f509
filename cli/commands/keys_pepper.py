"""`salus keys pepper …`: the secret under which identity tags are made, from member to member.

Founders get it with the founding document. Who joins later gets a copy, sealed to the box key that
the chain knows him by, from any member.
"""

from pathlib import Path

import click

from cli import peppers
from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.session import Session, pass_session
from salus import files, pepper
from salus.genesis import NO_PEPPER, Genesis, from_json

_password_file = click.option(
    "--password-file", type=click.Path(dir_okay=False), help="Opens the box key."
)


@group("pepper")
def pepper_() -> None:
    """The secret of identity tags: check it, hand it to a new member."""


@pepper_.command()
@_password_file
@pass_session
def check(session: Session, password_file: str | None) -> None:
    """Open this home's copy, and hold it to the genesis document."""
    home, founding, member = _own(session)
    peppers.held(home, founding, password_file)
    named = founding.pepper_commitment.hex()
    session.out.result(
        {"member": member, "commitment": named, "file": str(home.pepper)},
        f"{session.out.mark(True)} {home.pepper}: the pepper that genesis names ({named[:16]}…)",
    )


@pepper_.command()
@click.option("--to", "to", metavar="ORG", required=True, help="The member, as the chain has it.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, metavar="FILE"
)
@_password_file
@pass_session
@waits
async def export(session: Session, to: str, output: Path, password_file: str | None) -> None:
    """A copy for a member that has none; nobody else can open it.

    Which box key is the member's, the chain says: the member must have been admitted."""
    home, founding, _ = _own(session)
    async with connect(session) as client:
        found = await client.query("members", "member", id=to)
    box_key = peppers.box_key_of(founding, to, found)
    held = peppers.held(home, founding, password_file)
    file = pepper.sealed(held, founding.chain_id, {to: box_key})
    files.write_new(output, pepper.write(file).encode())
    session.out.result(
        {"member": to, "commitment": file.commitment, "file": str(output)}
        | {"box_key": box_key.hex()},
        f"{session.out.mark(True)} for {to}, to the box key {box_key.hex()}  →  {output}\n"
        f"next, at {to}: salus keys pepper import {output.name}",
    )


@pepper_.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_password_file
@click.option("--dry-run", is_flag=True, help="Open and check it; write nothing.")
@pass_session
def import_(session: Session, file: Path, password_file: str | None, dry_run: bool) -> None:
    """Put a copy into this home; another pepper than genesis names is refused.

    A node that runs uses it from then on."""
    home, founding, member = _own(session)
    copies = peppers.read(file)
    peppers.require(file, copies, founding, member)
    peppers.opened(home, file, copies, member, password_file)
    if not dry_run:
        peppers.place(home, copies, member)
    session.out.result(
        {"member": member, "commitment": copies.commitment, "written": not dry_run},
        f"{session.out.mark(True)} {member} has the pepper"
        + ("  (not written)" if dry_run else ""),
    )


def _own(session: Session) -> tuple[NodeHome, Genesis, str]:
    """The home, its founding document, whose it is. Raises `CliError` (NO_PEPPER)."""
    home = session.home.existing(session.node)
    founding = from_json(home.genesis.read_bytes())
    if founding.pepper_commitment == NO_PEPPER:
        raise CliError(
            "NO_PEPPER",
            f"{founding.chain_id} was founded without a pepper: it has no identity tags",
            next_step="nothing: patients are registered without",
        )
    member = home.member()
    if member is None:
        raise CliError("BAD_JOIN", f"{home.join} does not say whose home this is")
    return home, founding, member
