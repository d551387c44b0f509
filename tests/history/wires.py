"""The lines between the nodes, and how they are cut.

`Namespaces`: each node in a network namespace of its own behind one bridge; a cut is a route into
the void, in one direction if so wanted, so the kernels of both sides lose the packets. Needs root
and ip(8). `Switches`: the fault switch inside each node's transport (node/faults.py), which drops
frames in both directions; runs everywhere.
"""

import ctypes
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from salus.client import Client
from salus.client_errors import ClientError
from salus.forms import Faults
from tests.e2e.network import Network

PREFIX = "10.77.0"  # inside a namespace of the run's own: it meets no other network
HUB = f"{PREFIX}.254"
SWITCH_S = 2  # a node that does not answer is down or paused, and cannot be told

CLONE_NEWNET = 0x4000_0000  # ◆ of the Linux kernel

Cut = tuple[str, str]  # (from, to): what the first sends does not reach the second


class Wires(Protocol):
    name: str

    def arguments(self, node: str) -> list[str]:
        """For the command that starts the node."""

    async def cut(self, cuts: Iterable[Cut]) -> None: ...

    async def heal(self) -> None: ...

    def close(self) -> None: ...


def possible() -> bool:
    """Namespaces: may this process make one, and is there ip(8)?"""
    probe = ["unshare", "-n", "ip", "link", "set", "lo", "up"]
    try:
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def isolate() -> None:
    """This process, with all that it starts from now on, in a network of its own; it vanishes with
    them. Before the first thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def ip(*arguments: str, inside: int | None = None) -> None:
    command = ["ip", *arguments]
    if inside is not None:
        command = ["nsenter", "--net", f"--target={inside}", *command]
    subprocess.run(command, check=True, capture_output=True)


class Namespaces:
    """After `isolate`. Rewrites the addresses of a network that was not yet started."""

    name = "network namespaces"

    def __init__(self, net: Network) -> None:
        self._net = net
        self._address = {
            node.name: f"{PREFIX}.{number}" for number, node in enumerate(net.nodes, 1)
        }
        self._holders: dict[str, subprocess.Popen[bytes]] = {}
        self._cuts: set[Cut] = set()
        ip("link", "set", "lo", "up")
        ip("link", "add", "hub", "type", "bridge")
        ip("addr", "add", f"{HUB}/24", "dev", "hub")
        ip("link", "set", "hub", "up")
        for name, address in self._address.items():
            self._holders[name] = kept = holder()
            pid = kept.pid
            ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
            ip("link", "set", name, "master", "hub", "up")
            ip("link", "set", "lo", "up", inside=pid)
            ip("addr", "add", f"{address}/24", "dev", "eth0", inside=pid)
            ip("link", "set", "eth0", "up", inside=pid)
        self._readdress()

    def _readdress(self) -> None:
        described = self._net.root / "testnet.json"
        moves = {}
        for node in self._net.nodes:
            for place in (node.p2p, node.api.removeprefix("http://")):
                moves[place] = f"{self._address[node.name]}:{place.rpartition(':')[2]}"
        for file in (described, *(Path(node.home) / "node.toml" for node in self._net.nodes)):
            text = file.read_text()
            for old, new in moves.items():
                text = text.replace(old, new)
            # Beyond loopback a node wants a token.
            file.write_text(text.replace('auth = "none"', 'auth = "token"'))

    def arguments(self, node: str) -> list[str]:
        return ["--network", str(self._holders[node].pid)]

    async def cut(self, cuts: Iterable[Cut]) -> None:
        for cut in sorted(set(cuts) - self._cuts):
            self._route("add", cut)
            self._cuts.add(cut)

    async def heal(self) -> None:
        for cut in sorted(self._cuts):
            self._route("del", cut)
        self._cuts.clear()

    def _route(self, verb: str, cut: Cut) -> None:
        source, target = cut
        place = f"{self._address[target]}/32"
        ip("route", verb, "blackhole", place, inside=self._holders[source].pid)

    def close(self) -> None:
        for kept in self._holders.values():
            release(kept)


def holder() -> "subprocess.Popen[bytes]":
    """A process that keeps a namespace for as long as we live: nodes come and go in it."""
    command = ["unshare", "--net", "sh", "-c", "echo there; exec cat"]
    kept = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert kept.stdout is not None
    assert kept.stdout.readline() == b"there\n", "no namespace"
    kept.stdout.close()
    return kept


def release(kept: "subprocess.Popen[bytes]") -> None:
    assert kept.stdin is not None
    kept.stdin.close()
    kept.wait()


class Switches:
    """A node that is restarted has forgotten its cut; the other side has not."""

    name = "fault switches in the nodes' transport"

    def __init__(self, net: Network) -> None:
        self._net = net

    def arguments(self, node: str) -> list[str]:
        return []

    async def cut(self, cuts: Iterable[Cut]) -> None:
        one_way = set(cuts)
        both = one_way | {(target, source) for source, target in one_way}
        for name in sorted({source for source, _ in both}):
            await self._set(name, {target for source, target in both if source == name})

    async def heal(self) -> None:
        for node in self._net.nodes:
            await self._set(node.name, set())

    async def _set(self, name: str, blocked: set[str]) -> None:
        body = msgspec.json.encode(Faults(tuple(sorted(blocked)), 0))
        async with Client(self._net.node(name).api, timeout_s=SWITCH_S) as client:
            try:
                await client.api("POST", "/v1/dev/faults", body)
            except ClientError:
                pass

    def close(self) -> None:
        pass
