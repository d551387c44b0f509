"""A release opens for one requester, one ticket and one version; every wrong piece is BAD_RELEASE."""

from collections.abc import Callable, Iterator
from itertools import permutations
from typing import Any

import msgspec
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from salus import disclosure
from salus.codec import encode
from salus.codes import CODES
from salus.document import OpenPart, commitment, open_all, redact, split
from salus.errors import BadMessage, VerificationError
from salus.keys import box_public_key
from salus.release import RELEASE_BYTES_MAX, Release, Terms, open_release, read, seal
from salus.sealed_stream import CHUNK_BYTES, SEALED_CHUNK_BYTES, TAG_BYTES, SealedStream
from tests import factories
from tests.memory import peak_bytes
from tests.salus import rfc5869, rfc9180

REQUESTER = factories.seed("ephemeral key of the request")
RELEASE_KEY = factories.seed("release key")
TERMS = Terms(
    1,
    factories.CHAIN_ID,
    "hosp-a",
    factories.seed("request")[:16],
    factories.seed("commitment"),
    factories.seed("disclosure"),
    CHUNK_BYTES * 2 + 5,
)
ASKED = ("chain_id", "custodian", "request_id", "commitment")
INFO = b"salus/v1/release-key\0"

unhex = bytes.fromhex


def sealed(terms: Terms = TERMS) -> tuple[Release, SealedStream]:
    return seal(terms, RELEASE_KEY, box_public_key(REQUESTER))


def opened(release: Release, secret: bytes = REQUESTER, **changed: Any) -> SealedStream:
    asked = {name: getattr(TERMS, name) for name in ASKED} | changed
    return open_release(release, secret, **asked)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(VerificationError) as caught:
        call()
    assert caught.value.code == "BAD_RELEASE"
    assert CODES["BAD_RELEASE"].hint
    return caught.value.message


# -- RFC 9180 ------------------------------------------------------------------------------------

GRECIAN_URN = b"Ode on a Grecian Urn"
BEAUTY = b"Beauty is truth, truth beauty"
# RFC 9180 Appendix A.1.1, and for the suite that is used here, which the appendix does not print,
# the authors' file (github.com/cfrg/draft-irtf-cfrg-hpke, test-vectors.json of the RFC: mode 0, KEM
# 0x0020, KDF 0x0001, AEAD 0x0002): skEm, skRm, enc, and ct for sequence number 0, aad «Count-0».
RFC_9180 = {
    rfc9180.AES_128_GCM: (
        "52c4a758a802cd8b936eceea314432798d5baf2d7e9235dc084ab1b9cfa2f736",
        "4612c550263fc8ad58375df3f557aac531d26850903e55a9f23f21d8534e8ac8",
        "37fda3567bdbd628e88668c3c8d7e97d1d1253b6d4ea6d44c150f741f1bf4431",
        "f938558b5d72f1a23810b4be2ab4f84331acc02fc97babc53a52ae8218a355a96d8770ac83d07bea87e13c512a",
    ),
    rfc9180.AES_256_GCM: (
        "179d4b53b6365c45b600c4163b61d95cbc2f4d9e36f1695558dce265ab8bab11",
        "497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d",
        "6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256",
        "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be9931980a41de125a925cdad859d5b7a",
    ),
}


@pytest.mark.parametrize("aead_id", RFC_9180)
def test_the_second_computation_gives_the_vectors_of_the_rfc(aead_id: int) -> None:
    ephemeral, secret, enc, ciphertext = (unhex(text) for text in RFC_9180[aead_id])
    made = rfc9180.seal(box_public_key(secret), ephemeral, GRECIAN_URN, b"Count-0", BEAUTY, aead_id)
    assert made == enc + ciphertext
    assert rfc9180.open_(secret, GRECIAN_URN, b"Count-0", made, aead_id) == BEAUTY


def test_the_wrapped_key_is_what_the_format_says() -> None:
    """docs/formats.md §19, in both directions, by two implementations."""
    info = INFO + encode(TERMS)
    release, _ = sealed()
    assert (
        rfc9180.open_(REQUESTER, info, b"", release.wrapped_key, rfc9180.AES_256_GCM) == RELEASE_KEY
    )
    wrapped = rfc9180.seal(
        box_public_key(REQUESTER),
        factories.seed("ephemeral"),
        info,
        b"",
        RELEASE_KEY,
        rfc9180.AES_256_GCM,
    )
    chunk = sealed()[1].seal(2, b"12345")
    assert opened(Release(TERMS, wrapped)).open(2, chunk) == b"12345"


def test_each_release_has_an_ephemeral_key_of_its_own() -> None:
    assert sealed()[0].wrapped_key[:32] != sealed()[0].wrapped_key[:32]


# -- the envelope --------------------------------------------------------------------------------


def test_it_opens_for_the_requester() -> None:
    release, stream = sealed()
    raw = encode(release)
    assert len(raw) <= RELEASE_BYTES_MAX
    assert read(raw) == release
    assert opened(read(raw)).open(0, stream.seal(0, bytes(CHUNK_BYTES))) == bytes(CHUNK_BYTES)


@pytest.mark.parametrize(
    "changed",
    [
        {"secret": factories.seed("somebody else")},
        {"chain_id": "other-chain"},
        {"custodian": "hosp-b"},
        {"request_id": factories.seed("other request")[:16]},
        {"commitment": factories.seed("other version")},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_it_opens_for_nothing_else(changed: dict[str, Any]) -> None:
    release, _ = sealed()
    refused(lambda: opened(release, **changed))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("chain_id", "other-chain"),
        ("custodian", "hosp-b"),
        ("request_id", factories.seed("other request")[:16]),
        ("commitment", factories.seed("other version")),
        ("disclosure", factories.seed("other parts")),
        ("size", TERMS.size + 1),
    ],
)
def test_no_term_can_be_exchanged(field: str, value: Any) -> None:
    """Also when the requester is led to expect the exchanged term."""
    release, _ = sealed()
    other = msgspec.structs.replace(TERMS, **{field: value})
    asked = {name: getattr(other, name) for name in ASKED}
    refused(lambda: opened(Release(other, release.wrapped_key), **asked))


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10_000), st.integers(0, 7))
def test_no_bit_of_the_envelope_can_be_turned(at: int, bit: int) -> None:
    raw = bytearray(encode(sealed()[0]))
    raw[at % len(raw)] ^= 1 << bit
    refused(lambda: opened(read(bytes(raw))))


def test_what_is_no_envelope_is_refused_in_the_same_words() -> None:
    raw = encode(sealed()[0])
    for bad in (b"", raw[:-1], raw + b"\0", b"\x90", bytes(RELEASE_BYTES_MAX + 1), b"\x91" * 400):
        assert refused(lambda b=bad: read(b)).startswith("the release cannot be opened: ")
    assert "at most" in refused(lambda: read(bytes(RELEASE_BYTES_MAX + 1))), "before it is decoded"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2),
        ("chain_id", "NO"),
        ("custodian", "Hosp A"),
        ("request_id", bytes(15)),
        ("disclosure", bytes(33)),
        ("size", 0),
        ("size", disclosure.SHOWN_BYTES_MAX + 1),
    ],
)
def test_terms_out_of_bounds_are_neither_made_nor_read(field: str, value: Any) -> None:
    bad = msgspec.structs.replace(TERMS, **{field: value})
    with pytest.raises(BadMessage):
        sealed(bad)
    refused(lambda: read(encode(Release(bad, bytes(80)))))


@pytest.mark.parametrize(
    "key",
    [
        bytes(32),  # of order 1, 2, 4 or 8: every secret would be shared with everybody
        bytes([1, *bytes(31)]),
        unhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
        unhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        b"",
        bytes(31),
        bytes(33),
    ],
)
def test_nothing_is_sealed_to_a_key_that_is_none(key: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        seal(TERMS, RELEASE_KEY, key)
    assert caught.value.code == "BAD_BOX_KEY"


# -- the stream ----------------------------------------------------------------------------------


def pattern(size: int) -> bytes:
    return b"".join(b"%07d\n" % line for line in range(size // 8 + 1))[:size]


def stream(size: int, key: bytes = RELEASE_KEY, binding: bytes = b"binding") -> SealedStream:
    return SealedStream(key, binding, size)


def test_a_chunk_is_what_the_format_says() -> None:
    """docs/formats.md §19, with the HKDF of the tests."""
    plain = pattern(CHUNK_BYTES + 100)
    made = rfc5869.hkdf(RELEASE_KEY, b"", b"salus/v1/release-stream\0binding", 39)
    key, prefix = AESGCM(made[:32]), made[32:]
    chunks = list(stream(len(plain)).seal_all([plain]))
    assert chunks == [
        key.encrypt(prefix + bytes(4) + b"\0", plain[:CHUNK_BYTES], None),
        key.encrypt(prefix + bytes([0, 0, 0, 1]) + b"\1", plain[CHUNK_BYTES:], None),
    ]


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
)
@pytest.mark.parametrize("piece", [1000, CHUNK_BYTES, 5 * CHUNK_BYTES])
def test_any_size_in_any_pieces_comes_back(size: int, piece: int) -> None:
    plain = pattern(size)
    pieces = [plain[at : at + piece] for at in range(0, size, piece)]
    chunks = list(stream(size).seal_all(pieces))
    assert len(chunks) == stream(size).chunks == max(1, -(-size // CHUNK_BYTES))
    assert all(len(chunk) == SEALED_CHUNK_BYTES for chunk in chunks[:-1])
    assert b"".join(stream(size).open_all(chunks)) == plain
    for first in range(len(chunks)):
        rest = plain[first * CHUNK_BYTES :]
        assert list(stream(size).seal_all([rest], first=first)) == chunks[first:], "resumed"
        assert b"".join(stream(size).open_all(chunks[first:], first=first)) == rest


SIZE = 3 * CHUNK_BYTES - 7


@pytest.fixture(scope="module")
def chunks() -> list[bytes]:
    return list(stream(SIZE).seal_all([pattern(SIZE)]))


def test_no_chunk_can_be_cut_off_added_or_swapped(chunks: list[bytes]) -> None:
    def read_all(given: list[bytes]) -> object:
        return refused(lambda: list(stream(SIZE).open_all(given)))

    assert "missing" in str(read_all(chunks[:-1]))
    read_all([])
    read_all([*chunks, chunks[-1]])
    read_all([chunks[0], *chunks])
    read_all(chunks[1:])
    for order in permutations(chunks):
        if list(order) != chunks:
            read_all(list(order))
    read_all([chunks[0], chunks[0], chunks[2]])


def test_an_end_cannot_be_moved(chunks: list[bytes]) -> None:
    """Who says a smaller size has another flag in the last chunk; the size is under both seals."""
    shorter = stream(2 * CHUNK_BYTES)
    refused(lambda: list(shorter.open_all(chunks[:2])))
    assert list(stream(SIZE).open_all(chunks[:2] + chunks[2:]))


def test_a_chunk_of_another_release_does_not_open(chunks: list[bytes]) -> None:
    for other in (
        stream(SIZE, key=factories.seed("other")),
        stream(SIZE, binding=b"bindinh"),
    ):
        for index, chunk in enumerate(chunks):
            refused(lambda o=other, i=index, c=chunk: o.open(i, c))


def test_a_release_key_that_comes_back_uses_no_nonce_twice() -> None:
    """Other terms, other key: AES-GCM never sees two plain texts under one nonce."""
    one, two = stream(100, binding=b"one"), stream(100, binding=b"two")
    a, b = one.seal(0, bytes(100)), two.seal(0, bytes(100))
    assert a[:16] != b[:16]
    with pytest.raises(InvalidTag):
        one._cipher.decrypt(two._nonce(0), b, None)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 140), st.integers(0, 7))
def test_no_bit_of_a_chunk_can_be_turned(at: int, bit: int) -> None:
    small = stream(100)
    chunk = bytearray(small.seal(0, pattern(100)))
    chunk[at % len(chunk)] ^= 1 << bit
    refused(lambda: small.open(0, bytes(chunk)))


def test_a_chunk_of_the_wrong_size_or_place_is_refused() -> None:
    small = stream(100)
    chunk = small.seal(0, pattern(100))
    for bad in (b"", chunk[:-1], chunk + b"\0", bytes(TAG_BYTES), bytes(SEALED_CHUNK_BYTES + 1)):
        assert "size" in refused(lambda b=bad: small.open(0, b)), "before it is deciphered"
    for index in (-1, 1, 2**32):
        refused(lambda i=index: small.open(i, chunk))


def test_too_much_or_too_little_plain_text_is_our_mistake() -> None:
    for size in (0, 99, 101, CHUNK_BYTES + 1, 3 * CHUNK_BYTES):
        with pytest.raises(AssertionError):
            list(stream(100).seal_all([pattern(size)]))


def test_sixty_megabytes_are_sealed_and_opened_within_a_few_chunks() -> None:
    size = 60 * CHUNK_BYTES + 1

    def plain() -> Iterator[bytes]:
        piece = bytes(64 * 1024)
        for at in range(0, size, len(piece)):
            yield piece[: size - at]

    def through() -> None:
        sealed = stream(size).seal_all(plain())
        assert sum(len(piece) for piece in stream(size).open_all(sealed)) == size

    peak = peak_bytes(through, 6 * CHUNK_BYTES)
    assert peak <= 6 * CHUNK_BYTES, f"{peak:,} bytes"


# -- together ------------------------------------------------------------------------------------


def test_a_redacted_document_travels_breaks_off_goes_on_and_proves_itself() -> None:
    document = pattern(3 * CHUNK_BYTES + 999)
    whole = open_all(split(document, "application/dicom"), factories.seed("salts"))
    shown = redact(whole, [2])
    parts = disclosure.of_opening(shown)
    terms = msgspec.structs.replace(
        TERMS,
        commitment=commitment(whole),
        disclosure=parts.digest(),
        size=disclosure.shown_size(parts),
    )

    def contents(index: int) -> list[bytes]:
        part = shown.parts[index]
        assert isinstance(part, OpenPart)
        return [part.content]

    release, sealing = seal(terms, RELEASE_KEY, box_public_key(REQUESTER))
    arrived = list(sealing.seal_all(disclosure.write(parts, contents)))[:1]
    again = SealedStream(RELEASE_KEY, encode(terms), terms.size)  # the custodian, after a restart
    rest = disclosure.write(parts, contents, start=len(arrived) * CHUNK_BYTES)
    arrived += again.seal_all(rest, first=1)

    opening = opened(read(encode(release)), commitment=commitment(whole))
    reader = disclosure.Reader(terms.commitment, terms.disclosure)
    found = b"".join(
        piece.content
        for plain in opening.open_all(arrived)
        for piece in reader.feed(plain)
        if piece.index != 0
    )
    assert reader.finish() == parts
    assert found == document[:CHUNK_BYTES] + document[2 * CHUNK_BYTES :]
