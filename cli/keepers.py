"""The keeper beside a node, as the command line sees it: where it is, and whether it answers."""

import socket
from dataclasses import dataclass
from pathlib import Path

from cli.home import NodeHome
from cli.preflight import Finding
from node.unix_socket import short

ASK_S = 2.0


@dataclass(frozen=True)
class Known:
    """What the node's home says of its keeper. `answers`: None if this user may not ask it."""

    socket: Path
    named: bool  # node.toml has its key, so documents are sealed to it
    answers: bool | None

    def words(self) -> str:
        if not self.named:
            return "none: patients' documents are refused   (salus keeper init)"
        if self.answers is None:
            return f"{self.socket}: you have no right to ask it"
        return "answers" if self.answers else "DOES NOT ANSWER: salus keeper start"


def known(home: NodeHome) -> Known:
    from node.config_tables import KeeperTable

    path = home.path / home.setting("keeper", "socket", KeeperTable().socket)
    return Known(path, bool(home.setting("keeper", "public_key", "")), answers(path))


def answers(path: Path) -> bool | None:
    """Whether a keeper listens there; None without the right to ask."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(ASK_S)
        try:
            with short(path) as name:
                caller.connect(name)
        except PermissionError:
            return None
        except OSError:
            return False
    return True


def finding(home: NodeHome) -> Finding:
    """The keeper's line of a diagnosis."""
    keeper = known(home)
    if not keeper.named:
        return Finding("keeper", None, keeper.words(), "KEEPER_MISSING", "salus keeper init")
    if keeper.answers is False:
        return Finding(
            "keeper",
            False,
            f"{keeper.socket} does not answer: no patient's document can be read",
            "KEEPER_DOWN",
            "salus keeper start",
        )
    return Finding("keeper", keeper.answers, keeper.words())
