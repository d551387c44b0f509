"""What the chain itself says, block by block, against what the clients were told.

Nothing that a client was told is committed may be missing or stand elsewhere; no transaction may be
executed twice; and no node may have executed what nobody sent.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from salus.block import DUPLICATE
from salus.client import Client
from salus.forms import Block
from tests.history.operation import Operation, Outcome


async def read_blocks(client: Client, height: int) -> list[Block]:
    return [await client.block(at) for at in range(1, height + 1)]


def executed_at(blocks: Sequence[Block]) -> dict[str, list[int]]:
    """Transaction ids, each with every height that executed it; a duplicate's receipt is none."""
    executed: dict[str, list[int]] = defaultdict(list)
    for block in blocks:
        fresh = {receipt.tx_id for receipt in block.receipts if receipt.code != DUPLICATE}
        for tx_id in block.transactions:
            if tx_id in fresh:
                executed[tx_id].append(block.header.height)
    return executed


async def strangers(
    client: Client, executed: Mapping[str, list[int]], operations: Iterable[Operation]
) -> list[str]:
    """Ids that no client sent; a validator that lost its journal asks to rejoin by itself (S4)."""
    known = {operation.tx_id for operation in operations}
    found = []
    for tx_id in executed:
        if tx_id not in known:
            form = await client.transaction(tx_id)
            if [(o.contract, o.method) for o in form.operations] != [("members", "rejoin")]:
                found.append(tx_id)
    return found


def check_chain(executed: Mapping[str, list[int]], operations: Iterable[Operation]) -> list[str]:
    """What is wrong, in words."""
    wrong = [
        f"executed {len(heights)} times: {tx_id} at {heights}"
        for tx_id, heights in executed.items()
        if len(heights) > 1
    ]
    for operation in operations:
        if operation.tx_id is None:
            continue
        heights = executed.get(operation.tx_id, [])
        if operation.outcome is Outcome.DONE and heights != [operation.height]:
            wrong.append(f"lost: {operation} stands at {heights or 'no height'}")
        if operation.outcome is Outcome.FAILED and heights:
            wrong.append(f"said to have failed, and executed at {heights}: {operation}")
        if operation.outcome is Outcome.OPEN and heights:
            wrong.append(f"executed at {heights}, and no node could say so: {operation}")
    return wrong
