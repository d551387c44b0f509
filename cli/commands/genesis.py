"""`salus genesis …`: the founding ceremony. Each hospital sends a signed join file, one person
assembles, everybody compares the hash by voice, everybody installs the same document.

    each      salus init --moniker hosp-a --endpoint hosp-a.example:7400     → join.json
    one       salus genesis new --chain-id health-net -o draft.json
    one       salus genesis assemble draft.json a.json b.json c.json d.json -o genesis.json
    each      salus genesis install genesis.json --hash HASH --join a.json --join b.json …
"""

import json
import time
from pathlib import Path

import click

from cli import peppers
from cli.ceremony import agreed, draft, install_genesis, own_card, parameters_with, read_cards
from cli.errors import CliError
from cli.group import group
from cli.session import Session, pass_session
from salus import files, pepper
from salus.genesis import NO_PEPPER, Genesis, from_json, to_json
from salus.keys import address

_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_new_file = click.Path(dir_okay=False, path_type=Path)


@group()
def genesis() -> None:
    """The founding ceremony of a network."""


@genesis.command()
@click.option("--chain-id", required=True, help="Name of the network, e.g. health-net.")
@click.option("--set", "settings", multiple=True, metavar="NAME=NUMBER", help="A parameter.")
@click.option("-o", "--output", type=_new_file, required=True)
@click.option("--dry-run", is_flag=True, help="Show the draft; write nothing.")
@pass_session
def new(
    session: Session, chain_id: str, settings: tuple[str, ...], output: Path, dry_run: bool
) -> None:
    """Draft a network: its name, its founding time, its parameters; no members yet.

    Beside it, in OUTPUT.secret, lies the pepper of identity tags: where it is assembled it is needed,
    and nobody else is to have it.
    """
    parameters = parameters_with(settings)
    document = draft(chain_id, time.time_ns() // 1_000_000, parameters, NO_PEPPER)
    if not dry_run:
        # The draft last: one without its secret could not be assembled.
        if output.exists():
            raise CliError("REFUSES_OVERWRITE", f"{output} exists")
        document["pepper_commitment"] = peppers.make(output).hex()
        write_new(output, json.dumps(document, indent=2) + "\n")
    text = json.dumps(document, indent=2) + "\n"
    secret = peppers.draft_secret(output)
    session.out.result(
        document,
        text
        if dry_run
        else f"draft  →  {output}\n"
        f"{secret}: the pepper of identity tags; keep it beside the draft, and to yourself",
    )


@genesis.command()
@click.option("-o", "--output", type=_new_file, help="Default: standard output.")
@click.option("--password-file", type=click.Path(dir_okay=False), help="Opens the keys.")
@pass_session
def join(session: Session, output: Path | None, password_file: str | None) -> None:
    """The signed join file of this home, to be sent to whoever assembles.

    If p2p.advertise in node.toml names another place than the file, it is signed anew: for a node
    that has moved. Where a genesis is in place that does not know this home's keys, the file asks
    the members of that chain to be admitted by vote (salus gov propose add-member).
    """
    card, text = own_card(session.home.node, password_file)
    if output is not None:
        write_new(output, text)
    session.out.note(f"fingerprint to read aloud: {card.fingerprint()}")
    session.out.result(
        {"file": str(output or session.home.node.join), "fingerprint": card.fingerprint()}
        | {"join": json.loads(text)},
        text if output is None else f"join file of {card.member.id}  →  {output}",
    )


@genesis.command()
@click.argument("draft_file", type=_file, metavar="DRAFT")
@click.argument("joins", type=_file, nargs=-1, required=True, metavar="JOIN…")
@click.option("-o", "--output", type=_new_file, required=True)
@click.option("--dry-run", is_flag=True, help="Check everything; write nothing.")
@pass_session
def assemble(
    session: Session, draft_file: Path, joins: tuple[Path, ...], output: Path, dry_run: bool
) -> None:
    """Check every signature and put the members into the draft.

    Beside it, in OUTPUT.pepper, lies the pepper of identity tags, sealed for each of them: it may travel
    with the document.
    """
    cards = read_cards(joins)
    try:
        document = json.loads(draft_file.read_bytes())
    except (ValueError, RecursionError):
        raise CliError("BAD_GENESIS", f"{draft_file}: not JSON") from None
    if not isinstance(document, dict):
        raise CliError("BAD_GENESIS", f"{draft_file}: not a draft")
    document["members"] = [
        json.loads(path.read_bytes())["member"] for _, path in sorted(cards, key=_by_id)
    ]
    founding = from_json(json.dumps(document))
    copies = peppers.for_founders(draft_file, founding)
    if not dry_run:
        write_new(output, to_json(founding))
        if copies is not None:
            files.write_new(peppers.beside(output), pepper.write(copies).encode())
    for card, path in cards:
        session.out.note(f"  {card.member.id:<16} {card.fingerprint()}   {path}")
    _say(session, founding, "assembled" + ("" if dry_run else f"  →  {output}"))
    session.out.note("Compare the hash with everybody by voice before anybody starts.")
    if copies is not None and not dry_run:
        session.out.note(
            f"Send {peppers.beside(output)} along: a sealed copy of the pepper for each founder. When"
            f" all have installed, delete {peppers.draft_secret(draft_file)}."
        )


@genesis.command()
@click.argument("file", type=_file)
@pass_session
def validate(session: Session, file: Path) -> None:
    """Check a genesis document; names the first fault."""
    _say(session, from_json(file.read_bytes()), "valid")


@genesis.command("hash")
@click.argument("file", type=_file, required=False)
@pass_session
def hash_(session: Session, file: Path | None) -> None:
    """The hash that is the anchor of all trust."""
    founding = from_json(_genesis_file(session, file).read_bytes())
    digest = founding.hash().hex()
    session.out.result({"genesis_hash": digest, "chain_id": founding.chain_id}, digest)


@genesis.command()
@click.argument("file", type=_file, required=False)
@pass_session
def show(session: Session, file: Path | None) -> None:
    """Members, validators and parameters."""
    founding = from_json(_genesis_file(session, file).read_bytes())
    validators = founding.validators()
    document = {"genesis_hash": founding.hash().hex()} | json.loads(to_json(founding))
    session.out.note(
        f"{founding.chain_id}   {founding.hash().hex()}\n"
        f"n {validators.n}   f {validators.f}   quorum {validators.quorum}"
    )
    rows = [
        (m.id, m.name, ", ".join(m.roles), "yes" if m.validator else "no", address(m.node_key))
        for m in founding.members
    ]
    session.out.table(document, ("ID", "NAME", "ROLES", "VOTES", "NODE KEY"), rows)


@genesis.command()
@click.argument("file", type=_file)
@click.option("--hash", "expected", required=True, help="The hash that all hospitals agreed on.")
@click.option("--join", "joins", type=_file, multiple=True, help="Join files: where peers are.")
@click.option(
    "--pepper", "copies", type=_file, help="The founders' sealed pepper; default: FILE.pepper."
)
@click.option("--by-vote", is_flag=True, help="The network runs: we are no founder, and join it.")
@click.option("--dry-run", is_flag=True, help="Check everything; write nothing.")
@pass_session
def install(
    session: Session,
    file: Path,
    expected: str,
    joins: tuple[Path, ...],
    copies: Path | None,
    by_vote: bool,
    dry_run: bool,
) -> None:
    """Put the agreed genesis (and the peers' places, and our copy of the pepper) into this home."""
    places = {card.member.node_key: card.endpoint for card, _ in read_cards(joins)}
    home, founding = session.home.node, agreed(file, expected)
    # Before anything is written: a wrong one is to stop the installing, not to be found out later.
    sealed = copies or (beside if (beside := peppers.beside(file)).exists() else None)
    member = install_genesis(home, founding, places, by_vote=by_vote, dry_run=True)
    read = None if sealed is None else peppers.read(sealed)
    if sealed is not None and read is not None and (copies is not None or member in read.copies):
        peppers.require(sealed, read, founding, member)
    install_genesis(home, founding, places, by_vote=by_vote, dry_run=dry_run)
    has_pepper = read is not None and member in read.copies
    if read is not None and has_pepper and not dry_run:
        peppers.place(home, read, member)
    if founding.pepper_commitment != NO_PEPPER and not (has_pepper or home.pepper.exists()):
        session.out.note(
            "no pepper of identity tags yet: nobody is found by an identifier here. A member gives it:"
            f" salus keys pepper export --to {member}; then, here: salus keys pepper import FILE"
        )
    session.out.result(
        {"member": member, "genesis_hash": expected, "peers": len(places), "pepper": has_pepper},
        f"{session.out.mark(True)} installed as {member}; next: salus start",
    )


def write_new(path: Path, text: str) -> None:
    """Never over an existing file."""
    with path.open("x") as stream:
        stream.write(text)


def _genesis_file(session: Session, file: Path | None) -> Path:
    if file is not None:
        return file
    return session.home.path / "genesis.json"  # the same name in a testnet and in a node's home


def _by_id(item: tuple[object, Path]) -> str:
    from salus.join import Card

    card = item[0]
    assert isinstance(card, Card)
    return card.member.id


def _say(session: Session, founding: Genesis, word: str) -> None:
    validators = founding.validators()
    digest = founding.hash().hex()
    document = {
        "chain_id": founding.chain_id,
        "genesis_hash": digest,
        "members": len(founding.members),
        "validators": validators.n,
        "f": validators.f,
        "quorum": validators.quorum,
    }
    note = "" if validators.n >= 4 else "\n  fewer than four validators: no fault is tolerated"
    session.out.result(
        document,
        f"{session.out.mark(True)} {word}\n  {founding.chain_id}: {len(founding.members)} members, "
        f"{validators.n} validators, f {validators.f}, quorum {validators.quorum}\n"
        f"  genesis hash  {digest}{note}",
    )
