"""Every module here starts its nodes warm (nursery.py), on ports that nobody else takes (ports.py)."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest

from cli import testnet
from tests.e2e.nursery import Nurseries
from tests.ports import free_ports


@pytest.fixture(scope="module", autouse=True)
def warm_starts(nurseries: Nurseries) -> Iterator[None]:
    # A testnet's own way finds what is free now; while one of its nodes is down another run takes it.
    with nurseries.used(), patch.object(testnet, "free_ports", free_ports):
        yield
