"""Ports for nodes that may be down for a while: nobody else takes them meanwhile.

Below 10,000, where `cli.testnet` never looks and the system gives none to outgoing connections;
each worker of the suite has its own share and goes round in it.
"""

import os
import socket
from itertools import cycle

FIRST, LAST = 5_000, 10_000
SHARE = 250
SHARES = (LAST - FIRST) // SHARE

_worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
# Two runs on one machine begin at different places; both look before they take one.
_begin = FIRST + (int(_worker) + os.getppid()) % SHARES * SHARE
_candidates = cycle(range(_begin, _begin + SHARE))


def free_ports(count: int) -> list[int]:
    found: list[int] = []
    for _ in range(SHARE):
        if len(found) == count:
            break
        candidate = next(_candidates)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        found.append(candidate)
    assert len(found) == count, f"fewer than {count} free ports from {_begin} on"
    return found
