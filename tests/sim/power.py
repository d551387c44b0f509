"""The power supply of one simulated node, and how its disk writes end.

Every operation that changes a file or a store asks `spend`: it may be the one at which the power
goes, or find no space left. Law of the file: a `PowerCut` is no `Exception`, so no handler of the
code under test goes on after it.
"""

import errno

UNCUT = -1


class PowerCut(BaseException):
    """The node is dead from here on; what it had not synced may be lost."""


class Power:
    __slots__ = ("full", "left")

    def __init__(self) -> None:
        self.left = UNCUT  # so many operations still succeed; UNCUT: all of them
        self.full = False  # no space left on any disk of the node

    def spend(self) -> None:
        """Called in the middle of each operation; raises `PowerCut`."""
        if self.left >= 0:
            if self.left == 0:
                raise PowerCut
            self.left -= 1

    def room(self) -> None:
        """Raises the error of a full disk."""
        if self.full:
            raise OSError(errno.ENOSPC, "no space left on the simulated disk")
