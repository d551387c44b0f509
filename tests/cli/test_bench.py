"""The benchmark's own rules: what is dropped, what disk it needs, and when it must not count."""

import json
import shutil
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cli import bench, load
from cli.bench import Options
from cli.home import TestnetNode
from cli.main import run


@pytest.mark.parametrize(("seconds", "dropped"), [(1, 2), (59, 2), (60, 10), (3600, 10)])
def test_a_figure_to_be_published_drops_its_first_ten_seconds(seconds: int, dropped: int) -> None:
    options = Options(seconds=seconds, rate=100)
    assert options.warm_up_s == dropped
    assert options.transactions == 100 * (seconds + dropped), "signed for both"


def test_the_disk_needed_follows_the_load() -> None:
    small = Options(seconds=1, prefill=0, rate=10)
    assert small.disk_bytes < 2 * 2**30
    assert Options(seconds=60).disk_bytes > 4 * 2**30, "a minute of four at full speed"
    for more in (
        Options(seconds=1, prefill=10**6, rate=10),
        Options(seconds=1, prefill=0, rate=10_000),
        Options(seconds=10**5, prefill=0, rate=10),
        Options(seconds=1, prefill=0, rate=10_000, operations=400),
    ):
        assert more.disk_bytes > small.disk_bytes


def test_too_little_disk_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = Options(validators=4, seconds=60).disk_bytes
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(bench, "run", None)
    assert run(["bench", "--seconds", "60", "--json"]) != 0
    said = json.loads(capsys.readouterr().out)["error"]
    assert said["code"] == "DISK_FULL"
    assert f"{needed >> 20} MiB needed" in said["message"]


async def test_a_load_that_ends_before_the_time_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a fast machine would be reported as a slow one."""

    async def post(session: Any, api: str, part: Sequence[load.Signed]) -> int:
        return 0

    async def committed(session: Any, api: str, tx_id: bytes) -> None: ...

    monkeypatch.setattr(bench, "_post_array", post)
    monkeypatch.setattr(bench, "_committed", committed)
    node = cast(TestnetNode, SimpleNamespace(api="http://nowhere"))
    signed = [[load.Signed(b"", bytes(32), True)] * 10]
    now = time.perf_counter()
    measured = bench._Measured(now, now + 1_000)
    await bench._saturate([node], signed, measured)
    assert measured.committed == 10
    assert measured.ran_dry
    over = bench._Measured(now - 2, now - 1)
    await bench._saturate([node], [[load.Signed(b"", bytes(32), True)]], over)
    assert not over.ran_dry
