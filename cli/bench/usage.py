"""What a node process has used: from the kernel's accounting and the node's own metrics."""

import os
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cli.home import TestnetNode


@dataclass(frozen=True, slots=True)
class Usage:
    cpu_s: float
    rss_bytes: int
    disk_bytes: int
    signatures_verified: int
    signatures_covered: int  # by the votes of a quorum
    messages_sent: int  # frames to other nodes, of every kind


def usage(node: TestnetNode) -> Usage:
    """Of one running node on this machine (Linux: /proc)."""
    fields = Path(f"/proc/{node.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])  # utime, stime
    pages = int(Path(f"/proc/{node.pid}/statm").read_text().split()[1])
    data = Path(node.home) / "data"
    return Usage(
        ticks / os.sysconf("SC_CLK_TCK"),
        pages * os.sysconf("SC_PAGE_SIZE"),
        sum(_size(file) for file in data.rglob("*")),
        _metric(node.api, "salus_crypto_verified_total "),
        _metric(node.api, "salus_crypto_covered_total "),
        _metric(node.api, "salus_p2p_messages_total{", 'direction="out"'),
    )


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
