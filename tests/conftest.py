"""Options and fixtures of the whole suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="rewrite golden and generated files")


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    """Write what the code now says; read the diff before you commit it."""
    return bool(request.config.getoption("--rewrite"))
