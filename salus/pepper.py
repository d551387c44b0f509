"""The pepper of identity tags: 32 random bytes, made at the founding, the same at every member.

Genesis names its commitment, so whoever has another one finds out, and nobody learns it there. It
travels and rests sealed only: a copy for each member, to the box key that the chain knows him by.

◆ commitment  = H("identity-pepper", pepper)
  sealed copy = enc ‖ ct of SealBase(pkMember, info = "salus/v1/identity-pepper-copy" 00 ‖
                encode([chain id, commitment, member]), no aad, pepper)     RFC 9180 as in §19

Who has it can try identifiers against all tags (docs/privacy.md). Not pure: sealing draws a key.
"""

import json
from collections.abc import Mapping
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from salus.codec import encode
from salus.errors import BadMessage, VerificationError
from salus.genesis import ChainId
from salus.hashing import domain, hasher
from salus.identity_tag import PEPPER_BYTES
from salus.validators import MemberId

FORMAT = "salus-pepper-1"  # Do not change: a new format gets a new number.
COPY_BYTES = 32 + PEPPER_BYTES + 16  # enc, pepper, tag
COPIES_MAX = 256  # of founders; who joins later gets a file of one
PEPPER_FILE_BYTES_MAX = 128 * 1024  # so many copies, with ids of 32 letters, take 53 kB

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_COPY = domain("identity-pepper-copy")

commitment = hasher("identity-pepper")

_Copy = Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{{2 * COPY_BYTES}}}$(?!\n)")]


class PepperFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sealed copies, for one member or several. It holds nothing that opens itself."""

    format: Annotated[str, msgspec.Meta(pattern=rf"^{FORMAT}$(?!\n)")]
    chain_id: ChainId
    commitment: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
    copies: Annotated[dict[MemberId, _Copy], msgspec.Meta(min_length=1, max_length=COPIES_MAX)]


def sealed(pepper: bytes, chain_id: str, boxes: Mapping[str, bytes]) -> PepperFile:
    """A copy for each of `boxes`: member → X25519 public key. Raises `BadMessage` (BAD_BOX_KEY)."""
    assert len(pepper) == PEPPER_BYTES
    named, copies = commitment(pepper), {}
    for member, box_key in sorted(boxes.items()):
        try:
            key = X25519PublicKey.from_public_bytes(box_key)
            copies[member] = _SUITE.encrypt(pepper, key, _bound(chain_id, named, member)).hex()
        except ValueError:  # of another length, or of low order: a shared secret of zeroes
            raise BadMessage("nothing can be sealed to this key", code="BAD_BOX_KEY") from None
    return PepperFile(FORMAT, chain_id, named.hex(), copies)


def opened(file: PepperFile, member: str, secret: bytes) -> bytes:
    """The pepper. `secret`: of the member's box key. Raises `VerificationError` (WRONG_PEPPER):
    there is no copy for the member, it was sealed to another key, or it is another pepper."""
    copy = file.copies.get(member)
    if copy is None:
        raise _wrong("the file has no copy for this member")
    bound = _bound(file.chain_id, bytes.fromhex(file.commitment), member)
    try:
        key = X25519PrivateKey.from_private_bytes(secret)
        pepper = _SUITE.decrypt(bytes.fromhex(copy), key, bound)
    except (InvalidTag, ValueError):
        raise _wrong("the copy is sealed to another key, or for another member or chain") from None
    if len(pepper) != PEPPER_BYTES or commitment(pepper).hex() != file.commitment:
        raise _wrong("the copy holds another pepper than the one that the file names")
    return pepper


def require(file: PepperFile, chain_id: str, wanted: bytes, member: str) -> None:
    """That the file is for this chain, names the pepper that genesis names, and has the member's
    copy; all that can be told without a key. Raises `VerificationError` (WRONG_PEPPER)."""
    if file.chain_id != chain_id:
        raise _wrong("it is another chain's")
    if file.commitment != wanted.hex():
        raise _wrong("it is not the pepper that the genesis document names")
    if member not in file.copies:
        raise _wrong(f"it has no copy for «{member}»")


def read(data: bytes) -> PepperFile:
    """Raises `BadMessage` (BAD_PEPPER_FILE)."""
    if len(data) > PEPPER_FILE_BYTES_MAX:
        raise _bad(f"it has more than {PEPPER_FILE_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(data, type=PepperFile)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise _bad(str(error).split("\n", 1)[0][:200]) from None


def write(file: PepperFile) -> str:
    return json.dumps(msgspec.to_builtins(file), indent=2) + "\n"


def _bound(chain_id: str, named: bytes, member: str) -> bytes:
    return _COPY + encode((chain_id, named, member))


def _bad(why: str) -> BadMessage:
    return BadMessage(f"no pepper file: {why}", code="BAD_PEPPER_FILE")


def _wrong(why: str) -> VerificationError:
    return VerificationError(why, code="WRONG_PEPPER")
