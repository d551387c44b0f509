"""Frames: what is encoded comes back, and nothing else is a frame (B25)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import BadFrame
from node.net.frames import (
    CHANGES_PER_FRAME_MAX,
    FRAME_HEADER_BYTES,
    FRAMES_PER_MESSAGE_MAX,
    HEADER_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    QUEUE_CLASS,
    Blocks,
    BodyFrame,
    EvidenceFrame,
    GetBlocks,
    GetWrites,
    IdsFrame,
    Kind,
    PrePrepareFrame,
    QueueClass,
    TransactionsFrame,
    Writes,
    binary_message,
    frame,
    split,
)
from node.net.limits import RECEIVE_RATES
from salus.block import Header
from salus.codec import Bytes32, decode, encode
from salus.errors import BadMessage
from salus.parameters import Parameters
from salus.statemap import CHANGE_BYTES

KINDS = st.sampled_from([kind for kind in Kind if PAYLOAD_BYTES_MAX[kind] >= 64])
FRAMES = st.lists(st.tuples(KINDS, st.binary(max_size=64)), min_size=1, max_size=20)


@settings(deadline=None, max_examples=100)
@given(FRAMES)
def test_frames_that_travel_together_come_back_in_order(frames: list[tuple[Kind, bytes]]) -> None:
    assert split(b"".join(frame(kind, payload) for kind, payload in frames)) == frames


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_bad_frame(data: bytes) -> None:
    try:
        frames = split(data)
    except BadFrame:
        return
    assert b"".join(frame(kind, payload) for kind, payload in frames) == data


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "FRAME_TRUNCATED"),
        (b"\x01\x00\x00", "FRAME_TRUNCATED"),
        (b"\x01\x00\x00\x00\x02x", "FRAME_TRUNCATED"),
        (b"\x63\x00\x00\x00\x00", "FRAME_KIND"),
        (b"\x00\x00\x00\x00\x00", "FRAME_KIND"),
        (b"\x0a\x00\x00\x00\x09123456789", "FRAME_TOO_LARGE"),
        (b"\x01\xff\xff\xff\xff", "FRAME_TOO_LARGE"),
        (frame(Kind.PING, b"") * (FRAMES_PER_MESSAGE_MAX + 1), "FRAME_COUNT"),
    ],
)
def test_what_is_no_frame_is_named(data: bytes, code: str) -> None:
    with pytest.raises(BadFrame) as caught:
        split(data)
    assert caught.value.code == code


def test_the_numbers_on_the_wire_do_not_change() -> None:
    assert [(kind.name, int(kind)) for kind in Kind] == [
        ("CONSENSUS", 1),
        ("PRE_PREPARE", 2),
        ("BODY", 3),
        ("TRANSACTIONS", 4),
        ("ANNOUNCE", 5),
        ("REQUEST", 6),
        ("GET_BLOCKS", 7),
        ("BLOCKS", 8),
        ("EVIDENCE", 9),
        ("PING", 10),
        ("PONG", 11),
        ("GET_WRITES", 12),
        ("WRITES", 13),
        ("HELLO", 16),
        ("PROOF", 17),
        ("WELCOME", 18),
        ("REFUSAL", 19),
        ("CALL", 20),
        ("REPLY", 21),
    ]
    assert frame(Kind.BODY, b"ab") == b"\x03\x00\x00\x00\x02ab"


def test_consensus_has_the_first_class_and_documents_the_last() -> None:
    """B26: what agreement waits for never waits behind transactions, and nothing behind reads."""
    agreement = {Kind.CONSENSUS, Kind.PRE_PREPARE, Kind.BODY}
    assert {QUEUE_CLASS[kind] for kind in agreement} == {QueueClass.CONSENSUS}
    gossip = {Kind.TRANSACTIONS, Kind.ANNOUNCE, Kind.REQUEST}
    assert {QUEUE_CLASS[kind] for kind in gossip} == {QueueClass.GOSSIP}
    calls = {Kind.CALL, Kind.REPLY}
    assert {QUEUE_CLASS[kind] for kind in calls} == {QueueClass.BULK} == {max(QueueClass)}


def test_every_kind_that_flows_has_a_rate_and_every_kind_a_size() -> None:
    assert set(PAYLOAD_BYTES_MAX) == set(Kind)
    assert set(RECEIVE_RATES) == set(QUEUE_CLASS) | {Kind.PING}
    assert max(PAYLOAD_BYTES_MAX.values()) + FRAME_HEADER_BYTES == MESSAGE_BYTES_MAX


def test_a_burst_of_the_largest_frame_passes_its_rate() -> None:
    """A limit that an honest peer's largest frame cannot pass would be a fork of liveness."""
    for kind, rate in RECEIVE_RATES.items():
        assert PAYLOAD_BYTES_MAX[kind] <= 2 * rate.bytes_per_s, kind


def test_the_largest_proposal_and_a_full_frame_of_ids_fit() -> None:
    largest = 16 * 2**20  # the upper bound of block_bytes_max
    assert Parameters.__annotations__["block_bytes_max"].__metadata__[0].le == largest
    body = bytes(largest)
    frame(Kind.BODY, encode(BodyFrame(2**53 - 1, bytes(32), body)))
    frame(Kind.PRE_PREPARE, encode(PrePrepareFrame(bytes(300), body)))
    frame(Kind.BLOCKS, encode(Blocks((body + bytes(64 * 1024),), 2**53 - 1)))
    ids = encode(IdsFrame((b"\xff" * 32,) * 1000))
    frame(Kind.ANNOUNCE, ids)
    frame(Kind.REQUEST, ids)
    frame(Kind.GET_BLOCKS, encode(GetBlocks(2**53 - 1, 256)))
    frame(Kind.GET_WRITES, encode(GetWrites(2**53 - 1, 2**53 - 1)))
    changes = bytes(CHANGES_PER_FRAME_MAX * CHANGE_BYTES)
    frame(Kind.WRITES, encode(Writes(2**53 - 1, 2**53 - 1, bytes(HEADER_BYTES_MAX), changes, True)))


def test_the_largest_header_fits_into_a_page_and_a_fat_one_is_refused() -> None:
    """L24: whoever keeps pages must know how much that is."""
    largest: dict[str, Any] = {
        name: bytes(32) if kind is Bytes32 else 2**53 - 1
        for name, kind in Header.__annotations__.items()
    }
    page = Writes(3, 0, encode(Header(**largest)), b"", False)
    assert decode(decode(encode(page), Writes).header, Header) == Header(**largest)
    with pytest.raises(BadMessage):
        decode(encode(Writes(3, 0, bytes(HEADER_BYTES_MAX + 1), b"", False)), Writes)


def test_a_payload_above_its_limit_is_our_own_bug() -> None:
    with pytest.raises(AssertionError):
        frame(Kind.PONG, bytes(9))


def test_payloads_are_canonical() -> None:
    for value in (
        TransactionsFrame((b"a", b"b")),
        IdsFrame((bytes(32),)),
        GetBlocks(3, 10),
        Blocks((b"x",), 4),
        EvidenceFrame(b"a", b"b"),
        GetWrites(3, 0),
        Writes(3, 0, b"h", b"", False),
    ):
        assert decode(encode(value), type(value)) == value


@pytest.mark.parametrize("length", [1, 125, 126, 65_535, 65_536])
def test_a_message_says_its_length_as_a_server_must(length: int) -> None:
    """RFC 6455 §5.2: the shortest of three forms, and no mask."""
    parts = [bytes([7]) * (length // 2), bytes([8]) * (length - length // 2)]
    message = binary_message(parts)
    header = {1: 2, 125: 2, 126: 4, 65_535: 4, 65_536: 10}[length]
    assert message[0] == 0x82
    assert message[1] == {2: length, 4: 126, 10: 127}[header]
    assert header == 2 or int.from_bytes(message[2:header]) == length
    assert message[header:] == b"".join(parts)
