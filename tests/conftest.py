"""Options and fixtures of the whole suite."""

import asyncio
import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests import jitter, pace, tidy
from tests.e2e.nursery import Nurseries
from tests.pace import VARIABLE as PACE

# Found is what is wrong, not what is slow. The parent is hypothesis' own choice: in CI the
# examples are the same each time.
settings.register_profile(
    "salus", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("salus")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="rewrite golden and generated files")
    parser.addoption("--long", action="store_true", help="also what is marked long")
    parser.addoption("--laggard", metavar="NAME", help="this node of each testnet is 0.4 s behind")
    parser.addoption(
        "--pace", metavar="TIMES", type=float, help="periodic work, so many times as seldom"
    )
    parser.addoption("--jitter", metavar="SEED", help="event loops of a busy machine")


def pytest_configure(config: pytest.Config) -> None:
    if name := config.getoption("--laggard"):
        from tests.laggard import VARIABLE  # it imports a whole node

        os.environ[VARIABLE] = name
    if times := config.getoption("--pace"):
        os.environ[PACE] = str(times)
        pace.change()
    seed = config.getoption("--jitter")
    asyncio.set_event_loop_policy(jitter.JitterPolicy(seed) if seed else tidy.Policy())


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    policy = asyncio.get_event_loop_policy()
    if isinstance(policy, jitter.JitterPolicy):
        policy.begin(item.nodeid)


# Several workers take files from the head of the list: what takes minutes must not begin last. Files
# of the first of these that fits; all others come after them.
LONGEST_FIRST = (
    "tests/e2e/test_faults.py",  # two minutes are an outage
    "tests/mutants/",
    "tests/e2e/test_governance.py",
    "tests/e2e/test_ceremony.py",
    "tests/e2e/",
    "tests/privacy/",
    "tests/sim/",
    "tests/fuzz/",
)


def _turn(item: pytest.Item) -> int:
    fits = (turn for turn, name in enumerate(LONGEST_FIRST) if item.nodeid.startswith(name))
    return next(fits, len(LONGEST_FIRST))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(
        config, "workerinput"
    ):  # a person at one process wants to see the fast ones fail first
        items.sort(key=_turn)
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: pytest --long"))


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Write what the code now says; read the diff before you commit it."""
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture(scope="session")
def nurseries() -> Iterator[Nurseries]:
    """For the end-to-end tests of one process."""
    made = Nurseries()
    try:
        yield made
    finally:
        made.close()
