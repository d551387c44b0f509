"""The applications of this software. A new one is a file beside this and a line here."""

from contracts.framework import Registry
from contracts.members import MEMBERSHIP, members
from contracts.records import records


def registry() -> Registry:
    """Every contract, in every version that old heights may still need."""
    return Registry((members, records), MEMBERSHIP)
