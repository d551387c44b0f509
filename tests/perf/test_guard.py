"""The guard itself: counts are the same each time, and a planted slowdown does not pass."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from contracts import runtime as runtime_module
from contracts.runtime import Runtime
from node import executor as executor_module
from salus import transaction as transaction_module
from salus.codec import decode, encode
from salus.keys import verify
from storage.state import StateStore
from tests.perf import budget
from tests.perf.counting import Counts, count
from tests.perf.pieces import Validator

NUMBER = 40


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validator]:
    # Of an empty chain: where a small block takes a bucket out of the log, which is chance, it writes a row more.
    made = Validator(tmp_path_factory.mktemp("validator"), "guard", 0)
    made.block(made.transactions(NUMBER))
    yield made
    made.close()


def block(validator: Validator) -> dict[str, Counts]:
    return validator.block(validator.transactions(NUMBER))


def broken(validator: Validator, plant: Callable[[], None]) -> set[str]:
    """What the guard says once the slowdown is planted, each as "stage column"."""
    before = block(validator)
    assert budget.differences(before, block(validator)) == [], "the same work costs the same"
    plant()
    found = budget.differences(before, block(validator))
    return {" ".join((line.split(":")[0], line.split()[2].rstrip(","))) for line in found}


def test_the_same_work_counts_the_same() -> None:
    value = ("a", 1, b"b")

    def work() -> None:
        for _ in range(10):
            decode(encode(value), tuple)

    work()  # makes the decoder
    first = count(work)
    assert count(work) == first
    # `encode` is the encoder's own method, and what a test asks of a library is not counted: here it
    # is `decode` that asks, to see that the encoding is canonical.
    assert (first.encodings, first.decodings, first.calls) == (10, 10, 10)
    # It loads the decoders, the kind and the value, calls twice, compares, and returns.
    assert 10 * 5 < first.instructions < 10 * 60


def test_what_libraries_and_tests_do_is_not_counted() -> None:
    def work() -> None:
        for number in range(100):
            Path(f"a/{number}").parent.as_posix()

    assert count(work) == Counts()


def test_decoding_twice_does_not_pass(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(data: bytes, kind: type) -> object:
        decode(data, kind)
        return decode(data, kind)

    found = broken(validator, lambda: monkeypatch.setattr(transaction_module, "decode", twice))
    assert {"decode decodings", "decode calls", "admit decodings"} <= found


def test_checking_a_signature_twice_does_not_pass(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        verify(public_key, payload, signature)
        return verify(public_key, payload, signature)

    pool = validator.admission.pool
    found = broken(validator, lambda: monkeypatch.setattr(pool, "_verifier", twice))
    assert "admit signatures" in found


def test_hashing_a_leaf_twice_does_not_pass(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_stored = executor_module.as_stored

    def twice(*of: Any) -> object:
        as_stored(*of)
        return as_stored(*of)

    found = broken(validator, lambda: monkeypatch.setattr(executor_module, "as_stored", twice))
    assert "execute hashes" in found


@pytest.mark.skipif(budget.HERE != budget.PYTHON, reason="only its instructions show it")
def test_a_loop_that_calls_nobody_does_not_pass(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted as if it stood in the file: a test's own loops are not counted."""
    source = "def slow(self, tx):\n    for _ in range(40): pass\n    return fast(self, tx)\n"
    planted: dict[str, Callable[..., object]] = {"fast": Runtime.run}
    exec(compile(source, runtime_module.__file__, "exec"), planted)  # noqa: S102 - as if it stood there
    found = broken(validator, lambda: monkeypatch.setattr(Runtime, "run", planted["slow"]))
    assert "execute instructions" in found


def test_a_second_batch_and_a_read_do_not_pass(
    validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, store = StateStore.commit, validator.ledger.state

    def again(self: StateStore, batch: object) -> None:
        commit(self, batch)  # type: ignore[arg-type]
        store.kv.get(b"nothing")  # type: ignore[attr-defined]
        store.kv.write([(b"nothing", None)], sync=True)  # type: ignore[attr-defined]

    found = broken(validator, lambda: monkeypatch.setattr(StateStore, "commit", again))
    assert {"write reads", "write batches"} <= found


def test_the_table_comes_back_as_it_was_written() -> None:
    table = {"decode / transaction": Counts(198, 9, 13, 0, 2, 2, 1, 0, 0.25)}
    assert budget.read(budget.write(table)) == table


def test_a_saving_is_written_down_and_an_unknown_piece_is_named() -> None:
    old, new = {"a / b": Counts(calls=100)}, {"a / b": Counts(calls=80)}
    (line,) = budget.differences(old, new)
    assert line == "a / b: 80.00 calls, the budget says 100.00, -20.0%"
    assert budget.differences(old, {"a / b": Counts(calls=102)}) == []
    assert len(budget.differences(old, {"a / c": Counts(calls=100)})) == 2


def test_instructions_are_held_under_the_python_of_the_budget_alone() -> None:
    old, new = {"a / b": Counts(instructions=10)}, {"a / b": Counts(instructions=20)}
    assert budget.differences(old, new, budget.PYTHON)
    assert budget.differences(old, new, "3.12") == []
