"""Frames between nodes: one byte of kind, four of length, the payload (docs/formats-wire.md).

Law of the file: the numbers are on the wire, do not change them; each kind has a size limit
that is checked before anything is decoded (B25), and a queue class that says what may wait
for what (B26).
"""

from enum import IntEnum
from typing import Annotated

import msgspec

from node.errors import BadFrame
from salus.codec import Bytes32, Uint, Wire
from salus.parameters import CONSENSUS_BYTES_MAX
from salus.statemap import CHANGE_BYTES

KIB, MIB = 1024, 1024 * 1024

FRAME_HEADER_BYTES = 5  # Do not change: kind (1), length of the payload (4, big-endian).
FRAMES_PER_MESSAGE_MAX = 1024  # A WebSocket message of more frames is an attack on the parser.
COALESCE_BYTES = 64 * KIB  # What waits together travels together, up to a socket buffer's size.

PING_BYTES = 8

TRANSACTIONS_PER_FRAME_MAX = 1_000
IDS_PER_FRAME_MAX = 1_000
BLOCKS_PER_FRAME_MAX = 256
CHANGES_PER_FRAME_MAX = 8_192
HEADER_BYTES_MAX = 512  # 356 with the largest numbers
# One sealed chunk (salus/sealed_stream.py), or a question with what opens its commitments.
CALL_BYTES_MAX = MIB + 64 * KIB
REASON_CHARS_MAX = 512  # of a refusal, for people


class Kind(IntEnum):
    """What a frame carries."""

    CONSENSUS = 1  # consensus.messages, encode_message
    PRE_PREPARE = 2  # PrePrepareFrame
    BODY = 3  # BodyFrame
    TRANSACTIONS = 4  # TransactionsFrame
    ANNOUNCE = 5  # IdsFrame: I hold these transactions
    REQUEST = 6  # IdsFrame: send me these transactions
    GET_BLOCKS = 7  # GetBlocks
    BLOCKS = 8  # Blocks
    EVIDENCE = 9  # EvidenceFrame
    PING = 10  # 8 bytes: the sender's Unix time in ms
    PONG = 11  # the same 8 bytes
    GET_WRITES = 12  # GetWrites
    WRITES = 13  # Writes
    HELLO = 16  # the four of the handshake (node/net/handshake.py)
    PROOF = 17
    WELCOME = 18
    REFUSAL = 19
    CALL = 20  # CallFrame: a question on a topic (node/net/calls.py)
    REPLY = 21  # ReplyFrame: its answer, or why there is none


class QueueClass(IntEnum):
    """Lower drains first: consensus never waits behind gossip (B26)."""

    CONSENSUS = 0
    BLOCKS = 1
    GOSSIP = 2
    BULK = 3  # documents on their way to a reader: nothing else waits for them


# The largest proposal that parameters.py allows is 16 MiB; the envelope needs some bytes more.
_PROPOSAL_BYTES_MAX = 16 * MIB + 4 * KIB

PAYLOAD_BYTES_MAX: dict[Kind, int] = {
    Kind.CONSENSUS: CONSENSUS_BYTES_MAX,  # parameters.py refuses what would need more
    Kind.PRE_PREPARE: _PROPOSAL_BYTES_MAX,
    Kind.BODY: _PROPOSAL_BYTES_MAX,
    # One transaction of the largest allowed size (1 MiB) must fit; more are a matter of batching.
    Kind.TRANSACTIONS: 2 * MIB,
    Kind.ANNOUNCE: 40 * KIB,  # 1,000 ids of 34 bytes
    Kind.REQUEST: 40 * KIB,
    Kind.GET_BLOCKS: 64,
    # At least one block of the largest size with its header and 100 signatures.
    Kind.BLOCKS: 18 * MIB,
    Kind.EVIDENCE: 4 * MIB,  # two contradicting messages, VIEW-CHANGEs at the largest
    Kind.PING: PING_BYTES,
    Kind.PONG: PING_BYTES,
    Kind.GET_WRITES: 64,
    Kind.WRITES: MIB,  # 8,192 changes of 96 bytes and a header
    Kind.HELLO: 256,
    Kind.PROOF: 512,
    Kind.WELCOME: 256,
    Kind.REFUSAL: 256,
    Kind.CALL: CALL_BYTES_MAX + 64,  # the id and the topic
    Kind.REPLY: CALL_BYTES_MAX + 64,
}

MESSAGE_BYTES_MAX = max(PAYLOAD_BYTES_MAX.values()) + FRAME_HEADER_BYTES
HANDSHAKE_MESSAGE_BYTES_MAX = 512 + FRAME_HEADER_BYTES

QUEUE_CLASS: dict[Kind, QueueClass] = {
    Kind.CONSENSUS: QueueClass.CONSENSUS,
    Kind.PRE_PREPARE: QueueClass.CONSENSUS,
    # The answer to a FETCH: a vote waits for it, so it must not wait behind a sync.
    Kind.BODY: QueueClass.CONSENSUS,
    Kind.PONG: QueueClass.CONSENSUS,
    # Small, and the way out of being behind: never dropped in favour of other gossip.
    Kind.GET_BLOCKS: QueueClass.BLOCKS,
    Kind.BLOCKS: QueueClass.BLOCKS,
    Kind.EVIDENCE: QueueClass.BLOCKS,
    Kind.GET_WRITES: QueueClass.BLOCKS,
    Kind.WRITES: QueueClass.BLOCKS,
    Kind.TRANSACTIONS: QueueClass.GOSSIP,
    Kind.ANNOUNCE: QueueClass.GOSSIP,
    Kind.REQUEST: QueueClass.GOSSIP,
    Kind.CALL: QueueClass.BULK,
    Kind.REPLY: QueueClass.BULK,
}


class PrePrepareFrame(Wire, frozen=True):
    """A PRE-PREPARE (`encode_message`) and the proposal that it names."""

    message: bytes
    body: bytes


class BodyFrame(Wire, frozen=True):
    """The answer to a FETCH: a proposal; its digest is its proof."""

    sequence: Uint
    digest: Bytes32
    body: bytes


class TransactionsFrame(Wire, frozen=True):
    transactions: Annotated[
        tuple[bytes, ...], msgspec.Meta(min_length=1, max_length=TRANSACTIONS_PER_FRAME_MAX)
    ]


class IdsFrame(Wire, frozen=True):
    ids: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=IDS_PER_FRAME_MAX)]


class GetBlocks(Wire, frozen=True):
    """Certified blocks above this height, at most `limit` of them."""

    above: Uint
    limit: Annotated[int, msgspec.Meta(ge=1, le=BLOCKS_PER_FRAME_MAX)]


class Blocks(Wire, frozen=True):
    """Certified blocks (`encode(CertifiedBlock)`), ascending, and the sender's certified height."""

    blocks: Annotated[tuple[bytes, ...], msgspec.Meta(max_length=BLOCKS_PER_FRAME_MAX)]
    tip: Uint


class GetWrites(Wire, frozen=True):
    """What did your block of this height change? After the first `skip` changes (L24)."""

    height: Uint
    skip: Uint


class Writes(Wire, frozen=True):
    """A piece of a write set (salus/writeset.py) and the header (`encode(Header)`) of its block;
    an empty header: I do not hold it."""

    height: Uint
    skip: Uint
    header: Annotated[bytes, msgspec.Meta(max_length=HEADER_BYTES_MAX)]
    changes: Annotated[bytes, msgspec.Meta(max_length=CHANGES_PER_FRAME_MAX * CHANGE_BYTES)]
    more: bool


class EvidenceFrame(Wire, frozen=True):
    """Two signed messages (`encode_message`) of one sender that contradict each other, or a
    NEW-VIEW that contradicts itself and b"" (L23)."""

    first: bytes
    second: bytes


class CallFrame(Wire, frozen=True):
    """A question; `call` is the asker's own number for it, `topic` one of node/net/calls.py."""

    call: Uint
    topic: Annotated[int, msgspec.Meta(ge=1, le=255)]
    payload: Annotated[bytes, msgspec.Meta(max_length=CALL_BYTES_MAX)]


class ReplyFrame(Wire, frozen=True):
    """The answer to a call; with a `code` it is a refusal, and the payload says why (UTF-8)."""

    call: Uint
    code: Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[A-Z0-9_]*\Z")]
    payload: Annotated[bytes, msgspec.Meta(max_length=CALL_BYTES_MAX)]


def frame(kind: Kind, payload: bytes) -> bytes:
    """The bytes of one frame. A payload above the limit of its kind is our own bug."""
    assert len(payload) <= PAYLOAD_BYTES_MAX[kind], f"{kind.name}: {len(payload)} bytes"
    return bytes((kind,)) + len(payload).to_bytes(4) + payload


def binary_message(frames: list[bytes]) -> bytes:
    """One WebSocket message of a server: final, binary, not masked (RFC 6455 §5.2)."""
    length = len(frames[0]) if len(frames) == 1 else sum(map(len, frames))
    if length < 126:
        header = _SHORT_HEADERS[length]
    elif length < 1 << 16:
        header = b"\x82\x7e" + length.to_bytes(2)
    else:
        header = b"\x82\x7f" + length.to_bytes(8)
    return b"".join((header, *frames))


def split(message: bytes) -> list[tuple[Kind, bytes]]:
    """The frames of one WebSocket message; raises `BadFrame`."""
    frames: list[tuple[Kind, bytes]] = []
    at, end = 0, len(message)
    while at < end:
        if len(frames) == FRAMES_PER_MESSAGE_MAX:
            raise BadFrame("too many frames in one message", code="FRAME_COUNT")
        body = at + FRAME_HEADER_BYTES
        if body > end:
            raise BadFrame("a frame ends inside its header", code="FRAME_TRUNCATED")
        kind = _KINDS.get(message[at])
        if kind is None:
            raise BadFrame(f"unknown kind of frame {message[at]}", code="FRAME_KIND")
        length = int.from_bytes(message[at + 1 : body])
        if length > PAYLOAD_BYTES_MAX[kind]:
            raise BadFrame(f"a {kind.name} frame of {length} bytes", code="FRAME_TOO_LARGE")
        at = body + length
        if at > end:
            raise BadFrame("a frame ends inside its payload", code="FRAME_TRUNCATED")
        frames.append((kind, message[body:at]))
    if not frames:
        raise BadFrame("a message without a frame", code="FRAME_TRUNCATED")
    return frames


_KINDS = {int(kind): kind for kind in Kind}
_SHORT_HEADERS = tuple(bytes((0x82, length)) for length in range(126))  # a vote is one of them
