"""A watched folder: whole files only, and nothing outside of it."""

import io
import os
from pathlib import Path

import pytest

from cli.watch_folder import DEPTH_MAX, OLD_S, SETTLE_S, Folder, Sight

MAX = 1000


class Hands:
    """A folder with a clock that steps; files are of now unless they are aged."""

    def __init__(self, root: Path) -> None:
        self.root, self.now = root, 1_000.0
        self.folder = Folder(root, clock=lambda: self.now, now_ns=lambda: int(self.now * 1e9))

    def write(self, name: str, content: bytes = b"x", age_s: float = 0) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        changed = int((self.now - age_s) * 1e9)
        os.utime(path, ns=(changed, changed))
        return path

    def whole(self, wait_s: float = 0) -> list[str]:
        self.now += wait_s
        return [sight.path for sight in self.folder.look()]

    def settled(self) -> list[Sight]:
        self.folder.look()
        self.now += SETTLE_S
        return self.folder.look()


@pytest.fixture
def hands(tmp_path: Path) -> Hands:
    return Hands(tmp_path)


def test_a_file_is_whole_when_it_did_not_change_between_two_looks(hands: Hands) -> None:
    hands.write("a.json", b"1")
    assert hands.whole() == []
    assert hands.folder.changing == 1
    hands.write("a.json", b"12")  # it grows
    assert hands.whole(SETTLE_S) == []
    assert hands.whole(SETTLE_S / 2) == []
    assert hands.whole(SETTLE_S / 2) == ["a.json"]
    assert hands.folder.changing == 0


def test_a_file_that_is_touched_or_replaced_is_another_one(hands: Hands) -> None:
    (sight,) = (hands.write("a.json"), hands.settled())[1]
    hands.write("a.json", age_s=-1)
    assert hands.whole() == []
    hands.write(".b", age_s=-1)
    (hands.root / ".b").rename(hands.root / "a.json")  # same size, same time: another inode
    assert hands.whole(SETTLE_S) == []
    assert hands.folder.read(sight, MAX) is None


def test_an_old_file_is_whole_at_the_first_look(hands: Hands) -> None:
    hands.write("old.json", age_s=OLD_S)
    hands.write("future.json", age_s=-OLD_S)  # another machine's clock
    assert hands.whole() == ["old.json"]
    assert hands.whole(SETTLE_S) == ["future.json", "old.json"]


def test_folders_in_folders_are_served_and_unfinished_names_are_not(hands: Hands) -> None:
    names = ("a.json", "sub/b.pdf", "sub/deeper/c.txt")
    for name in (*names, ".hidden", ".git/d.json", "e.json.part", "f.TMP"):
        hands.write(name, age_s=OLD_S)
    assert hands.whole() == list(names)


def test_no_link_is_followed(hands: Hands, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.json").write_bytes(b"x")
    hands.write("a.json", age_s=OLD_S)
    (hands.root / "link.json").symlink_to(outside / "secret.json")
    (hands.root / "folder").symlink_to(outside, target_is_directory=True)
    (hands.root / "loop").symlink_to(hands.root, target_is_directory=True)
    os.mkfifo(hands.root / "pipe")
    assert hands.whole() == ["a.json"]
    assert hands.folder.skipped == 4


def test_a_link_that_takes_the_place_of_a_file_or_folder_is_not_read(
    hands: Hands, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside")
    (outside / "a.json").write_bytes(b"secret")
    hands.write("sub/a.json")
    hands.write("a.json")
    top, below = hands.settled()
    assert hands.folder.read(below, MAX) == b"x"
    (hands.root / "a.json").unlink()
    (hands.root / "a.json").symlink_to(outside / "a.json")
    (hands.root / "sub").rename(hands.root / "away")
    (hands.root / "sub").symlink_to(outside, target_is_directory=True)
    for sight in (top, below):
        with pytest.raises(OSError, match=r"Too many levels|Not a directory"):
            hands.folder.read(sight, MAX)
    (hands.root / "a.json").unlink()
    os.mkfifo(hands.root / "a.json")
    assert hands.folder.read(top, MAX) is None, "and nobody waits for a pipe"


def test_a_file_that_is_written_while_it_is_read_is_none(
    hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = hands.write("a.json", b"12")
    (sight,) = hands.settled()

    class Busy(io.FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            content = super().read(size)
            path.write_bytes(b"34 and more")
            return content

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdopen", lambda descriptor, mode: Busy(descriptor, mode))
        assert hands.folder.read(sight, MAX) is None
    assert hands.folder.read(sight, MAX) is None


def test_no_more_is_read_than_one_byte_above_the_limit(hands: Hands) -> None:
    hands.write("a.bin", b"x" * 50)
    (sight,) = hands.settled()
    assert hands.folder.read(sight, 10) == b"x" * 11


def test_folders_are_entered_to_a_bound(hands: Hands) -> None:
    deep = "/".join(["d"] * (DEPTH_MAX + 5))
    hands.write(f"{deep}/a.json", age_s=OLD_S)
    hands.write("b.json", age_s=OLD_S)
    assert hands.whole() == ["b.json"]
    assert hands.folder.skipped == 1


def test_a_folder_that_is_gone_is_said(hands: Hands) -> None:
    folder = Folder(hands.root / "nowhere")
    with pytest.raises(FileNotFoundError):
        folder.look()
