"""What one replica owes within a step, beside its votes: the third part of the reference model.

A body is served (S3), blocks are fetched only where an honest member must have them, and offered to
whoever is left in an old epoch (S13, S14); an ending epoch is filled up, and ends where it must; a
transaction runs once, whatever views and restarts order it again (S15). Nothing of the code is
imported.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.sim.reference import CHECKPOINT, Disagreement, Replica


class Duties:
    """Of one replica of one epoch. `ran`: of its node, through all its lives: id → height."""

    def __init__(self, model: Replica, ran: dict[bytes, int]) -> None:
        self.model, self.ran = model, ran
        # Other member → the highest certified height that it has ever spoken of.
        self.claims: defaultdict[int, int] = defaultdict(int)
        self.proved = model.certified  # the highest of which I have seen a certificate
        self.answered: set[int] = set()  # whom of an old epoch, in this tick

    def _need(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise Disagreement(f"reference model: n{self.model.me} {otherwise}")

    def ticks(self) -> None:
        self.answered.clear()

    def claims_height(self, sender: int, height: int) -> None:
        """A certified block stays one: a later, lower word (an old STATUS that was late) takes
        nothing back, and a replica reads only one a tick of each member (L20)."""
        if sender != self.model.me:
            self.claims[sender] = max(self.claims[sender], height)

    def fetched(self, sender: int, body: tuple[int, bytes], served: bool) -> None:
        """S3: whoever may lack a body asks for it; whoever voted for it has it."""
        owed = (
            body in self.model.stored and body[0] > self.model.certified and sender != self.model.me
        )
        self._need(served or not owed, f"lets n{sender} wait for the body of s{body[0]} (S3)")

    def stranger(self, sender: int, offered: bool) -> None:
        """S13: a STATUS of an old epoch, for the first time in a tick."""
        if sender not in self.answered:
            self.answered.add(sender)
            self._need(offered, f"leaves n{sender} in an old epoch (S13)")

    def shown(self, lows: Iterable[Any]) -> None:
        """Low watermarks of VIEW-CHANGEs, with their proofs."""
        for low in lows:
            if low is not None and self.model._is_certified(low):
                self.proved = max(self.proved, low.height)

    def looks_for(self, height: int) -> None:
        """S14: no single member's word sends me looking."""
        claims = sum(claim >= height for claim in self.claims.values())
        model = self.model
        seen = [model.certified, model.low, self.proved]
        for (kind, view, sequence, digest), (who, _) in model.heard.items():
            mine = model.said.get((kind, view, sequence)) == digest
            if kind == CHECKPOINT and len(who - {model.me}) + mine >= model.quorum:
                seen.append(sequence)
        if model.quorum == 1:
            seen += [sequence for kind, _, sequence in model.said if kind == CHECKPOINT]
        known = max(seen) >= height
        self._need(
            known or claims >= self.model.weak, f"looks for {height} on {claims} words (S14)"
        )

    def asks_for_proposal(self, sequence: int, fill: bool) -> None:
        """S13: empty ones, too, once the end is fixed."""
        due = fill == (self.model.epoch_end > 0)
        self._need(due, f"asks for s{sequence}, {'' if fill else 'not '}to fill the epoch up (S13)")

    def executed(self, height: int, epoch_end: int, ran: Iterable[bytes]) -> None:
        """S13: the end lies L above the block that fixes it; S15: a transaction runs once."""
        before, window = self.model.epoch_end, self.model.window
        lawful = (before,) if before else (0, height + window)
        self._need(epoch_end in lawful, f"has s{height} end the epoch at {epoch_end} (S13)")
        for tx_id in ran:
            first = self.ran.setdefault(tx_id, height)
            self._need(first == height, f"runs a transaction of s{first} again at s{height} (S15)")

    def caught_up(self, height: int, block: Any) -> None:
        """S14: what is fetched is certified by q members of this epoch."""
        good = block.height == height and self.model._is_certified(block)
        self._need(good, f"takes block {height} without {self.model.quorum} CHECKPOINTs (S14)")
