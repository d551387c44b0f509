"""The hospitals of the story start warm, on ports that nobody else takes (tests/e2e/conftest.py)."""

from tests.e2e.conftest import warm_starts  # noqa: F401 - a fixture of every module here
