"""What a figure was measured on: a figure without its machine says nothing."""

import os
import platform
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from salus.keys import SigningKey, verify

PROBE_S = 0.5


@dataclass(frozen=True, slots=True)
class Machine:
    processor: str
    cores: int
    memory_mb: int
    system: str
    python: str
    event_loop: str
    verify_per_s: int  # Ed25519 signatures that one core checks: compares machines
    load_1m: float  # of everything that runs here, before the benchmark
    stolen_share: float  # of the processor time that the host gave to others since the start


def machine() -> Machine:
    """Of this machine, now (Linux: /proc; elsewhere with gaps)."""
    return Machine(
        _line("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        cores(),
        int((_line("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) // 1024,
        f"{platform.system()} {platform.release()}",
        f"{platform.python_implementation()} {platform.python_version()}",
        _event_loop(),
        verify_per_s(),
        round(os.getloadavg()[0], 1),
        processors().stolen_share,
    )


def cores() -> int:
    """That may be used from here: `taskset` leaves fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def verify_per_s() -> int:
    """In a second of processor time: what others do here at that moment is not in it."""
    key = SigningKey.from_seed(bytes(32))
    payload = bytes(200)
    signature = key.sign(payload)
    began, checked = time.thread_time(), 0
    while time.thread_time() - began < PROBE_S:
        verify(key.public_key, payload, signature)
        checked += 1
    return int(checked / (time.thread_time() - began))


def _event_loop() -> str:
    return "uvloop" if find_spec("uvloop") else "asyncio"  # as cli/loop.py chooses


def _line(file: str, name: str) -> str | None:
    try:
        for line in Path(file).read_text().splitlines():
            if line.startswith(name):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


@dataclass(frozen=True, slots=True)
class Processors:
    """Seconds of all cores since the machine started."""

    busy_s: float
    stolen_s: float  # the host gave them to others while somebody here wanted them
    total_s: float

    @property
    def stolen_share(self) -> float:
        return round(self.stolen_s / self.total_s, 3) if self.total_s else 0.0

    def since(self, before: "Processors") -> "Processors":
        return Processors(
            self.busy_s - before.busy_s,
            self.stolen_s - before.stolen_s,
            self.total_s - before.total_s,
        )

    def __add__(self, other: "Processors") -> "Processors":
        return Processors(
            self.busy_s + other.busy_s,
            self.stolen_s + other.stolen_s,
            self.total_s + other.total_s,
        )

    def others_share(self, own_s: float) -> float:
        """Of the time, what ran here beside our own work of so many seconds."""
        return round(max(0.0, self.busy_s - own_s) / self.total_s, 3) if self.total_s else 0.0


def processors() -> Processors:
    """Zeroes where there is no /proc/stat: user nice system idle iowait irq softirq steal."""
    try:
        words = Path("/proc/stat").read_text().split("\n")[0].split()[1:9]
        user, nice, system, idle, wait, irq, soft, stolen = (
            int(word) / os.sysconf("SC_CLK_TCK") for word in words
        )
    except (OSError, ValueError):
        return Processors(0.0, 0.0, 0.0)
    busy = user + nice + system + irq + soft
    return Processors(busy, stolen, busy + idle + wait + stolen)
