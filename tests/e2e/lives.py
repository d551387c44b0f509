"""The processes of a network, one after another, and how each of them ended.

A node that is gone without a word in its log was ended by something: its exit status says by what,
and the system tells it once, to the parent.
"""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cli import processes


@dataclass
class Life:
    """Of one process; times in seconds of the monotonic clock."""

    name: str
    pid: int
    began_s: float
    meant: bool = False  # the test ended it, or let it be ended
    ending: str | None = None  # "exit 70", "SIGKILL"; None: it lives
    ended_s: float | None = None  # when that was seen

    def __str__(self) -> str:
        if self.ending is None or self.ended_s is None:
            return f"{self.name} (pid {self.pid}) lives"
        after = f"after {self.ended_s - self.began_s:.1f} s"
        return f"{self.name} (pid {self.pid}) ended by itself {after}: {self.ending}"


@dataclass
class Lives:
    all: list[Life] = field(default_factory=list)

    def begun(self, pids: Iterable[tuple[str, int]]) -> None:
        """What runs now, by name; who is known already is not born again."""
        known = {(life.name, life.pid) for life in self._open()}
        for name, pid in pids:
            if pid and (name, pid) not in known:
                self.all.append(Life(name, pid, time.monotonic()))

    def meant(self, *names: str) -> None:
        """Before the test ends these."""
        self.look()  # who is dead by now was not meant to
        for life in self._open():
            if life.name in names:
                life.meant = True

    def look(self) -> None:
        """Who has ended meanwhile, and how."""
        for life in self._open():
            life.ending = processes.ending(life.pid)
            if life.ending is not None:
                life.ended_s = time.monotonic()

    def strays(self) -> list[Life]:
        """All that ended and were not meant to."""
        self.look()
        return [life for life in self.all if life.ending is not None and not life.meant]

    def endings(self) -> "Counter[str]":
        """How often which end was seen, of those that were meant to."""
        self.look()
        return Counter(life.ending for life in self.all if life.meant and life.ending is not None)

    def _open(self) -> Iterator[Life]:
        return (life for life in self.all if life.ending is None)
