"""The regression guard: fixed work is counted and held to `budget.txt`; nothing is timed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from salus.codec import encode
from tests.perf import budget
from tests.perf.counting import Counts
from tests.perf.pieces import HELD, OPERATIONS, Ordered, Validator, decided, ordered

BLOCK, FEW = 500, 50
SMALL_BLOCKS = 8  # of one transaction: whose buckets are filled differs from one to the next
LARGE = 10  # transactions of 100 operations each
VALIDATORS = (4, 7, 10, 16)
VOTE_BYTES_MAX = 256  # whatever n is: two hashes, a signature, four numbers
OF_A_BLOCK = "transaction of a block of 500"

Stages = dict[str, Counts]


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Validator]:
    made = Validator(tmp_path_factory.mktemp("validator"), "large")
    yield made
    made.close()


def spent(validator: Validator, number: int, operations: int = 1, blocks: int = 1) -> Stages:
    """Of an operation, by stage; one block before fills the caches and does not count."""
    validator.block(validator.transactions(number, operations))
    total: Stages = {}
    for _ in range(blocks):
        stages = validator.block(validator.transactions(number, operations))
        total = {name: total.get(name, Counts()) + stages[name] for name in stages}
    return {name: counts.over(blocks * number * operations) for name, counts in total.items()}


@pytest.fixture(scope="module")
def large_blocks(validator: Validator) -> Stages:
    return spent(validator, BLOCK)


@pytest.fixture(scope="module")
def few_at_a_time(validator: Validator, large_blocks: Stages) -> Stages:
    return spent(validator, FEW)


@pytest.fixture(scope="module")
def agreed() -> dict[int, Ordered]:
    return {n: ordered(n) for n in VALIDATORS}


@pytest.fixture(scope="module")
def seen(
    validator: Validator,
    large_blocks: Stages,
    agreed: dict[int, Ordered],
    tmp_path_factory: pytest.TempPathFactory,
) -> Stages:
    found = {
        OF_A_BLOCK: large_blocks,
        "block of one transaction": spent(validator, 1, blocks=SMALL_BLOCKS),
        "operation, 100 a transaction": spent(validator, LARGE, OPERATIONS),
    }
    table = {
        f"{stage} / {unit}": counts
        for unit, stages in found.items()
        for stage, counts in stages.items()
    }
    for n, one in agreed.items():
        table[f"order / block at one of {n}"] = one.counts.over(n)
    table["decide / question at the gate"] = decided(tmp_path_factory.mktemp("house"))
    return table


def test_the_same_work_costs_what_it_did(seen: Stages, rewrite: bool) -> None:
    if rewrite:
        assert budget.HERE == budget.PYTHON, f"instructions are those of Python {budget.PYTHON}"
        budget.PATH.write_text(budget.write(seen))
    found = budget.differences(budget.read(budget.PATH.read_text()), seen)
    assert not found, budget.said(found)


def test_a_signature_is_checked_once_and_a_block_is_written_once(large_blocks: Stages) -> None:
    """Said apart from the budget, which may be rewritten."""
    assert sum(counts.signatures for counts in large_blocks.values()) == 1
    assert sum(counts.batches for counts in large_blocks.values()) == 1 / BLOCK


def test_the_cost_of_a_transaction_does_not_grow_with_its_block(
    large_blocks: Stages, few_at_a_time: Stages
) -> None:
    for stage, counts in large_blocks.items():
        assert counts.instructions <= few_at_a_time[stage].instructions, stage


def test_the_cost_of_a_transaction_hardly_grows_with_the_state(
    few_at_a_time: Stages, tmp_path: Path
) -> None:
    """Three times the keys; `./scripts/bench --measure growth` looks as far as 10^7."""
    small = Validator(tmp_path, "small", HELD // 3)
    try:
        there = spent(small, FEW)
    finally:
        small.close()
    for stage, counts in few_at_a_time.items():
        assert counts.instructions <= 1.1 * there[stage].instructions, stage


def test_messages_grow_as_stated_and_none_by_the_number_of_validators(
    agreed: dict[int, Ordered],
) -> None:
    """One PRE-PREPARE from the primary, a PREPARE of each other, a COMMIT and a CHECKPOINT of each:
    3n(n−1) in all, of constant size. What one validator does grows as n."""
    sizes: dict[str, set[int]] = {}
    for n, one in agreed.items():
        assert len(one.messages) == 3 * n * (n - 1)
        for message in one.messages:
            sizes.setdefault(type(message).__name__, set()).add(len(encode(message)))
    assert sizes.keys() == {"PrePrepare", "Prepare", "Commit", "Checkpoint"}
    for name, lengths in sizes.items():
        assert max(lengths) <= VOTE_BYTES_MAX, name
        assert max(lengths) - min(lengths) <= 2, name  # the digits of an index
    few, many = agreed[VALIDATORS[0]], agreed[VALIDATORS[-1]]
    grown = (many.counts.instructions / many.n) / (few.counts.instructions / few.n)
    assert grown <= many.n / few.n
