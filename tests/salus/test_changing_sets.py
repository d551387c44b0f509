"""Offline proofs over a consortium that changes: members come and go, keys and parameters change.

Rules S13, S14. Each lie here is one that somebody could tell who holds keys of a former set, or of
a part of the present one; whoever has only the genesis hash must see through it.
"""

from itertools import permutations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salus.certificate import Certificate, EpochStep, IndexedSignature, follow_epochs
from salus.errors import SalusError
from salus.keys import SigningKey
from salus.proof import ProofBundle, write_proof
from salus.report import ProofRefused, Report
from salus.validators import ValidatorSet
from salus.verifier import verify_bundle, verify_file
from salus.vote import VoteType
from tests import factories
from tests.salus.test_verifier import operation_proof

GENESIS = factories.genesis(4)
HASH, DOMAIN = GENESIS.hash(), GENESIS.vote_domain()
REPLACE = msgspec.structs.replace

# Epoch e holds the heights 2e+1, with a transaction, and 2e+2, which hands over.
SETS = (
    ["hosp-a", "hosp-b", "hosp-c", "hosp-d"],
    ["hosp-a", "hosp-b", "hosp-c", "hosp-d", "hosp-e"],  # one more: n = 5 needs four of them
    ["hosp-b", "hosp-c", "hosp-d", "hosp-e"],  # hosp-a leaves
    ["hosp-b", "hosp-c", "hosp-d", "hosp-e"],  # hosp-d votes with a new key
    ["hosp-b", "hosp-c", "hosp-d", "hosp-e"],  # by other parameters
    ["hosp-b", "hosp-c", "hosp-d", "hosp-e", "hosp-f", "hosp-g", "hosp-h"],
)
NEWEST = len(SETS) - 1
ROTATED, CHANGED = 3, 4


def grown() -> factories.Chain:
    chain = factories.Chain(GENESIS)
    for epoch, names in enumerate(SETS):
        signer = factories.key(f"operator {names[-1]}")
        chain.add(factories.transaction(GENESIS, signer=signer, number=epoch))
        if epoch == ROTATED - 1:
            chain.rotate("hosp-d")
        smaller = REPLACE(chain.parameters, block_transactions_max=7, watermark_window=16)
        chain.end_epoch(
            SETS[min(epoch + 1, NEWEST)], parameters=smaller if epoch == CHANGED - 1 else None
        )
        chain.add()
    return chain


CHAIN = grown()
STEPS = tuple(CHAIN.steps[:NEWEST])  # those that lead into the newest epoch of SETS
VALIDATORS = (GENESIS.validators(), *(step.next_validators for step in STEPS))


def signer(name: str, epoch: int) -> SigningKey:
    """The node key of a member in an epoch; the first one for whoever is not in its set."""
    rotated = name == "hosp-d" and epoch >= ROTATED
    return factories.key(f"node {name}" + (", rotated" if rotated else ""))


def proof(epoch: int) -> ProofBundle:
    height = 2 * epoch + 1
    block = CHAIN.blocks[height]
    assert block is not None
    operation = operation_proof(CHAIN, height, 0, 0)
    return ProofBundle(
        1, GENESIS, STEPS[:epoch], block.header, block.certificate, operation, None, None, ()
    )


def certificate_by(height: int, *signers: tuple[int, SigningKey]) -> Certificate:
    """A certificate of the true block, signed as told: (index, key) each."""
    header = CHAIN.headers[height]
    payload = DOMAIN.payload(VoteType.CHECKPOINT, header.epoch, 0, height, header.hash())
    return Certificate(
        header.epoch,
        height,
        header.hash(),
        tuple(IndexedSignature(index, key.sign(payload)) for index, key in signers),
    )


def refused(bundle: ProofBundle, check: str) -> str:
    with pytest.raises(ProofRefused) as caught:
        verify_file(write_proof(bundle), HASH)
    assert caught.value.checks[-1].name == check, caught.value.message
    return caught.value.message


# -- what holds ------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", range(len(SETS)))
def test_a_proof_of_any_epoch_needs_the_genesis_hash_and_nothing_else(epoch: int) -> None:
    report: Report = verify_file(write_proof(proof(epoch)), HASH)
    validators = VALIDATORS[epoch]
    assert report.signers == tuple(SETS[epoch][: validators.quorum])
    assert f"{epoch} changes of epoch followed" in report.checks[2].detail
    assert f"{validators.quorum} of {validators.n} signed" in report.checks[3].detail


def test_whoever_joined_later_is_named_by_its_address_and_not_by_a_name_nobody_vouches_for() -> (
    None
):
    """Genesis names the keys of the founders only; a founder's stays his in words as well."""
    assert "hosp-d (its operator key in genesis)" in verify_bundle(proof(0), HASH).claim
    claim = verify_bundle(proof(1), HASH).claim
    assert "hosp-e" not in claim
    assert "sal1" in claim


def test_the_same_set_under_other_parameters_is_another_epoch() -> None:
    """S13: the header binds the parameters; the set's hash covers its epoch."""
    before, after = CHAIN.headers[2 * CHANGED], CHAIN.headers[2 * CHANGED + 1]
    assert before.parameters_hash != after.parameters_hash
    assert before.validators_hash != after.validators_hash
    assert VALIDATORS[CHANGED].validators == VALIDATORS[CHANGED - 1].validators


# -- the chain of sets -----------------------------------------------------------------------


def mallory(epoch: int, *names: str) -> ValidatorSet:
    chain = factories.Chain(GENESIS)
    chain.end_epoch(list(names) or ["mallory-a", "mallory-b", "mallory-c", "mallory-d"])
    chain.add()
    return REPLACE(chain.validators, epoch=epoch)


def step_to(
    at: int, next_validators: ValidatorSet, *signers: tuple[int, SigningKey], **header: object
) -> EpochStep:
    """The end of epoch `at` as somebody would have it who hands over to another set."""
    true = CHAIN.headers[2 * at + 2]
    forged = REPLACE(true, next_validators_hash=next_validators.hash(), **header)
    payload = DOMAIN.payload(VoteType.CHECKPOINT, forged.epoch, 0, forged.height, forged.hash())
    signatures = tuple(IndexedSignature(index, key.sign(payload)) for index, key in signers)
    certificate = Certificate(forged.epoch, forged.height, forged.hash(), signatures)
    return EpochStep(forged, certificate, next_validators)


def old_quorum(epoch: int, count: int | None = None) -> tuple[tuple[int, SigningKey], ...]:
    names = SETS[epoch][: count or VALIDATORS[epoch].quorum]
    return tuple((index, signer(name, epoch)) for index, name in enumerate(names))


LIES: dict[str, tuple[int, tuple[EpochStep, ...], str]] = {
    # name: (epoch of the proved block, the steps shown, words of the refusal)
    "a set of the wrong epoch": (
        2,
        (STEPS[0], REPLACE(STEPS[1], next_validators=VALIDATORS[3])),
        "without a gap",
    ),
    "a set that calls itself of a later epoch": (
        2,
        (STEPS[0], REPLACE(STEPS[1], next_validators=REPLACE(VALIDATORS[2], epoch=3))),
        "without a gap",
    ),
    "the set of the epoch before once more": (
        2,
        (STEPS[0], REPLACE(STEPS[1], next_validators=REPLACE(VALIDATORS[1], epoch=2))),
        "another next set",
    ),
    "a step left out": (3, (STEPS[0], STEPS[2], STEPS[2]), "another validator set"),
    "the first step left out": (2, STEPS[1:2] * 2, "another validator set"),
    "a step twice": (2, (STEPS[0], STEPS[0]), "another validator set"),
    "a step of the old quorum into another set": (
        # The four of epoch 0 sign the end of epoch 1, for themselves.
        2,
        (STEPS[0], step_to(1, REPLACE(VALIDATORS[0], epoch=2), *old_quorum(0))),
        "quorum is 4",
    ),
    "the old quorum under its own epoch's number": (
        2,
        (
            STEPS[0],
            step_to(
                1,
                mallory(2),
                *old_quorum(0),
                epoch=0,
                validators_hash=VALIDATORS[0].hash(),
            ),
        ),
        "another validator set",
    ),
    "a quorum with one who has left": (
        # hosp-a held index 0 in epoch 1; in epoch 2 hosp-b does.
        3,
        (
            *STEPS[:2],
            step_to(
                2,
                mallory(3),
                (0, signer("hosp-a", 1)),
                (1, signer("hosp-c", 2)),
                (2, signer("hosp-d", 2)),
            ),
        ),
        "signature of hosp-b",
    ),
    "a quorum with a key that was rotated away": (
        4,
        (
            *STEPS[:3],
            step_to(
                3,
                mallory(4),
                (0, signer("hosp-b", 3)),
                (1, signer("hosp-c", 3)),
                (2, signer("hosp-d", 2)),
            ),
        ),
        "signature of hosp-d",
    ),
    "a next set in which one key votes twice": (
        1,
        (
            step_to(
                0,
                ValidatorSet(
                    1,
                    (
                        VALIDATORS[1].validators[0],
                        REPLACE(VALIDATORS[1].validators[0], member="hosp-z"),
                    ),
                ),
                *old_quorum(0),
            ),
        ),
        "each key once",
    ),
    "a certified block that ends nothing": (
        1,
        (
            EpochStep(
                CHAIN.headers[1],
                proof(0).certificate,
                VALIDATORS[1],
            ),
        ),
        "last block",
    ),
    "an end that is yet to come": (
        1,
        (step_to(0, VALIDATORS[1], *old_quorum(0), epoch_end=4),),
        "last block",
    ),
    "an end below the end before": (
        2,
        (STEPS[0], step_to(1, VALIDATORS[2], *old_quorum(1), height=1, epoch_end=1)),
        "must ascend",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_chain_of_sets_with_a_lie_in_it_is_refused(name: str) -> None:
    epoch, steps, words = LIES[name]
    assert words in refused(REPLACE(proof(epoch), epochs=steps), "validators")


def test_no_other_order_or_choice_of_true_steps_leads_anywhere() -> None:
    """Every step is certified; only the whole chain from genesis on is one."""
    true = STEPS[:4]
    for length in range(1, len(true) + 1):
        for chosen in permutations(true, length):
            if chosen == true[:length]:
                assert follow_epochs(GENESIS.validators(), chosen, DOMAIN) == VALIDATORS[length]
                continue
            with pytest.raises(SalusError):
                follow_epochs(GENESIS.validators(), chosen, DOMAIN)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_parts_of_true_steps_put_together_otherwise_are_refused(draw: st.DataObject) -> None:
    """Header, certificate and set of different steps: whatever is mixed, one of them tells."""
    epoch = draw.draw(st.integers(1, NEWEST))
    parts = st.integers(0, len(CHAIN.steps) - 1)
    chosen = [
        (draw.draw(parts), draw.draw(parts), draw.draw(parts))
        if draw.draw(st.booleans())
        else (i,) * 3
        for i in range(epoch)
    ]
    steps = tuple(
        EpochStep(
            CHAIN.steps[header].header,
            CHAIN.steps[signed].certificate,
            CHAIN.steps[following].next_validators,
        )
        for header, signed, following in chosen
    )
    if steps == STEPS[:epoch]:
        assert verify_bundle(proof(epoch), HASH)
    else:
        refused(REPLACE(proof(epoch), epochs=steps), "validators")


def test_former_keys_can_write_another_history_and_a_pinned_block_shows_it() -> None:
    """What no offline check can see alone, and the report therefore says (salus/verifier.py)."""
    fork = factories.Chain(GENESIS)
    fork.add(factories.transaction(GENESIS, number=99))
    fork.end_epoch(["mallory-a", "mallory-b", "mallory-c", "mallory-d"])
    fork.add()
    block = fork.blocks[1]
    assert block is not None
    forged = REPLACE(
        proof(0),
        header=block.header,
        certificate=block.certificate,
        operation=operation_proof(fork, 1, 0, 0),
    )
    report = verify_bundle(forged, HASH)
    assert report.limit.endswith("assumes that no quorum of former validator keys was stolen")
    with pytest.raises(ProofRefused, match="not the one that you pinned"):
        verify_bundle(forged, HASH, checkpoint=(1, CHAIN.headers[1].hash()))
    # A later proof under a pin at the end of an earlier epoch: those keys are fixed by it.
    pinned = (2, CHAIN.headers[2].hash())
    assert verify_bundle(proof(3), HASH, checkpoint=pinned).height == 7
    fork.add(factories.transaction(GENESIS, number=98))
    other = fork.blocks[3]
    assert other is not None
    forged = REPLACE(
        proof(1),
        epochs=tuple(fork.steps),
        header=other.header,
        certificate=other.certificate,
        operation=operation_proof(fork, 3, 0, 0),
    )
    assert verify_bundle(forged, HASH)
    with pytest.raises(ProofRefused, match="not the one that you pinned"):
        verify_bundle(forged, HASH, checkpoint=pinned)


# -- the certificate of the proved block -----------------------------------------------------

B, C, D, E = "hosp-b", "hosp-c", "hosp-d", "hosp-e"

MIXED: dict[str, tuple[int, Certificate, str]] = {
    "a quorum of the smaller set before": (1, certificate_by(3, *old_quorum(1, 3)), "quorum is 4"),
    "the set before, whole": (
        2,
        certificate_by(5, *((i, signer(n, 1)) for i, n in enumerate(SETS[1][:3]))),
        "signature of hosp-b",
    ),
    "two of this set and one of the set before": (
        2,
        certificate_by(5, (0, signer(B, 2)), (1, signer(C, 2)), (2, signer("hosp-a", 1))),
        "signature of hosp-d",
    ),
    "an index that only the larger set had": (
        2,
        certificate_by(5, (0, signer(B, 2)), (1, signer(C, 2)), (4, signer(E, 1))),
        "distinct members",
    ),
    "a key before its rotation": (
        3,
        certificate_by(7, (0, signer(B, 3)), (1, signer(C, 3)), (2, signer(D, 2))),
        "signature of hosp-d",
    ),
    "a key before it counts": (
        2,
        certificate_by(5, (0, signer(B, 2)), (1, signer(C, 2)), (2, signer(D, 3))),
        "signature of hosp-d",
    ),
    "three of four, now that there are seven": (
        5,
        certificate_by(11, *old_quorum(5, 3)),
        "quorum is 5",
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_a_certificate_that_mixes_sets_is_refused(name: str) -> None:
    epoch, certificate, words = MIXED[name]
    assert words in refused(REPLACE(proof(epoch), certificate=certificate), "certificate")


def test_the_signatures_of_one_epoch_under_another_epochs_number_are_refused() -> None:
    block = CHAIN.blocks[2 * CHANGED + 1]
    assert block is not None
    for epoch in (CHANGED - 1, CHANGED + 1):
        certificate = REPLACE(block.certificate, epoch=epoch)
        message = refused(REPLACE(proof(CHANGED), certificate=certificate), "certificate")
        assert "another epoch" in message


def test_a_block_is_not_moved_into_another_epoch_with_the_same_members() -> None:
    """Epochs 3 and 4 have the same keys: only the epoch in what they sign tells them apart."""
    true = CHAIN.headers[2 * CHANGED + 1]
    for epoch in (CHANGED - 1, CHANGED + 1):
        header = REPLACE(true, epoch=epoch, validators_hash=VALIDATORS[epoch].hash())
        bundle = REPLACE(proof(CHANGED), header=header, epochs=STEPS[:epoch])
        refused(bundle, "certificate")
