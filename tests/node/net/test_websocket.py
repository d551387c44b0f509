"""The part of RFC 6455 that nodes speak: what one side makes the other finds, and nothing else."""

from base64 import b64decode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.errors import BadFrame, NetworkError
from node.net.frames import MESSAGE_BYTES_MAX, binary_message
from node.net.websocket import (
    Message,
    check_upgrade,
    client_message,
    close_reason,
    find_message,
    upgrade_request,
)

KEY = b64decode("dGhlIHNhbXBsZSBub25jZQ==")  # the example of RFC 6455, 1.3
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
LENGTHS = [0, 1, 125, 126, 127, 65_535, 65_536, 70_000]


def test_the_upgrade_is_that_of_the_standard() -> None:
    request = upgrade_request("[::1]:7", "/salus/v1/peer", KEY)
    assert request.startswith(b"GET /salus/v1/peer HTTP/1.1\r\nHost: [::1]:7\r\n")
    assert b"\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in request
    assert request.endswith(b"\r\n\r\n")
    check_upgrade(ANSWER + b"sec-websocket-ACCEPT:  " + ACCEPT, KEY)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 404 Not Found",
        b"HTTP/1.1 302 Found\r\nLocation: https://elsewhere\r\nSec-WebSocket-Accept: " + ACCEPT,
        ANSWER,
        ANSWER + b"Sec-WebSocket-Accept: " + ACCEPT.lower(),
        ANSWER + b"Sec-WebSocket-Accept",
    ],
)
def test_any_other_answer_is_no_upgrade(head: bytes) -> None:
    with pytest.raises(NetworkError) as caught:
        check_upgrade(head, KEY)
    assert caught.value.code == "PEER_UNREACHABLE"


@pytest.mark.parametrize("length", LENGTHS)
def test_a_message_is_found_wherever_it_stands(length: int) -> None:
    payload = bytes(range(256)) * (length // 256 + 1)
    data = b"before" + binary_message([payload[:length]]) + b"after"
    found = find_message(data, 6)
    assert found is not None
    assert not found.closes
    assert data[found.start : found.end] == payload[:length]
    assert data[found.end :] == b"after"
    for cut in range(6, found.start):
        assert find_message(data[:cut], 6) is None


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        found = find_message(data, 0)
    except BadFrame:
        return
    assert found is None or 2 <= found.start <= found.end


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x01x", "FRAME_KIND"),  # text
        (b"\x02\x01x", "FRAME_KIND"),  # the first piece of a message
        (b"\x80\x01x", "FRAME_KIND"),  # the last one
        (b"\x89\x00", "FRAME_KIND"),  # a ping of WebSocket's own
        (b"\xc2\x01x", "FRAME_KIND"),  # compressed
        (b"\x82\x81\0\0\0\0x", "FRAME_KIND"),  # a client's
        (b"\x82\x7f" + (MESSAGE_BYTES_MAX + 1).to_bytes(8), "FRAME_TOO_LARGE"),
    ],
)
def test_what_no_node_says_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(BadFrame) as caught:
        find_message(data, 0)
    assert caught.value.code == code


def test_a_goodbye_is_found_with_its_reason() -> None:
    assert find_message(b"\x88\x06\x03\xe9IDLE", 0) == Message(True, 2, 8)
    assert close_reason(b"\x03\xe9IDLE") == "IDLE"
    assert close_reason(b"") == ""
    assert close_reason(b"\x03\xe9\xff") == "�"


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 125, 126, 300])
def test_a_client_masks_what_it_says(length: int) -> None:
    payload, mask = bytes(range(1, 256)) * 2, b"\xff\x0f\x33\x01"
    data = client_message(payload[:length], mask)
    head = b"\x82" + bytes((0x80 | length,) if length < 126 else (0xFE, *length.to_bytes(2)))
    assert data[: len(head) + 4] == head + mask
    masked = data[len(head) + 4 :]
    assert bytes(b ^ mask[i % 4] for i, b in enumerate(masked)) == payload[:length]
    assert client_message(b"", mask, closes=True) == b"\x88\x80" + mask
