"""Networks on loopback for the tests: real sockets, real TLS, what arrives goes into queues."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from node.net.frames import Kind
from node.net.handshake import Chain
from node.net.limits import NetLimits
from node.net.network import Network, unix_ms
from node.net.peer import PeerAddress, PeerInfo
from salus.keys import SigningKey

CHAIN = Chain("net-test", bytes(range(32)))
# No test is decided by how fast it runs: bans outlast it, scores do not decay meanwhile.
QUICK = NetLimits(
    handshake_timeout_ms=30_000,
    idle_timeout_ms=60_000,
    dial_min_ms=10,
    dial_max_ms=50,
    close_timeout_ms=500,
    score_decay_per_s=0,
    ban_min_ms=600_000,
    ban_max_ms=600_000,
)
SECONDS_MAX = 60  # Longer is a failure; nothing here waits for time to pass.


def key(number: int) -> SigningKey:
    return SigningKey.from_seed(bytes([number + 1]) * 32)


class Counted:
    """Metrics that remember, and that can be waited for."""

    def __init__(self) -> None:
        self.rejections: asyncio.Queue[str] = asyncio.Queue()
        self.drops: list[Kind] = []
        self.frames: list[tuple[Kind, str]] = []

    def frame(self, kind: Kind, direction: str, payload_bytes: int) -> None:
        self.frames.append((kind, direction))

    def rejected(self, reason: str) -> None:
        self.rejections.put_nowait(reason)

    def dropped(self, kind: Kind) -> None:
        self.drops.append(kind)


class Node:
    """A network and what it received."""

    def __init__(self, number: int, names: dict[bytes, str], limits: NetLimits, chain: Chain):
        self.key, self.name = key(number), f"n{number}"
        self.inbox: asyncio.Queue[tuple[str, Kind, bytes]] = asyncio.Queue()
        self.metrics = Counted()
        self.ahead_ms = 0  # of its clock
        self.network = Network(
            self.key,
            chain,
            ("127.0.0.1", 0),
            [],
            names.get,
            self.deliver,
            random=Random(number),
            limits=limits,
            metrics=self.metrics,
            unix_ms=lambda: unix_ms() + self.ahead_ms,
            fault_injection=True,
        )

    async def deliver(self, member: str, kind: Kind, payload: bytes) -> None:
        await self.inbox.put((member, kind, payload))

    @property
    def address(self) -> PeerAddress:
        return PeerAddress(self.key.public_key, "127.0.0.1", self.network.port)

    def peer(self, name: str) -> PeerInfo:
        return next(info for info in self.network.peers() if info.member == name)

    async def connected(self, count: int) -> None:
        await self.when(lambda peers: sum(p.connected for p in peers) == count)

    async def when(self, condition) -> None:
        async with asyncio.timeout(SECONDS_MAX):
            await self.network.wait_for(condition)

    async def received(self) -> tuple[str, Kind, bytes]:
        async with asyncio.timeout(SECONDS_MAX):
            return await self.inbox.get()

    async def rejected(self, reason: str) -> None:
        """Until this reason has been counted."""
        async with asyncio.timeout(SECONDS_MAX):
            while await self.metrics.rejections.get() != reason:
                pass


def make(numbers, limits: NetLimits = QUICK, chain: Chain = CHAIN) -> list[Node]:
    names = {key(number).public_key: f"n{number}" for number in numbers}
    return [Node(number, names, limits, chain) for number in numbers]


def introduce(nodes: list[Node]) -> None:
    for node in nodes:
        for other in nodes:
            if other is not node:
                node.network.add_peer(other.address)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Start without introducing; stop whatever happened."""
    try:
        for node in nodes:
            await node.network.start()
        yield
    finally:
        async with asyncio.timeout(SECONDS_MAX):
            for node in nodes:
                await node.network.stop()


@asynccontextmanager
async def mesh(count: int, limits: NetLimits = QUICK) -> AsyncIterator[list[Node]]:
    """`count` nodes, all connected with all in both directions."""
    nodes = make(range(count), limits)
    async with running(*nodes):
        introduce(nodes)
        for node in nodes:
            await node.connected(count - 1)
        yield nodes
