"""One transaction of the pool."""

from salus.transaction import ParsedTransaction


class Entry:
    """A transaction in the pool, and what its fair treatment is measured by."""

    __slots__ = (
        "arrival",
        "before",
        "behind",
        "forwarded",
        "from_height",
        "group",
        "ordered",
        "served",
        "tx",
    )

    def __init__(self, tx: ParsedTransaction, group: str | None, from_height: int) -> None:
        self.tx, self.group, self.from_height = tx, group, from_height
        self.arrival = 0
        self.served = self.behind = 0  # of its own group, when it came (`Quotas`)
        self.before = 0  # how many others were in the pool when the watch began (L17)
        self.ordered = 0  # how many had been ordered by then
        self.forwarded = False
