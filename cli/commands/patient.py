"""`salus patient …`: a patient's relations to organisations, and the keys that own them.

The seed lies in this home under a password (cli/wallets.py). What is shown here of a person is
the name that the user gave the wallet; the chain sees a handle.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from cli import drafts, identifiers, key_requests
from cli.commands.patient_backup import backup, rebuild
from cli.commands.patient_biometric import enrol, match
from cli.commands.patient_browser import browser
from cli.commands.patient_card import card
from cli.commands.patient_contact import contact, notices
from cli.commands.patient_delegate import delegate
from cli.commands.patient_duplicates import duplicates, find, searches
from cli.commands.patient_guardian import guardian, veto
from cli.commands.patient_recover import recover, request
from cli.commands.patient_terms import terms
from cli.connect import connect, waits
from cli.cosign_options import cosigned
from cli.cosigning import deliver
from cli.errors import CliError
from cli.group import group
from cli.identifiers import identified
from cli.output import printable
from cli.owners import as_friend, as_owner, at_custodian, entry_of, now_ms, send, standing, tell
from cli.session import Session, pass_session
from cli.shown import relation_lines, relation_shown
from cli.wallets import OpenWallet, make_or_open, open_wallet
from salus import key_request
from salus.acts import relations
from salus.client_desk import DeskClient
from salus.desk_asks import Typed
from salus.errors import SalusError
from salus.key_request import KeyRequest, Use
from salus.wallet import KnownRelation

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@group()
def patient() -> None:
    """Relations to organisations, and the keys that own them."""


for _part in (
    recover,
    request,
    guardian,
    veto,
    delegate,
    browser,
    contact,
    notices,
    terms,
    enrol,
    match,
    card,
    duplicates,
    find,
    searches,
    backup,
    rebuild,
):
    patient.add_command(_part)


@patient.command()
@click.argument("name")
@click.option("--at", "org", metavar="ORG", required=True, help="The organisation.")
@click.option("--custodial", is_flag=True, help="The organisation holds the patient's key.")
@identified
@click.option("--dry-run", is_flag=True, help="Check; make and send nothing.")
@pass_session
@waits
async def register(
    session: Session,
    name: str,
    org: str,
    custodial: bool,
    texts: tuple[str, ...],
    listed: Path | None,
    dry_run: bool,
) -> None:
    """Register a patient at an organisation; its operator signs, and the patient's own key.

    With an identifier, the organisation's node looks first whether the person is registered anywhere:
    that opens a case (salus patient duplicates), and never keeps anybody from being registered."""
    typed = identifiers.given(texts, listed)
    session.node = session.node or org
    target = session.home.target(session.node)
    if dry_run:
        session.out.result({"patient": name, "at": org}, "nothing sent (--dry-run)")
        return
    wallet = make_or_open(session, name, target.home if custodial else None)
    async with connect(session, sign=True) as client:
        chain_id = (await client.chain()).genesis.chain_id
        relation = wallet.new_relation(chain_id, org, custodial=custodial)
        # Kept before it is sent: the answer may be lost. So the wallet alone does not say that it
        # is registered.
        known = wallet.contents.at(org)
        if known is None:
            wallet.remember(relation)
        elif await standing(client, known) is not None:
            raise CliError("DUPLICATE_HANDLE", f"«{name}» is registered at {org} already")
        keys = wallet.keys(chain_id, relation)
        desk = client.desk if typed else None
        checked = None if desk is None else await desk.check(relation.handle, typed)
        tag = None if checked is None else bytes.fromhex(checked.tags[0])
        act = relations.register(chain_id, relation.whose, keys, custodial=custodial, tag=tag)
        done = await send(client, act)
        case = None
        if desk is not None and checked is not None:
            met = await met_meanwhile(session, desk, relation, typed)
            case = met or checked.possible_duplicate
    # A field of its own, and only where there is something to say.
    found = {} if case is None else {"possible_duplicate": case}
    tell(session, "registered", name, relation, done, **found)
    if case is not None:
        session.out.note(
            f"  this person may be registered already: salus patient duplicates show {case} --at {org}"
        )


async def met_meanwhile(
    session: Session, desk: DeskClient, relation: KnownRelation, typed: tuple[Typed, ...]
) -> str | None:
    """The case, asked again: another hospital may have registered the same person at that moment
    (rule D-4). The registration stands, whatever comes of this."""
    try:
        return (await desk.check(relation.handle, typed)).possible_duplicate
    except SalusError as error:
        session.out.note(f"  not checked again for duplicates: {error.message}")
        return None


@patient.command()
@click.argument("name")
@_at
@pass_session
@waits
async def show(session: Session, name: str, org: str | None) -> None:
    """What the chain says of a patient's relations: who holds the key, who may act, what waits."""
    wallet = open_wallet(session, name)
    known = wallet.contents.relations if org is None else (wallet.relation(org),)
    rows: list[dict[str, Any]] = []
    for relation in known:
        # Each relation is asked at its own custodian.
        async with at_custodian(replace(session), relation) as client:
            chain_id = (await client.chain()).genesis.chain_id
            newest = await client.query("identity", "terms", org=relation.org)
            entry = await standing(client, relation)
            height = await client.height()
        rows.append(relation_shown(wallet, chain_id, relation, entry, newest, now_ms()))
        rows[-1]["height"] = height
    text = "\n".join(line for row in rows for line in relation_lines(row))
    session.out.result({"patient": name, "relations": rows}, text or f"«{name}» has no relation")


@patient.command("rotate-key")
@click.argument("name")
@_at
@click.option("--dry-run", is_flag=True, help="Check; send nothing.")
@pass_session
@waits
async def rotate_key(session: Session, name: str, org: str | None, dry_run: bool) -> None:
    """A new owner key from the same seed; the old one (--as, default NAME) signs.

    It is in force after the consortium's waiting time, within which guardians may object."""
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    if dry_run:
        session.out.result({"patient": name, "at": relation.org}, "nothing sent (--dry-run)")
        return
    async with as_owner(session, wallet, relation) as (client, chain_id):
        wallet.next_generation(relation)
        new = wallet.keys(chain_id, relation, relation.generation + 1)
        done = await send(client, relations.rotate(chain_id, relation.whose, new))
    tell(session, "rotating", name, relation, done)


@patient.command()
@click.argument("name")
@_at
@click.option("--to", "own", metavar="NAME", help="The patient's own wallet in this home.")
@click.option("--request", "file", type=_file, help="Written on the patient's own device.")
@cosigned
@pass_session
@waits
async def claim(
    session: Session,
    name: str,
    org: str | None,
    own: str | None,
    file: Path | None,
    cosigners: tuple[str, ...],
    draft: Path | None,
) -> None:
    """The patient takes over a relation whose key the hospital holds as NAME.

    His own key is in force at once. Who saw him with his device co-signs: a guardian, or the
    operator of another organisation."""
    if (own is None) == (file is None):
        raise CliError("USAGE", "name the patient's own wallet with --to, or his --request FILE")
    wallet = open_wallet(session, name)
    relation = wallet.relation(org)
    async with as_owner(session, wallet, relation) as (client, chain_id):
        entry = await entry_of(client, relation)
        if file is not None:
            asked = key_requests.read(file, Use.CLAIM)
        else:
            assert own is not None
            asked = claimed_by(make_or_open(session, own, None), chain_id, relation)
        if (asked.chain_id, asked.whose.handle) != (chain_id, relation.handle):
            raise CliError("BAD_KEY_REQUEST", f"it is for another relation than that of «{name}»")
        unsigned = relations.claim(asked)
        done = await deliver(session, client, relation, entry, unsigned, cosigners, draft)
    if done is not None:
        tell(session, "claimed", own or name, relation, done)


def claimed_by(wallet: OpenWallet, chain_id: str, relation: KnownRelation) -> KeyRequest:
    """The key of the patient's own wallet, which knows the relation from now on: before it is sent,
    for the answer may be lost."""
    mine = wallet.take_over(KnownRelation(relation.org, relation.handle, False, 0))
    keys = wallet.keys(chain_id, mine)
    return key_request.make(Use.CLAIM, chain_id, relation.whose, keys.signing, keys.public.box)


@patient.command()
@click.argument("file", type=_file)
@pass_session
@waits
async def cosign(session: Session, file: Path) -> None:
    """Co-sign what somebody else may not do alone (--as): a guardian, or an operator.

    Shows what it says; the file then goes back to who sends it."""
    unsigned = drafts.read(file)
    relation = KnownRelation(unsigned.whose.org, unsigned.whose.handle, False, 0)
    for name, value in unsigned.document["args"].items():
        session.out.note(f"  {name}: {printable(str(value))}")
    session.confirm(f"Co-sign {unsigned.act.contract}.{unsigned.act.method}?")
    async with as_friend(session, relation) as (client, chain_id, _):
        if chain_id != unsigned.chain_id:
            raise CliError("BAD_DRAFT", "it is for another chain")
        assert client.signer is not None, "as_friend gives one"
        signed = drafts.cosign(unsigned, client.signer)
    drafts.write(file, signed)
    session.out.result(
        {"draft": str(file), "method": f"{signed.act.contract}.{signed.act.method}"},
        f"{session.out.mark(True)} co-signed: {file}",
    )


@patient.command("send")
@click.argument("file", type=_file)
@click.option("--patient", "name", metavar="NAME", required=True, help="Whose key signs.")
@pass_session
@waits
async def send_(session: Session, file: Path, name: str) -> None:
    """Send what was co-signed, as the owner of the relation."""
    signed = drafts.read(file)
    wallet = open_wallet(session, name)
    relation = wallet.relation(signed.whose.org)
    if relation.handle != signed.whose.handle:
        raise CliError("BAD_DRAFT", f"it is for another relation than that of «{name}»")
    async with as_owner(session, wallet, relation) as (client, _):
        done = await send(client, signed.act)
    tell(session, signed.act.method, name, relation, done)
