"""Ports for nodes that may be down for a while: nobody else takes them meanwhile.

Below 10,000, where `cli.testnet` never looks and the system gives none to outgoing connections.
Each process of a suite has a share of its own for as long as it lives, which a locked file says:
two runs on one machine would else give a port away that a node of the other has just let go.
"""

import fcntl
import os
import socket
import tempfile
from itertools import cycle
from pathlib import Path

FIRST, LAST = 5_000, 10_000
SHARE = 100
SHARES = (LAST - FIRST) // SHARE


def _claim() -> tuple[int, int]:
    """The first port of a share that nobody has, and the lock on it: it ends with this process."""
    folder = Path(tempfile.gettempdir())
    for turn in range(SHARES):
        begin = FIRST + (os.getpid() + turn) % SHARES * SHARE
        try:
            lock = os.open(folder / f"salus-ports-{begin}.lock", os.O_CREAT | os.O_RDWR, 0o666)
        except OSError:  # another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        return begin, lock
    raise AssertionError(f"{SHARES} processes of test runs are on this machine already")


_begin, _lock = _claim()
_candidates = cycle(range(_begin, _begin + SHARE))


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    for _ in range(SHARE):
        if len(found) == count:
            break
        candidate = next(_candidates)
        with socket.socket() as probe:
            # As the nodes themselves bind: connections that ended a moment ago are in nobody's way,
            # and a share would run out of ports while the kernel remembers them for a minute.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        found.append(candidate)
    assert len(found) == count, f"fewer than {count} free ports from {_begin} on"
    return found
