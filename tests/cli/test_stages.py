"""Which stage a node's processor time goes to."""

import threading
from pathlib import Path

import pytest

from cli.bench import limits, stage_table
from cli.bench.stages import NAMES, STAGES, Sampler, _of_file
from salus.keys import SigningKey, verify


def test_every_place_of_a_stage_exists() -> None:
    """A file that was renamed would silently be counted as another stage."""
    root = Path(__file__).parents[2]
    ours = [
        place
        for _, places in STAGES
        for place in places
        if place.split("/")[0] in ("salus", "node", "consensus", "contracts", "storage")
    ]
    assert len(ours) > 30
    assert [place for place in ours if not (root / place).exists()] == []


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("/x/salus/keys.py", "verify"),
        ("/x/contracts/records.py", "execute"),
        ("/x/consensus/log.py", "order"),
        ("/x/node/net/link.py", "transport"),
        ("/x/node/api/app.py", "receive"),
        ("/x/salus/codec.py", ""),
        ("/usr/lib/python3.11/asyncio/base_events.py", "loop"),
    ],
)
def test_a_file_belongs_to_a_stage(file: str, stage: str) -> None:
    assert _of_file(file) == stage


def test_time_that_is_spent_is_found_and_waiting_is_not(tmp_path: Path) -> None:
    sampler = Sampler(tmp_path / "stages.json")
    key, stop, halfway = SigningKey.from_seed(bytes(32)), threading.Event(), threading.Event()
    signature = key.sign(b"x")

    def work() -> None:
        count = 0
        while not stop.is_set():
            verify(key.public_key, b"x", signature)
            count += 1
            if count == 300:
                halfway.set()

    worker = threading.Thread(target=work)
    waiter = threading.Thread(target=stop.wait)
    worker.start()
    waiter.start()
    watcher = threading.Thread(target=lambda: (sampler.look(), halfway.wait(60), sampler.look()))
    watcher.start()
    watcher.join()
    stop.set()
    worker.join()
    waiter.join()
    assert sampler.seconds["verify"] > 0
    assert sampler.seconds["verify"] > 0.8 * sum(sampler.seconds.values())


def test_the_table_speaks_of_one_transaction_at_one_node() -> None:
    before = dict.fromkeys(NAMES, 1.0)
    after = {**before, "verify": 3.0, "execute": 2.0}
    rows = stage_table.table(before, after, 1_000, 4, {"verify": 55.0})
    told = {row.stage: row for row in rows}
    assert [row.stage for row in rows] == list(NAMES)
    assert (told["verify"].us_per_tx, told["verify"].limit_us) == (500.0, 55.0)
    assert (told["execute"].us_per_tx, told["execute"].limit_us) == (250.0, None)
    assert sum(row.share for row in rows) == pytest.approx(1, abs=0.01)
    assert "verify" in stage_table.text(rows)


def test_limits_are_measured_for_the_stages(tmp_path: Path) -> None:
    found = limits.limits(tmp_path, 264, 500.0, 4, 1)
    assert set(found) <= set(NAMES)
    assert all(value > 0 for value in found.values())
    assert found["verify"] > found["decode"]
