"""`salus config`: changes keep the comments, and a bad change changes nothing."""

from pathlib import Path

import pytest

from node.config_docs import render_toml
from tests.cli.conftest import Salus


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "node.toml").write_text(render_toml({"p2p.listen": "0.0.0.0:7400"}))
    return tmp_path


def test_set_changes_one_line_and_keeps_the_rest(home: Path, salus: Salus) -> None:
    before = (home / "node.toml").read_text().splitlines()
    assert salus("config", "set", "p2p.listen", "0.0.0.0:7444", "--home", home).code == 0
    after = (home / "node.toml").read_text().splitlines()
    assert len(before) == len(after)
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert changed == [('listen = "0.0.0.0:7400"', 'listen = "0.0.0.0:7444"')]
    got = salus("config", "get", "p2p.listen", "--home", home, "--json").document
    assert got["value"] == "0.0.0.0:7444"
    assert got["origin"].startswith("node.toml:")


def test_a_value_out_of_range_changes_nothing(home: Path, salus: Salus) -> None:
    before = (home / "node.toml").read_text()
    assert salus("config", "set", "p2p.max_peers", "0", "--home", home).code == 78
    # Valid alone, and not with the rest: «none» needs loopback.
    salus("config", "set", "api.listen", "0.0.0.0:7480", "--home", home)
    before = (home / "node.toml").read_text()
    result = salus("config", "set", "api.auth", "none", "--home", home, "--json")
    assert result.code == 78
    assert (home / "node.toml").read_text() == before
    assert sorted(path.name for path in home.iterdir()) == ["node.toml"]


def test_an_unknown_setting_is_met_with_a_guess(home: Path, salus: Salus) -> None:
    result = salus("config", "get", "p2p.max_peerz", "--home", home)
    assert result.code == 2
    assert "p2p.max_peers" in result.err


def test_check_names_every_fault_with_its_line(home: Path, salus: Salus) -> None:
    (home / "node.toml").write_text('version = 1\n[p2p]\nmax_peerz = 3\nidle_timeout = "x"\n')
    result = salus("config", "check", "--home", home, "--json")
    assert result.code == 78
    assert [p["source"] for p in result.document["problems"]] == ["node.toml:3", "node.toml:4"]


def test_show_has_every_setting_with_its_origin(
    home: Path, salus: Salus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALUS_LOG__LEVEL", "debug")
    shown = salus("config", "show", "--origin", "--home", home, "--json").document
    assert shown["log.level"] == {"value": "debug", "origin": "SALUS_LOG__LEVEL"}
    assert shown["api.listen"]["origin"] == "default"


def test_what_belongs_together_is_set_together(home: Path, salus: Salus) -> None:
    """A certificate without its key is not valid, nor the other way round."""
    assert salus("config", "set", "api.tls_cert", "api.crt", "--home", home).code == 78
    both = ("api.tls_cert", "api.crt", "api.tls_key", "api.key")
    changed = salus("config", "set", *both, "--home", home, "--json").document
    assert changed == {
        "settings": {"api.tls_cert": "api.crt", "api.tls_key": "api.key"},
        "written": True,
    }
    assert salus("config", "get", "api.tls_key", "--home", home).out.strip() == "api.key"
    before = (home / "node.toml").read_text()
    assert salus("config", "set", *both, "api.auth", "--home", home).code == 2
    assert salus("config", "set", *both, "api.auth", "perhaps", "--home", home).code == 78
    assert (home / "node.toml").read_text() == before
