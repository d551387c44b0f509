"""What a device remembers, sealed under the seed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt

from salus.errors import BadMessage
from salus.hashing import domain, hasher
from salus.importing import PERMITS_MAX
from salus.permit import Purpose
from salus.wallet import (
    NONCE_BYTES,
    OPENINGS_MAX,
    GrantOpening,
    ImportedConsent,
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
    imports=(ImportedConsent("hosp-a", h("handle"), "consent-7", (h("permit"),), b"signed"),),
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


def written(*contents: object) -> bytes:
    """A file whose seal is right, of whatever is in it."""
    plain, key = msgspec.msgpack.encode(contents), hasher("patient-wallet")(SEED)
    context = domain("patient-wallet-file")
    return NONCE + crypto_aead_xchacha20poly1305_ietf_encrypt(plain, context, NONCE, key)


RELATION = ["hosp-a", h("handle"), False, 2]


@pytest.mark.parametrize(
    ("contents", "age"),
    [
        ((1, [RELATION], []), "older"),  # before Consents were imported
        ((2, [RELATION], [], [["hosp-a", h("handle"), "consent-7", [h("p")]]]), "older"),
        ((4, {"whatever": "it says"}), "newer"),
    ],
)
def test_a_file_of_another_format_is_told_from_a_damaged_one(
    contents: tuple[object, ...], age: str
) -> None:
    with pytest.raises(BadMessage) as caught:
        unseal(written(*contents), SEED)
    assert caught.value.code == "WALLET_VERSION"
    assert f"{age} format: version {contents[0]};" in caught.value.message
    assert caught.value.facts == {"version": contents[0]}


@pytest.mark.parametrize("contents", [(), ("3",), (-1,), (3, 7), (3, [], [], [], [])])
def test_what_is_sealed_and_no_wallet_is_told(contents: tuple[object, ...]) -> None:
    with pytest.raises(BadMessage) as caught:
        unseal(written(*contents), SEED)
    assert caught.value.code == "BAD_WALLET"


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


def test_a_newer_version_of_a_consent_takes_the_place_of_the_one_before() -> None:
    newer = ImportedConsent("hosp-a", h("handle"), "consent-7", (h("other"),))
    elsewhere = ImportedConsent("hosp-b", h("handle"), "consent-7", (h("third"),))
    found = FULL.with_import(newer).with_import(elsewhere)
    assert found.imports == (newer, elsewhere)
    assert found.imported("hosp-a", h("handle"), "consent-7") == newer
    assert found.imported("hosp-a", h("another"), "consent-7") is None
    ended = found.with_import(ImportedConsent("hosp-a", h("handle"), "consent-7", ()))
    assert ended.imports == (elsewhere,)
    many = ImportedConsent("hosp-a", h("handle"), "consent-7", (h("p"),) * (2 * PERMITS_MAX + 1))
    with pytest.raises(BadMessage):
        FULL.with_import(many)
