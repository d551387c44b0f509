"""The bad validators serve the measurement only."""

from pathlib import Path

import pytest

from node.config import Config
from salus.hashing import ZERO_HASH
from tests import factories
from tests.primaries.validator import KINDS, NODES, main


@pytest.mark.parametrize("kind", KINDS)
def test_no_other_chain_has_such_a_validator(tmp_path: Path, kind: str) -> None:
    genesis = factories.genesis()
    with pytest.raises(SystemExit, match="no benchmark"):
        NODES[kind](tmp_path, Config(), genesis, factories.keys(4)[0], ZERO_HASH)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments", [[], ["slow"], ["fast", "--home", "x"], ["slow", "-h", "x"]])
def test_what_it_does_not_understand_it_does_not_do(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="usage"):
        main(arguments)
