"""Messages between a patient and the staff of his hospital: documents of the vault, under its gate.

A message is a record like any other: encrypted, of class `documents`, read by a ticket that stands in
the trail. What makes it a letter is its author's signature inside, over all of it and for this relation
alone, so neither the hospital's operator, who anchors it, nor another patient's page can pass one off.
"""

from enum import StrEnum
from typing import Annotated

import msgspec

from salus.codec import UINT_MAX, encode
from salus.errors import BadMessage
from salus.forms import Hex32
from salus.hashing import domain
from salus.keys import Signer, verify

MEDIA_TYPE = "application/vnd.salus.message+json"
MESSAGE_VERSION = 1
TEXT_CHARS_MAX = 20_000  # a letter; what is longer is a document of its own
SUBJECT_CHARS_MAX = 200
MESSAGE_BYTES_MAX = 6 * (TEXT_CHARS_MAX + SUBJECT_CHARS_MAX) + 2_000  # JSON may write \\uXXXX

_MESSAGE = domain("patient-message")


class Author(StrEnum):
    PATIENT = "patient"  # the owner's key, or a delegate's
    STAFF = "staff"


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """◆ the document, as JSON; the signature covers every other field."""

    version: Annotated[int, msgspec.Meta(ge=MESSAGE_VERSION, le=MESSAGE_VERSION)]
    chain_id: Annotated[str, msgspec.Meta(max_length=64)]
    custodian: Annotated[str, msgspec.Meta(max_length=32)]
    handle: Hex32
    author: Author
    key: Hex32
    sent_ms: Annotated[int, msgspec.Meta(ge=0, le=UINT_MAX)]
    subject: Annotated[str, msgspec.Meta(max_length=SUBJECT_CHARS_MAX)]
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARS_MAX)]
    reply_to: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")] | None
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}$(?!\n)")]

    def payload(self) -> bytes:
        """What the author signs."""
        return _MESSAGE + encode(
            (
                self.version,
                self.chain_id,
                self.custodian,
                bytes.fromhex(self.handle),
                self.author.value,
                bytes.fromhex(self.key),
                self.sent_ms,
                self.subject,
                self.text,
                None if self.reply_to is None else bytes.fromhex(self.reply_to),
            )
        )

    def document(self) -> bytes:
        return msgspec.json.encode(self)


def write(
    signer: Signer,
    author: Author,
    *,
    chain_id: str,
    custodian: str,
    handle: bytes,
    sent_ms: int,
    subject: str,
    text: str,
    reply_to: str | None = None,
) -> Message:
    """Signed by its author. Raises `BadMessage` (BAD_LETTER) if it is empty or too long."""
    unsigned = Message(
        MESSAGE_VERSION,
        chain_id,
        custodian,
        handle.hex(),
        author,
        signer.public_key.hex(),
        sent_ms,
        subject,
        text,
        reply_to,
        "00" * 64,
    )
    _formed(unsigned.document())
    signature = signer.sign(unsigned.payload()).hex()
    return msgspec.structs.replace(unsigned, signature=signature)


def read(document: bytes, chain_id: str, custodian: str, handle: bytes) -> Message:
    """A message of this relation whose author signed it. Raises `BadMessage` (BAD_LETTER).

    Whose key it is, the chain says, and whether it is in force still."""
    message = _formed(document)
    place = (message.chain_id, message.custodian, message.handle)
    if place != (chain_id, custodian, handle.hex()):
        raise _bad("it was written for another relation")
    signature = bytes.fromhex(message.signature)
    if not verify(bytes.fromhex(message.key), message.payload(), signature):
        raise _bad("its author has not signed it")
    return message


def _formed(document: bytes) -> Message:
    if len(document) > MESSAGE_BYTES_MAX:
        raise _bad(f"it has at most {TEXT_CHARS_MAX} characters")
    try:
        return msgspec.json.decode(document, type=Message)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise _bad("text, subject or a field has not its form or length") from None


def _bad(why: str) -> BadMessage:
    return BadMessage(f"not a message: {why}", code="BAD_LETTER")
