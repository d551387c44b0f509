"""All or nothing, faults, caps (rule S16)."""

import sys
from collections.abc import Callable
from functools import partial

import pytest

from contracts.context import Capacity, Identity
from contracts.errors import StoreFailed
from contracts.members import validator_set
from contracts.registry import Membership, Registry
from contracts.runtime import CONTRACT_FRAMES_MAX, fixed_depth
from contracts.state import Overlay, ReadState
from node.uncertified import Executed
from salus.codec import encode
from salus.genesis import Role
from salus.parameters import Parameters
from tests import factories
from tests.contracts import planted
from tests.contracts.lab import Lab, parameters

FAULTS = [
    "key_error",
    "big_fact",
    "big_refusal",
    "big_state",
    "wide_state",
    "big_text",
    "wrong_return",
    "wrong_event",
    "wrong_fact",
    "free_text",
    "fraction",
    "short_hash",
    "many_events",
    "wrong_code",
    "forge_rollback",
    "long_key",
    "ask_stranger",
]


def lab(**changes: object) -> Lab:
    limits = parameters(contracts=planted.ACTIVE, **changes)
    return Lab(factories.genesis(4, parameters=limits), planted.registry)


def cell(chain: Lab, n: int) -> object:
    return chain.value(b"planted/cell/" + n.to_bytes(8), planted.Cell)


# ── faults ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("sin", FAULTS)
def test_whatever_a_contract_does_is_one_receipt_and_the_chain_goes_on(sin: str) -> None:
    """Rule S16: contract and method, never the text; the overlay rolled back; an alarm."""
    chain = lab()
    before = chain.dump()
    executed = chain.block(chain.tx(chain.op("planted", sin)))
    (receipt,) = executed.receipts
    assert receipt.code == "CONTRACT_FAULT"
    assert receipt.facts == {"contract": "planted", "method": sin}
    assert receipt.events == ()
    assert chain.dump() == before
    (fault,) = executed.faults
    assert (fault.contract, fault.method, fault.height) == ("planted", sin, 1)
    assert "Mustermann" not in repr(fault)
    assert b"Mustermann" not in encode(receipt)
    assert chain.codes(chain.op("planted", "put", n=1)) == ["OK"]


def test_endless_recursion_is_a_fault() -> None:
    chain = lab()
    executed = chain.block(chain.tx(chain.op("planted", "recurse", n=10**9)))
    assert executed.receipts[0].code == "CONTRACT_FAULT"
    assert executed.faults[0].kind == "RecursionError"


def _called_from(depth: int, call: Callable[[], Executed]) -> Executed:
    return call() if depth == 0 else _called_from(depth - 1, call)


@pytest.mark.parametrize("n", [CONTRACT_FRAMES_MAX - 60, CONTRACT_FRAMES_MAX + 60])
def test_the_depth_of_the_caller_decides_no_outcome(n: int) -> None:
    """A contract that stacks n calls ends alike at the bottom of the stack and far up."""
    headers = []
    for depth in (0, 150, 700):
        chain = lab()
        tx = chain.tx(chain.op("planted", "recurse", n=n), number=1)
        executed = _called_from(depth, partial(chain.execute, tx))
        headers.append(executed.header)
        expected = "OK" if n < CONTRACT_FRAMES_MAX else "CONTRACT_FAULT"
        assert executed.receipts[0].code == expected
    assert headers[0] == headers[1] == headers[2]


def test_the_interpreters_limit_is_put_back() -> None:
    before = sys.getrecursionlimit()
    with fixed_depth():
        assert sys.getrecursionlimit() != before
    assert sys.getrecursionlimit() == before
    with pytest.raises(KeyError), fixed_depth():
        raise KeyError
    assert sys.getrecursionlimit() == before


def test_a_failing_disk_never_becomes_a_receipt() -> None:
    """An outcome that depends on one node's disk would be a divergence."""
    chain = lab()
    assert chain.codes(chain.op("planted", "put", n=0)) == ["OK"]  # what is absent asks no disk
    tx = chain.tx(chain.op("planted", "many_keys", n=1))
    head, root = chain.executor.head, chain.executor.tree.root

    def broken(key: bytes) -> bytes | None:
        if key.startswith(b"planted"):
            raise OSError("the disk")
        return None

    chain.executor.reader.get = broken  # type: ignore[method-assign]
    with pytest.raises(StoreFailed):
        chain.execute(tx)
    del chain.executor.reader.get
    assert (chain.executor.head, chain.executor.tree.root) == (head, root)
    assert chain.execute(tx).receipts[0].code == "OK"


@pytest.mark.parametrize(("sin", "error"), [("out_of_memory", MemoryError), ("leave", SystemExit)])
def test_what_only_this_node_meets_never_becomes_a_receipt(
    sin: str, error: type[BaseException]
) -> None:
    """Memory runs out on one machine and not on the others: a receipt of it would diverge."""
    chain = lab()
    head, root = chain.executor.head, chain.executor.tree.root
    with pytest.raises(error):
        chain.execute(chain.tx(chain.op("planted", sin)))
    assert (chain.executor.head, chain.executor.tree.root) == (head, root)
    assert chain.codes(chain.op("planted", "put", n=1)) == ["OK"]


# ── all or nothing ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("sin", ["refuse", "key_error"])
def test_operations_stand_or_fall_together(sin: str) -> None:
    chain = lab()
    bad = chain.op("planted", sin, n=2) if sin == "refuse" else chain.op("planted", sin)
    before = chain.dump()
    receipts = chain.run(chain.op("planted", "put", n=1), bad, chain.op("planted", "put", n=3))
    code = "NO" if sin == "refuse" else "CONTRACT_FAULT"
    assert [r.code for r in receipts] == ["ROLLED_BACK", code, "ROLLED_BACK"]
    assert receipts[0].facts == receipts[2].facts == {"operation": 1}
    assert [r.operation for r in receipts] == [0, 1, 2]
    assert all(r.events == () for r in receipts)
    assert chain.dump() == before


def test_independent_operations_each_stand_alone() -> None:
    chain = lab()
    receipts = chain.run(
        chain.op("planted", "put", n=1),
        chain.op("planted", "refuse", n=2),
        chain.op("planted", "key_error"),
        chain.op("planted", "put", n=3),
        independent=True,
    )
    assert [r.code for r in receipts] == ["OK", "NO", "CONTRACT_FAULT", "OK"]
    assert receipts[1].facts == {"n": 2}
    assert cell(chain, 1) == planted.Cell(1)
    assert cell(chain, 2) is None
    assert cell(chain, 666) is None
    assert cell(chain, 3) == planted.Cell(3)


def test_rollback_restores_what_an_earlier_transaction_of_the_block_wrote() -> None:
    chain = lab()
    first = chain.tx(chain.op("planted", "put", n=1))
    second = chain.tx(chain.op("planted", "drop", n=1), chain.op("planted", "refuse", n=1))
    chain.block(first, second)
    assert cell(chain, 1) == planted.Cell(1)


def test_later_operations_see_what_earlier_ones_wrote() -> None:
    chain = lab()
    assert chain.codes(chain.op("planted", "put", n=1), chain.op("planted", "drop", n=1)) == [
        "OK",
        "OK",
    ]
    assert cell(chain, 1) is None


def test_an_epoch_ends_only_if_the_operation_that_asked_stood() -> None:
    chain = lab()
    end, fail = chain.op("planted", "end_epoch"), chain.op("planted", "end_epoch_then_fail")
    chain.run(fail)
    chain.run(end, chain.op("planted", "refuse", n=1))
    chain.run(fail, independent=True)
    assert chain.executor.epoch.end == 0
    chain.run(end)
    assert chain.executor.epoch.end == 4 + chain.genesis.parameters.watermark_window


def test_the_end_of_the_epoch_is_not_forgotten_by_later_transactions() -> None:
    chain = lab()
    chain.block(
        chain.tx(chain.op("planted", "end_epoch")), chain.tx(chain.op("planted", "put", n=1))
    )
    assert chain.executor.epoch.end == 1 + chain.genesis.parameters.watermark_window


def test_who_the_sender_is_follows_the_state_back_when_it_is_rolled_back() -> None:
    """A transaction that locks its own sender out, and fails, has locked nobody out."""

    def identify(state: ReadState, sender: bytes, time_ms: int) -> Identity | None:
        locked = state.get(planted.Cell, b"cell/" + (1).to_bytes(8)) is not None
        return None if locked else Identity("hosp-a", Capacity.OPERATOR, (Role.HOSPITAL,))

    def registry() -> Registry:
        membership = Membership("planted", identify, validator_set)
        return Registry(planted.registry().contracts.values(), membership)

    limits = parameters(contracts=planted.ACTIVE)
    chain = Lab(factories.genesis(4, parameters=limits), registry)
    anchor = chain.op(
        "records", "anchor", root=bytes(32), leaves=1, author=bytes(32), context=bytes(32)
    )
    lock = chain.op("planted", "put", n=1)
    executed = chain.block(
        chain.tx(lock, anchor), chain.tx(anchor), chain.tx(lock), chain.tx(anchor)
    )
    assert [r.code for r in executed.receipts] == [
        "ROLLED_BACK",
        "NOT_AUTHORISED",
        "OK",
        "OK",
        "NOT_AUTHORISED",
    ]


# ── caps ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "limit", "most"),
    [
        ("many_keys", "keys_touched_max", 10),
        ("many_bytes", "state_bytes_written_max", 5_000),
        ("one_value", "state_value_bytes_max", 2_000),
    ],
)
def test_what_one_transaction_may_do_to_state_is_capped(method: str, limit: str, most: int) -> None:
    chain = lab(**{limit: most})
    for n in (most // 2, most * 2):
        (receipt,) = chain.run(chain.op("planted", method, n=n))
        expected = "OK" if n < most else "LIMIT_STATE"
        assert receipt.code == expected
    assert receipt.facts == {"limit": limit, "most": most}


def test_the_caps_are_exact() -> None:
    chain = lab(keys_touched_max=10)
    assert chain.codes(chain.op("planted", "many_keys", n=10)) == ["OK"]
    assert chain.codes(chain.op("planted", "many_keys", n=11)) == ["LIMIT_STATE"]


def test_bytes_written_are_key_and_value() -> None:
    value, key = len(encode(planted.Blob(bytes(1000)))), len(b"planted/blob")
    chain = lab(state_bytes_written_max=value + key)
    assert chain.codes(chain.op("planted", "one_value", n=1000)) == ["OK"]
    assert chain.codes(chain.op("planted", "one_value", n=1001)) == ["LIMIT_STATE"]


def test_each_transaction_of_a_block_has_its_own_count() -> None:
    chain = lab(keys_touched_max=10, state_bytes_written_max=3_000)
    full = [chain.op("planted", "many_keys", n=10), chain.op("planted", "many_bytes", n=2_000)]
    for op in full:
        executed = chain.block(
            chain.tx(op), chain.tx(chain.op("planted", "put", n=500)), chain.tx(op)
        )
        assert [r.code for r in executed.receipts] == ["OK", "OK", "OK"]


def test_the_caps_hold_over_all_operations_and_count_what_was_undone() -> None:
    """Failing on purpose is no way round a cap."""
    chain = lab(keys_touched_max=10)
    six = chain.op("planted", "many_keys", n=6)
    other = chain.op("planted", "put", n=100)
    fail = [chain.op("planted", "refuse", n=200 + n) for n in range(3)]
    assert chain.codes(
        six, *fail, other, other, chain.op("planted", "put", n=101), independent=True
    ) == [
        "OK",
        *["NO"] * 3,
        "OK",
        "OK",
        "LIMIT_STATE",
    ]
    assert chain.codes(six, six, six) == ["OK", "OK", "OK"]  # the same keys count once
    assert chain.codes(other) == ["OK"]  # a new transaction has its own count


def test_an_overlay_undoes_to_any_mark() -> None:
    overlay = Overlay({b"a": b"1"}.get, Parameters())
    overlay.begin_transaction(bytes(32))
    overlay.put(b"a", b"2")
    mark = overlay.mark()
    overlay.put(b"a", None)
    overlay.put(b"b", b"3")
    assert (overlay.get(b"a"), overlay.get(b"b")) == (None, b"3")
    overlay.rollback(mark)
    assert (overlay.get(b"a"), overlay.get(b"b")) == (b"2", None)
    overlay.rollback(0)
    assert overlay.get(b"a") == b"1"
    assert overlay.writes == {}
