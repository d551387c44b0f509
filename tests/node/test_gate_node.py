"""The gate within a whole node: what it owes the chain when the node stops, and what it never holds up."""

from pathlib import Path

import pytest

from node.net.calls import Topic
from salus.codec import decode
from salus.emergency_wire import NotesAsk, pack
from salus.errors import SalusError
from salus.statemap import SALT_BYTES
from salus.ticket import TrailHead, trail_key
from tests import factories
from tests.contracts.lab import Lab
from tests.contracts.patients import Patient
from tests.node.network import Hospitals, eventually, hospitals
from tests.node.test_node import commit
from tests.node.test_ticket_rates import crowd


async def test_a_node_that_stops_tells_its_count_of_denials_first(tmp_path: Path) -> None:
    """G-13: while it can still send and hear."""
    async with hospitals(tmp_path) as group:
        ada = Patient(Lab(group.genesis))
        register = factories.transaction(
            group.genesis, ada.register(), signer=factories.key("operator hosp-a")
        )
        await group.height(await commit(group, 0, register))
        care = group.nodes[0].care
        assert care is not None
        gate = care.gate
        for _ in range(3):
            gate.book.without_ticket("hosp-b", ada.handle, gate.clock())
        await group.stop(0)
        state = group.nodes[1].state

        def told() -> int:
            stored = state.get(trail_key("hosp-a", ada.handle))
            return 0 if stored is None else decode(stored[SALT_BYTES:], TrailHead).denials

        await eventually(lambda: told() > 0)
        assert told() == 3


async def test_emergencies_are_heard_from_a_member_whose_tickets_are_used_up(
    tmp_path: Path,
) -> None:
    """G-18: the rate is the gate's; what goes to a holder of shares knows none."""
    group = Hospitals(tmp_path)
    node = group.start(0)
    try:
        assert node.care is not None
        crowd(node.care.gate.rates, "hosp-a")
        with pytest.raises(SalusError) as refused:
            await node.calls.ask("hosp-a", Topic.SUMMARY, pack(NotesAsk(bytes(32))), timeout_s=60)
        assert refused.value.code == "UNKNOWN_CASE"
    finally:
        await group.stop(0)
