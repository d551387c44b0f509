"""What the fuzzer found: each a test named for the behaviour that was wrong."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cli.errors import CliError
from cli.home import NodeHome, read_testnet
from cli.keyfiles import public_key_of
from cli.transactions import _document
from node.api.problems import ApiError
from node.api.request import NoArguments, arguments
from node.config import load
from node.errors import ConfigError
from salus.client_errors import ClientError
from salus.client_events import FileCheckpoint
from salus.client_http import ANSWER_BYTES_MAX, Answer, problem_of, retry_after
from salus.codec import encode
from salus.errors import SalusError
from salus.forms_node import Status
from salus.height_headers import named_height
from storage.errors import JournalDamaged, VaultDamaged
from storage.segment import SUMS_PER_BYTE_MAX, SegmentHeader, read_segment
from storage.vault import ERASING_FILE, Erasing
from tests.fuzz.decoders.client import EVENT, answered, events
from tests.fuzz.decoders.disk import key_files, written
from tests.fuzz.decoders.edge import http_get
from tests.storage import test_vault
from tests.storage.memory_disk import MemoryDisk

DEEP = b"[" * 20_000


@pytest.mark.parametrize("body", [DEEP, b'{"chain_id": "\xff"}', b"\xff\xfe"])
def test_an_answer_that_is_no_json_is_a_client_error(body: bytes) -> None:
    """Of a lying node: depth and text that is not UTF-8 came out as errors of Python."""
    answer = answered(body)
    for read in (
        lambda: answer.decode(Status),
        answer.json,
        lambda: events(b"id: 1\ndata: " + body + b"\n\n"),
    ):
        with pytest.raises(ClientError) as caught:
            read()
        assert caught.value.code == "BAD_ANSWER"
    assert isinstance(problem_of(Answer(500, {}, body, "x"), False), ClientError)


def test_an_event_whose_id_is_no_position_is_a_client_error() -> None:
    """`height` of it would have been a ValueError in the reader's loop."""
    with pytest.raises(ClientError, match="position"):
        events(b"id: x.y\ndata: " + EVENT + b"\n\n")


@pytest.mark.parametrize("said", ["9" * 5_000, "9007199254740992", "-1", "x", "", "²"])
def test_a_height_that_nobody_can_have_is_none(said: str) -> None:
    """X-Height of 5,000 digits ended the call with a ValueError of Python's limit for them."""
    assert named_height(said) == 0
    assert retry_after("9" * 5_000) == 0


async def test_an_answer_without_end_is_not_held_in_memory() -> None:
    from salus import client_http

    taken = 0

    class Endless:
        url = "https://a.example"

        @property
        def content(self) -> "Endless":
            return self

        async def iter_any(self) -> Any:
            nonlocal taken
            while True:
                taken += 100
                yield bytes(100)

    async with asyncio.timeout(60):
        with pytest.raises(ClientError):
            await client_http._bounded(Endless(), 1_000)  # type: ignore[arg-type]
    assert taken <= 1_100
    assert ANSWER_BYTES_MAX == 64 * 2**20


@pytest.mark.parametrize("content", ["zürich", "12.3.4", "x"])
def test_a_checkpoint_that_is_no_position_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "at").write_text(content, "utf-8")
    with pytest.raises(ClientError) as caught:
        FileCheckpoint(tmp_path / "at").load()
    assert caught.value.code == "BAD_POSITION"


@pytest.mark.parametrize(
    "target", [b"/v1/blocks/latest%0a", b"/v1/blocks/1%0a", b"/v1/headers/latest%0a"]
)
def test_a_line_feed_behind_an_argument_is_refused(target: bytes) -> None:
    """`$` of a pattern matches before a line feed: the node answered INTERNAL."""
    with pytest.raises(SalusError) as caught:
        http_get(target)
    assert caught.value.code in ("BAD_ARGUMENT", "NO_ROUTE")


def test_a_parameter_that_is_no_text_is_refused() -> None:
    from types import SimpleNamespace

    from yarl import URL

    url = URL.build(path="/", query_string="a\udcff=1", encoded=True)
    request = SimpleNamespace(match_info={}, query=url.query, rel_url=url)
    with pytest.raises(ApiError) as caught:
        arguments(request, NoArguments)  # type: ignore[arg-type]
    assert caught.value.code == "BAD_ARGUMENT"


@pytest.mark.parametrize(
    "text",
    [
        "version = " + "9" * 5_000,
        "version = " + "[" * 20_000,
        "a" + ".a" * 5_000 + " = 1",  # took 25 MB, and 16 times as much at four times the length
        "[a" + ' . "a"' * 5_000 + "]",
    ],
)
def test_a_node_toml_that_python_stumbles_over_is_named(tmp_path: Path, text: str) -> None:
    """Such a start ended with a trace of Python, or with the memory of the machine."""
    (tmp_path / "node.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "node.toml")
    assert [problem.code for problem in caught.value.problems][:1] == ["CONFIG_SYNTAX"]
    with pytest.raises(CliError) as told:
        NodeHome(tmp_path).settings()
    assert told.value.code == "CONFIG_INVALID"


def test_names_with_many_dots_are_no_nesting(tmp_path: Path) -> None:
    from node import toml

    peers = ", ".join(f'"sal1@node-{n}.hospital.example.org:7400"' for n in range(200))
    assert len(toml.parse(f"peers = [{peers}]")["peers"]) == 200


def test_a_node_toml_that_is_no_text_or_no_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_bytes(b"\xff")
    with pytest.raises(CliError):
        NodeHome(tmp_path).settings()
    (tmp_path / "node.toml").write_bytes(b"api = 1\n")
    assert NodeHome(tmp_path).setting("api", "listen", "x") == "x"


def test_files_of_a_home_that_are_nested_too_deeply_are_named(tmp_path: Path) -> None:
    (tmp_path / "join.json").write_bytes(DEEP)
    assert NodeHome(tmp_path).member() is None
    (tmp_path / "testnet.json").write_bytes(DEEP)
    with pytest.raises(CliError) as caught:
        read_testnet(tmp_path)
    assert caught.value.code == "CONFIG_INVALID"


def test_arguments_that_are_no_text_are_refused() -> None:
    """What the shell hands over need not be UTF-8."""
    with pytest.raises(CliError) as caught:
        _document('{"a\udcff": 1')
    assert caught.value.code == "BAD_ARGUMENT"


def test_a_box_keystore_without_a_key_is_named() -> None:
    box = json.loads(key_files()[1])
    for address in ("xyz", "", "AB" * 32, "ab" * 31):
        path = written(json.dumps(box | {"address": address}).encode(), "bad-box.json")
        with pytest.raises(SalusError) as caught:
            public_key_of(path)
        assert caught.value.code == "BAD_KEYSTORE"


@pytest.mark.parametrize("epoch", [0, 3, 99])
def test_an_erasure_of_another_time_is_damage(epoch: int) -> None:
    """It came out as a failed assertion, after which no start of the node went well."""
    disk = MemoryDisk()
    test_vault.open_vault(disk)
    file = disk.create(f"{test_vault.DIRECTORY}/{ERASING_FILE}")
    file.write(encode(Erasing(epoch, (), ())))
    file.sync()
    with pytest.raises(VaultDamaged, match="another time"):
        test_vault.open_vault(disk)


def test_a_segment_made_to_be_summed_for_ever_is_damaged() -> None:
    """Each place looks like the head of a long record: a square of its size had to be summed."""
    header = SegmentHeader(bytes(16), bytes(32), 1, 1).encode()
    size = 2**20
    place = (size // 2).to_bytes(4) + bytes(4) + (5).to_bytes(8)
    with pytest.raises(JournalDamaged):
        read_segment(header + place * (size // len(place)), "000000000001.seg")
    assert SUMS_PER_BYTE_MAX >= 1
