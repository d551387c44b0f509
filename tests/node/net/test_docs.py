"""docs/formats-wire.md says what the code does."""

import re
from pathlib import Path

from node.net.frames import (
    FRAMES_PER_MESSAGE_MAX,
    HANDSHAKE_MESSAGE_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    QUEUE_CLASS,
    Kind,
)
from node.net.handshake import Refusal
from node.net.listener import PEER_PATH

TEXT = (Path(__file__).parents[3] / "docs" / "formats-wire.md").read_text()


def test_the_table_of_kinds_is_the_codes() -> None:
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \| (\S+) \| (\d+) \|", TEXT, re.MULTILINE)
    assert rows == [
        (
            str(int(kind)),
            kind.name,
            QUEUE_CLASS[kind].name.lower() if kind in QUEUE_CLASS else "–",
            str(PAYLOAD_BYTES_MAX[kind]),
        )
        for kind in Kind
    ]


def test_every_refusal_is_explained() -> None:
    assert {word for word in Refusal if f"| {word} |" in TEXT} == set(Refusal)


def test_the_constants_are_the_codes() -> None:
    assert f"`GET {PEER_PATH}`" in TEXT
    assert f"at most {FRAMES_PER_MESSAGE_MAX} frames" in TEXT
    assert f"at most {HANDSHAKE_MESSAGE_BYTES_MAX} bytes" in TEXT
