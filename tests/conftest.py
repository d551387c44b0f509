"""Options and fixtures of the whole suite."""

import pytest
from hypothesis import HealthCheck, settings

# Found is what is wrong, not what is slow. The parent is hypothesis' own choice: in CI the
# examples are the same each time.
settings.register_profile(
    "salus", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("salus")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="rewrite golden and generated files")
    parser.addoption("--long", action="store_true", help="also what is marked long")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--long"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="long: pytest --long"))


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Write what the code now says; read the diff before you commit it."""
    return bool(request.config.getoption("--rewrite"))
