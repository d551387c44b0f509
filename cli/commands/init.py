"""`salus init`: keys, node.toml and the signed join file of one node."""

import os
from pathlib import Path

import click

from cli.errors import CliError
from cli.group import command
from cli.session import Session, pass_session


@command()
@click.option("--moniker", required=True, metavar="ID", help="Id of the member, e.g. hosp-a.")
@click.option("--name", help="Name for people; default: the id.")
@click.option(
    "--role", "roles", multiple=True, default=("hospital",), show_default=True, help="Repeatable."
)
@click.option("--endpoint", metavar="HOST:PORT", help="Where the other nodes reach this one.")
@click.option("--observer", is_flag=True, help="A member without a vote.")
@click.option(
    "--from-genesis",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Of a running network that this node will join by vote (needs --genesis-hash).",
)
@click.option("--genesis-hash", metavar="HASH", help="What all hospitals agreed on.")
@click.option(
    "--join",
    "joins",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    multiple=True,
    metavar="FILE",
    help="With --from-genesis: the others' join files, for their places. Repeatable.",
)
@click.option("--password-file", type=click.Path(dir_okay=False), help="Will open the keys.")
@click.option("--dry-run", is_flag=True, help="Check everything; make nothing.")
@pass_session
def init(
    session: Session,
    moniker: str,
    name: str | None,
    roles: tuple[str, ...],
    endpoint: str | None,
    observer: bool,
    from_genesis: Path | None,
    genesis_hash: str | None,
    joins: tuple[Path, ...],
    password_file: str | None,
    dry_run: bool,
) -> None:
    """Make keys, node.toml and a join file for one node."""
    import msgspec

    from cli.ceremony import agreed, install_genesis, read_cards
    from cli.keyfiles import make_keys, password_for
    from node.config_docs import render_toml
    from salus.genesis import Member, Role
    from salus.join import Card, write_join
    from salus.keys import address

    home = session.home.node
    for path in (home.config, home.genesis, home.join, home.path / "testnet.json"):
        if path.exists():
            raise CliError("REFUSES_OVERWRITE", f"{path} exists")
    endpoint = endpoint or "127.0.0.1:7400"
    try:
        member = msgspec.convert(
            [moniker, name or moniker, sorted(set(roles)), not observer, *[bytes(32)] * 3], Member
        )
        card = msgspec.convert([msgspec.to_builtins(member), endpoint], Card, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(role.value for role in Role)
        raise CliError(
            "USAGE",
            f"--moniker is a lower-case word, --endpoint HOST:PORT, --role one of {known} ({error})",
        ) from None
    if (from_genesis is None) != (genesis_hash is None):
        raise CliError("USAGE", "--from-genesis and --genesis-hash go together")
    founding = None
    if from_genesis is not None and genesis_hash is not None:
        founding = agreed(from_genesis, genesis_hash)
        if any(founder.id == moniker for founder in founding.members):
            raise CliError("USAGE", f"«{moniker}» is a founder of {founding.chain_id}: another id")
    elif joins:
        raise CliError(
            "USAGE", "--join needs --from-genesis: where nothing runs, «genesis install»"
        )
    places = {other.member.node_key: other.endpoint for other, _ in read_cards(joins)}
    if dry_run:
        session.out.result({"home": str(home.path), "member": moniker}, f"would make {home.path}")
        return
    home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chmod(home.path, 0o700)
    password = password_for(home, password_file, confirm=True)
    keys = make_keys(home, password, keep_password=False)
    member = msgspec.structs.replace(
        member,
        node_key=keys.node.public_key,
        operator_key=keys.operator.public_key,
        box_key=keys.box_public_key,
    )
    card = Card(member, endpoint)
    port = endpoint.rpartition(":")[2]
    settings: dict[str, object] = {"p2p.listen": f"0.0.0.0:{port}", "p2p.advertise": endpoint}
    home.config.write_text(render_toml(settings))
    chain_id = None if founding is None else founding.chain_id
    home.join.write_text(write_join(card, keys.node, keys.operator, chain_id))
    if founding is not None:
        install_genesis(home, founding, places, by_vote=True)
    document = {
        "home": str(home.path),
        "member": moniker,
        "node_key": address(member.node_key),
        "operator_key": address(member.operator_key),
        "join": str(home.join),
        "fingerprint": card.fingerprint(),
    }
    sends = "whoever assembles genesis"
    if founding is not None:
        sends = "a hospital with a vote (salus gov propose add-member); meanwhile: salus start"
    session.out.result(
        document,
        f"{session.out.mark(True)} {home.path}: keys, node.toml, join.json\n"
        f"  node key      {document['node_key']}\n"
        f"  operator key  {document['operator_key']}\n"
        f"  fingerprint   {card.fingerprint()}   (read it aloud to whoever gets the file)\n"
        f"next: back up {home.keys}; send {home.join} to {sends}",
    )
