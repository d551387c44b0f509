"""The child processes of a node: what they use is the node's. From the kernel's accounting (Linux: /proc)."""

import os
from pathlib import Path

VERIFY = "node.verify_worker"  # in the command line of a process that checks signatures


def children(pid: int) -> list[int]:
    """Running children of a process, by id; no grandchildren, for a node has none."""
    everybody = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
    return sorted(one for one in everybody if _fields(one)[1:2] == [str(pid)])


def cpu_s(pid: int, *, with_ended: bool = False) -> float:
    """Of one process, all threads; `with_ended`: and of its children that have ended. 0 when it is gone."""
    fields = _fields(pid)
    if not fields:
        return 0.0
    ticks = sum(int(field) for field in fields[11 : 15 if with_ended else 13])
    return ticks / os.sysconf("SC_CLK_TCK")


def is_verifier(pid: int) -> bool:
    try:
        return VERIFY.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _fields(pid: int) -> list[str]:
    """What stands behind the name in /proc/PID/stat: state, parent …, from the 12th on the ticks used
    (user, system, and both of ended children); none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
