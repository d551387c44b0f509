"""A disk that is full, a file that is damaged: the node stops with a word for it, and comes back.

Rule of this page: whatever a disk does to one hospital, the others go on, and the way back is the
one that docs/operating.md describes.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli import processes, testnet
from salus.parameters import Parameters
from storage.schema import VERSIONS
from tests.e2e.network import Network, network
from tests.e2e.shell import lines, salus, until
from tests.history.applications import ACTIVE
from tests.history.node import CHAIN_ID, MODULE
from tests.history.witness import double_votes

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DISK_BYTES = 48 * 2**20  # holds the stores of a young node, and what LevelDB reserves
LEFT_BYTES = 16 * 2**10  # less than the next blocks need
OTHERS = ("hosp-a", "hosp-b", "hosp-c")
VICTIM = "hosp-d"


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    root = tmp_path_factory.mktemp("disk")
    with network(root, 4, Parameters(contracts=ACTIVE), CHAIN_ID) as made:
        for name in OTHERS:
            made.commands[name] = (MODULE, "--witness")
        yield made


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    place.mkdir(parents=True, exist_ok=True)
    kept = {file.name: file.read_bytes() for file in place.iterdir()}
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
