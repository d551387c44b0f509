"""A contract that fails instead of refusing: four whole nodes, one receipt, and an alarm at each.

Rule S16. The executor's and the runtime's own tests plant every fault there is; here the dearest
ones go the whole way, from a client's request over agreement and execution to the block on disk.
"""

import logging
from pathlib import Path

import pytest

from salus.block import OK, Receipt
from salus.client import Client
from salus.client_errors import RejectedError
from salus.codec import encode
from salus.forms_node import Status
from tests import factories
from tests.contracts import planted
from tests.contracts.lab import parameters
from tests.node.network import Hospitals, eventually, hospitals

FAULTS = {
    "key_error": ((), "KeyError"),
    "recurse": ((10**9,), "RecursionError"),
    # An integer of 10^6 digits: in an event, in a refusal, in state, and printed.
    "big_fact": ((), "TypeError"),
    "big_refusal": ((), "Refused"),
    "big_state": ((), "OverflowError"),
    "big_text": ((), "ValueError"),
}


def receipts(group: Hospitals, height: int) -> tuple[Receipt, ...]:
    """Of that block; they and the header are the same at every node."""
    headers = {node.state.header(height).hash() for node in group.nodes.values()}
    assert len(headers) == 1
    found = {encode(node.state.receipts(height)) for node in group.nodes.values()}
    assert len(found) == 1
    return tuple(group.nodes[0].state.receipts(height))


async def test_a_contract_that_fails_costs_nobody_the_chain(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    limits = parameters(contracts=planted.ACTIVE)
    async with hospitals(tmp_path, 4, limits, planted.registry) as group:
        for number, (method, (args, kind)) in enumerate(FAULTS.items()):
            caplog.clear()
            at = number % 4
            async with Client(group.api(at), signer=group.operators[at], timeout_s=60) as client:
                with pytest.raises(RejectedError) as refused:
                    await client.call("planted", method, 1, encode(args))
                assert refused.value.code == "CONTRACT_FAULT"
                assert refused.value.tx_id is not None
                tx_id = bytes.fromhex(refused.value.tx_id)
                found = group.nodes[at].state.find_transaction(tx_id)
                assert found is not None
                await group.height(found[0])
                facts = {"contract": "planted", "method": method}
                fault = Receipt(tx_id, 0, "CONTRACT_FAULT", facts, ())
                assert receipts(group, found[0]) == (fault,)

                alarms = [r.fields for r in caplog.records if r.getMessage() == "contract_fault"]  # type: ignore[attr-defined]
                assert len(alarms) == 4
                for alarm in alarms:
                    assert alarm["tx_id"] == tx_id.hex()
                    assert (alarm["method"], alarm["kind"]) == (method, kind)

                done = await client.call("planted", "put", 1, encode((number,)))
                await group.height(done.height)
                assert [r.code for r in receipts(group, done.height)] == [OK]

        for index, node in group.nodes.items():
            await eventually(lambda at=node: at.facade.readiness().ready)
            async with Client(group.api(index)) as client:
                status: Status = await client.status()
                assert status.contract_faults == len(FAULTS)
                assert status.ready
                scraped = (await client.api("GET", "/metrics")).body.decode().splitlines()
            line = f'salus_contract_faults_total{{contract="planted"}} {float(len(FAULTS))}'
            assert line in scraped
            for cell in (666, 667, 668):  # What a fault has written is gone.
                assert node.executor.read(b"planted/cell/" + cell.to_bytes(8)) is None
            assert node.vitals.halted is None
        anchored = encode((factories.seed("root"), 1, bytes(32), bytes(32)))
        async with Client(group.api(3), signer=group.operators[3], timeout_s=60) as client:
            done = await client.call("records", "anchor", 1, anchored)
        await group.height(done.height)
        assert (
            len({node.state.header(done.height).state_root for node in group.nodes.values()}) == 1
        )
