"""What a device remembers, sealed under the seed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.errors import BadMessage
from salus.permit import Purpose
from salus.wallet import (
    NONCE_BYTES,
    OPENINGS_MAX,
    GrantOpening,
    KnownRelation,
    Wallet,
    seal,
    unseal,
)
from tests import factories
from tests.contracts.lab import h

SEED, NONCE = factories.seed("patient"), bytes(range(NONCE_BYTES))
FULL = Wallet(
    relations=(KnownRelation("hosp-a", h("handle"), False, 2),),
    openings=(
        GrantOpening(
            "hosp-a", h("handle"), h("permit"), "hosp-b", Purpose.TREATMENT, h("salt"), b"terms"
        ),
    ),
)


@pytest.mark.parametrize("wallet", [Wallet(), FULL])
def test_it_opens_with_its_seed_alone(wallet: Wallet) -> None:
    sealed = seal(wallet, SEED, NONCE)
    assert unseal(sealed, SEED) == wallet
    assert h("handle") not in sealed
    assert b"hosp" not in sealed
    with pytest.raises(BadMessage) as caught:
        unseal(sealed, factories.seed("another"))
    assert caught.value.code == "BAD_WALLET"


@given(st.integers(0, len(seal(FULL, SEED, NONCE)) - 1), st.integers(0, 7))
def test_no_bit_can_be_changed(place: int, bit: int) -> None:
    sealed = bytearray(seal(FULL, SEED, NONCE))
    sealed[place] ^= 1 << bit
    with pytest.raises(BadMessage):
        unseal(bytes(sealed), SEED)


@pytest.mark.parametrize("length", [0, 1, NONCE_BYTES, NONCE_BYTES + 15])
def test_a_torn_file_is_told(length: int) -> None:
    with pytest.raises(BadMessage):
        unseal(seal(FULL, SEED, NONCE)[:length], SEED)


def test_a_relation_takes_the_place_of_the_one_before() -> None:
    newer = KnownRelation("hosp-a", h("handle"), False, 3)
    assert FULL.with_relation(newer).relations == (newer,)
    assert FULL.at("hosp-b") is None
    assert FULL.at("hosp-a") == FULL.relations[0]


def test_a_key_that_was_named_is_never_forgotten() -> None:
    """Two commands at once: the slower one does not take back what the other one added."""
    older = KnownRelation("hosp-a", h("handle"), False, 1)
    assert FULL.with_relation(older).relations == FULL.relations


def test_what_could_not_be_opened_again_is_not_written() -> None:
    full = msgspec.structs.replace(FULL, openings=FULL.openings * OPENINGS_MAX)
    assert unseal(seal(full, SEED, NONCE), SEED) == full
    with pytest.raises(BadMessage) as caught:
        seal(full.with_opening(FULL.openings[0]), SEED, NONCE)
    assert caught.value.code == "TOO_LARGE"
