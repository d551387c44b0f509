"""Quorum certificates and the chain of validator sets (rules S5, S12, S13, S14, 27, 29)."""

from collections.abc import Callable

import msgspec
import pytest

from salus.block import Header
from salus.certificate import (
    Certificate,
    CertifiedBlock,
    EpochStep,
    IndexedSignature,
    check_certificate,
    check_signatures,
    follow_epochs,
)
from salus.codec import decode, encode
from salus.errors import BadMessage, SalusError, VerificationError
from salus.validators import VALIDATORS_MAX, Validator, ValidatorSet, check_validators
from salus.vote import VoteDomain, VoteType
from tests import factories

GENESIS = factories.genesis(4)
KEYS = factories.keys(4)


@pytest.fixture
def block() -> CertifiedBlock:
    return factories.Chain(GENESIS).add()


def accept(certificate: Certificate, header: Header) -> None:
    check_certificate(certificate, header, GENESIS.validators(), GENESIS.vote_domain())


def refuse(certificate: Certificate, header: Header, match: str) -> None:
    with pytest.raises(VerificationError, match=match):
        accept(certificate, header)


def signed(header: Header, *indexes: int) -> Certificate:
    return factories.certificate(header, GENESIS, KEYS, list(indexes))


def test_any_quorum_certifies(block: CertifiedBlock) -> None:
    """Rule 27: two valid certificates of one block may differ; the header hash covers neither."""
    accept(block.certificate, block.header)
    for indexes in ((0, 1, 2), (0, 1, 3), (1, 2, 3), (0, 1, 2, 3)):
        accept(signed(block.header, *indexes), block.header)


def test_fewer_than_a_quorum_do_not(block: CertifiedBlock) -> None:
    refuse(signed(block.header, 0, 1), block.header, "quorum")


def test_a_signer_counts_once_and_in_order(block: CertifiedBlock) -> None:
    """Rule S5."""
    for indexes in ((0, 1, 1), (0, 0, 0, 0), (1, 0, 2)):
        refuse(signed(block.header, *indexes), block.header, "distinct")


def test_strangers_do_not_count(block: CertifiedBlock) -> None:
    keys = [*KEYS, factories.key("stranger")]
    certificate = factories.certificate(block.header, GENESIS, keys, [0, 1, 4])
    refuse(certificate, block.header, "distinct members")
    keys = [*KEYS[:2], factories.key("stranger"), KEYS[3]]
    certificate = factories.certificate(block.header, GENESIS, keys, [0, 1, 2])
    refuse(certificate, block.header, "signature of hosp-c")


def test_a_certificate_is_of_one_block_epoch_and_chain(block: CertifiedBlock) -> None:
    other = msgspec.structs.replace(block.header, time_ms=block.header.time_ms + 1)
    refuse(block.certificate, other, "another block")
    renamed = msgspec.structs.replace(block.certificate, header_hash=other.hash())
    refuse(renamed, other, "signature")
    refuse(msgspec.structs.replace(block.certificate, height=2), block.header, "another block")
    refuse(msgspec.structs.replace(block.certificate, epoch=1), block.header, "another epoch")
    with pytest.raises(VerificationError, match="signature"):
        check_certificate(
            block.certificate, block.header, GENESIS.validators(), VoteDomain("other", bytes(32))
        )


def test_no_other_kind_of_vote_certifies(block: CertifiedBlock) -> None:
    """Rule S1: q COMMITs or PREPAREs of the same 32 bytes are no certificate."""
    header, domain = block.header, GENESIS.vote_domain()
    for kind in VoteType:
        payload = domain.payload(kind, 0, 0, header.height, header.hash())
        certificate = Certificate(
            0,
            header.height,
            header.hash(),
            tuple(IndexedSignature(i, KEYS[i].sign(payload)) for i in range(3)),
        )
        if kind is VoteType.CHECKPOINT:
            accept(certificate, header)
        else:
            refuse(certificate, header, "signature")


def test_the_header_must_name_the_set_that_signed(block: CertifiedBlock) -> None:
    header = msgspec.structs.replace(block.header, validators_hash=bytes(32))
    refuse(signed(header, 0, 1, 2), header, "another validator set")
    header = msgspec.structs.replace(block.header, epoch=1)
    refuse(signed(header, 0, 1, 2), header, "another validator set")
    header = msgspec.structs.replace(block.header, version=2)
    refuse(signed(header, 0, 1, 2), header, "version")


def test_an_empty_certificate_is_refused_however_it_was_made() -> None:
    empty = Certificate(0, 1, bytes(32), ())
    with pytest.raises(VerificationError):
        check_signatures(empty, GENESIS.validators(), GENESIS.vote_domain())
    with pytest.raises(BadMessage):
        decode(encode(empty), Certificate)


@pytest.mark.parametrize("n", range(1, VALIDATORS_MAX + 1))
def test_thresholds(n: int) -> None:
    """Rules S5, 29: two quorums share an honest member, and the honest alone are a quorum."""
    validators = ValidatorSet(0, tuple(Validator(f"m{i:03}", bytes([i]) * 32) for i in range(n)))
    f, q = validators.f, validators.quorum
    assert f == max(0, (n - 1) // 3)
    assert 2 * q - n > f, "two quorums share at least f + 1 members"
    assert q <= n - f, "f silent members do not stop the others"
    assert 2 * (q - 1) - n <= f, "and one signature fewer would not be enough"
    assert validators.weak == f + 1


def test_views_rotate_over_the_set() -> None:
    validators = GENESIS.validators()
    assert [validators.primary(view) for view in range(6)] == [0, 1, 2, 3, 0, 1]


def test_the_first_primary_rotates_from_epoch_to_epoch() -> None:
    """L22: no member leads two epochs on end from their start."""
    sets = [msgspec.structs.replace(GENESIS.validators(), epoch=epoch) for epoch in range(5)]
    assert [validators.primary(0) for validators in sets] == [0, 1, 2, 3, 0]
    assert [validators.primary(3) for validators in sets] == [3, 0, 1, 2, 3]


def chain_of_epochs() -> factories.Chain:
    chain = factories.Chain(GENESIS)
    chain.add()
    for names in (["hosp-a", "hosp-b", "hosp-c", "hosp-e"], ["hosp-e", "hosp-f", "hosp-g"]):
        chain.end_epoch(names)
        chain.add()
        chain.add()
    return chain


def follow(steps: list[EpochStep]) -> ValidatorSet:
    return follow_epochs(GENESIS.validators(), steps, GENESIS.vote_domain())


def test_the_chain_of_sets_leads_from_genesis_to_now() -> None:
    """Rule S14."""
    chain = chain_of_epochs()
    assert follow(chain.steps) == chain.validators
    assert follow([]) == GENESIS.validators()


REPLACE = msgspec.structs.replace


def _other_set(steps: list[EpochStep]) -> list[EpochStep]:
    forged = ValidatorSet(1, (Validator("evil", factories.key("evil").public_key),))
    return [REPLACE(steps[0], next_validators=forged), steps[1]]


def _foreign_signatures(steps: list[EpochStep]) -> list[EpochStep]:
    header = steps[1].header
    keys = [factories.key(f"node {name}") for name in factories.member_ids(4)]
    certificate = factories.certificate(header, GENESIS, keys, [1, 2, 3])  # hosp-d left
    return [steps[0], REPLACE(steps[1], certificate=certificate)]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda steps: steps[::-1],
        lambda steps: steps[1:],
        lambda steps: [steps[0], steps[0]],
        _other_set,
        _foreign_signatures,
        lambda steps: [REPLACE(steps[0], header=REPLACE(steps[0].header, epoch_end=0)), steps[1]],
    ],
)
def test_a_broken_chain_of_sets_is_refused(
    spoil: Callable[[list[EpochStep]], list[EpochStep]],
) -> None:
    steps = chain_of_epochs().steps
    with pytest.raises(SalusError):
        follow(spoil(steps))


def test_the_newest_step_hands_over_to_the_set_of_its_header_only() -> None:
    """Rule S14: no later step is there to contradict it."""
    steps = chain_of_epochs().steps
    with pytest.raises(VerificationError, match="another next set"):
        follow(_other_set(steps)[:1])


def test_no_epoch_is_left_out() -> None:
    """Rule S13: whoever signs for epoch e+2 could not be told from whoever signs for e+1."""
    first = chain_of_epochs().steps[0]
    following = REPLACE(first.next_validators, epoch=2)
    header = REPLACE(first.header, next_validators_hash=following.hash())
    step = EpochStep(header, factories.certificate(header, GENESIS, KEYS), following)
    with pytest.raises(VerificationError, match="without a gap"):
        follow([step])


def test_only_a_last_block_hands_over() -> None:
    """Rule S13: a certified block in the middle of an epoch names the same set as the next."""
    chain = factories.Chain(GENESIS)
    block = chain.add()
    step = EpochStep(block.header, block.certificate, GENESIS.validators())
    with pytest.raises(VerificationError, match="last block"):
        follow([step])


@pytest.mark.parametrize(
    "members",
    [
        ["hosp-b", "hosp-a"],
        ["hosp-a", "hosp-a"],
        [],
    ],
)
def test_a_set_ascends_and_names_each_member_once(members: list[str]) -> None:
    rows = tuple(Validator(name, factories.key(name).public_key) for name in members)
    with pytest.raises(BadMessage):
        check_validators(ValidatorSet(1, rows))


def test_a_set_gives_no_key_two_votes() -> None:
    """Rule S5 counts members: the same key under two names would vote twice."""
    key = factories.key("one").public_key
    with pytest.raises(BadMessage, match="key"):
        check_validators(ValidatorSet(1, (Validator("a", key), Validator("b", key))))
    with pytest.raises(BadMessage, match="valid"):
        check_validators(ValidatorSet(1, (Validator("a", bytes(32)),)))


def test_the_hash_of_a_set_covers_its_epoch() -> None:
    validators = GENESIS.validators()
    assert validators.hash() != REPLACE(validators, epoch=1).hash()
