"""VIEW-CHANGE and NEW-VIEW under a microscope (S7–S9): each lie alone, everything else true."""

import msgspec
import pytest

from consensus.config import ReplicaConfig
from consensus.messages import (
    NewView,
    Prepare,
    PreparedCertificate,
    PrePrepare,
    ViewChange,
    encode_message,
)
from consensus.proofs import Proofs, choose, null_digest
from salus.certificate import Certificate, IndexedSignature
from salus.errors import VerificationError
from salus.parameters import new_view_bytes_max
from tests.consensus.cluster import DOMAIN, PARAMETERS, fake_verify, validator_set
from tests.consensus.lab import (
    A,
    B,
    C,
    certificate,
    new_view,
    prepared,
    sign,
    view_change,
    vote,
)

PROOFS = Proofs(
    ReplicaConfig(
        vote_domain=DOMAIN,
        parameters=PARAMETERS,
        epoch=0,
        base=0,
        validators=validator_set(4),
        me=None,
        signer=None,
        verifier=fake_verify,
    )
)
replace = msgspec.structs.replace


def with_prepares(*prepares: IndexedSignature) -> PreparedCertificate:
    return replace(prepared(0, 1, A), prepares=prepares)


def good(index: int) -> IndexedSignature:
    return IndexedSignature(index, vote(Prepare, index, 0, 1, A).signature)


def test_a_true_view_change_passes() -> None:
    PROOFS.check_view_change(
        view_change(2, 3, prepared(0, 6, A), prepared(2, 7, B), low=certificate(5, C))
    )


@pytest.mark.parametrize(("n", "window"), [(1, 8), (4, 8), (4, 1024), (7, 100), (31, 16)])
def test_no_true_new_view_is_larger_than_the_parameters_reckon(n: int, window: int) -> None:
    """Genesis refuses a window whose NEW-VIEW could not be sent: all numbers at their largest."""
    most, validators = 2**53 - 1, validator_set(n)
    member = n - 1
    signatures = tuple(IndexedSignature(member, bytes(64)) for _ in range(n))
    vote = PrePrepare(most, most, most, A, member, bytes(64))
    full = PreparedCertificate(vote, signatures[: validators.quorum - 1])
    low = Certificate(most, most, A, signatures)
    change = ViewChange(most, most, low, (full,) * window, member, bytes(64))
    whole = NewView(most, most, (change,) * validators.quorum, (vote,) * window, member, bytes(64))
    size, reckoned = len(encode_message(whole)), new_view_bytes_max(validators, window)
    assert size <= reckoned
    assert reckoned <= 1.1 * size + 1_024, "and not much smaller"


FORGED = {
    "a PREPARE too few": view_change(2, 1, with_prepares(good(1))),
    "one member twice": view_change(2, 1, with_prepares(good(1), good(1))),
    "not ascending": view_change(2, 1, with_prepares(good(2), good(1))),
    "no member": view_change(2, 1, with_prepares(good(1), IndexedSignature(4, bytes(64)))),
    "the primary's own PREPARE": view_change(2, 1, with_prepares(good(0), good(1))),
    "a PREPARE too many": view_change(2, 1, with_prepares(good(1), good(2), good(3))),
    "a PREPARE of another digest": view_change(
        2,
        1,
        with_prepares(good(1), IndexedSignature(2, vote(Prepare, 2, 0, 1, B).signature)),
    ),
    "PRE-PREPARE not of the primary": view_change(
        2, 1, replace(prepared(0, 1, A), pre_prepare=vote(PrePrepare, 3, 0, 1, A))
    ),
    "PRE-PREPARE not signed": view_change(
        2,
        1,
        replace(
            prepared(0, 1, A),
            pre_prepare=replace(vote(PrePrepare, 0, 0, 1, A), signature=bytes(64)),
        ),
    ),
    "of another epoch": view_change(2, 1, prepared(0, 1, A, epoch=1)),
    "prepared in its own view": view_change(2, 1, prepared(1, 1, A)),
    "prepared in a later view": view_change(2, 1, prepared(2, 1, A)),
    "a sequence twice": view_change(2, 3, prepared(0, 1, A), prepared(1, 1, A)),
    "sequences not ascending": view_change(2, 3, prepared(0, 2, A), prepared(0, 1, A)),
    "at the low watermark": view_change(2, 1, prepared(0, 5, A), low=certificate(5, C)),
    "beyond the high watermark": view_change(2, 1, prepared(0, 9, A)),
    "low certificate with one signature wrong": view_change(
        2,
        1,
        low=replace(
            certificate(5, C),
            signatures=(
                *certificate(5, C).signatures[:2],
                IndexedSignature(3, bytes(64)),
            ),
        ),
    ),
    "low certificate without a quorum": view_change(
        2, 1, low=replace(certificate(5, C), signatures=certificate(5, C).signatures[:2])
    ),
    "low certificate of another epoch": view_change(2, 1, low=replace(certificate(5, C), epoch=1)),
    "low certificate at the base": view_change(2, 1, low=certificate(0, C)),
}


@pytest.mark.parametrize("lie", FORGED.values(), ids=FORGED.keys())
def test_every_forged_view_change_is_refused(lie: ViewChange) -> None:
    """S8: signatures, one (view, sequence, digest), older view, that view's primary, within the
    watermarks, no sequence twice."""
    with pytest.raises(VerificationError):
        PROOFS.check_view_change(lie)


def test_the_choice_takes_the_highest_view_and_fills_gaps_with_null() -> None:
    """S9, S11."""
    choice = choose(
        (
            view_change(0, 3, prepared(0, 1, A), prepared(0, 4, A)),
            view_change(1, 3, prepared(1, 1, B)),
            view_change(2, 3, prepared(2, 4, C)),
        ),
        0,
    )
    assert choice.digests == ((1, B), (2, null_digest(2)), (3, null_digest(3)), (4, C))


def test_nothing_is_chosen_at_or_below_the_highest_proved_watermark() -> None:
    """S9, S10: who proved it has dropped his certificates, so their absence means nothing."""
    choice = choose(
        (
            view_change(0, 1, prepared(0, 1, A), prepared(0, 2, B), prepared(0, 3, C)),
            view_change(1, 1, low=certificate(2, C)),
            view_change(2, 1),
        ),
        0,
    )
    assert (choice.low, choice.certificate) == (2, certificate(2, C))
    assert choice.digests == ((3, C),)


def test_nothing_prepared_means_nothing_chosen() -> None:
    assert choose((view_change(0, 1), view_change(1, 1), view_change(2, 1)), 7).digests == ()


CHANGES = (
    view_change(0, 1, prepared(0, 2, A)),
    view_change(2, 1),
    view_change(3, 1),
)
TRUE = new_view(1, *CHANGES)


def resigned(message: NewView, **fields: object) -> NewView:
    return sign(replace(message, **fields))


LYING = {
    "too few VIEW-CHANGEs": resigned(TRUE, view_changes=CHANGES[:2]),
    "one VIEW-CHANGE twice": resigned(TRUE, view_changes=(CHANGES[0], CHANGES[0], CHANGES[1])),
    "more than q": resigned(TRUE, view_changes=(CHANGES[0], view_change(1, 1), *CHANGES[1:])),
    "a VIEW-CHANGE for another view": resigned(
        TRUE, view_changes=(*CHANGES[:2], view_change(3, 2))
    ),
    "a VIEW-CHANGE with a false signature": resigned(
        TRUE, view_changes=(*CHANGES[:2], replace(CHANGES[2], signature=bytes(64)))
    ),
    "a forged VIEW-CHANGE inside": resigned(
        TRUE, view_changes=(CHANGES[0], CHANGES[1], view_change(3, 1, low=certificate(0, C)))
    ),
    "another digest": resigned(
        TRUE, pre_prepares=(TRUE.pre_prepares[0], vote(PrePrepare, 1, 1, 2, B))
    ),
    "a gap left out": resigned(TRUE, pre_prepares=TRUE.pre_prepares[1:]),
    "a prepared one left out": resigned(TRUE, pre_prepares=TRUE.pre_prepares[:1]),
    "one more": resigned(TRUE, pre_prepares=(*TRUE.pre_prepares, vote(PrePrepare, 1, 1, 3, B))),
    "a gap of astronomic size": sign(
        NewView(
            0,
            1,
            (view_change(0, 1, prepared(0, 2**50, A)), *CHANGES[1:]),
            (),
            1,
            bytes(64),
        )
    ),
    "a PRE-PREPARE with a false signature": resigned(
        TRUE,
        pre_prepares=(TRUE.pre_prepares[0], replace(TRUE.pre_prepares[1], signature=bytes(64))),
    ),
    "a PRE-PREPARE of another view": resigned(
        TRUE, pre_prepares=(TRUE.pre_prepares[0], vote(PrePrepare, 1, 5, 2, A))
    ),
    "a PRE-PREPARE of another member": resigned(
        TRUE, pre_prepares=(TRUE.pre_prepares[0], vote(PrePrepare, 2, 1, 2, A))
    ),
}


def test_a_true_new_view_passes() -> None:
    assert PROOFS.check_new_view(TRUE, {}).digests == ((1, null_digest(1)), (2, A))


@pytest.mark.parametrize("lie", LYING.values(), ids=LYING.keys())
def test_every_lying_new_view_is_refused(lie: NewView) -> None:
    """S9: recomputed from its VIEW-CHANGEs and compared exactly."""
    with pytest.raises(VerificationError):
        PROOFS.check_new_view(lie, {})


def test_what_was_checked_before_is_not_checked_again_only_if_it_is_the_same() -> None:
    """B25: verify once; but equality is on the whole message."""
    fake = replace(CHANGES[2], signature=bytes(64))
    lie = resigned(TRUE, view_changes=(*CHANGES[:2], fake))
    with pytest.raises(VerificationError):
        PROOFS.check_new_view(lie, {3: CHANGES[2]})
    assert PROOFS.check_new_view(lie, {3: fake}).low == 0
