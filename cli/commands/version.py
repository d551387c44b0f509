"""`salus version`: what runs here, for a person or a bug report."""

import platform
import sys
from importlib import metadata

from cli.group import command
from cli.session import Session, pass_session

# What decides behaviour at run time; the lock holds the rest.
_LIBRARIES = ("aiohttp", "cryptography", "msgspec", "plyvel", "pynacl", "uvloop")


@command()
@pass_session
def version(session: Session) -> None:
    """Versions of Salus, Python and formats."""
    from salus.block import BLOCK_VERSION
    from salus.genesis import GENESIS_VERSION
    from salus.transaction import TRANSACTION_VERSION
    from salus.vote import PROTOCOL_VERSION

    libraries = {}
    for name in _LIBRARIES:
        try:
            libraries[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            libraries[name] = "missing"
    salus = metadata.version("salus-ledger")
    document = {
        "version": salus,
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "executable": sys.executable,
        "formats": {
            "protocol": PROTOCOL_VERSION,
            "genesis": GENESIS_VERSION,
            "transaction": TRANSACTION_VERSION,
            "block": BLOCK_VERSION,
        },
        "libraries": libraries,
    }
    short = f"salus {salus}  (Python {document['python']}, {document['platform']})"
    session.out.result(document, short if session.verbosity <= 0 else None)
