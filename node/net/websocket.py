"""The little of WebSocket (RFC 6455) that two nodes need: the upgrade, and whole binary messages.

Pure: bytes in, bytes out. What a node never says (text, pings of the protocol, pieces of a
message, a masked answer) is refused rather than supported.
"""

from base64 import b64encode
from hashlib import sha1
from typing import NamedTuple

from node.errors import BadFrame, NetworkError
from node.net.frames import MESSAGE_BYTES_MAX

KEY_BYTES = 16
MASK_BYTES = 4
HEAD_BYTES_MAX = 4_096  # of the answer to the upgrade; a listener of ours sends some 200
HEAD_END = b"\r\n\r\n"

_ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # Do not change: RFC 6455, 1.3.
_BINARY, _CLOSE = 0x82, 0x88  # final, not in pieces
_MASKED = 0x80
_LENGTH_2, _LENGTH_8 = 126, 127  # the length stands in the next two or eight bytes


class Message(NamedTuple):
    """Where a message lies in the bytes received; `end` may be beyond what has come so far."""

    closes: bool
    start: int
    end: int


def upgrade_request(host: str, path: str, key: bytes) -> bytes:
    """`key`: 16 random bytes."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {b64encode(key).decode()}\r\n\r\n"
    ).encode()


def check_upgrade(head: bytes, key: bytes) -> None:
    """The answer's head, up to `HEAD_END`; raises `NetworkError`."""
    status, *fields = head.split(b"\r\n")
    if not status.startswith(b"HTTP/1.1 101"):
        raise NetworkError("what answers there is no node: it does not upgrade to WebSocket")
    expected = b64encode(sha1(b64encode(key) + _ACCEPT_GUID, usedforsecurity=False).digest())
    for field in fields:
        name, _, value = field.partition(b":")
        if name.strip().lower() == b"sec-websocket-accept" and value.strip() == expected:
            return
    raise NetworkError("the answer to the upgrade belongs to another request")


def find_message(data: bytes | bytearray, at: int) -> Message | None:
    """The server's message that begins at `at`; None while its length has not come yet.

    Raises `BadFrame` for anything that is not one whole binary message or a goodbye."""
    if len(data) - at < 2:
        return None
    kind, length, start = data[at], data[at + 1], at + 2
    if kind not in (_BINARY, _CLOSE) or length & _MASKED:
        raise BadFrame("not a whole binary message of a server", code="FRAME_KIND")
    if length >= _LENGTH_2:
        size = 2 if length == _LENGTH_2 else 8
        if len(data) - start < size:
            return None
        length = int.from_bytes(data[start : start + size])
        start += size
        if length > MESSAGE_BYTES_MAX:
            raise BadFrame(f"a message of {length} bytes", code="FRAME_TOO_LARGE")
    return Message(kind == _CLOSE, start, start + length)


def close_reason(payload: bytes) -> str:
    """The text of a goodbye, which says nothing if it is none (RFC 6455, 5.5.1)."""
    return payload[2:].decode(errors="replace")


def client_message(payload: bytes, mask: bytes, *, closes: bool = False) -> bytes:
    """A client's message, short and masked as it must be; `mask`: 4 random bytes."""
    length = len(payload)
    kind = bytes((_CLOSE if closes else _BINARY,))
    if length < _LENGTH_2:
        head = bytes((_MASKED | length,))
    else:
        head = bytes((_MASKED | _LENGTH_2,)) + length.to_bytes(2)
    pad = (mask * (length // MASK_BYTES + 1))[:length]
    masked = (int.from_bytes(payload) ^ int.from_bytes(pad)).to_bytes(length)
    return kind + head + mask + masked
