"""Counts per organisation out of the certified receipts: reads, denials, emergencies, erasures.

Counted from genesis on, a stretch of blocks at a time, when somebody asks. Law of the file: it
keeps numbers and ids of cases, and no handle.
"""

import asyncio
from collections import Counter
from typing import Any

from node.api.view import NodeView
from salus.block import Event

BLOCKS_AT_ONCE_MAX = 2_000  # of one request: half a second; the next one goes on from there
PAUSE_BLOCKS = 50  # the loop has other things to do too
CASES_MAX = 1_000_000  # whose opener is remembered: 100 MB; later ones would be counted as nobody's


class EventTally:
    """`counts[organisation, what]`; `height`: up to which block they are."""

    def __init__(self, view: NodeView) -> None:
        self._view = view
        self.height = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        self._openers: dict[str, str] = {}  # emergency case → who opened it
        self._unanswered: set[tuple[str, str]] = set()  # (custodian, erasure case)
        self._counting = asyncio.Lock()

    async def advance(self) -> None:
        """Towards the newest certified block."""
        async with self._counting:
            last = min(self._view.height(), self.height + BLOCKS_AT_ONCE_MAX)
            while self.height < last:
                block = self._view.block(self.height + 1)
                for receipt in () if block is None else block.receipts:
                    for event in receipt.events:
                        self._count(event)
                self.height += 1
                if self.height % PAUSE_BLOCKS == 0:
                    await asyncio.sleep(0)

    def unanswered(self, org: str) -> int:
        return sum(1 for one, _ in self._unanswered if one == org)

    def _count(self, event: Event) -> None:
        data: dict[str, Any] = dict(event.data)
        add, case = self.counts, str(data.get("case"))
        match event.kind:
            case "access.decided":
                add[data["requester"], "reads" if data["permitted"] else "denials"] += 1
            case "access.denials_counted":
                add[data["requester"], "denials"] += data["count"]
            case "emergency.opened":
                opener = data["opener"]
                add[opener, "emergencies"] += 1
                add[opener, "emergencies_late"] += data["late"]
                if len(self._openers) < CASES_MAX:
                    self._openers[case] = opener
            case "emergency.justified" if not data["in_time"]:
                add[self._openers.get(case, ""), "justified_late"] += 1
            case "emergency.disputed":
                add[self._openers.get(case, ""), "disputed"] += 1
            case "emergency.reviewed" if data["verdict"] == "abuse":
                add[self._openers.get(case, ""), "abuse"] += 1
            case "erasure.requested":
                add[data["org"], "erasures"] += 1
                if data["holders"] and len(self._unanswered) < CASES_MAX:
                    self._unanswered.add((data["org"], case))
            case "erasure.cancelled":
                self._unanswered.discard((data["org"], case))
            case "erasure.answered" if not data["open"]:
                self._unanswered.discard((data["org"], case))
