"""The node that is behind: late it is, in order, and only the one that was named."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

import pytest

from node.pipeline import Pipeline
from tests.laggard import LATE_S, VARIABLE, LatePipeline, pipeline_of
from tests.steps import stepped

STEP_S = LATE_S / 4  # between two blocks


class Bench:
    """A pipeline whose disk takes no time; when each block went there."""

    def __init__(self) -> None:
        self.began_s = asyncio.get_running_loop().time()
        self.written: list[tuple[int, float]] = []
        executor, state, bodies, disk, epoch = Mock(), Mock(), Mock(), Mock(), Mock(end=0)
        state.height.return_value = 0
        bodies.orphaned.return_value = False
        bodies.get.return_value = b""
        executor.batch = lambda height, _: Mock(header=Mock(height=height, epoch_end=0), epoch=None)
        disk.start = lambda _, answer: answer(0.0, None)
        self.pipeline = LatePipeline(
            executor, state, bodies, Mock(), Mock(), epoch, self._written, Mock(), Mock(), Mock(),
            disk, Mock(),
        )  # fmt: skip

    def _written(self, written: Mock) -> None:
        now_s = asyncio.get_running_loop().time()
        self.written.append((written.batch.header.height, round(now_s - self.began_s, 3)))

    def certify(self, height: int, *, fetched: bool = False) -> None:
        self.pipeline.headers[height] = Mock()
        self.pipeline.certify(height, Mock(), fetched=fetched)


@stepped
async def test_each_block_is_written_late_and_none_waits_for_another() -> None:
    bench = Bench()
    for height in (1, 2, 3):
        bench.certify(height)
        bench.certify(height)  # again, as a new view does
        await asyncio.sleep(STEP_S)
    await asyncio.sleep(10 * LATE_S)
    assert bench.written == [
        (height, round(LATE_S + (height - 1) * STEP_S, 3)) for height in (1, 2, 3)
    ]


@stepped
async def test_what_was_fetched_is_late_already_and_comes_in_its_turn() -> None:
    bench = Bench()
    bench.certify(1, fetched=True)
    bench.certify(2)
    bench.certify(3, fetched=True)
    await asyncio.sleep(10 * LATE_S)
    assert bench.written == [(1, 0.0), (2, LATE_S), (3, LATE_S)]


def test_only_the_named_node_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert pipeline_of(Path("net/nodes/hosp-b")) is Pipeline
    monkeypatch.setenv(VARIABLE, "hosp-b")
    assert pipeline_of(Path("net/nodes/hosp-b")) is LatePipeline
    assert pipeline_of(Path("net/nodes/hosp-a")) is Pipeline
