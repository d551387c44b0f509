"""A testnet of real processes, driven as an operator would, for the end-to-end tests."""

import asyncio
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from cli import processes, testnet
from cli.home import TestnetDescription, TestnetNode, read_testnet
from cli.keyfiles import read_password
from contracts.records import AnchorArgs
from salus.client import Client, Committed
from salus.codec import encode
from salus.errors import SalusError
from salus.forms_node import Status
from salus.keys import SigningKey
from salus.keystore import unlock_seed
from salus.parameters import Parameters
from salus.transaction import Operation, ParsedTransaction
from tests.e2e.lives import Lives
from tests.history.node import CHAIN_ID, MODULE
from tests.ports import free_ports

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
READY_S = 60
WAIT_S = 60  # longer is a failure; what is promised sooner is timed by a Stopwatch
ASK_S = 2  # then it is asked anew: a client that waits for long comes back late
POLL_S = 0.1


class Network:
    """Processes by name; every wait has an end and says what it waited for."""

    def __init__(
        self, root: Path, n: int, parameters: Parameters, chain_id: str = "salus-e2e"
    ) -> None:
        self.root = root
        self.commands: dict[str, Sequence[str]] = {}  # what runs in place of a node, by name
        self.lives = Lives()
        with patch.object(testnet, "free_ports", free_ports):
            testnet.create(root, n, chain_id, parameters)
        self.operators = {
            node.name: SigningKey.from_seed(
                unlock_seed(
                    node.node_home.keys / "operator.json",
                    read_password(node.node_home.keys / "password"),
                )
            )
            for node in self.nodes
        }

    @property
    def nodes(self) -> tuple[TestnetNode, ...]:
        return read_testnet(self.root).nodes

    def node(self, name: str) -> TestnetNode:
        return read_testnet(self.root).node(name)

    def client(self, name: str, timeout_s: float = WAIT_S) -> Client:
        node = self.node(name)
        token = node.node_home.token()
        return Client(node.api, signer=self.operators[name], timeout_s=timeout_s, token=token)

    # -- what an operator does --------------------------------------------------------------

    async def up(self, *names: str) -> None:
        started = self.start(*names)
        await testnet.wait_ready(self.root, started, list(names) or None, READY_S)

    def start(self, *names: str) -> TestnetDescription:
        with patch.dict(os.environ, PYTHONPATH=str(ROOT)):  # where a module of the tests is found
            started = testnet.start(self.root, list(names) or None, self.commands)
        self.lives.begun((node.name, node.pid) for node in started.nodes)
        return started

    def stop(self, *names: str) -> None:
        self.lives.meant(*names)
        processes.stop([Path(self.node(name).home) for name in names])

    def signal(self, name: str, number: signal.Signals) -> None:
        processes.send(Path(self.node(name).home), number)

    def kill(self, name: str) -> None:
        self.lives.meant(name)
        processes.stop([Path(self.node(name).home)], kill_at_once=True)

    def revive(self) -> None:
        """Start again who ended and was not meant to; `lives` knows."""
        ended = {life.name for life in self.lives.strays()}
        dead = [
            name for name in sorted(ended) if processes.running(Path(self.node(name).home)) is None
        ]
        if dead:
            self.start(*dead)

    def wipe(self, name: str) -> None:
        shutil.rmtree(self.node(name).node_home.data)

    def log(self, name: str) -> str:
        return testnet.log_of(self.root, name).read_text()

    # -- what a client does -----------------------------------------------------------------

    async def status(self, name: str, timeout_s: float = WAIT_S) -> Status:
        async with self.client(name, timeout_s) as client:
            return await client.status()

    async def anchor(self, name: str) -> Committed:
        """Anchor something new through a node; returns when it is certified there."""
        async with self.client(name) as client:
            return await client.commit(await self.transaction(client))

    async def transaction(self, client: Client) -> ParsedTransaction:
        args = AnchorArgs(secrets.token_bytes(32), 1, bytes(32), bytes(32))
        return await client.build([Operation("records", "anchor", 1, encode(args))])

    async def until(self, name: str, what: str, **wanted: object) -> Status:
        """Poll the status of a node until the named fields have the values (callables: are true)."""
        deadline = time.monotonic() + WAIT_S
        seen: object = "no answer"
        while time.monotonic() < deadline:
            try:
                status = await self.status(name, ASK_S)
                seen = {field: getattr(status, field) for field in wanted}
                if all(
                    value(seen[field]) if callable(value) else seen[field] == value
                    for field, value in wanted.items()
                ):
                    return status
            except SalusError as error:
                seen = error.message
            await asyncio.sleep(POLL_S)
        log = processes.last_lines(testnet.log_of(self.root, name))
        raise AssertionError(f"{name} not {what} within {WAIT_S} s: {seen}\n{log}")

    async def agree(self, *names: str) -> None:
        """All nodes reach the highest height and have the same block there."""
        chosen = names or tuple(node.name for node in self.nodes)
        height = max([(await self.status(name)).height for name in chosen])
        hashes = set()
        for name in chosen:
            await self.until(name, f"at height {height}", height=lambda h: h >= height)
            async with self.client(name) as client:
                hashes.add((await client.block(height)).header.hash)
        assert len(hashes) == 1, "two blocks at one height"


@contextmanager
def network(
    root: Path,
    n: int = 4,
    parameters: Parameters | None = None,
    chain_id: str = "salus-e2e",
) -> Iterator[Network]:
    """Made, not started; everything is ended at the end, and no log has a trace in it."""
    made = Network(root / "net", n, parameters or Parameters(), chain_id)
    try:
        yield made
    finally:
        for node in made.nodes:
            pid = processes.running(Path(node.home))
            if pid is not None:
                os.kill(pid, signal.SIGCONT)
        made.lives.meant(*(node.name for node in made.nodes))
        testnet.stop(made.root)
    for node in made.nodes:
        log = testnet.log_of(made.root, node.name)
        text = log.read_text() if log.exists() else ""
        assert "Traceback" not in text, f"{node.name}:\n{text[-4000:]}"


@contextmanager
def witnessed(root: Path, names: Sequence[str] = NAMES) -> Iterator[Network]:
    """Four hospitals; these of them write down every vote that reaches them."""
    with network(root, len(NAMES), chain_id=CHAIN_ID) as made:
        for name in names:
            made.commands[name] = (MODULE, "--witness")
        yield made
