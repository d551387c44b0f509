"""Concurrent clients: each asks one node at a time, and writes down what it was told and when.

Whoever was not told the outcome keeps the operation open and goes on as a new client; sometimes
the very same bytes are sent once more, to another node, which must not do a thing twice.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import msgspec

from salus.client import Client
from salus.client import operation as signed
from salus.client_errors import ClientError, PendingError, RejectedError
from salus.codec import Wire
from salus.forms import QueryAnswer, TransactionForm, TransactionState
from salus.transaction import ParsedTransaction
from tests.history.applications import (
    ELEMENTS_MAX,
    AddArgs,
    SwapArgs,
    Which,
    WriteArgs,
    elements,
)
from tests.history.operation import Kind, Operation, Outcome

OPERATION_S = 3.0  # then the outcome is unknown; longer than a view change
OPERATIONS_PER_KEY = 32  # one register's history is searched as a whole
KEYS = 3  # registers at a time: clients must meet at one
AGAIN_SHARE = 0.5  # of the unknown outcomes, sent once more elsewhere
QUERY_SHARE = 0.5  # of the reads, as a query with min_height

_METHODS = {
    Kind.WRITE: ("register", "write"),
    Kind.SWAP: ("register", "swap"),
    Kind.READ: ("register", "read"),
    Kind.ADD: ("grow", "add"),
    Kind.SEE: ("grow", "see"),
}
_QUERIES = {Kind.READ: ("register", "value"), Kind.SEE: ("grow", "content")}
_MIX = (Kind.WRITE, Kind.WRITE, Kind.SWAP, Kind.SWAP, Kind.READ, Kind.READ, Kind.READ,
        Kind.ADD, Kind.ADD, Kind.SEE)  # fmt: skip


@dataclass
class Shared:
    """What all clients of a run share."""

    rng: Random
    operations: list[Operation] = field(default_factory=list)
    sent: dict[str, Operation] = field(default_factory=dict)  # by transaction id
    frontier: int = 0  # the highest certified height that any of them was told
    clients: "count[int]" = field(default_factory=lambda: count(1))
    values: "count[int]" = field(default_factory=lambda: count(1))  # each is written once
    added: int = 0  # elements so far, over all sets
    registers: int = 0  # operations on registers so far
    last: dict[int, int] = field(default_factory=dict)  # what was last seen in a register
    stopping: bool = False

    def key(self) -> int:
        self.registers += 1
        generation = self.registers // (KEYS * OPERATIONS_PER_KEY)
        return generation * KEYS + self.rng.randrange(KEYS)

    def element(self) -> tuple[int, int]:
        """A set, and an element that nobody has added to it."""
        self.added += 1
        return divmod(self.added - 1, ELEMENTS_MAX)

    def told(self, height: int) -> None:
        self.frontier = max(self.frontier, height)


class HistoryClient:
    """One caller at one node. `others`: where the same bytes may be sent once more; `patience_s`:
    for one operation, then its outcome is unknown."""

    def __init__(
        self,
        shared: Shared,
        node: str,
        client: Client,
        others: Sequence[Client] = (),
        patience_s: float = OPERATION_S,
    ) -> None:
        self.shared, self.node, self.client, self.others = shared, node, client, others
        self.patience_s = patience_s
        self.number = next(shared.clients)

    async def run(self, pause_s: float) -> None:
        """Until the run is stopping; `pause_s`: on average between two operations."""
        rng = self.shared.rng
        while not self.shared.stopping:
            await asyncio.sleep(rng.uniform(0, 2 * pause_s))
            try:
                await self._one()
            except ClientError:
                await asyncio.sleep(pause_s)  # Nothing was begun: the node is not there.

    async def _one(self) -> None:
        rng, shared = self.shared.rng, self.shared
        kind = rng.choice(_MIX)
        if kind in _QUERIES and rng.random() < QUERY_SHARE:
            await self.ask(kind, self._key(kind))
            return
        key, args, argument = self._arguments(kind)
        contract, method = _METHODS[kind]
        operation = self._begin(kind, key, argument)
        try:
            await self._send(operation, contract, method, args)
        finally:
            if operation.outcome is Outcome.OPEN:
                self.number = next(shared.clients)

    async def write(self, key: int) -> Operation:
        """One write that must be done."""
        value = next(self.shared.values)
        operation = self._begin(Kind.WRITE, key, (value,))
        await self._send(operation, "register", "write", WriteArgs(key, value))
        assert operation.outcome is Outcome.DONE, (
            f"nothing happens to the nodes, and yet {operation}"
        )
        return operation

    def _key(self, kind: Kind) -> int:
        shared = self.shared
        return shared.key() if kind is Kind.READ else max(0, shared.added - 1) // ELEMENTS_MAX

    def _arguments(self, kind: Kind) -> tuple[int, Wire, tuple[int, ...]]:
        shared = self.shared
        match kind:
            case Kind.WRITE:
                key, value = shared.key(), next(shared.values)
                return key, WriteArgs(key, value), (value,)
            case Kind.SWAP:
                key, value = shared.key(), next(shared.values)
                expected = shared.last.get(key, 0)
                return key, SwapArgs(key, expected, value), (expected, value)
            case Kind.ADD:
                key, element = shared.element()
                return key, AddArgs(key, element), (element,)
            case Kind.READ | Kind.SEE:
                key = self._key(kind)
                return key, Which(key), ()

    def _begin(
        self, kind: Kind, key: int, argument: tuple[int, ...], query: bool = False
    ) -> Operation:
        operation = Operation(
            self.number, kind, key, argument, time.monotonic(), self.node, query=query
        )
        self.shared.operations.append(operation)
        return operation

    # -- as a transaction -----------------------------------------------------------------------

    async def _send(self, operation: Operation, contract: str, method: str, args: Wire) -> None:
        try:
            transaction = await self.client.build([signed(contract, method, 1, args)])
        except ClientError:
            self.shared.operations.remove(operation)  # Nobody was asked.
            raise
        operation.tx_id = transaction.id.hex()
        self.shared.sent[operation.tx_id] = operation
        try:
            await self._commit(operation, transaction, self.client)
        except PendingError:
            if self.others and self.shared.rng.random() < AGAIN_SHARE:
                other = self.shared.rng.choice(self.others)
                try:
                    await self._commit(operation, transaction, other)
                except ClientError:
                    pass  # Still not known; a refusal elsewhere says nothing of the first sending.

    async def _commit(
        self, operation: Operation, transaction: ParsedTransaction, client: Client
    ) -> None:
        first = client is self.client
        try:
            done = await client.commit(transaction, self.patience_s)
            settle(self.shared, operation, done.answer)
        except RejectedError:
            form = await client.transaction(transaction.id.hex())
            if form.height is not None:
                settle(self.shared, operation, form)  # The contract refused: that is an answer.
            elif first:
                operation.failed(time.monotonic())
        except PendingError:
            raise
        except ClientError:
            if first:  # It was turned away, and sent nowhere else.
                operation.failed(time.monotonic())
            raise

    # -- as a query -----------------------------------------------------------------------------

    async def ask(self, kind: Kind, key: int, *, min_height: int | None = None) -> Operation:
        """`min_height`: other than the highest that anybody was told; 0 lets the node be stale."""
        contract, query = _QUERIES[kind]
        operation = self._begin(kind, key, (), query=True)
        at_least = self.shared.frontier if min_height is None else min_height
        try:
            answer = await self.client.api(
                "POST",
                f"/v1/contracts/{contract}/queries/{query}?min_height={at_least}",
                msgspec.json.encode({"arguments": {"key": key}}),
            )
        except ClientError:
            operation.failed(time.monotonic())  # A read that told nothing.
            raise
        form = answer.decode(QueryAnswer)
        operation.done(time.monotonic(), _answer(kind, form.result), form.height)
        self.shared.told(form.height)
        return operation


def settle(shared: Shared, operation: Operation, form: TransactionForm) -> None:
    """What the chain says became of the transaction; now it is known, whenever it took effect."""
    assert form.height is not None
    assert form.state in (TransactionState.COMMITTED, TransactionState.REJECTED)
    now_s = time.monotonic()
    (receipt,) = form.receipts
    match operation.kind:
        case Kind.SWAP:
            assert receipt.code in ("OK", "NOT_EQUAL"), receipt
            result: Any = receipt.code == "OK"
        case Kind.READ | Kind.SEE:
            assert receipt.code == "OK", receipt
            result = _answer(operation.kind, receipt.events[0].data)
        case _:
            assert receipt.code == "OK", receipt
            result = None
    operation.done(now_s, result, form.height)
    shared.told(form.height)
    if operation.kind is Kind.READ:
        shared.last[operation.key] = result
    elif operation.kind is Kind.WRITE or result is True:
        shared.last[operation.key] = operation.argument[-1]


def _answer(kind: Kind, data: dict[str, Any]) -> Any:
    if kind is Kind.READ:
        return data["value"]
    return tuple(elements(bytes.fromhex(data[name])) for name in ("members", "again"))
