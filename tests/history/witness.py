"""Every vote that reached a node, in a file beside its logs; and who signed two things in one place.

A node's own journal says what it remembers. What it *said* only its peers know (rule S4).
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from consensus.messages import (
    Message,
    NewView,
    SignedMessage,
    Status,
    ViewChange,
    content_digest,
    vote_type,
)

FILE = "witness"  # in the home
FIELDS = 6


class Place(NamedTuple):
    sender: int
    type: int
    epoch: int
    view: int
    sequence: int


class Witness:
    """Appends; a line is one system call, so that SIGKILL tears none."""

    def __init__(self, home: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(home / FILE, flags, 0o600)
        self._last = b""

    def heard(self, message: Message) -> None:
        if not isinstance(message, SignedMessage) or isinstance(message, Status):
            return  # FETCH and STATUS bind nobody.
        if isinstance(message, ViewChange | NewView):
            sequence, digest = 0, content_digest(message)
        else:
            sequence, digest = message.sequence, message.digest
        kind = int(vote_type(message))
        line = f"{message.sender} {kind} {message.epoch} {message.view} {sequence} {digest.hex()}\n"
        raw = line.encode()
        if raw != self._last:  # it may be repeated many times, until it is answered
            os.write(self._descriptor, raw)
            self._last = raw


def votes(homes: Iterable[Path]) -> dict[Place, set[str]]:
    """All digests that reached any of these nodes, by place."""
    found: dict[Place, set[str]] = defaultdict(set)
    for home in homes:
        if (home / FILE).exists():
            # A line that crosses a page of the file is half there for a moment.
            for line in (home / FILE).read_text().rpartition("\n")[0].splitlines():
                *place, digest = line.split()
                assert len(place) == FIELDS - 1, f"{home / FILE} is no witness"
                found[Place(*map(int, place))].add(digest)
    return found


def double_votes(homes: Iterable[Path]) -> list[Place]:
    """Where one sender signed two different things. Fails where nobody wrote anything down."""
    heard = votes(homes)
    assert heard, "no node has written down a vote"
    return sorted(place for place, digests in heard.items() if len(digests) > 1)
