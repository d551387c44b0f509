"""The other pace: every period is a number of a node's, and without the option none is touched."""

from importlib import import_module

import pytest

from node.config_tables import P2P
from tests.pace import PERIODS, VARIABLE, change


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is changed here is as before after each test."""
    for module, name in (*PERIODS, ("node.config_tables", "NetLimits")):
        found = import_module(module)
        monkeypatch.setattr(found, name, getattr(found, name))


def periods() -> list[float]:
    own = [float(getattr(import_module(module), name)) for module, name in PERIODS]
    return [*own, P2P().limits().ping_interval_ms]


@pytest.mark.parametrize("times", [2, 0.05])
def test_each_period_is_so_many_times_as_long(
    monkeypatch: pytest.MonkeyPatch, times: float
) -> None:
    before = periods()
    assert min(before) > 0
    monkeypatch.setenv(VARIABLE, str(times))
    change()
    assert periods() == pytest.approx([times * period for period in before])


def test_a_peer_is_pinged_before_it_is_taken_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "100")
    change()
    limits = P2P().limits()
    assert 2 * limits.ping_interval_ms <= limits.idle_timeout_ms


def test_without_the_option_nothing_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    before = periods()
    change()
    assert periods() == before
