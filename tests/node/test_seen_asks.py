"""Each signed ask counts once: within bounds, until it expires, and after a restart."""

from pathlib import Path

import pytest

from node import seen_asks
from node.seen_asks import KEPT_LONGER_MS, SeenAsks
from salus.errors import SalusError
from storage.disk import AppendFile, RealDisk
from storage.errors import StoreUnavailable, StoreVersion
from tests import factories

KEY, OTHER = factories.seed("key"), factories.seed("other key")


def nonce(number: int) -> bytes:
    return number.to_bytes(16)


def code(asks: SeenAsks, key: bytes, number: int, now_ms: int = 0) -> str:
    with pytest.raises(SalusError) as caught:
        asks.use("desk", key, nonce(number), 100, now_ms)
    return caught.value.code


def test_an_ask_counts_once_until_it_has_expired(tmp_path: Path) -> None:
    asks = SeenAsks(tmp_path / "asks")
    assert asks.use("desk", KEY, nonce(1), 100, 0)
    assert not asks.use("desk", KEY, nonce(1), 100, 99)
    assert asks.use("desk", OTHER, nonce(1), 100, 99)
    assert asks.use("audit", KEY, nonce(1), 100, 99)
    again = SeenAsks(tmp_path / "asks")
    for kind, key in (("desk", KEY), ("desk", OTHER), ("audit", KEY)):
        assert not again.use(kind, key, nonce(1), 100, 99)
    assert again.use("desk", KEY, nonce(1), 200, 100 + KEPT_LONGER_MS)
    assert KEY not in (tmp_path / "asks").read_bytes()


def test_whoever_reads_the_clock_a_moment_later_lets_no_ask_be_answered_again() -> None:
    """One thread found that the ask lives; before it comes here another one sees it expire."""
    asks = SeenAsks()
    assert asks.use("desk", KEY, nonce(1), 100, 0)
    assert asks.use("desk", OTHER, nonce(1), 200, 100)
    assert not asks.use("desk", KEY, nonce(1), 100, 99)


def test_one_key_leaves_room_for_the_others_and_all_have_a_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(seen_asks, "ASKS_MAX", 4)
    asks = SeenAsks()
    for number in range(3):
        assert asks.use("desk", KEY, nonce(number), 100, 0, per_key_max=3)
    with pytest.raises(SalusError) as caught:
        asks.use("desk", KEY, nonce(3), 100, 0, per_key_max=3)
    assert caught.value.code == "RATE_LIMITED"
    assert asks.use("desk", OTHER, nonce(0), 100, 0)
    assert code(asks, OTHER, 1) == "BUSY"
    assert not asks.use("desk", KEY, nonce(0), 100, 0), (
        "what was used is told so, however full it is"
    )
    assert asks.use("desk", KEY, nonce(3), 200, 100 + KEPT_LONGER_MS, per_key_max=3)


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "asks"
    asks = SeenAsks(file)
    assert asks.use("desk", KEY, nonce(1), 100, 0)
    assert asks.use("desk", KEY, nonce(2), 100, 0)
    file.write_bytes(file.read_bytes()[:-1])
    again = SeenAsks(file)
    assert not again.use("desk", KEY, nonce(1), 100, 0)
    assert again.use("desk", KEY, nonce(2), 100, 0)
    assert not SeenAsks(file).use("desk", KEY, nonce(2), 100, 0)


def test_the_file_does_not_grow_with_what_has_expired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen_asks, "DEAD_MAX", 8)
    asks = SeenAsks(tmp_path / "asks")
    for number in range(100):
        at_ms = number * KEPT_LONGER_MS
        assert asks.use("desk", KEY, nonce(number), at_ms, at_ms)
    assert (tmp_path / "asks").stat().st_size < 12 * 40 + 12
    assert not SeenAsks(tmp_path / "asks").use("desk", KEY, nonce(99), at_ms, at_ms)


def test_what_could_not_be_remembered_is_not_answered_and_may_come_again(tmp_path: Path) -> None:
    class Full(RealDisk):
        full = False

        def open_append(self, path: str) -> AppendFile:
            file = super().open_append(path)
            write = file.write

            def torn(data: bytes) -> None:
                write(data[:5] if self.full else data)
                if self.full:
                    raise OSError(28, "no space left on device")

            file.write = torn  # type: ignore[method-assign]
            return file

    disk = Full()
    asks = SeenAsks(tmp_path / "asks", disk)
    assert asks.use("desk", KEY, nonce(1), 100, 0)
    disk.full = True
    with pytest.raises(StoreUnavailable):
        asks.use("desk", KEY, nonce(2), 100, 0)
    disk.full = False
    assert asks.use("desk", KEY, nonce(2), 100, 0)
    again = SeenAsks(tmp_path / "asks")
    assert [again.use("desk", KEY, nonce(number), 100, 0) for number in (1, 2)] == [False, False]


def test_another_format_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "asks").write_bytes(b"SALUSASK\0\0\0\2")
    with pytest.raises(StoreVersion):
        SeenAsks(tmp_path / "asks")
    assert (tmp_path / "asks").read_bytes() == b"SALUSASK\0\0\0\2"
