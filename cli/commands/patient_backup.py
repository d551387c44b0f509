"""`salus patient backup …` and `salus patient rebuild`: the seed on paper, and a lost wallet from it.

The seed gives handles and keys; the chain says which of them stand. What was in the wallet besides
are the inner terms of permits, of which each custodian has a copy, and shows it to the owner's key.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import click
from msgspec import structs

from cli.audits import trusted_hash
from cli.connect import connect, waits
from cli.errors import CliError
from cli.group import command, group
from cli.hexes import hex_bytes
from cli.keyfiles import read_password
from cli.owners import as_owner
from cli.rebuilding import find
from cli.session import Session, pass_session
from cli.wallets import OpenWallet, open_wallet, restore
from salus import files, seed_backup
from salus.client import Trust
from salus.client_me import MyClient
from salus.errors import SalusError
from salus.patient_keys import FINGERPRINT_BYTES, fingerprint
from salus.regain import Regained, regain
from salus.seed_backup import Group
from salus.wallet import KnownRelation, Wallet

_passphrase = click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Its first line; without it the shares alone are enough.",
)


@group()
def backup() -> None:
    """The seed as SLIP-39 shares on paper."""


@backup.command()
@click.argument("name")
@click.option(
    "--group",
    "plans",
    multiple=True,
    default=("2/3",),
    show_default=True,
    metavar="K/N",
    help="A group of N shares of which K open it; again for each group.",
)
@click.option("--groups-needed", type=int, default=1, show_default=True, metavar="M")
@_passphrase
@click.option(
    "-o",
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    required=True,
    help="One file for each share goes there.",
)
@pass_session
def split(
    session: Session,
    name: str,
    plans: tuple[str, ...],
    groups_needed: int,
    passphrase_file: Path | None,
    output: Path,
) -> None:
    """Write the seed as shares: print each file, hand it to somebody else, and delete it."""
    wallet = open_wallet(session, name)
    groups = [_group(plan) for plan in plans]
    words = "" if passphrase_file is None else read_password(passphrase_file)
    made = seed_backup.split(wallet.seed, groups, groups_needed=groups_needed, passphrase=words)
    output.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = []
    for number, shares in enumerate(made, 1):
        for place, share in enumerate(shares, 1):
            path = output / f"group-{number}-share-{place}.txt"
            files.write_new(path, f"{share}\n".encode())
            written.append(str(path))
    document = {"shares": written, "fingerprint": fingerprint(wallet.seed).hex()}
    session.out.result(
        document,
        f"{session.out.mark(True)} {len(written)} shares in {output}; fingerprint "
        f"{document['fingerprint']}: write it on each\n  hand them out, then delete the files",
    )


@backup.command()
@click.argument("name")
@click.argument(
    "shares", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@_passphrase
@click.option("--fingerprint", "expected", metavar="HEX", help="As it stands on the shares.")
@pass_session
def combine(
    session: Session,
    name: str,
    shares: tuple[Path, ...],
    passphrase_file: Path | None,
    expected: str | None,
) -> None:
    """Make a wallet from shares, one file each. Its relations come back with patient rebuild."""
    words = "" if passphrase_file is None else read_password(passphrase_file)
    seed = seed_backup.combine(_texts(shares), words, expected=_fingerprint(expected))
    restore(session, name, seed)
    session.out.result(
        {"patient": name, "fingerprint": fingerprint(seed).hex()},
        f"{session.out.mark(True)} «{name}» has its seed again; next: salus patient rebuild {name}",
    )


@command()
@click.argument("name")
@click.option(
    "--genesis", metavar="HASH", help="What to verify by; default: this home's own genesis."
)
@pass_session
@waits
async def rebuild(session: Session, name: str, genesis: str | None) -> None:
    """Find the relations of a wallet's seed on the chain, and the newest key of each.

    For every organisation handle and keys are derived, and the chain is asked whether it has them:
    so also those that were claimed or recovered with a key of this seed. Each is proved by the certified
    state. The terms of permits come back from the custodians, each held to what that state proves of it."""
    trust = Trust(trusted_hash(session, genesis).hex())
    wallet = open_wallet(session, name)
    async with connect(session) as client:
        client.trust = trust
        chain_id = (await client.chain()).genesis.chain_id
        members = [one["id"] for one in (await client.query("members", "list_members"))["members"]]
        seen = [await find(client, wallet, chain_id, org) for org in members]
        node = (await client.status()).member or client.origin
    unproved = {one.org: one.code for one in seen if one.height is None}
    for org, code in unproved.items():
        session.out.note(f"note: the node of {node} proves nothing of {org} ({code})")
    found = [one.relation for one in seen if one.relation is not None]
    for known in found:
        wallet.remember(known)
    regained, missing, silent = 0, [], []
    for one in found:
        try:
            terms = await _terms(session, wallet, one, trust)
        except (CliError, SalusError) as error:
            silent.append(one.org)
            session.out.note(f"note: {one.org} shows no terms of permits ({error.code})")
            continue
        wallet.remember(structs.replace(one, custodial=terms.relation.custodial))
        wallet.update(partial(Wallet.regained, openings=terms.openings))
        regained += len(terms.openings)
        missing += [permit.hex() for permit in terms.missing]
    rows = [
        {
            "at": one.org,
            "handle": one.relation.handle.hex(),
            "generation": one.relation.generation,
            "proved_at": one.height,
        }
        for one in seen
        if one.relation is not None
    ]
    names = ", ".join(one.org for one in found) or "none"
    absent = [one.org for one in seen if one.relation is None and one.height is not None]
    session.out.result(
        {
            "patient": name,
            "relations": rows,
            "unproved": [{"at": org, "code": code} for org, code in unproved.items()],
            "believed": {"node": node, "members": members, "no_other_handle_at": absent},
            "terms": {"regained": regained, "missing": missing, "not_asked": silent},
        },
        f"{session.out.mark(True)} relations found and proved: {names}; terms of {regained} permits"
        + (f", of {len(missing)} none" if missing else "")
        + f"\n  by the word of {node} alone: that these are all members ({', '.join(members)})"
        + (
            f", and that no other handle has a key of yours at {', '.join(absent)}"
            if absent
            else ""
        ),
    )


async def _terms(
    session: Session, wallet: OpenWallet, relation: KnownRelation, trust: Trust
) -> Regained:
    """By a session of the owner's key at the custodian."""
    asking = replace(
        session, key=None
    )  # its own: relations of a testnet are asked at their custodians
    async with as_owner(asking, wallet, relation) as (client, _):
        client.trust = trust
        signer = client.signer
        assert signer is not None, "the owner's"
        mine = await MyClient.log_in(client, signer, relation.handle)
        return await regain(client, mine, relation.whose)


def _group(plan: str) -> Group:
    needed, _, shares = plan.partition("/")
    if not (needed.isdigit() and shares.isdigit() and len(plan) <= 5):
        raise CliError("USAGE", f"--group {plan}: as 2/3, for two of three shares")
    return Group(int(needed), int(shares))


def _texts(paths: Sequence[Path]) -> list[str]:
    texts = []
    for path in paths:
        with path.open(encoding="utf-8", errors="replace") as stream:
            texts.append(stream.read(seed_backup.SHARE_CHARS_MAX + 1))
    return texts


def _fingerprint(text: str | None) -> bytes | None:
    return None if text is None else hex_bytes(text, FINGERPRINT_BYTES, "a fingerprint")
