"""How far somebody has seen the chain of a testnet, from one command to the next.

The first command may hear of a block from one node and the second ask another, which certifies it
a moment later: it is told what was seen, and waits. A courtesy: without the file nothing fails.
"""

from dataclasses import dataclass
from pathlib import Path

from salus.files import replace

# A node that lied, or a chain that was made anew in the same folder, is not waited for any longer
# than until another answer says so; commands side by side differ by less.
DIFFERENCE_MAX = 1_000


@dataclass(frozen=True, slots=True)
class SeenHeight:
    file: Path

    def load(self) -> int:
        from salus.height_headers import named_height

        try:
            return named_height(self.file.read_text(encoding="ascii").strip())
        except (OSError, UnicodeDecodeError):
            return 0

    def save(self, told: int) -> None:
        """`told`: the newest height that answers of this command named; 0 if there was none."""
        known = self.load()
        if not told or known == told or 0 < known - told <= DIFFERENCE_MAX:
            return
        try:
            replace(self.file, f"{told}\n".encode())
        except OSError:
            pass  # a full or read-only disk: the next command sees as this one saw
