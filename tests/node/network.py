"""Several whole nodes in one process: real stores, real TLS sockets, one event loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from contracts.catalogue import registry
from contracts.registry import Registry
from node.config import Config
from node.config_tables import P2P, Api, Dev
from node.net.peer import PeerAddress
from node.node import Node
from node.settings import Endpoint
from node.standing import mark_birth
from salus.genesis import Genesis
from salus.parameters import Parameters
from tests import factories
from tests.laggard import pipeline_of
from tests.ports import free_ports


async def eventually(condition: Callable[[], bool], within_s: float = 60) -> None:
    """For what no part announces."""
    for _ in range(int(within_s / 0.02)):
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to be")


class Hospitals:
    """N nodes that can be started, stopped and wiped one by one."""

    def __init__(
        self,
        root: Path,
        n: int = 4,
        parameters: Parameters | None = None,
        contracts: Callable[[], Registry] = registry,
        founders: int | None = None,
    ) -> None:
        """`contracts`: what each node is given as its registry; `founders`: so many of the n stand
        in genesis, the others are to join."""
        self.root, self.n, self.contracts = root, n, contracts
        self.genesis: Genesis = factories.genesis(founders or n, parameters=parameters)
        self.keys = factories.keys(n)
        self.operators = factories.keys(n, "operator")
        self.ports = free_ports(n)
        self.nodes: dict[int, Node] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        for index in range(n):
            mark_birth(self.home(index) / "data")

    def home(self, index: int) -> Path:
        return self.root / f"node-{index}"

    def config(self, index: int) -> Config:
        peers = tuple(
            PeerAddress(self.keys[other].public_key, "127.0.0.1", self.ports[other])
            for other in range(self.n)
            if other != index
        )
        return Config(
            profile="dev",
            p2p=P2P(
                listen=Endpoint("127.0.0.1", self.ports[index]),
                peers=peers,
                dial_min_ms=20,
                ping_interval_ms=100,
            ),
            api=Api(listen=Endpoint("127.0.0.1", 0), auth="none"),
            dev=Dev(fault_injection=True),
        )

    def start(self, index: int) -> Node:
        with patch("node.node.Pipeline", pipeline_of(self.home(index))):
            node = Node(
                self.home(index),
                self.config(index),
                self.genesis,
                self.keys[index],
                factories.seed(f"box {index}"),
                self.contracts(),
            )
        self.nodes[index] = node
        self._tasks[index] = asyncio.create_task(node.run(), name=f"node {index}")
        return node

    async def stop(self, index: int) -> None:
        node, task = self.nodes.pop(index), self._tasks.pop(index)
        node.stop_asked.set()
        await task

    def api(self, index: int) -> str:
        """Where the node's API listens."""
        return f"http://127.0.0.1:{self.nodes[index].api.port}"

    async def ended(self, index: int) -> None:
        """Until the node ends by itself; raises why."""
        async with asyncio.timeout(60):
            await self._tasks[index]

    async def height(self, height: int, *indexes: int, timeout_s: float = 60) -> None:
        for index in indexes or tuple(self.nodes):
            reached = await self.nodes[index].waiters.for_height(height, timeout_s)
            assert reached, f"node {index} is at {self.nodes[index].state.height()}, not {height}"

    async def connected(self) -> None:
        expected = len(self.nodes) - 1
        for node in self.nodes.values():
            async with asyncio.timeout(60):
                await node.network.wait_for(
                    lambda peers: sum(peer.connected for peer in peers) >= expected
                )


@asynccontextmanager
async def hospitals(
    root: Path,
    n: int = 4,
    parameters: Parameters | None = None,
    contracts: Callable[[], Registry] = registry,
    founders: int | None = None,
) -> AsyncIterator[Hospitals]:
    group = Hospitals(root, n, parameters, contracts, founders)
    for index in range(founders or n):
        group.start(index)
    try:
        await group.connected()
        yield group
    finally:
        for index in tuple(group.nodes):
            await group.stop(index)
