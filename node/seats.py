"""Who sat where: a member's index in the validator set of an epoch, and back.

Messages name their sender by an index that means nothing without its epoch (S13); connections
are authenticated by member. An unsigned message may only speak for the connection it came on.
"""

from collections.abc import Callable

from salus.epoch import EpochRecord

EPOCHS_MAX = 8  # remembered sets; whoever asks from an older epoch costs a read


class Seats:
    def __init__(self, current: Callable[[], EpochRecord], past: Callable[[int], EpochRecord]):
        """`current`: the record of the epoch at work; `past`: that of an earlier one."""
        self._current, self._past = current, past
        self._members: dict[int, tuple[str, ...]] = {}

    @property
    def epoch(self) -> int:
        return self._current().epoch

    def index(self, member: str, epoch: int) -> int | None:
        """None: no vote in that epoch, or one that has not begun here."""
        members = self._of(epoch)
        return members.index(member) if member in members else None

    def member(self, epoch: int, index: int) -> str | None:
        members = self._of(epoch)
        return members[index] if 0 <= index < len(members) else None

    def known(self, epoch: int) -> bool:
        return epoch <= self.epoch

    def _of(self, epoch: int) -> tuple[str, ...]:
        found = self._members.get(epoch)
        if found is None:
            current = self._current()
            if epoch > current.epoch:
                return ()
            record = current if epoch == current.epoch else self._past(epoch)
            found = tuple(v.member for v in record.validators.validators)
            while len(self._members) >= EPOCHS_MAX:
                self._members.pop(next(iter(self._members)))
            self._members[epoch] = found
        return found
