"""Who is there: the dialler proves its member key, the listener checks and answers.

    listener → dialler   HELLO     version, nonce
    dialler  → listener  PROOF     version, key, chain id, genesis hash, signature
    listener → dialler   WELCOME   | REFUSAL code

TLS has already shown the dialler that the listener holds the pinned key (node/net/tls.py).
The signature covers the listener's nonce *and* key, so that it cannot be replayed, to this
listener or to another. Pure: no sockets, no clock; the nonce arrives as an argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import msgspec

from node.errors import BadFrame, PeerRefused
from node.net.frames import Kind, split
from salus.codec import Bytes32, Bytes64, Uint, Wire, decode, encode
from salus.errors import BadMessage
from salus.hashing import domain
from salus.keys import Signer, address, verify
from salus.vote import PROTOCOL_VERSION

NONCE_BYTES = 32

_SIGNED = domain("handshake")


class Refusal(StrEnum):
    """Why a listener turns a dialler away. Both sides log the word and `doctor` shows it."""

    VERSION = "VERSION"  # the other protocol version
    WRONG_GENESIS = "WRONG_GENESIS"  # another chain, or another founding document
    NOT_A_MEMBER = "NOT_A_MEMBER"  # the key is not in the listener's membership
    OWN_KEY = "OWN_KEY"  # the node dialled itself, or its key is in use elsewhere
    KEY_NOT_PROVED = "KEY_NOT_PROVED"  # malformed, or not signed by the key it names
    BANNED = "BANNED"  # sent garbage a short while ago
    TOO_MANY_PEERS = "TOO_MANY_PEERS"
    PARTITIONED = "PARTITIONED"  # fault injection (dev profile only)
    STOPPING = "STOPPING"


class Hello(Wire, frozen=True):
    version: Uint
    nonce: Bytes32


class Proof(Wire, frozen=True):
    version: Uint
    public_key: Bytes32
    chain_id: Annotated[str, msgspec.Meta(max_length=32)]
    genesis_hash: Bytes32
    signature: Bytes64


class Welcome(Wire, frozen=True):
    """The member id under which the listener knows the dialler."""

    member: Annotated[str, msgspec.Meta(max_length=32)]


class RefusalFrame(Wire, frozen=True):
    """`code`: a word of `Refusal`. Later versions may add words, so it is read as text."""

    code: Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z_]{0,31}$(?!\n)")]


@dataclass(frozen=True, slots=True)
class Chain:
    """What both sides must agree on before the first frame."""

    chain_id: str
    genesis_hash: bytes
    version: int = PROTOCOL_VERSION


def signed_payload(nonce: bytes, server_key: bytes, dialler_key: bytes, chain: Chain) -> bytes:
    """The bytes under the dialler's signature."""
    return _SIGNED + encode(
        (nonce, server_key, dialler_key, chain.chain_id, chain.genesis_hash, chain.version)
    )


def prove(hello: bytes, server_key: bytes, signer: Signer, chain: Chain) -> bytes:
    """Dialler: the PROOF that answers a HELLO. Raises `PeerRefused` (VERSION), `BadMessage`."""
    challenge = decode(hello, Hello)
    if challenge.version != chain.version:
        raise PeerRefused(
            f"the peer speaks protocol version {challenge.version}, we speak {chain.version}",
            code=Refusal.VERSION,
        )
    payload = signed_payload(challenge.nonce, server_key, signer.public_key, chain)
    return encode(
        Proof(
            chain.version,
            signer.public_key,
            chain.chain_id,
            chain.genesis_hash,
            signer.sign(payload),
        )
    )


def check_proof(
    proof: bytes,
    nonce: bytes,
    server_key: bytes,
    chain: Chain,
    membership: Callable[[bytes], str | None],
) -> tuple[bytes, str]:
    """Listener: key and member id of the dialler. Raises `PeerRefused`; cheap checks first (B25).

    The error's fact `key` is the address that the dialler claims, for the log.
    """
    try:
        claim = decode(proof, Proof)
    except BadMessage:
        raise PeerRefused("the proof is malformed", code=Refusal.KEY_NOT_PROVED) from None
    who = address(claim.public_key)
    if claim.version != chain.version:
        raise PeerRefused(
            f"the peer speaks protocol version {claim.version}", code=Refusal.VERSION, key=who
        )
    if claim.chain_id != chain.chain_id or claim.genesis_hash != chain.genesis_hash:
        raise PeerRefused(
            f"the peer's genesis is {claim.genesis_hash.hex()[:16]}…",
            code=Refusal.WRONG_GENESIS,
            key=who,
        )
    if claim.public_key == server_key:
        raise PeerRefused("our own key dials us", code=Refusal.OWN_KEY, key=who)
    member = membership(claim.public_key)
    if member is None:
        raise PeerRefused("the key is not a member's", code=Refusal.NOT_A_MEMBER, key=who)
    payload = signed_payload(nonce, server_key, claim.public_key, chain)
    if not verify(claim.public_key, payload, claim.signature):
        raise PeerRefused("the proof is not signed", code=Refusal.KEY_NOT_PROVED, key=who)
    return claim.public_key, member


def read_verdict(kind: Kind, payload: bytes) -> str:
    """Dialler: the member id we are welcome as. Raises `PeerRefused` with the peer's reason."""
    if kind is Kind.REFUSAL:
        code = decode(payload, RefusalFrame).code
        raise PeerRefused(f"the peer refused us: {code}", code=code)
    if kind is not Kind.WELCOME:
        raise BadFrame(f"{kind.name} instead of WELCOME", code="FRAME_KIND")
    return decode(payload, Welcome).member


def single(message: bytes, *expected: Kind) -> tuple[Kind, bytes]:
    """The one frame of a handshake message; raises `BadFrame`."""
    frames = split(message)
    if len(frames) != 1 or frames[0][0] not in expected:
        raise BadFrame("not the frame that the handshake expects", code="FRAME_KIND")
    return frames[0]
