"""The yardstick of a batch: what was verified, by the clock of the processor, of all jobs together."""

from collections.abc import Iterator

import pytest

from tests.sim import yardstick


@pytest.mark.parametrize("jobs", [1, 2])
def test_it_counts_what_holds_per_second_of_the_processor_on_all_jobs(
    monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    quarters: Iterator[float] = iter([0.0, 0.0, 0.25, 0.5])  # each process has its own copy
    monkeypatch.setattr(yardstick, "process_time", lambda: next(quarters))
    assert yardstick.signatures_per_s(jobs) == jobs * 2 * yardstick.ROUND / 0.5


def test_a_signature_that_does_not_hold_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    quarters = iter([0.0, 0.0, 0.25, 0.5])
    monkeypatch.setattr(yardstick, "process_time", lambda: next(quarters))
    monkeypatch.setattr(yardstick, "verify", lambda *_: False)
    assert yardstick.signatures_per_s(1) == 0
