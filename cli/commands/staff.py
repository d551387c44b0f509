"""`salus staff …`: people of an organisation, each with a key, a period and roles."""

import re
import time
from typing import Any

import click

from cli import moments
from cli.connect import connect, short, waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_at = click.option("--at", "org", metavar="ORG", help="Of which organisation; default: the home's.")


@group()
def staff() -> None:
    """People of an organisation: their keys, roles and periods."""


@staff.command()
@click.argument("name")
@_at
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="clinician (default), nurse, laboratory, pharmacist, emergency, administration, "
    "research, gateway; more than once for several.",
)
@click.option("--until", default="365d", show_default=True, metavar="90d|RFC3339", help="How long.")
@click.option("--qualification", default="", help="Licence; on the chain as a salted hash only.")
@click.option("--dry-run", is_flag=True, help="Check; make and send nothing.")
@pass_session
@waits
async def add(
    session: Session,
    name: str,
    org: str | None,
    roles: tuple[str, ...],
    until: str,
    qualification: str,
    dry_run: bool,
) -> None:
    """Make a person's key and register it; the organisation's operator signs."""
    from cli import staff as people
    from cli.owners import send
    from salus.staff import StaffRole

    if _NAME.fullmatch(name) is None:
        raise CliError("USAGE", "NAME: lower-case letters, digits, . _ - (at most 64)")
    try:
        wanted = tuple(StaffRole(role) for role in roles) or (StaffRole.CLINICIAN,)
    except ValueError:
        raise CliError("USAGE", f"--role is one of {', '.join(StaffRole)}") from None
    now_ms = time.time_ns() // 1_000_000
    until_ms = moments.until(until, now_ms)
    session.node = session.node or org
    home = people.home_of(session, org)
    employer = org or home.member()
    if employer is None:
        raise CliError("USAGE", "which organisation? --at ORG")
    if dry_run:
        session.out.result({"name": name, "org": employer}, "nothing made (--dry-run)")
        return
    member = people.make(home, name, qualification)
    async with connect(session, sign=True) as client:
        if await client.query("members", "key", public_key=member.key.hex()) is not None:
            raise CliError("REFUSES_OVERWRITE", f"«{name}» is registered already")
        chain_id = (await client.chain()).genesis.chain_id
        # From a minute ago on: block time follows the validators' clocks, not this one.
        act = people.registration(
            home, member, chain_id, employer, wanted, now_ms - 60_000, until_ms
        )
        done = await send(client, act)
    session.out.result(
        {
            "name": name,
            "org": employer,
            "handle": member.file.handle,
            "key": member.key.hex(),
            "roles": sorted(wanted),
            "tx_id": done.tx_id,
            "height": done.height,
        },
        f"{session.out.mark(True)} {name} of {employer}  {', '.join(sorted(wanted))}"
        f"  handle {short(member.file.handle)}  block {done.height}"
        f"\n  signs with --as {name}",
    )


@staff.command("list")
@_at
@pass_session
@waits
async def list_(session: Session, org: str | None) -> None:
    """The people whose keys lie in this home, and how the chain sees them."""
    from cli import staff as people

    home = people.home_of(session, org)
    session.node = session.node or org
    found: list[dict[str, Any]] = []
    async with connect(session) as client:
        for member in people.all_of(home):
            known = await client.query("members", "key", public_key=member.key.hex())
            found.append(
                {
                    "name": member.name,
                    "handle": member.file.handle,
                    "key": member.key.hex(),
                    "status": "not registered" if known is None else known["status"],
                }
            )
    rows = [(one["name"], one["status"], one["handle"], one["key"]) for one in found]
    session.out.table({"staff": found}, ("NAME", "STATUS", "HANDLE", "KEY"), rows)


@staff.command()
@click.argument("name")
@_at
@click.option("--dry-run", is_flag=True, help="Check; send nothing.")
@pass_session
@waits
async def revoke(session: Session, name: str, org: str | None, dry_run: bool) -> None:
    """Withdraw a person's key at once; what it signed before stays valid."""
    from cli import staff as people
    from cli.owners import send
    from salus.acts import people as acts

    member = people.find(people.home_of(session, org), name)
    session.node = session.node or org
    if dry_run:
        session.out.result({"name": name}, "nothing sent (--dry-run)")
        return
    async with connect(session, sign=True) as client:
        done = await send(client, acts.revoke(bytes.fromhex(member.file.handle)))
    session.out.result(
        {"name": name, "tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} {name} revoked  block {done.height}",
    )
