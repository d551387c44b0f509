"""`salus patient enrol` and `salus patient match`: a device of the hospital vouches that it compared
somebody with an enrolled template (rule I-8).

The matcher is the device's own; here its template is a file, which stays where it is. The chain gets
a salted commitment, and for each comparison a number, yes or no, and the device's signature.
"""

from dataclasses import replace
from pathlib import Path

import click

from cli import templates
from cli.connect import waits
from cli.errors import CliError
from cli.group import command
from cli.home import NodeHome
from cli.keyfiles import signer_of
from cli.owners import as_owner, at_custodian, tell
from cli.session import Session, pass_session
from cli.templates import Templates
from cli.wallets import open_wallet
from salus.biometric import Method
from salus.client_biometrics import enrolled
from salus.keys import Signer

_at = click.option("--at", "org", metavar="ORG", help="The organisation; default: the only one.")
_template = click.option(
    "--template",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="What the matcher made; it is read and stays.",
)
_device = click.option(
    "--device", metavar="KEY", required=True, help="The device's key, of the hospital's home."
)


@command()
@click.argument("name")
@_at
@_template
@click.option(
    "--method",
    type=click.Choice([one.value for one in Method]),
    default=Method.FINGERPRINT.value,
    show_default=True,
)
@_device
@pass_session
@waits
async def enrol(
    session: Session, name: str, org: str | None, file: Path, method: str, device: str
) -> None:
    """Commit to a template; the patient's key signs that it is his, the organisation (--as) sends it."""
    wallet = open_wallet(session, name)
    relation, template = wallet.relation(org), templates.read_template(file)
    owner_session = replace(session, key=None)
    async with as_owner(owner_session, wallet, relation) as (client, _):
        owner = client.signer
        assert owner is not None, "as_owner gives one"
    async with at_custodian(session, relation, sign=True) as client:
        home, key = _device_of(session, device)
        made = enrolled(relation.whose, template, Method(method), key.public_key)
        # Kept before it is sent: without its salt nobody could say what was enrolled.
        Templates(home.path / "biometrics").put(made)
        done = await client.biometrics.enrol(made, owner)
    tell(session, "enrolled", name, relation, done, template=made.commitment.hex(), method=method)


@command()
@click.argument("name")
@_at
@_template
@_device
@click.option("--matched/--not-matched", required=True, help="What the device's matcher said.")
@pass_session
@waits
async def match(
    session: Session, name: str, org: str | None, file: Path, device: str, matched: bool
) -> None:
    """Record that the device compared somebody with the enrolled template, and what it found.

    Refused unless the template is the very one that was enrolled."""
    wallet = open_wallet(session, name)
    relation, template = wallet.relation(org), templates.read_template(file)
    async with at_custodian(session, relation, sign=True) as client:
        home, key = _device_of(session, device)
        kept = Templates(home.path / "biometrics")
        known = kept.opened_by(template, relation.org, relation.handle)
        known, said = await client.biometrics.begin(known, template)
        kept.put(known)
        done = await client.biometrics.compare(known, said, key, matched=matched)
    word = "matched" if matched else "not matched"
    tell(session, word, name, relation, done, number=said.number, matched=matched)


def _device_of(session: Session, device: str) -> tuple[NodeHome, Signer]:
    """The device's key, and the home that it belongs to."""
    home = session.home.target(session.node).home
    if home is None:
        raise CliError("USAGE", "no home, so no device's key", next_step="--home of the hospital")
    return home, signer_of(replace(session, key=device), home)
