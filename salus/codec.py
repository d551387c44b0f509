"""Canonical MessagePack: one value, one encoding; every decoder failure is one `BadMessage`.

Structs travel as arrays, fields in the order of their declaration. Integers are 0 … 2^53−1
(what JSON readers can hold), there are no floats and no extension types. Law of the file:
`decode(encode(v)) == v`, and `decode(b)` raises unless `encode(decode(b)) == b` — otherwise
two byte strings, hence two hashes and two signatures, could mean one thing (health.md §4.14).
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Annotated, Any, TypeVar

import msgspec

from salus.errors import BadMessage

T = TypeVar("T")

KNOWN_MAX = 4_096  # values: of a busy hospital's patients, permits and staff; 8 MiB before decoding
KNOWN_BYTES_MAX = 2_048

UINT_MAX = 2**53 - 1  # Do not change: the largest integer every JSON reader keeps exact.

Uint = Annotated[int, msgspec.Meta(ge=0, le=UINT_MAX)]
Bytes16 = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]


class Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of everything that is hashed, signed, sent or stored.

    Subclasses repeat `frozen=True` for the type checker."""


# "deterministic" sorts map keys: a map has one encoding too.
_encoder = msgspec.msgpack.Encoder(order="deterministic")
_encode = _encoder.encode  # looked up once: several times for each transaction
_UNDECODABLE = (msgspec.MsgspecError, RecursionError, ValueError, OverflowError)
_decoders: dict[Any, msgspec.msgpack.Decoder[Any]] = {}


# The canonical bytes of a `Wire` struct (or of plain data inside one). The encoder's own method: a block
# asks for it thirty times, and a frame of ours around it costs as much as a vote's encoding.
encode: Callable[[object], bytes] = _encode


def encode_row(pieces: Sequence[bytes]) -> bytes:
    """The encoding of a tuple of values, of their encodings: what was encoded once is not again."""
    count = len(pieces)
    if count < 16:
        header = bytes((0x90 | count,))
    elif count < 2**16:
        header = b"\xdc" + count.to_bytes(2)
    else:
        header = b"\xdd" + count.to_bytes(4)
    return header + b"".join(pieces)


def decode(data: bytes, kind: type[T]) -> T:
    """The value whose canonical encoding `data` is; raises `BadMessage`."""
    try:
        # As `_decoded`, without the call: three times for each transaction.
        value: T = _decoders[kind].decode(data)
    except KeyError:
        value = _decoded(data, kind)
    except _UNDECODABLE as error:
        raise BadMessage(f"not a valid encoding: {_reason(error)}") from None
    if _encode(value) != data:
        raise BadMessage("not the canonical encoding: the value encodes to other bytes")
    return value


def decode_all(pieces: Sequence[bytes], kinds: Sequence[type]) -> list[Any]:
    """As `decode` for each of them, with one look at the canonical form of all."""
    try:
        values = [_decoders[kind].decode(data) for data, kind in zip(pieces, kinds, strict=True)]
    except KeyError:
        return [decode(data, kind) for data, kind in zip(pieces, kinds, strict=True)]
    except _UNDECODABLE as error:
        raise BadMessage(f"not a valid encoding: {_reason(error)}") from None
    # An encoding says where it ends, and each piece is one. So where the rows are equal each piece is.
    row, encoded = b"".join(pieces), _encode(values)
    count = len(values)
    header = 1 if count < 16 else 3 if count < 2**16 else 5  # of the list
    if len(encoded) != header + len(row) or not encoded.endswith(row):
        raise BadMessage("not the canonical encoding: a value encodes to other bytes")
    return values


def decode_known(data: bytes, kind: type[T]) -> T:
    """As `decode`, of what is read again and again; the same bytes may give the same object, so all
    in it must be immutable. It goes by the bytes alone: what has changed is decoded anew."""
    if len(data) > KNOWN_BYTES_MAX:
        return decode(data, kind)
    key: Any = kind
    value: T = _known(data, key)
    return value


@lru_cache(maxsize=KNOWN_MAX)
def _known(data: bytes, kind: Any) -> Any:
    return decode(data, kind)


def _decoded(data: bytes, kind: type[T]) -> T:
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.msgpack.Decoder(kind)
    try:
        value: T = decoder.decode(data)
    except _UNDECODABLE as error:
        # The library's words name types and positions, never the content.
        raise BadMessage(f"not a valid encoding: {_reason(error)}") from None
    return value


def check(encoded: bytes, kind: type) -> None:
    """Raises `BadMessage` unless `encoded`, made by `encode`, is a value of `kind`.

    Canonical it is; what it lacks is the check of lengths, ranges and patterns, which the library
    makes on decoding only."""
    try:
        _decoders[kind].decode(encoded)
    except KeyError:
        _decoded(encoded, kind)
    except _UNDECODABLE as error:
        raise BadMessage(f"not a valid encoding: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "text is not UTF-8"
    return str(error).split("\n", 1)[0][:200]
