"""The applications of this software. A new one is a file beside this and a line here."""

from contracts import governance_turn
from contracts.framework import Registry
from contracts.governance import governance
from contracts.members import MEMBERSHIP, members
from contracts.records import records


def registry() -> Registry:
    """Every contract, in every version that old heights may still need."""
    assert governance.turn is governance_turn.take_turn, "else what was voted would never come"
    return Registry((governance, members, records), MEMBERSHIP)
