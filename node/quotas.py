"""How much of the pool an organisation may fill, and how much of it has been served (B25, L22).

A key of no member counts to the strangers, all together one group.
"""

from collections import Counter
from collections.abc import Iterable

from node.later import LATER_SHARE

PER_SENDER_MAX = 10_000  # half of the pool: one organisation's flood leaves room to the others
STRANGERS_SHARE = 20  # keys of no member, all together, get one part in so many of a member's

Group = str | None  # the organisation; None: the strangers


class Quotas:
    """Counts by group; bounded by the number of organisations."""

    def __init__(self, per_sender_max: int = PER_SENDER_MAX) -> None:
        self.per_sender_max = per_sender_max
        self._held: dict[Group, int] = {}
        self._served: Counter[Group] = Counter()
        self._served_before: dict[Group, int] = {}  # by earlier primaries

    def __len__(self) -> int:
        """So many groups have something in the pool."""
        return len(self._held)

    def share(self, group: Group) -> int:
        """How many of a group's may be in the pool."""
        most = self.per_sender_max
        return most if group is not None else max(1, most // STRANGERS_SHARE)

    def is_full(self, group: Group) -> bool:
        """Has it its share? Asked twice for each transaction, of a member nearly always."""
        most = self.per_sender_max if group is not None else self.share(None)
        return self._held.get(group, 0) >= most

    def take(self, group: Group) -> None:
        self._held[group] = self._held.get(group, 0) + 1

    def give_back(self, group: Group) -> None:
        self._held[group] -= 1
        if not self._held[group]:
            del self._held[group]

    def serve(self, groups: Iterable[Group]) -> None:
        """A block ran transactions of these, each named as often as it has one."""
        self._served.update(groups)

    def served(self, group: Group) -> int:
        return self._served.get(group, 0)

    def counts(self, group: Group) -> tuple[int, int]:
        """What was served of a group's, and what the pool holds of it."""
        return self._served[group], self._held.get(group, 0)

    def begin_view(self) -> None:
        """A new primary is judged by what it serves itself."""
        self._served_before = dict(self._served)

    def passed_by_its_own(self, group: Group, served: int, before: int) -> bool:
        """Has the primary ordered so many of a group's that came later that these may have filled the
        quota there? Then it could not take the one that waits, and is not to blame (L22). `served`,
        `before`: when that came, so many of the group's had been served, and were in the pool."""
        since = self.served(group) - max(served, self._served_before.get(group, 0))
        # What is valid later may take one part of the quota, and is never served.
        return since - before >= max(1, self.share(group) // LATER_SHARE)
