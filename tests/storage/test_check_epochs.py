"""`db check` over epochs with other members, other keys and other parameters (rules S13, S14)."""

from collections.abc import Callable

import msgspec
import pytest

from salus.certificate import Certificate
from salus.codec import decode, encode
from salus.epoch import EpochRecord
from salus.parameters import Parameters
from salus.validators import ValidatorSet
from salus.vote import VoteType
from salus.writeset import write_sets_kept
from storage import keys
from storage.blocks import BlockStore
from storage.check import Finding, check_stores
from storage.state import StateStore
from tests import factories
from tests.changing import Change, ChangingLedger, hospitals
from tests.storage.test_check import Changed

REPLACE = msgspec.structs.replace


def parameters(window: int, expiry: int = 128) -> Parameters:
    """An epoch is as short as its window allows."""
    return Parameters(
        epoch_blocks_max=window,
        watermark_window=window,
        in_flight_proposals_max=2,
        execute_ahead_max=4,
        expiry_window_blocks=expiry,
        state_bucket_bits=5,
    )


NARROW, WIDE = parameters(8), parameters(24)
PLAN = {
    1: Change(hospitals(*"abcde"), NARROW),
    2: Change(hospitals(*"bcde"), NARROW),
    3: Change(hospitals(*"bcde", rotated="d"), WIDE),
    4: Change(hospitals(*"bcde", rotated="d"), NARROW),
    5: Change(hospitals(*"bcdef", rotated="d"), WIDE),
}


@pytest.fixture(scope="module")
def ledger() -> ChangingLedger:
    made = ChangingLedger(factories.genesis(parameters=NARROW), PLAN)
    while made.state.current_epoch().epoch < 5:
        made.block(factories.transaction(made.genesis, expiry_height=made.height + 60))
    made.grow(made.height + 3)
    return made


def findings(ledger: ChangingLedger) -> list[Finding]:
    blocks = BlockStore(ledger.blocks.kv, ledger.genesis_hash)
    state = StateStore(ledger.state.kv, ledger.genesis_hash)
    return list(check_stores(blocks, state, ledger.genesis))


def test_every_length_of_a_chain_of_changing_epochs_is_sound() -> None:
    """At each height of it, the boundaries included: whatever window the epochs have, the check
    expects the write sets that a store keeps."""
    ledger = ChangingLedger(factories.genesis(parameters=NARROW), PLAN)
    seen = set[int]()
    while ledger.state.current_epoch().epoch < 5 or ledger.height % 64:
        assert findings(ledger) == [], f"height {ledger.height}"
        seen.add(sum(1 for _ in ledger.state.kv.scan(keys.WRITE_SET)))
        ledger.block()
    assert {write_sets_kept(NARROW), write_sets_kept(WIDE)} <= seen


def test_how_far_execution_was_ahead_does_not_decide_what_a_node_keeps() -> None:
    """The last block of an epoch was executed when the ones before it were written: they are
    blocks of their own epoch all the same."""
    ledger = ChangingLedger(
        factories.genesis(parameters=WIDE), {1: Change(hospitals(*"abcd"), NARROW)}
    )
    while (end := ledger.state.current_epoch().end) == 0 or ledger.height < end - 2:
        ledger.block()
    ahead = [ledger.execute(factories.proposal(height)) for height in (end - 1, end)]
    assert ledger.executor.epoch.epoch == 1
    for executed in ahead:
        ledger.certify(executed)
    assert findings(ledger) == []
    assert ledger.state.write_set(end + 1 - write_sets_kept(WIDE)) is not None
    ledger.block()
    assert findings(ledger) == []
    assert ledger.state.write_set(end + 1 - write_sets_kept(NARROW)) is None


# -- lies ------------------------------------------------------------------------------------


def record_with(
    ledger: ChangingLedger, epoch: int, change: Callable[[EpochRecord], EpochRecord]
) -> Changed:
    key = keys.EPOCH + keys.number(epoch)
    stored = decode(ledger.state.kv.get(key) or b"", EpochRecord)
    return Changed(ledger.state.kv, key, encode(change(stored)))


def first(ledger: ChangingLedger) -> tuple[str, int | None]:
    found = findings(ledger)
    assert found
    return found[0].what, found[0].height


@pytest.mark.parametrize("epoch", range(1, 6))
def test_another_set_than_the_certified_one_is_found_at_the_boundary(
    ledger: ChangingLedger, epoch: int
) -> None:
    base = ledger.state.epoch(epoch).base
    true, before = ledger.state.epoch(epoch).validators, ledger.state.epoch(epoch - 1).validators
    same = before.validators == true.validators  # then only its epoch is a lie
    for validators in (
        before,
        *(() if same else (REPLACE(before, epoch=epoch),)),
        REPLACE(true, epoch=epoch + 1),
        ValidatorSet(epoch, true.validators[1:]),
        ValidatorSet(epoch, true.validators[::-1]),
    ):
        with record_with(ledger, epoch, lambda r: REPLACE(r, validators=validators)):  # noqa: B023
            assert first(ledger) == ("epoch", base)


@pytest.mark.parametrize("epoch", range(1, 6))
def test_other_parameters_than_the_certified_ones_are_found_in_the_first_block_under_them(
    ledger: ChangingLedger, epoch: int
) -> None:
    def other(record: EpochRecord) -> EpochRecord:
        return REPLACE(record, parameters=REPLACE(record.parameters, block_transactions_max=3))

    with record_with(ledger, epoch, other):
        assert first(ledger) == ("epoch", ledger.state.epoch(epoch).base + 1)


def test_other_parameters_of_an_epoch_without_a_block_are_found_by_the_state() -> None:
    ledger = ChangingLedger(factories.genesis(parameters=NARROW), PLAN)
    while ledger.state.current_epoch().epoch < 1:
        ledger.block()
    with record_with(ledger, 1, lambda r: REPLACE(r, parameters=WIDE)):
        assert findings(ledger)[0].what == "epoch"


def resigned(ledger: ChangingLedger, height: int, *signers: tuple[int, str]) -> Changed:
    """The certificate of a block, signed by keys of these labels instead."""
    header, domain = ledger.state.header(height), ledger.genesis.vote_domain()
    payload = domain.payload(VoteType.CHECKPOINT, header.epoch, 0, height, header.hash())
    true = ledger.state.certificate(height)
    assert true is not None
    signatures = tuple(
        REPLACE(true.signatures[0], index=index, signature=factories.key(label).sign(payload))
        for index, label in signers
    )
    certificate = Certificate(header.epoch, height, header.hash(), signatures)
    return Changed(ledger.state.kv, keys.CERTIFICATE + keys.number(height), encode(certificate))


@pytest.mark.parametrize(
    ("epoch", "signers"),
    [
        (1, ("a", "b", "c")),  # a quorum of four, but they are five now
        (2, ("a", "b", "c")),  # the set before: hosp-a has left
        (3, ("b", "c", "d")),  # hosp-d's first key, rotated away
        (5, ("b", "c", "d, second")),  # five again
    ],
)
def test_a_certificate_by_the_set_before_is_found(
    ledger: ChangingLedger, epoch: int, signers: tuple[str, ...]
) -> None:
    height = ledger.state.epoch(epoch).base + 1
    labels = [(i, "node hosp-" + label) for i, label in enumerate(signers)]
    with resigned(ledger, height, *labels):
        assert first(ledger) == ("certificate", height)


def test_a_boundary_signed_by_the_set_it_hands_over_to_is_found(ledger: ChangingLedger) -> None:
    boundary = ledger.state.epoch(2).base
    labels = [(i, f"node hosp-{letter}") for i, letter in enumerate("bcde")]
    with resigned(ledger, boundary, *labels):
        assert first(ledger) == ("certificate", boundary)


def test_a_missing_epoch_between_two_others_is_found(ledger: ChangingLedger) -> None:
    with Changed(ledger.state.kv, keys.EPOCH + keys.number(2), None):
        assert findings(ledger)


# -- what may come again ---------------------------------------------------------------------


def test_a_narrower_window_forgets_nothing_that_may_come_again() -> None:
    """S15: a transaction of the wide epoch expires by the wide window, so a node that starts in
    the narrow one must still know it; or it would execute again what the others skip."""
    plan = {1: Change(hospitals(*"abcd"), parameters(8, expiry=64))}
    ledger = ChangingLedger(factories.genesis(parameters=parameters(8, expiry=256)), plan)
    late = factories.transaction(ledger.genesis, expiry_height=200)
    ledger.block(late)
    assert ledger.state.replay_start() == 1
    while ledger.height < 150:
        ledger.block()
    assert ledger.state.current_epoch().parameters.expiry_window_blocks == 64
    assert ledger.restarted().is_executed(late)
    assert ledger.block(late)[0].code == "DUPLICATE"
    while ledger.height < 300:
        ledger.block()
    assert ledger.state.replay_start() == ledger.height + 1 - 64, "what has expired is not read"


def test_a_wider_window_lets_nothing_older_come_again() -> None:
    plan = {1: Change(hospitals(*"abcd"), parameters(8, expiry=256))}
    ledger = ChangingLedger(factories.genesis(parameters=parameters(8, expiry=64)), plan)
    ledger.grow(100)
    base = ledger.state.epoch(1).base
    assert ledger.state.replay_start() == base + 1
    ledger.grow(300)
    assert ledger.state.replay_start() == ledger.height + 1 - 256


def test_an_epoch_may_raise_how_far_execution_runs_ahead() -> None:
    """B28, a parameter like any other: nothing may remember the limit of the start."""
    more = REPLACE(NARROW, watermark_window=16, epoch_blocks_max=16, execute_ahead_max=12)
    ledger = ChangingLedger(
        factories.genesis(parameters=NARROW), {1: Change(hospitals(*"abcd"), more)}
    )
    while ledger.state.current_epoch().epoch < 1:
        ledger.block()
    heights = range(ledger.height + 1, ledger.height + 13)
    ahead = [ledger.execute(factories.proposal(height)) for height in heights]
    for executed in ahead:
        ledger.certify(executed)
    assert findings(ledger) == []
