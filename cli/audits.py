"""By which genesis a trail is verified."""

from cli.errors import CliError
from cli.session import Session


def trusted_hash(session: Session, given: str | None) -> bytes:
    """The genesis hash to check by: as given, or of this home's own genesis."""
    from cli.commands.verify import hash_of
    from salus.genesis import from_json

    if given is not None:
        return hash_of(given, "--genesis")
    if session.home.is_testnet:
        return hash_of(session.home.testnet.genesis_hash, "testnet.json")
    path = session.home.node.genesis
    if not path.exists():
        raise CliError("NO_ANCHOR", "a trail is checked against something you trust already")
    return from_json(path.read_bytes()).hash()
