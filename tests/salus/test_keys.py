"""Ed25519 by one rule everywhere (rule S2), and addresses that notice a typing error."""

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from salus.errors import BadMessage
from salus.keys import (
    SigningKey,
    address,
    box_public_key,
    parse_address,
    valid_public_key,
    verify,
)
from tests import factories
from tests.salus import data

LETTERS = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

public_keys = st.binary(min_size=32, max_size=32)


def test_wycheproof_signatures() -> None:
    seen = {"valid": 0, "invalid": 0}
    for group in data.load("wycheproof/ed25519_test.json")["testGroups"]:
        key = bytes.fromhex(group["publicKey"]["pk"])
        for case in group["tests"]:
            accepted = verify(key, bytes.fromhex(case["msg"]), bytes.fromhex(case["sig"]))
            assert accepted == (case["result"] == "valid"), case["tcId"]
            seen[case["result"]] += 1
    assert seen["valid"] > 40
    assert seen["invalid"] > 30


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200), st.integers(0, 511), st.integers(0, 255), st.booleans())
def test_pynacl_s_own_function_judges_the_same(
    payload: bytes, bit: int, key_bit: int, turn_key: bool
) -> None:
    """salus/keys.py calls libsodium past PyNaCl's copy (docs/decisions/0004-verify.md)."""
    key = factories.key("a")
    good = key.sign(payload)
    flipped = (int.from_bytes(good) ^ 1 << bit).to_bytes(64)
    public = int.from_bytes(key.public_key)
    other = (public ^ 1 << key_bit if turn_key else public).to_bytes(32)
    for signature in (good, flipped):
        assert verify(other, payload, signature) == _by_pynacl(other, payload, signature)
    assert verify(key.public_key, payload, good)


def _by_pynacl(public_key: bytes, payload: bytes, signature: bytes) -> bool:
    try:
        return crypto_sign_open(signature + payload, public_key) == payload
    except BadSignatureError:
        return False


def test_signatures_are_those_of_the_reference() -> None:
    lines = data.path("nacl-vectors/ed25519-sign.input").read_text().split()
    for line in lines:
        secret, public, message, signed = (bytes.fromhex(part) for part in line.split(":")[:4])
        key = SigningKey.from_seed(secret[:32])
        assert key.public_key == public
        assert key.sign(message) == signed[:64]
        assert verify(public, message, signed[:64])
    assert len(lines) > 100


def test_a_signature_with_s_above_the_order_is_refused() -> None:
    """Rule S2: else one message would have two valid signatures, and two ids."""
    key = factories.key("a")
    signature = key.sign(b"x")
    s = int.from_bytes(signature[32:], "little") + GROUP_ORDER
    assert verify(key.public_key, b"x", signature)
    assert not verify(key.public_key, b"x", signature[:32] + s.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "point",
    [
        bytes(32),  # y = 0, order 4
        b"\1" + bytes(31),  # the neutral element
        bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
        bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),  # y = p
    ],
)
def test_small_order_and_non_canonical_keys_are_refused(point: bytes) -> None:
    assert not valid_public_key(point)
    # With such a key R = [S]B verifies any message under the cofactored equation.
    assert not verify(point, b"anything", b"\1" + bytes(63))


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_lengths_are_checked_before_the_library_sees_them(length: int) -> None:
    key = factories.key("a")
    assert not verify(key.public_key, b"x", bytes(length))
    assert not verify(bytes(length), b"x", key.sign(b"x"))
    assert not valid_public_key(bytes(length))


def test_a_key_never_prints_its_secret() -> None:
    key = factories.key("a")
    assert key.seed.hex() not in repr(key)
    assert repr(key.seed) not in repr(key)
    assert address(key.public_key) in repr(key)


def test_box_keys_agree_with_another_library() -> None:
    """RFC 7748, X25519 over the base point."""
    for label in ("a", "b", "c"):
        secret = factories.seed(label)
        other = X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
        assert box_public_key(secret) == other


@settings(deadline=None, max_examples=100)
@given(public_keys)
def test_an_address_is_the_key(key: bytes) -> None:
    text = address(key)
    assert len(text) == 62
    assert text.startswith("sal1")
    assert parse_address(text) == key


@settings(deadline=None, max_examples=200)
@given(public_keys, st.data())
def test_up_to_three_wrong_letters_are_found(key: bytes, choose: st.DataObject) -> None:
    """BIP-350 guarantees four; a swap of neighbours counts as two."""
    letters = list(address(key))
    places = choose.draw(st.lists(st.integers(4, 61), min_size=1, max_size=3, unique=True))
    for place in places:
        others = [letter for letter in LETTERS if letter != letters[place]]
        letters[place] = choose.draw(st.sampled_from(others))
    with pytest.raises(BadMessage) as caught:
        parse_address("".join(letters))
    assert caught.value.code == "BAD_ADDRESS"


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        lambda text: text[:-1],
        lambda text: text + "q",
        lambda text: "sbl1" + text[4:],
        lambda text: " " + text,
        lambda text: text[:10] + "b" + text[11:],  # not a bech32 letter
        lambda text: text[:10] + "é" + text[11:],
        lambda text: "",
    ],
)
def test_what_is_no_address_says_so(change: object) -> None:
    text = change(address(factories.key("a").public_key))  # type: ignore[operator]
    with pytest.raises(BadMessage) as caught:
        parse_address(text)
    assert caught.value.code == "BAD_ADDRESS"
    assert text == "" or text not in str(caught.value)


def test_bech32m_and_not_bech32() -> None:
    """BIP-350's own valid string of our shape: the constant is bech32m's."""
    from salus.keys import _BECH32M, _CHARSET, _polymod

    text = (
        "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6"
    )
    prefix, _, rest = text.rpartition("1")
    values = [*(ord(c) >> 5 for c in prefix), 0, *(ord(c) & 31 for c in prefix)]
    assert _polymod([*values, *(_CHARSET.index(c) for c in rest)]) == _BECH32M
