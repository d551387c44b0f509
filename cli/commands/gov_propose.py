"""`salus gov propose …`: one command for each change that can be voted on."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import ballots
from cli.ballots import EXPIRES_IN_BLOCKS
from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session

if TYPE_CHECKING:
    from salus.rotation import Rotation

_existing = click.Path(exists=True, dir_okay=False, path_type=Path)


@group()
def propose() -> None:
    """Propose a change; proposing is the first vote for it."""


def proposal(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that every proposal has."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Simulate; send nothing."),
        click.option(
            "--reasons",
            type=_existing,
            metavar="FILE",
            help="A document with the reasons; only its salted hash goes on chain.",
        ),
        click.option(
            "--expires-in",
            type=click.IntRange(1, EXPIRES_IN_BLOCKS),
            default=EXPIRES_IN_BLOCKS,
            show_default=True,
            metavar="BLOCKS",
            help="So long votes are taken.",
        ),
        click.option(
            "--at-height",
            type=click.IntRange(min=1),
            metavar="HEIGHT",
            help="In force not before this height. Default: as soon as it has passed.",
        ),
    ):
        function = option(function)
    return function


@propose.command("add-member")
@click.option(
    "--member-file",
    type=_existing,
    required=True,
    help="The new hospital's join.json (salus init --from-genesis, or salus genesis join).",
)
@click.option("--observer", is_flag=True, help="Without a vote, whatever the file wishes.")
@proposal
@pass_session
@waits
async def add_member(session: Session, member_file: Path, observer: bool, **options: Any) -> None:
    """A new organisation, with a vote if its file wishes so and its node has caught up."""
    from cli.ceremony import read_admission_of

    card, admission = read_admission_of(member_file)
    member = card.member
    session.out.note(
        f"{member.id} at {card.endpoint}, fingerprint {card.fingerprint()}: let them read it to you"
    )
    await _propose(
        session,
        "add_member",
        options,
        chain_id=admission.chain_id,
        member=member.id,
        roles=tuple(sorted(member.roles)),
        node_key=member.node_key,
        operator_key=member.operator_key,
        box_key=member.box_key,
        node_possession=admission.node_possession,
        operator_possession=admission.operator_possession,
        candidate=member.validator and not observer,
    )


def _about_a_member(action: str, doc: str) -> None:
    @propose.command(action.replace("_", "-"), help=doc)
    @click.argument("member")
    @proposal
    @pass_session
    @waits
    async def run(session: Session, member: str, **options: Any) -> None:
        await _propose(session, action, options, member=member)


_about_a_member("add_validator", "A member gets a vote, once its node has caught up.")
_about_a_member("remove_validator", "A member loses its vote and stays a member.")
_about_a_member("remove_member", "An organisation leaves, for ever.")
_about_a_member("suspend_member", "An organisation's keys open nothing until it is reinstated.")
_about_a_member("reinstate_member", "A suspended organisation is reinstated.")


def _rotation(capacity: str) -> None:
    @propose.command(f"rotate-{capacity}-key", help=f"Another {capacity} key for an organisation.")
    @click.option(
        "--key-file",
        type=_existing,
        required=True,
        help=f"From the organisation: salus keys rotate {capacity}.",
    )
    @proposal
    @pass_session
    @waits
    async def run(session: Session, key_file: Path, **options: Any) -> None:
        rotation = _rotation_of(key_file, capacity)
        session.out.note(
            f"fingerprint {rotation.fingerprint()}: let {rotation.member} read it to you"
        )
        await _propose(
            session,
            f"rotate_{capacity}_key",
            options,
            chain_id=rotation.chain_id,
            member=rotation.member,
            new_key=rotation.new_key,
            possession=rotation.possession,
        )


_rotation("node")
_rotation("operator")


@propose.command("change-parameters")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=NUMBER…")
@proposal
@pass_session
@waits
async def change_parameters(session: Session, settings: tuple[str, ...], **options: Any) -> None:
    """Other limits; several at once, where some fit only together."""
    from contracts.governance import PARAMETER_NAMES

    given: dict[str, int | None] = dict.fromkeys(PARAMETER_NAMES)
    for setting in settings:
        name, equals, number = setting.partition("=")
        if name not in PARAMETER_NAMES:
            from difflib import get_close_matches

            close = get_close_matches(name, PARAMETER_NAMES, n=1)
            hint = f" Did you mean «{close[0]}»?" if close else ""
            raise CliError("USAGE", f"no vote changes a parameter «{name}».{hint}")
        if not (equals and number.isascii() and number.isdigit() and len(number) <= 16):
            raise CliError("USAGE", f"{name}: expected NAME=NUMBER")
        given[name] = int(number)
    await _propose(session, "change_parameters", options, None, **given)


@propose.command("activate-contract")
@click.argument("contract")
@click.argument("version", type=click.IntRange(min=1))
@proposal
@pass_session
@waits
async def activate_contract(session: Session, contract: str, version: int, **options: Any) -> None:
    """Another version of a contract. A node whose software lacks it stops before that epoch."""
    await _propose(session, "activate_contract", options, contract=contract, version=version)


def _rotation_of(file: Path, capacity: str) -> "Rotation":
    from salus.rotation import read_rotation

    rotation = read_rotation(file.read_bytes())
    if rotation.capacity != capacity:
        raise CliError("BAD_ROTATION", f"{file} is of a key of kind «{rotation.capacity}»")
    return rotation


async def _propose(
    session: Session,
    action: str,
    options: dict[str, Any],
    chain_id: str | None = None,
    **fields: Any,
) -> None:
    """Build, send and say what came of it. `chain_id`: of which the keys in a file speak."""
    reasons, salt = ballots.NO_REASONS, b""
    document: Path | None = options["reasons"]
    if document is not None:
        reasons, salt = ballots.commitment_to(document)
    async with connect(session, sign=True) as client:
        chain = await client.chain()
        if chain_id not in {None, chain.genesis.chain_id}:
            raise CliError(
                "WRONG_CHAIN",
                f"the file is for the chain «{chain_id}», this is «{chain.genesis.chain_id}»",
            )
        operation = ballots.proposal(
            action,
            await client.height(),
            reasons=reasons,
            activation_height=options["at_height"] or 0,
            expires_in=options["expires_in"],
            **fields,
        )
        done = await ballots.send(session, client, operation, dry_run=options["dry_run"])
        if done is None:
            return
        more = {}
        if document is not None:
            session.out.note(f"give the others {document} and this salt: {salt.hex()}")
            more["salt"] = salt.hex()
        await ballots.tell(session, client, ballots.number_of(done), done, **more)
