"""The handshake: who may in, who may not, and that a proof is good for one place and time only."""

import pytest

from node.errors import BadFrame, PeerRefused
from node.net.frames import Kind, frame
from node.net.handshake import (
    Chain,
    Hello,
    Proof,
    RefusalFrame,
    Welcome,
    check_proof,
    prove,
    read_verdict,
    signed_payload,
    single,
)
from salus.codec import decode, encode
from salus.errors import BadMessage
from salus.keys import SigningKey
from tests.node.net.net import CHAIN, key

SERVER, DIALLER = key(0), key(1)
NONCE = bytes([7]) * 32
HELLO = encode(Hello(CHAIN.version, NONCE))


def members(public_key: bytes) -> str | None:
    return {SERVER.public_key: "n0", DIALLER.public_key: "n1"}.get(public_key)


def proof(dialler: SigningKey = DIALLER, chain: Chain = CHAIN) -> bytes:
    return prove(HELLO, SERVER.public_key, dialler, chain)


def refusal(data: bytes, nonce: bytes = NONCE, server: SigningKey = SERVER) -> str:
    with pytest.raises(PeerRefused) as caught:
        check_proof(data, nonce, server.public_key, CHAIN, members)
    return caught.value.code


def test_a_member_is_recognised() -> None:
    checked = check_proof(proof(), NONCE, SERVER.public_key, CHAIN, members)
    assert checked == (DIALLER.public_key, "n1")


def test_a_stranger_is_not_a_member() -> None:
    assert refusal(proof(key(9))) == "NOT_A_MEMBER"


def test_another_founding_document_is_another_chain() -> None:
    assert refusal(proof(chain=Chain(CHAIN.chain_id, bytes(32)))) == "WRONG_GENESIS"
    assert refusal(proof(chain=Chain("other", CHAIN.genesis_hash))) == "WRONG_GENESIS"


def test_another_version_is_refused_by_both_sides() -> None:
    other = Chain(CHAIN.chain_id, CHAIN.genesis_hash, version=CHAIN.version + 1)
    with pytest.raises(PeerRefused) as caught:
        prove(HELLO, SERVER.public_key, DIALLER, other)
    assert caught.value.code == "VERSION"
    newer = prove(encode(Hello(other.version, NONCE)), SERVER.public_key, DIALLER, other)
    assert refusal(newer) == "VERSION"


def test_our_own_key_is_refused() -> None:
    assert refusal(proof(SERVER)) == "OWN_KEY"


def test_a_proof_for_another_nonce_does_not_count() -> None:
    """Else a recorded handshake could be played again."""
    assert refusal(proof(), nonce=bytes(32)) == "KEY_NOT_PROVED"


def test_a_proof_for_another_listener_does_not_count() -> None:
    """Else a member could pass on our proof and speak for us elsewhere."""
    third = key(2)
    assert refusal(proof(), server=third) == "KEY_NOT_PROVED"


def test_a_key_claimed_without_its_signature_is_refused() -> None:
    claim = decode(proof(key(9)), Proof)
    forged = Proof(
        claim.version, DIALLER.public_key, claim.chain_id, claim.genesis_hash, claim.signature
    )
    assert refusal(encode(forged)) == "KEY_NOT_PROVED"


def test_the_signature_covers_every_field() -> None:
    base = signed_payload(NONCE, SERVER.public_key, DIALLER.public_key, CHAIN)
    others = [
        signed_payload(bytes(32), SERVER.public_key, DIALLER.public_key, CHAIN),
        signed_payload(NONCE, DIALLER.public_key, DIALLER.public_key, CHAIN),
        signed_payload(NONCE, SERVER.public_key, SERVER.public_key, CHAIN),
        signed_payload(NONCE, SERVER.public_key, DIALLER.public_key, Chain("x", bytes(32))),
        signed_payload(
            NONCE, SERVER.public_key, DIALLER.public_key, Chain(CHAIN.chain_id, bytes(32))
        ),
    ]
    assert len({base, *others}) == 6


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x95", bytes(300), proof() + b"\0", proof()[:-1]])
def test_a_malformed_proof_is_a_refusal_not_a_crash(data: bytes) -> None:
    assert refusal(data) == "KEY_NOT_PROVED"


def test_a_malformed_hello_is_a_bad_message() -> None:
    with pytest.raises(BadMessage):
        prove(b"\x92\x01\x02", SERVER.public_key, DIALLER, CHAIN)


def test_the_verdict_is_a_name_or_the_peers_reason() -> None:
    assert read_verdict(Kind.WELCOME, encode(Welcome("n1"))) == "n1"
    with pytest.raises(PeerRefused) as caught:
        read_verdict(Kind.REFUSAL, encode(RefusalFrame("SOMETHING_NEW")))
    assert caught.value.code == "SOMETHING_NEW"


def test_a_refusal_cannot_smuggle_text_into_logs() -> None:
    with pytest.raises(BadMessage):
        read_verdict(Kind.REFUSAL, encode(RefusalFrame("a\nforged line")))


def test_a_handshake_message_has_exactly_one_expected_frame() -> None:
    hello = frame(Kind.HELLO, HELLO)
    assert single(hello, Kind.HELLO) == (Kind.HELLO, HELLO)
    for message in (hello + hello, frame(Kind.PING, b""), b""):
        with pytest.raises(BadFrame):
            single(message, Kind.HELLO)
