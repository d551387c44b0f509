"""Settings: order of sources, every fault at once, and documents that cannot rot."""

import re
import tomllib
from pathlib import Path

import pytest

from node.config import Config, load
from node.config_docs import render_reference, render_toml
from node.config_lines import key_lines
from node.config_tables import settings as declared
from node.errors import ConfigError, ConfigProblem
from node.net.limits import NetLimits
from node.net.peer import PeerAddress
from node.settings import Endpoint, What, peer_text
from salus.codes import CODES
from salus.keys import SigningKey, address
from salus.parameters import Parameters

ROOT = Path(__file__).parent.parent.parent
KEY = SigningKey.from_seed(bytes(32)).public_key
PEER = f"{address(KEY)}@hosp-b.example:7400"


def problems(tmp_path: Path, text: str, **more: dict[str, str]) -> list[ConfigProblem]:
    with pytest.raises(ConfigError) as caught:
        load(write(tmp_path, text), **more)
    for problem in caught.value.problems:
        assert problem.code in CODES, problem
    return list(caught.value.problems)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "node.toml"
    path.write_text(text)
    return path


def test_nothing_written_means_the_defaults() -> None:
    loaded = load(None)
    assert loaded.config == Config()
    assert set(loaded.origins.values()) == {"default"}
    assert loaded.config.api.listen.loopback
    assert loaded.config.profile == "prod"


def test_file_then_environment_then_command_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f'version = 1\n[p2p]\nlisten = "0.0.0.0:1"\nmax_peers = 7\npeers = ["{PEER}"]\n'
        '[log]\nlevel = "debug"\n',
    )
    loaded = load(
        path,
        environ={"SALUS_P2P__LISTEN": "0.0.0.0:2", "SALUS_LOG__LEVEL": "error", "SALUS_HOME": "x"},
        overrides={"p2p.listen": "[::1]:3"},
    )
    config, origins = loaded.config, loaded.origins
    assert config.p2p.listen == Endpoint("::1", 3)
    assert config.p2p.peers == (PeerAddress(KEY, "hosp-b.example", 7400),)
    assert config.log.level == "error"
    assert origins["p2p.listen"] == "command line (p2p.listen)"
    assert origins["log.level"] == "SALUS_LOG__LEVEL"
    assert origins["p2p.max_peers"] == "node.toml:4"
    assert origins["p2p.idle_timeout"] == "default"


def test_units_are_written_and_held_in_one_unit(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'version = 1\n[p2p]\nhandshake_timeout = "1500ms"\nidle_timeout = "1m"\n'
        '[mempool]\nsize_max = "2GiB"\n',
    )
    config = load(path).config
    assert (config.p2p.handshake_timeout_ms, config.p2p.idle_timeout_ms) == (1_500, 60_000)
    assert config.mempool.size_max_bytes == 2 * 2**30


def test_lists_and_flags_from_the_environment() -> None:
    loaded = load(
        None,
        environ={
            "SALUS_P2P__PEERS": f"{PEER}, {address(SigningKey.from_seed(b'1' * 32).public_key)}@x:1",
            "SALUS_METRICS__ENABLED": "false",
            "SALUS_P2P__MAX_PEERS": "9",
            "SALUS_API__CORS_ORIGINS": "",
        },
    )
    assert len(loaded.config.p2p.peers) == 2
    assert not loaded.config.metrics.enabled
    assert loaded.config.p2p.max_peers == 9
    assert loaded.config.api.cors_origins == ()


def test_every_fault_is_reported_at_once_with_its_line(tmp_path: Path) -> None:
    text = f"""version = 1
profil = "dev"

[p2p]
listen = "0.0.0.0"
max_peerz = 3
idle_timeout = 10
peers = [
  "{PEER}",
  "sal1qx@hosp-b:7400",
  "nobody",
]

[apis]
listen = "x:1"

[log]
level = "loud"
"""
    found = problems(
        tmp_path,
        text,
        environ={"SALUS_P2P__LISTN": "x", "SALUS_API__SUBSCRIBERS_MAX": "-3"},
        overrides={"metrics.enabled": "perhaps"},
    )
    assert [(p.code, p.source, p.suggestion) for p in found] == [
        ("CONFIG_UNKNOWN_KEY", "node.toml:2", "profile"),
        ("CONFIG_VALUE", "node.toml:5", ""),
        ("CONFIG_UNKNOWN_KEY", "node.toml:6", "max_peers"),
        ("CONFIG_VALUE", "node.toml:7", ""),
        ("CONFIG_VALUE", "node.toml:10", ""),
        ("CONFIG_VALUE", "node.toml:11", ""),
        ("CONFIG_UNKNOWN_TABLE", "node.toml:14", "api"),
        ("CONFIG_VALUE", "node.toml:18", ""),
        ("CONFIG_VALUE", "SALUS_API__SUBSCRIBERS_MAX", ""),
        ("CONFIG_UNKNOWN_KEY", "SALUS_P2P__LISTN", "listen"),
        ("CONFIG_VALUE", "command line (metrics.enabled)", ""),
    ]
    assert str(found[2]) == (
        "error[CONFIG_UNKNOWN_KEY] node.toml:6: unknown key «max_peerz» in [p2p]. "
        "Did you mean «max_peers»?"
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ('[api]\nauth = "none"\nlisten = "0.0.0.0:7480"', "CONFIG_UNSAFE"),
        ('[api]\nauth = "none"\nlisten = "hosp-a.example:7480"', "CONFIG_UNSAFE"),
        ("[log]\nredact = false", "CONFIG_UNSAFE"),
        ("[dev]\nfault_injection = true", "CONFIG_UNSAFE"),
        ('[api]\ntls_cert = "a.pem"', "CONFIG_VALUE"),
        ('[p2p]\ndial_min = "10s"\ndial_max = "5s"', "CONFIG_VALUE"),
        ('[p2p]\nping_interval = "6s"', "CONFIG_VALUE"),
        ("[p2p]\nunauthenticated_per_ip_max = 129", "CONFIG_VALUE"),
        ('[p2p]\nlisten = "0.0.0.0:7480"', "CONFIG_VALUE"),
    ],
)
def test_what_is_wrong_only_together(tmp_path: Path, line: str, code: str) -> None:
    (problem,) = problems(tmp_path, f"version = 1\n{line}\n")
    assert problem.code == code


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.8.8"])
def test_no_token_is_needed_on_loopback_if_one_says_so(tmp_path: Path, host: str) -> None:
    text = f'version = 1\n[api]\nauth = "none"\nlisten = "{host}:7480"\n'
    assert load(write(tmp_path, text)).config.api.auth == "none"


def test_the_dev_profile_allows_what_a_hospital_must_not_do(tmp_path: Path) -> None:
    text = 'version = 1\nprofile = "dev"\n[log]\nredact = false\n[dev]\nfault_injection = true\n'
    assert load(write(tmp_path, text)).config.dev.fault_injection


@pytest.mark.parametrize(
    "value",
    [
        '"5"',
        '"5 seconds"',
        '"-5s"',
        '"0.5s"',
        '"5e3ms"',
        "5",
        "5.0",
        "true",
        '""',
        "[]",
        '"99ms"',
        '"61s"',
        '"9999999999999999999999s"',
    ],
)
def test_what_is_no_duration(tmp_path: Path, value: str) -> None:
    (problem,) = problems(tmp_path, f"version = 1\n[p2p]\nhandshake_timeout = {value}\n")
    assert (problem.code, problem.source) == ("CONFIG_VALUE", "node.toml:3")


@pytest.mark.parametrize(
    "peer",
    [
        "hosp-b:7400",
        f"{address(KEY)}",
        f"{address(KEY)}@",
        f"{address(KEY)}@host",
        f"{address(KEY)}@host:0",
        f"{address(KEY)}@host:70000",
        f"{address(KEY)[:-1]}q@host:1",
        f"{address(KEY)}@a b:1",
        f"{address(bytes(32))}@host:1",
    ],
)
def test_what_is_no_peer(tmp_path: Path, peer: str) -> None:
    (problem,) = problems(tmp_path, f'version = 1\n[p2p]\npeers = ["{peer}"]\n')
    assert (problem.code, problem.path) == ("CONFIG_VALUE", "p2p.peers")


def test_a_key_stands_once_among_the_peers(tmp_path: Path) -> None:
    other = PEER.replace("hosp-b", "hosp-c")
    (problem,) = problems(tmp_path, f'version = 1\n[p2p]\npeers = [\n"{PEER}",\n"{other}"]\n')
    assert problem.source == "node.toml:5"


@pytest.mark.parametrize(
    ("text", "code", "source"),
    [
        ("version = 1\nx = = 2\n", "CONFIG_SYNTAX", "node.toml:2"),
        ('version = 1\n[p2p]\nlisten = "abc', "CONFIG_SYNTAX", "node.toml:3"),
        ("[p2p]\n", "CONFIG_VERSION", "node.toml"),
        ("version = 2\n", "CONFIG_VERSION", "node.toml:1"),
        ("version = 1\n[p2p.listen]\nx = 1\n", "CONFIG_VALUE", "node.toml:2"),
        ("version = 1\np2p = 3\n", "CONFIG_UNKNOWN_KEY", "node.toml:2"),
        ("version = 1\n[a.b]\nc = 1\n", "CONFIG_UNKNOWN_TABLE", "node.toml"),
    ],
)
def test_what_is_no_node_toml(tmp_path: Path, text: str, code: str, source: str) -> None:
    assert [(p.code, p.source) for p in problems(tmp_path, text)] == [(code, source)]


def test_a_file_that_is_missing_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.toml")
    assert caught.value.problems[0].code == "CONFIG_UNREADABLE"
    path = tmp_path / "node.toml"
    path.write_bytes(b"version = 1\n# \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.problems[0].code == "CONFIG_SYNTAX"


def test_lines_are_found_past_comments_lists_and_long_texts() -> None:
    text = 'a = """\n[b]\nc = 1\n"""\n# d = 1\n[ b ] # x\n"q" = 1\nc = [\n  1,\n]\nx.y = 2\n'
    assert key_lines(text) == {"a": 1, "b": 6, "b.c": 8, "b.x.y": 11}


def test_no_consensus_parameter_is_a_local_setting() -> None:
    """Rule B28: what all nodes must share stands in genesis."""
    local = {key for _, key, *_ in declared()} | {attribute for _, _, attribute, *_ in declared()}
    assert local.isdisjoint(Parameters.__struct_fields__)


def test_the_shipped_file_documents_every_setting_and_changes_none() -> None:
    text = (ROOT / "configs" / "node.toml").read_text()
    assert text == render_toml(), "run: python -m node.config_docs"
    document = tomllib.loads(text)
    assert document.pop("version") == 1
    assert document == {"p2p": {}, "api": {}, "mempool": {}, "storage": {}, "log": {}} | {
        "sync": {},
        "records": {},
        "metrics": {},
        "keeper": {},
        "outbox": {},
        "reading": {},
        "dev": {},
    }


def test_the_shipped_files_commented_defaults_are_the_defaults(tmp_path: Path) -> None:
    text = (ROOT / "configs" / "node.toml").read_text()
    unset = {key for _, key, _, _, default in declared() if default is None}
    lines = []
    for line in text.splitlines():
        found = re.fullmatch(r"# ([a-z0-9_]+) = (.*)", line)
        if found and found[1] not in unset:
            line = line.removeprefix("# ")
        lines.append(line)
    loaded = load(write(tmp_path, "\n".join(lines)))
    assert loaded.config == Config()
    written = {where for where, origin in loaded.origins.items() if origin != "default"}
    everything = {f"{table}.{key}".lstrip(".") for table, key, *_ in declared()}
    assert everything - written == {
        "p2p.advertise",
        "api.tls_cert",
        "api.tls_key",
        "keeper.public_key",
        "outbox.smtp_host",
        "outbox.smtp_from",
        "outbox.smtp_user",
        "outbox.smtp_password_file",
        "outbox.print_list",
    }


def test_the_reference_is_current() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert text == render_reference(), "run: python -m node.config_docs"


def test_a_file_made_for_a_node_has_its_values(tmp_path: Path) -> None:
    """What `salus init` and `testnet up` write."""
    text = render_toml({"p2p.listen": "127.0.0.1:9", "p2p.peers": [PEER], "profile": "dev"})
    config = load(write(tmp_path, text)).config
    assert config.p2p.listen == Endpoint("127.0.0.1", 9)
    assert [peer_text(peer) for peer in config.p2p.peers] == [PEER]
    assert config.profile == "dev"
    with pytest.raises(AssertionError):
        render_toml({"p2p.listn": "x"})


def test_defaults_pass_their_own_checks() -> None:
    for _, _, _, setting, default in declared():
        if default is not None:
            assert setting.parse(setting.written(default)) == default
        assert setting.doc.endswith("."), setting


def test_quantities_have_a_range_that_can_be_said() -> None:
    for _, key, _, setting, _ in declared():
        if setting.what in (What.DURATION, What.SIZE):
            assert re.search(r"\d(ms|s|m|h|d|B|KiB|MiB|GiB)", setting.range_text), key


def test_the_transports_limits_are_the_files() -> None:
    assert Config().p2p.limits() == NetLimits()


@pytest.mark.parametrize(
    ("lines", "setting"),
    [
        ('smtp_host = "mail.example"', "outbox.smtp_from"),
        (
            'smtp_host = "mail.example"\nsmtp_from = "s@h.example"\nsmtp_security = "none"',
            "outbox.smtp_security",
        ),
    ],
)
def test_mail_is_sent_by_somebody_and_not_in_plain_over_the_network(
    tmp_path: Path, lines: str, setting: str
) -> None:
    file = tmp_path / "node.toml"
    file.write_text(f"version = 1\n[outbox]\n{lines}\n")
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert [problem.path for problem in caught.value.problems] == [setting]
    file.write_text(
        'version = 1\n[outbox]\nsmtp_host = "localhost"\nsmtp_from = "s@h"\nsmtp_security = "none"\n'
    )
    assert load(file, environ={}).config.outbox.smtp_host == "localhost"


def test_a_site_is_an_identifier(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('version = 1\n[reading]\nsites = ["urn:example:wards|3 north"]\n')
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    assert [problem.path for problem in caught.value.problems] == ["reading.sites"]
    file.write_text('version = 1\n[reading]\nsites = ["urn:example:wards|3-north"]\n')
    assert load(file, environ={}).config.reading.sites == ("urn:example:wards|3-north",)
