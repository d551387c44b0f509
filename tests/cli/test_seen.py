"""What a testnet's user has seen of the chain, between two commands."""

from pathlib import Path

import pytest

from cli.home import Home
from cli.seen import DIFFERENCE_MAX, SeenHeight


@pytest.fixture
def seen(tmp_path: Path) -> SeenHeight:
    return SeenHeight(tmp_path / "seen-height")


def test_the_next_command_knows_what_the_last_one_saw(seen: SeenHeight) -> None:
    assert seen.load() == 0
    seen.save(41)
    seen.save(43)
    assert seen.load() == 43
    assert [path.name for path in seen.file.parent.iterdir()] == ["seen-height"]


def test_a_command_that_was_faster_with_an_older_answer_takes_nothing_back(
    seen: SeenHeight,
) -> None:
    seen.save(43)
    seen.save(41)
    seen.save(0)  # nobody answered
    assert seen.load() == 43


def test_a_height_far_beyond_what_answers_name_is_forgotten(seen: SeenHeight) -> None:
    """Of a node that lied, or of a chain that was here before."""
    seen.save(2**53 - 1)
    seen.save(7)
    assert seen.load() == 7
    seen.save(7 + DIFFERENCE_MAX)
    seen.save(7)
    assert seen.load() == 7 + DIFFERENCE_MAX


@pytest.mark.parametrize("content", [b"", b"-1", b"\xff", b"1" * 99, b"x", b"9007199254740992"])
def test_a_damaged_file_is_no_height(seen: SeenHeight, content: bytes) -> None:
    seen.file.write_bytes(content)
    assert seen.load() == 0
    seen.save(5)
    assert seen.load() == 5


def test_a_file_that_cannot_be_written_disturbs_nobody(seen: SeenHeight) -> None:
    seen.file.mkdir()
    seen.save(5)
    assert seen.load() == 0


def test_the_home_of_one_node_keeps_none(tmp_path: Path) -> None:
    assert Home(tmp_path).seen is None
    (tmp_path / "testnet.json").write_text("{}")
    assert Home(tmp_path).seen == SeenHeight(tmp_path / "seen-height")
