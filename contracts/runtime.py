"""Runs the operations of transactions: dispatch, all-or-nothing, receipts, faults (rule S16).

Whatever a contract does, an operation ends in exactly one receipt, equal on every node: OK, a
refusal, or CONTRACT_FAULT with contract and method and nothing else. `fixed_depth` gives
contracts the same room for recursion on every node, however deep the caller stands.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

from contracts.context import BlockFacts, Context, Identity, Rights, Turn
from contracts.errors import (
    BAD_ARGUMENTS,
    CONTRACT_FAULT,
    LIMIT_STATE,
    NOT_AUTHORISED,
    ROLLED_BACK,
    Refused,
    StoreFailed,
)
from contracts.framework import Contract, Method, publishable
from contracts.registry import Active
from contracts.state import SYSTEM_OPERATION, Overlay, ReadState, State
from salus.block import EVENTS_PER_OPERATION_MAX, OK, Event, Fact, Receipt
from salus.codec import Wire, decode
from salus.errors import BadMessage
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction

# Frames that a contract may stack; ours need about ten. Recursion in contracts is banned by a
# test (tests/test_purity.py), so this bound is met only by a fault, and then by all nodes.
CONTRACT_FRAMES_MAX = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """A contract failed: for this node's alarm, never for the chain. `kind` is the exception's
    class name; its text stays unread, since it may quote what must not be shown."""

    height: int
    tx_id: bytes
    operation: int
    contract: str
    method: str
    kind: str


class Turns(NamedTuple):
    """What the contracts' turns at the end of a block say of what comes after it."""

    parameters: Parameters  # of the next epoch, if the block ends one
    end_epoch: bool


_code = attrgetter("code")


@dataclass(slots=True)
class Runtime:
    """Executes the transactions of one block, in order, over one overlay."""

    active: Active
    block: BlockFacts
    overlay: Overlay
    ends_epoch: bool = False  # some operation that stood asked for the epoch's end
    faults: list[Fault] = field(default_factory=list)
    # The method of each operation, in the order of the receipts; None: none ran.
    called: list[Method | None] = field(default_factory=list)
    _identities: dict[bytes, Identity | None] = field(default_factory=dict)
    _seats: dict[tuple[Method, bytes], "_Seat"] = field(default_factory=dict)

    def run(self, tx: ParsedTransaction) -> list[Receipt]:
        """One receipt per operation; the overlay holds what stood."""
        overlay = self.overlay
        overlay.begin_transaction(tx.id)
        receipts: list[Receipt] = []
        ends_epoch = False
        operations = tx.body.operations
        for index, call in enumerate(
            operations if len(operations) == 1 else self._calls(operations)
        ):
            mark = overlay.begin_operation(index)
            receipt, asks_end = self._operation(tx, index, call)
            receipts.append(receipt)
            if receipt.code == OK:
                ends_epoch |= asks_end
                continue
            overlay.rollback(mark)
            if not tx.body.independent:
                overlay.rollback(0)
                self._forget_identities()
                self.called += [None] * (len(operations) - index - 1)
                return _rolled_back(tx, index, receipt)
        self.ends_epoch |= ends_epoch
        return receipts

    def take_turns(self, source: bytes, *, last: bool) -> Turns:
        """What contracts do at the end of the block, after its transactions. `source`: of the
        salts; `last`: the block ends its epoch.

        A fault undoes that contract's turn and nothing else: the chain goes on as it was."""
        overlay, parameters, end_epoch = self.overlay, self.block.parameters, False
        for contract in self.active.contracts.values():
            if contract.turn is None or contract.turn_due is None:
                continue
            overlay.begin_system(source)
            mark = overlay.mark()
            turn = Turn(self.block, overlay, contract.rights, last=last)
            try:
                due = last or contract.turn_due(ReadState(overlay.peek, contract.name)) <= (
                    self.block.height
                )
                if due:
                    contract.turn(turn, State(overlay, contract.name))
            except (KeyboardInterrupt, SystemExit, MemoryError, StoreFailed):
                raise  # As in `_operation`.
            except BaseException as error:  # noqa: BLE001 — whatever it is, it is a fault (S16)
                overlay.rollback(mark)
                kind, height = type(error).__name__, self.block.height
                fault = Fault(height, source, SYSTEM_OPERATION, contract.name, "turn", kind)
                self.faults.append(fault)
                continue
            end_epoch |= turn.ends_epoch
            if turn.next_parameters is not self.block.parameters:
                parameters = turn.next_parameters
        return Turns(parameters, end_epoch)

    def calls(self, receipts: list[Receipt]) -> dict[tuple[str, str], int]:
        """How often the block's operations ended how: (contract.method, code); for metrics, and
        «other» where no method ran. Counted at once: one by one it would cost each operation."""
        counted = Counter(zip(self.called, map(_code, receipts), strict=True))
        return {(_name(method), code): n for (method, code), n in counted.items()}

    def identity(self, sender: bytes) -> Identity | None:
        """Who this key is at this point of the block."""
        known = self._identities
        if sender not in known:
            membership = self.active.membership
            state = ReadState(self.overlay.peek, membership.contract)
            known[sender] = membership.identify(state, sender, self.block.time_ms)
        return known[sender]

    def _calls(self, operations: tuple[bytes, ...]) -> Sequence[bytes | tuple[Method, Wire]]:
        """Several, decoded where nothing is wrong with them; else as they came."""
        try:
            return self.active.check_all(operations)
        except BadMessage:
            return operations

    def _operation(
        self, tx: ParsedTransaction, index: int, call: bytes | tuple[Method, Wire]
    ) -> tuple[Receipt, bool]:
        """The receipt, and whether the operation asks for the epoch's end."""
        if not isinstance(call, bytes):
            method, args = call
            self.called.append(method)
        else:
            try:
                method, encoded = self.active.dispatch(call)
            except BadMessage as bad:
                self.called.append(None)
                return Receipt(tx.id, index, bad.code, dict(bad.facts), ()), False
            self.called.append(method)
            try:
                args = decode(encoded, method.args)
            except BadMessage:
                return Receipt(tx.id, index, BAD_ARGUMENTS, {}, ()), False
        sender = tx.body.sender
        seat = self._seats.get((method, sender)) or self._seat(method, sender)
        if not seat.allowed:
            return Receipt(tx.id, index, NOT_AUTHORISED, {}, ()), False
        context = Context(self.block, tx, index, seat.identity, self.overlay, seat.rights)
        try:
            events = _call(seat, method, context, args)
        except Refused as refusal:
            if _lawful(seat.contract, refusal):
                return Receipt(tx.id, index, refusal.code, refusal.facts, ()), False
            return self._fault(context, method, refusal), False
        except (KeyboardInterrupt, SystemExit, MemoryError, StoreFailed):
            # Somebody stops this node, or its memory or disk fails: no outcome of the contract,
            # for the other nodes have another one. The node stops here and replays the block.
            raise
        except BaseException as error:  # noqa: BLE001 — whatever it is, it is a fault (S16)
            return self._fault(context, method, error), False
        if seat.moves_members:
            self._forget_identities()
        return Receipt(tx.id, index, OK, {}, tuple(events)), context.ends_epoch

    def _seat(self, method: Method, sender: bytes) -> "_Seat":
        contract, identity = self.active.contracts[method.contract], self.identity(sender)
        seat = _Seat(
            contract,
            contract.rights,
            State(self.overlay, contract.name),
            identity,
            method.allows(identity),
            contract.name == self.active.membership.contract or bool(contract.rights.acts),
        )
        self._seats[method, sender] = seat
        return seat

    def _forget_identities(self) -> None:
        self._identities.clear()
        self._seats.clear()

    def _fault(self, context: Context, method: Method, error: BaseException) -> Receipt:
        tx_id, index = context.tx_id, context.operation
        kind = type(error).__name__
        self.faults.append(Fault(context.height, tx_id, index, method.contract, method.name, kind))
        facts: dict[str, Fact] = {"contract": method.contract, "method": method.name}
        return Receipt(tx_id, index, CONTRACT_FAULT, facts, ())


class _Seat(NamedTuple):
    """What is the same for all operations of one sender that call one method, until somebody's key may
    have become another's. The state knows the overlay and a prefix, nothing of the operation."""

    contract: Contract
    rights: Rights
    state: State
    identity: Identity | None
    allowed: bool  # the identity, to call the method
    moves_members: bool  # who a key is may change by it


def _call(seat: _Seat, method: Method, context: Context, args: Wire) -> list[Event]:
    events = method.run(context, seat.state, args)
    if type(events) is not list or len(events) > EVENTS_PER_OPERATION_MAX:
        raise TypeError("a method returns a list of at most EVENTS_PER_OPERATION_MAX events")
    for event in events:
        if type(event) is not Event or not seat.contract.admits(event):
            raise TypeError("an event is declared, and its facts may be published")
    return events


def _lawful(contract: Contract, refusal: Refused) -> bool:
    """A refusal with a code that was declared and facts that may be published."""
    known = refusal.code in contract.refusals or refusal.code in (NOT_AUTHORISED, LIMIT_STATE)
    return known and publishable(refusal.facts)


def _name(method: Method | None) -> str:
    return "other" if method is None else f"{method.contract}.{method.name}"


def _rolled_back(tx: ParsedTransaction, failed: int, receipt: Receipt) -> list[Receipt]:
    """All or nothing: the operation that failed says why, the others say which one failed."""
    return [
        receipt
        if index == failed
        else Receipt(tx.id, index, ROLLED_BACK, {"operation": failed}, ())
        for index in range(len(tx.body.operations))
    ]


@contextmanager
def fixed_depth() -> Iterator[None]:
    """Within, code may stack CONTRACT_FRAMES_MAX more frames, whoever the caller is.

    The interpreter's limit counts from the bottom of the stack, and how deep the executor is
    called differs between a node, a test and an audit. Counted from here it is the same.
    """
    depth, frame = 0, sys._getframe()
    while (below := frame.f_back) is not None:
        depth, frame = depth + 1, below
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + CONTRACT_FRAMES_MAX)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
