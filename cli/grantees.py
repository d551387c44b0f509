"""Whom a permit is for, in the words of a command: ORG, ORG/STAFF, or the name of a staff key at hand."""

from cli import staff
from cli.errors import CliError
from cli.home import NodeHome
from cli.session import Session
from salus.client import Client
from salus.granting import Grantee


def grantee(session: Session, word: str) -> Grantee:
    """STAFF is a staff handle, or a name in a home at hand; an organisation's id comes before a name.
    Raises `CliError` (USAGE) if several organisations have the name, `BadMessage` (BAD_GRANTEE)."""
    org, slash, name = word.rpartition("/")
    homes = _homes(session)
    if not slash and name in homes:
        return Grantee.parse(word)
    employers = [one for one in homes if org in ("", one) and _has(homes[one], name)]
    if len(employers) > 1:
        raise CliError(
            "USAGE", f"{', '.join(employers)} have a «{name}» each", next_step=f"ORG/{name}"
        )
    if not employers:
        return Grantee.parse(word)
    (employer,) = employers
    return Grantee.parse(f"{employer}/{staff.find(homes[employer], name).file.handle}")


async def box_key(client: Client, org: str) -> bytes:
    """What is sealed to an organisation, as the chain has it. Raises `CliError`."""
    found = await client.query("members", "member", id=org)
    if found is None:
        raise CliError("UNKNOWN_GRANTEE", f"there is no organisation «{org}»")
    return bytes.fromhex(found["box_key"])


def _homes(session: Session) -> dict[str, NodeHome]:
    """Of the organisations whose staff are known here by name."""
    if session.home.is_testnet:
        return {node.name: node.node_home for node in session.home.testnet.nodes}
    home = session.home.node
    member = home.member() if home.exists else None
    return {} if member is None else {member: home}


def _has(home: NodeHome, name: str) -> bool:
    return (home.path / staff.FOLDER / f"{name}.json").is_file()
