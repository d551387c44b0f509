"""What a node has used, its child processes included: from the kernel's accounting and its own metrics."""

import asyncio
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from cli.bench.children import children, cpu_s
from cli.home import TestnetNode


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float
    disk_bytes: int
    signatures_verified: int
    signatures_covered: int  # by the votes of a quorum
    messages_sent: int  # frames to other nodes, of every kind

    def since(self, before: "Usage") -> "Usage":
        return Usage(
            *(now - then for now, then in zip(astuple(self), astuple(before), strict=True))
        )

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))


def usage(node: TestnetNode) -> Usage:
    """Of one running node on this machine (Linux: /proc)."""
    data = Path(node.home) / "data"
    return Usage(
        cpu_s(node.pid, with_ended=True) + sum(cpu_s(child) for child in children(node.pid)),
        sum(_size(file) for file in data.rglob("*")),
        _metric(node.api, "salus_crypto_verified_total "),
        _metric(node.api, "salus_crypto_covered_total "),
        _metric(node.api, "salus_p2p_messages_total{", 'direction="out"'),
    )


@dataclass(frozen=True, slots=True)
class Held:
    """Memory of a node and of its child processes: their own, and the pages of mapped files (LevelDB's;
    libraries', once for each process), which go when others need them."""

    own_bytes: int
    mapped_bytes: int

    @property
    def all_bytes(self) -> int:
        return self.own_bytes + self.mapped_bytes

    def __add__(self, other: "Held") -> "Held":
        return Held(self.own_bytes + other.own_bytes, self.mapped_bytes + other.mapped_bytes)


def held(node: TestnetNode) -> Held:
    """By one running node, now (Linux: /proc)."""
    return sum(map(_held, children(node.pid)), start=_held(node.pid))


def _held(pid: int) -> Held:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return Held(0, 0)
    kib = {name: int(rest.split()[0]) for name, _, rest in map(_parted, lines) if name in RSS}
    own = kib.get("RssAnon", 0) + kib.get(
        "RssShmem", 0
    )  # none of a process that waits to be buried
    return Held(1024 * own, 1024 * kib.get("RssFile", 0))


RSS = ("RssAnon", "RssFile", "RssShmem")


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(":")


class Memory:
    """How much the nodes held while something ran: looked at every `every_s` seconds."""

    def __init__(self, nodes: Sequence[TestnetNode], every_s: float) -> None:
        self.nodes, self.every_s = nodes, every_s
        self.seen: list[tuple[float, Held]] = []  # (when, of the node that held most then)
        self._began = time.monotonic()

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            self.look()
            await asyncio.sleep(self.every_s)

    def look(self) -> None:
        largest = max((held(node) for node in self.nodes), key=lambda one: one.all_bytes)
        self.seen.append((time.monotonic() - self._began, largest))

    @property
    def most(self) -> Held:
        return max((one for _, one in self.seen), key=lambda one: one.all_bytes)

    def table(self) -> list[tuple[int, int, int]]:
        """(second, MB of its own, MB of mapped files), ascending: is it flat?"""
        return [(round(at), one.own_bytes >> 20, one.mapped_bytes >> 20) for at, one in self.seen]


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:  # LevelDB has just compacted it away
        return 0


def _metric(api: str, begins: str, holds: str = "") -> int:
    """The sum of the samples whose line begins with this and holds that."""
    with urllib.request.urlopen(f"{api}/metrics", timeout=10) as response:
        lines = response.read().decode().splitlines()
    return sum(
        int(float(line.rpartition(" ")[2]))
        for line in lines
        if line.startswith(begins) and holds in line
    )
