"""What one client asked and was told, and when: the only thing that the checkers see.

An operation lasts from its invocation to its answer. Without an answer it is *open*: it may have
taken effect at any time since, or may yet, or never (Herlihy & Wing 1990: a pending invocation).
"""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    WRITE = "write"  # argument (value,)
    SWAP = "swap"  # argument (expected, value); result: was it equal?
    READ = "read"  # result: the value
    ADD = "add"  # argument (element,)
    SEE = "see"  # result: (the elements, those of them that were added more than once)


class Outcome(StrEnum):
    DONE = "done"
    FAILED = "failed"  # it certainly had no effect
    OPEN = "open"


@dataclass(slots=True)
class Operation:
    """Times in seconds of one monotonic clock."""

    client: int
    kind: Kind
    key: int
    argument: tuple[int, ...]
    began_s: float
    node: str = ""
    query: bool = False  # a query with min_height, and no transaction
    ended_s: float = math.inf
    outcome: Outcome = Outcome.OPEN
    result: Any = None
    tx_id: str | None = None
    height: int | None = None

    def done(self, now_s: float, result: Any, height: int) -> None:
        self.ended_s, self.outcome, self.result, self.height = now_s, Outcome.DONE, result, height

    def failed(self, now_s: float) -> None:
        self.ended_s, self.outcome = now_s, Outcome.FAILED

    def __str__(self) -> str:
        ended = "open" if self.outcome is Outcome.OPEN else f"{self.ended_s:.3f}"
        at = "" if self.height is None else f" @{self.height}"
        how = " (query)" if self.query else ""
        return (
            f"[{self.began_s:.3f} … {ended}] client {self.client} at {self.node}: {self.kind} "
            f"{self.key} {self.argument or ''} → {_shown(self.result)}{at}{how}"
        )

    def document(self) -> dict[str, Any]:
        fields = asdict(self)
        fields["ended_s"] = None if self.outcome is Outcome.OPEN else self.ended_s
        fields["result"] = _shown(self.result)
        return fields


def _shown(result: Any) -> Any:
    if isinstance(result, tuple):
        return [sorted(part) for part in result]
    return result
