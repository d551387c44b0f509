"""A notice that was sealed once opens for ever, and a list is asked for by the same words
(docs/formats-care.md). Sealing draws an ephemeral key, so the vector is one that was drawn."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from salus.codec import encode
from salus.grant_notice import NOTICE_VERSION, GrantNotice, open_notice
from salus.keys import SigningKey
from salus.permit import RecordClass
from salus.reading import RECORD_LIST, record_list

SECRET = bytes(range(32))
OWNER = SigningKey.from_seed(bytes(range(32, 64)))  # of the patient at hosp-b
NOTICE = GrantNotice(NOTICE_VERSION, "hosp-a", b"\x11" * 32, b"\x22" * 32, None).said_here(
    "net", "hosp-b", b"\x33" * 32, OWNER
)
SEALED = bytes.fromhex(
    "19c4bd8132bb7cc4b9c0fe4243993104dbcc80f90d38c33f90833c940c9b26634474503aa2fcffdf"
    "8b9e29d2570986f6d6c916d74db16cf9ebbd5bfa55ee396d3099ed98c2946747f2a23f297f77b6bb"
    "77d21607078bebe2d6718643dc2671399b75d03bf9c5ce5f807260335cb81bf78300ff1e81de2332"
    "79c449e8fc213586faeec194875a4f94f7876fe090be76233bfbc11f4fca6610047ce66091a514b5"
    "d73f7965256e8bccf0606063deb0295f695c9c4ba31102e0b97c5286eab8811b8db595d59a3225a3"
    "41d87c5f7efe6bcbf228eda08d9ed393de9e84f38359ca32c14cd51661326ac22de23474616eb821"
    "8b8929c36d1b0bee98ab4a43a148d01c47d10c5418c08b39e5dd8e3baedce38e1c336ddb98be4b95"
    "51c5a8e59822ceb0b39179c0a90bfee6e95dc61967c8c83714fa735c6c001f7a82986e2ddadff60a"
    "271e80714cb25f0179a2d5f35755a2d9c322cf26e134f97499d78ac46f62a4038fd75b29ca7bb238"
    "732bbed755e32d4965af00ff65fb15790f0f8089cd2a3e0d363bb6c354b7083b32072fdc78283c24"
    "cf96c003740ff3f8c5e8a6a0302df97fa256d1bde56e139135ce2f203f9b74a6f336b198bcdc55fd"
    "65b5081dc272494a511b85ad30c7283263ca13d1abed6147246f79e12b8ffc5a7fde773b0df1df48"
    "89c75257f89e91473d2102bec2795ae1d4b93f1af0869082408b3517cf826618"
)


def test_what_was_sealed_once_opens() -> None:
    assert len(SEALED) == 512
    assert open_notice("net", "hosp-b", SEALED, SECRET) == NOTICE


def test_by_rfc_9180_alone() -> None:
    """Without our code: suite, info and padding as the page says."""
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    info = b"salus/v1/grant-notice\x00" + encode(("net", "hosp-b"))
    plain = suite.decrypt(SEALED, X25519PrivateKey.from_private_bytes(SECRET), info)
    encoded = encode(NOTICE)
    assert plain == len(encoded).to_bytes(2) + encoded + bytes(464 - 2 - len(encoded))


def test_the_handle_here_by_ed25519_alone() -> None:
    """Without our code: what is signed, as the page says."""
    assert NOTICE.here is not None
    about = ("net", "hosp-b", b"\x33" * 32, "hosp-a", b"\x11" * 32, b"\x22" * 32)
    signed = b"salus/v1/grant-notice-here\x00" + encode(about)
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))).public_key()
    key.verify(NOTICE.here.signature, signed)


def test_a_list_is_asked_for_by_the_same_commitment() -> None:
    asked = record_list("hosp-a", b"\x11" * 32, (RecordClass.RESULTS,))
    assert (asked.record_id, asked.version) == (RECORD_LIST, 1)
    assert RECORD_LIST == bytes(16)
    commitment = "3397ff227ffae5470f28c198f67fb3701d0313093072db83e802a190e31d56ed"
    assert asked.commitment.hex() == commitment
