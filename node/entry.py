"""One transaction of the pool."""

import msgspec

from salus.transaction import ParsedTransaction


class Entry(msgspec.Struct, gc=False, eq=False):
    """A transaction in the pool, and what its fair treatment is measured by."""

    tx: ParsedTransaction
    group: str | None
    from_height: int
    arrival: int = 0
    served: int = 0  # of its own group, when it came (`Quotas`)
    behind: int = 0  # as many of its group were in the pool then
    before: int = 0  # how many others were in the pool when the watch began (L17)
    ordered: int = 0  # how many had been ordered by then
    forwarded: bool = False
