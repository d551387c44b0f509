"""Who acts in an emergency, at which node, and what that node keeps of it."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from cli.connect import connect, short
from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import signer_of
from cli.session import Session
from cli.staff import employer
from salus.client import Client, Committed
from salus.keys import Signer


def talk_to_own(session: Session) -> None:
    """In a testnet: the node of who signs, since its vault keeps what he writes."""
    if session.node is None and session.home.is_testnet and session.key is not None:
        names = [node.name for node in session.home.testnet.nodes]
        session.node = session.key if session.key in names else employer(session, session.key)


def as_member(session: Session) -> AbstractAsyncContextManager[Client]:
    """A client of the signer's own node."""
    talk_to_own(session)
    return connect(session, sign=True)


def home(session: Session) -> NodeHome:
    found = session.home.target(session.node).home
    if found is None:
        raise CliError("USAGE", "the case is kept in a home", next_step="--home DIR")
    return found


def cosigner(session: Session, name: str | None) -> Signer | None:
    if name is None:
        return None
    return signer_of(replace(session, key=name), session.home.target(session.node).home)


def tell(session: Session, what: str, done: Committed, more: dict[str, Any]) -> None:
    session.out.result(
        more | {"tx_id": done.tx_id, "height": done.height},
        f"{session.out.mark(True)} {what}  tx {short(done.tx_id)}  block {done.height}",
    )
