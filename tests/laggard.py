"""One node that is behind the others: `pytest --laggard hosp-b` (docs/testing.md).

It agrees, executes and certifies as the others do, and writes each block 0.4 s later: so long its
API, gate, desks, keeper and outbox see an older state. Whoever asks it for what another node has just
answered either waits for that block, or has a race that a quiet machine shows once in a thousand runs.
"""

import asyncio
import os
from collections import deque
from pathlib import Path
from typing import Any

from node import node
from node.pipeline import Pipeline
from salus.certificate import Certificate
from storage.state import BlockBatch

VARIABLE = "TESTS_LAGGARD"  # the name of the home of the node that is behind; nodes inherit it
LATE_S = 0.4  # several blocks, and less than what a client waits for


def is_late(home: Path) -> bool:
    return os.environ.get(VARIABLE) == home.name


def pipeline_of(home: Path) -> type[Pipeline]:
    """What the node of this home is made with."""
    return LatePipeline if is_late(home) else Pipeline


def slow_down(home: Path) -> None:
    """In a process that will be the node of this home."""
    if is_late(home):
        node.Pipeline = LatePipeline  # type: ignore[misc]


class LatePipeline(Pipeline):
    """Many blocks may be late at once: it is the news that is slow, not the disk."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._ripe: deque[float] = deque()  # when each block of the queue may be written

    def certify(self, height: int, certificate: Certificate, *, fetched: bool = False) -> None:
        if height > self.queued_height:
            # What had to be fetched is late already; a node that comes back must catch up.
            self._ripe.append(_now() + (0 if fetched else LATE_S))
        super().certify(height, certificate, fetched=fetched)

    def write_next(self) -> None:
        if self._ripe and (early_s := self._ripe[0] - _now()) > 0:
            asyncio.get_running_loop().call_later(early_s, self.write_next)
        else:
            super().write_next()

    def stands(self, batch: BlockBatch) -> None:
        self._ripe.popleft()
        super().stands(batch)


def _now() -> float:
    return asyncio.get_running_loop().time()
