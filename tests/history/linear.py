"""Is the history of one register linearizable? Wing & Gong's search with Lowe's memory.

J. Wing, C. Gong, «Testing and verifying concurrent objects», JPDC 1993; G. Lowe, «Testing for
linearizability», 2017: a pair of (what has taken effect, the value after it) that once led nowhere
leads nowhere again. Every completed operation must take effect between its invocation and its
answer; an open one may at any time after its invocation, or never.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.history.operation import Kind, Operation, Outcome

# Pairs to look at: 2^20 take about 10 s. A history of 60 operations with five open ones needs some
# thousands; beyond this the history is called undecided, which is no pass.
PAIRS_MAX = 2**20
INITIAL = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    linearizable: bool
    decided: bool
    pairs: int  # looked at
    longest: tuple[Operation, ...]  # the longest order that was found: it ends where it breaks


def check_register(history: Iterable[Operation], pairs_max: int = PAIRS_MAX) -> Verdict:
    """The operations of one register, in any order."""
    operations = sorted(
        (
            operation
            for operation in history
            if operation.outcome is Outcome.DONE
            # An open read has no effect and told nobody anything.
            or (operation.outcome is Outcome.OPEN and operation.kind is not Kind.READ)
        ),
        key=lambda operation: operation.began_s,
    )
    completed = sum(1 << i for i, o in enumerate(operations) if o.outcome is Outcome.DONE)
    observed = _observed(operations)
    seen: set[tuple[int, int]] = set()
    # A branch: which have taken effect, the value after them, and their order as a linked list.
    stack: list[tuple[int, int, _Link | None]] = [(0, INITIAL, None)]
    longest: tuple[int, _Link | None] = (-1, None)
    while stack:
        taken, value, order = stack.pop()
        if (taken, value) in seen:
            continue
        seen.add((taken, value))
        reached = (taken & completed).bit_count()
        if reached > longest[0]:
            longest = (reached, order)
        if taken & completed == completed:
            return Verdict(True, True, len(seen), _unrolled(order, operations))
        if len(seen) >= pairs_max:
            return Verdict(False, False, len(seen), _unrolled(longest[1], operations))
        branches = [
            (taken | 1 << index, after, _Link(index, order))
            for index, after in _branches(operations, taken, value, observed)
        ]
        # The last is looked at first: those that answered soonest, and open ones only at need.
        branches.sort(key=lambda branch: -operations[branch[2].index].ended_s)
        stack += branches
    return Verdict(False, True, len(seen), _unrolled(longest[1], operations))


@dataclass(frozen=True, slots=True)
class _Link:
    index: int
    before: "_Link | None"


def _observed(operations: list[Operation]) -> set[int]:
    """Values that somebody read, or expected and found, or may have expected and found."""
    found = set()
    for operation in operations:
        is_open = operation.outcome is Outcome.OPEN
        if operation.kind is Kind.READ:
            found.add(operation.result)
        elif operation.kind is Kind.SWAP and (is_open or operation.result):
            found.add(operation.argument[0])
    return found


def _branches(
    operations: list[Operation], taken: int, value: int, observed: set[int]
) -> list[tuple[int, int]]:
    """Which may take effect next, and the value after; those left out lead nowhere else.

    What changes nothing and fits is taken at once, alone: later it could only fit less. An open
    operation is taken only for what it changes, and if nobody ever observed its value only to
    explain a swap that was told no though it expects the value that is there.
    """
    found = []
    contradicted = False
    candidates = _next(operations, taken)
    for index in candidates:
        operation = operations[index]
        if operation.outcome is Outcome.DONE:
            after = _effect(operation, value)
            if after == value and operation.kind is not Kind.WRITE:
                return [(index, after)]
            if after is not None:
                found.append((index, after))
            elif operation.kind is Kind.SWAP and not operation.result:
                contradicted = True
    for index in candidates:
        operation = operations[index]
        if operation.outcome is Outcome.OPEN:
            after = _effect(operation, value)
            if after not in (None, value) and (after in observed or contradicted):
                found.append((index, after))
    return found


def _next(operations: list[Operation], taken: int) -> list[int]:
    """No other one had its answer before these were invoked."""
    waiting = [index for index in range(len(operations)) if not taken >> index & 1]
    first_answer_s = min(operations[index].ended_s for index in waiting)
    return [index for index in waiting if operations[index].began_s <= first_answer_s]


def _effect(operation: Operation, value: int) -> int | None:
    """The value after it; None if it cannot have been told what it was told."""
    is_open = operation.outcome is Outcome.OPEN
    match operation.kind:
        case Kind.WRITE:
            return operation.argument[0]
        case Kind.SWAP:
            expected, new = operation.argument
            equal = value == expected
            if not is_open and equal != operation.result:
                return None
            return new if equal else value
        case Kind.READ:
            return value if operation.result == value else None
    raise AssertionError(f"{operation.kind} is no operation of a register")


def _unrolled(link: _Link | None, operations: list[Operation]) -> tuple[Operation, ...]:
    found = []
    while link is not None:
        found.append(operations[link.index])
        link = link.before
    return tuple(reversed(found))
