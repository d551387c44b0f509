"""How the demonstration tells and proves its steps: one plain line each, checked or it ends.

✓  3.2 s  block 1, 3 of 4 signed (hosp-a hosp-b hosp-d)  what happened: why it matters
"""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.output import Output
from salus.client import Client
from salus.forms import Block


class Unproved(CliError):
    """A step did not hold."""

    def __init__(self, expected: str, home: Path) -> None:
        super().__init__(
            "STORY_FAILED",
            f"expected: {expected}",
            next_step=f"the logs lie in {home / 'logs'}",
            home=str(home),
        )


@dataclass
class Story:
    """The narrator; counts what was checked."""

    out: Output
    home: Path
    started: float = field(default_factory=time.monotonic)
    steps: int = 0
    checks: int = 0

    def expect(self, holds: bool, expected: str) -> None:
        """A check: the story ends here unless it holds."""
        if not holds:
            raise Unproved(expected, self.home)
        self.checks += 1

    def tell(self, what: str, why: str, *, block: Block | None = None, signers: str = "") -> None:
        """One step that was checked."""
        self.steps += 1
        seconds = time.monotonic() - self.started
        where = ""
        document: dict[str, Any] = {"step": self.steps, "seconds": round(seconds, 2)}
        if block is not None:
            where = f"block {block.header.height} at {block.header.time[11:19]}, {signers}: "
            document |= {"height": block.header.height, "time": block.header.time}
            document["signatures"] = signers
        document |= {"what": what, "why": why}
        mark = self.out.mark(True)
        self.out.line(document, f"{mark} {seconds:5.1f} s  {where}{what}. {why}")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started


async def signed_block(client: Client, height: int) -> tuple[Block, str]:
    """A certified block, and who signed it, in words."""
    block = await client.block(height)
    validators = (await client.validators()).items
    assert block.certificate is not None
    names = [validators[s.index].member for s in block.certificate.signatures]
    return block, f"{len(names)} of {len(validators)} signed ({' '.join(names)})"
