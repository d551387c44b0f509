"""What binds one validator for all its lives: the votes that left it, and journals that it lost.

The other half of the reference model (rules S3, S4). Votes are named by (kind, view, sequence).
"""

from collections.abc import Callable

from tests.sim.reference import CHECKPOINT, COMMIT, Disagreement, Replica

Key = tuple[str, int, int]


class Past:
    def __init__(self, me: int) -> None:
        self.me = me
        self.ran: dict[bytes, int] = {}  # transaction → height
        self.floors: dict[int, int] = {}  # by epoch: of the journal, at the last birth
        self.left: dict[int, dict[Key, bytes]] = {}  # by epoch
        self.synced: dict[int, dict[Key, bytes]] = {}
        self.epoch = self.void_epoch = -1  # through the latter a lost journal forbids every vote

    def may_vote(self, epoch: int) -> bool:
        return epoch > self.void_epoch

    def loses_journal(self) -> None:
        """Old votes bind nobody in a new epoch; in those that it saw it must be silent."""
        self.void_epoch = self.epoch
        self.left.clear()
        self.floors.clear()

    def begins_at(self, epoch: int, floor: int) -> None:
        """S12: the floor is only ever raised."""
        before = self.floors.setdefault(epoch, floor)
        if floor < before:
            raise self._disagreement(f"begins at floor {floor}, and had {before} (S12)")
        self.floors[epoch] = floor

    def syncs(self, epoch: int, key: Key, mark: bytes) -> None:
        self.synced.setdefault(epoch, {})[key] = mark

    def leaves(self, epoch: int, key: Key, mark: bytes) -> None:
        """A vote of mine goes to the network."""
        if self.synced.get(epoch, {}).get(key) != mark:
            raise self._disagreement(f"lets {_name(key)} leave before it is synced (S3)")
        self.left.setdefault(epoch, {})[key] = mark

    def restarts(self, epoch: int, model: Replica, holds: Callable[[int, bytes], bool]) -> None:
        """What left me is on my disk: votes of my view, what may have been committed."""
        self.epoch = max(self.epoch, epoch)
        for key, mark in self.left.get(epoch, {}).items():
            kind, view, sequence = key
            if 0 < sequence <= model.floor:
                continue
            lost = f"restarts and has lost {_name(key)}, which had left it"
            if kind == COMMIT:
                if model.prepared.get(sequence, (-1, b""))[0] < view:
                    raise self._disagreement(f"{lost}: no prepared certificate (S3)")
                if not holds(sequence, mark):
                    raise self._disagreement(f"{lost}: no body (S3)")
            # Votes of views that are over may be dropped; headers are for ever (S12).
            if (view >= model.view or kind == CHECKPOINT) and model.said.get(key) != mark:
                raise self._disagreement(f"{lost} (S3, S4)")

    def _disagreement(self, what: str) -> Disagreement:
        return Disagreement(f"reference model: n{self.me} {what}")


def _name(key: Key) -> str:
    kind, view, sequence = key
    return f"its {kind} of view {view}" + (f" for s{sequence}" if sequence else "")
