"""Periodic work of the nodes at another pace: `pytest --pace 5`, `--pace 0.05` (docs/testing.md).

What a node looks after once a second has happened when a test asks, or it has not, by how quick the
machine is. Five times as long between two times shows the tests that come too early, a twentieth
those that count on coming first.
"""

import os
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

VARIABLE = "TESTS_PACE"  # so many times as long between two times; nodes inherit it

# Every name here is read anew each time, from its module.
PERIODS = (
    ("node.divergence", "ROUND_S"),
    ("node.erasures", "RETRY_S"),
    ("node.errand", "RETRY_S"),
    ("node.gate", "TICK_S"),
    ("node.gossip", "FLUSH_INTERVAL_MS"),
    ("node.outbox", "WAKE_S"),
    ("node.receipts", "OFFER_S"),
    ("node.sync", "OFFER_INTERVAL_S"),
    ("node.sync", "POLL_S"),
    ("node.upkeep", "UPKEEP_S"),
)
PINGS_MAX = (
    2.5  # times; a peer that is not heard for five pings is gone, and two must fit into that
)
PING_MIN_MS = 100  # as a node may be configured: who pings more often is banned


def change() -> None:
    """In a process that will be a node."""
    if VARIABLE not in os.environ:
        return
    times = float(os.environ[VARIABLE])
    for module, name in PERIODS:
        found = import_module(module)
        setattr(found, name, getattr(found, name) * times)
    tables = import_module("node.config_tables")
    tables.NetLimits = partial(_limits, tables.NetLimits, min(times, PINGS_MAX))


def _limits(made: Callable[..., Any], times: float, *, ping_interval_ms: int, **others: Any) -> Any:
    return made(ping_interval_ms=max(PING_MIN_MS, round(ping_interval_ms * times)), **others)
