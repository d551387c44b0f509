"""Where the shared public test data lies; tests that need it skip with the reason when it is absent."""

import json
from pathlib import Path
from typing import Any

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data"


def path(name: str) -> Path:
    found = DATA / name
    if not found.exists():
        pytest.skip(f"the shared test data ../shared/data/{name} is not here")
    return found


def load(name: str) -> Any:
    return json.loads(path(name).read_bytes())
