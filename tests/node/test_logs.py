"""Logs: one event a line, and nothing in them that must not be (interfaces.md §1)."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from node.errors import ConfigProblem
from node.logs import (
    REPEAT_KEYS_MAX,
    REPEATS_MAX,
    HumanFormatter,
    JsonFormatter,
    RepeatFilter,
    describe_error,
    log_event,
    redact,
    redact_field,
    set_level,
    setup,
)
from salus.errors import BadMessage
from salus.keys import SigningKey, address
from storage.errors import StoreUnavailable

SEED = bytes(range(32))
KEY = SigningKey.from_seed(SEED)
PID = "9f" * 32
SECRETS = [
    PID,
    SEED.hex(),
    SEED.hex().upper(),
    address(KEY.public_key),
    "Patient/p-1234",
    "urn:uuid:0b4ad0cb-15c2-4bb0-a3ad-2a3b4a1e9f55",
    "Maria.Muster@example.org",
    "https://hosp-a:7480/v1/records?patient=4711&name=Muster",
    "/v1/search?q=Muster",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMC4CAQ",
]
TRACES = [
    PID,
    SEED.hex(),
    address(KEY.public_key),
    "p-1234",
    "0b4ad0cb-15c2",
    "Muster",
    "4711",
    "MC4CAQ",
]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("salus")
    handlers, levels = list(root.handlers), (root.level, ours.level)
    stream = io.StringIO()
    setup(level="info", form="json", redacting=True, repeat_interval_ms=10_000, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def record(event: str, at: float = 0.0, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("salus.x", logging.INFO, "f.py", 1, event, (), None)
    made.created, made.fields = at, fields
    return made


def test_an_event_is_one_json_object_with_its_fields(stream: io.StringIO) -> None:
    log = logging.getLogger("salus.net")
    log_event(log, logging.INFO, "peer_connected", member="hosp-a", rtt_ms=3, ok=True, why=None)
    log_event(log, logging.DEBUG, "not_written")
    (line,) = lines(stream)
    assert str(line.pop("ts")).endswith("Z")
    assert line == {
        "level": "info",
        "logger": "salus.net",
        "event": "peer_connected",
        "member": "hosp-a",
        "rtt_ms": 3,
        "ok": True,
        "why": None,
    }


def test_fields_cannot_pose_as_the_line_itself(stream: io.StringIO) -> None:
    log = logging.getLogger("salus.net")
    log_event(log, logging.INFO, "real", level="fatal", ts="never")
    log_event(log, logging.INFO, "two\nlines", text="a\nb")
    first, second = lines(stream)
    assert (first["level"], first["event"]) == ("info", "real")
    assert second["event"] == "two\nlines"
    assert len(stream.getvalue().splitlines()) == 2


@pytest.mark.parametrize("secret", SECRETS)
def test_free_text_is_cut_down(secret: str) -> None:
    text = redact(f"before {secret} after")
    assert not any(trace in text for trace in TRACES)
    assert text.startswith("before")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("field", ["detail", "member", "reason", "tx_id", "key", "ip"])
def test_no_field_lets_a_secret_through(secret: str, field: str) -> None:
    if (field, secret) in [("key", address(KEY.public_key))] or (
        field == "tx_id" and len(secret) == 64 and secret.islower() | secret.isdigit()
    ):
        return  # that is what these fields are for: a node's key, a published id
    shown = str(redact_field(field, f"x {secret}" if field != "tx_id" else secret))
    assert not any(trace in shown for trace in TRACES)


@pytest.mark.parametrize(
    "name",
    [
        "patient", "patient_id", "subject", "pid", "seed", "secret_key", "password", "passwd",
        "mnemonic", "token", "authorization", "cookie", "session", "document", "content",
        "payload", "body", "raw", "raw_tx", "args", "query", "private_key", "opening", "salt",
    ],
)  # fmt: skip
def test_what_bears_a_secrets_name_is_not_written(name: str) -> None:
    assert redact_field(name, "Maria") == "«redacted»"
    assert redact_field(name, 4711) == "«redacted»"


def test_sizes_and_counts_of_secrets_are_no_secrets() -> None:
    assert redact_field("body_bytes", 5) == 5
    assert redact_field("session_count", 5) == 5


def test_bytes_are_never_written() -> None:
    assert redact_field("anything", SEED) == "32 bytes"
    assert redact_field("tx_id", SEED) == SEED.hex()  # except of what the ledger publishes


def test_published_ids_and_node_keys_stay_whole() -> None:
    for name in ("tx_id", "digest", "genesis_hash", "state_root"):
        assert redact_field(name, PID) == PID
    assert redact_field("key", address(KEY.public_key)) == address(KEY.public_key)
    assert redact_field("detail", address(KEY.public_key)) == address(KEY.public_key)[:8] + "…"


def test_a_librarys_arguments_are_cut_down_too(stream: io.StringIO) -> None:
    logging.getLogger("aiohttp.server").error("Error handling %s", SECRETS[7])
    (line,) = lines(stream)
    assert line["event"] == "Error handling https://hosp-a:7480/v1/records?…"


def test_a_librarys_broken_format_is_no_crash() -> None:
    broken = logging.LogRecord("aiohttp", logging.ERROR, "f.py", 1, "%s %s", ("one",), None)
    assert json.loads(JsonFormatter().format(broken))["event"] == "%s %s"


def test_an_error_is_named_by_type_and_place_never_by_its_words(stream: io.StringIO) -> None:
    try:
        {}["Maria Muster"]
    except KeyError:
        logging.getLogger("salus.x").exception("failed", extra={"fields": {}})
    (line,) = lines(stream)
    assert str(line["error"]).startswith("KeyError at test_logs.py:")
    assert "Muster" not in stream.getvalue()


def test_our_own_errors_speak() -> None:
    assert describe_error(BadMessage("too long", code="TOO_LARGE")) == (
        "BadMessage TOO_LARGE: too long"
    )
    full = StoreUnavailable("no space left for /home/maria", code="DISK_FULL")
    assert describe_error(full) == "StoreUnavailable DISK_FULL", "the word, and not the path"
    assert describe_error(OSError(2, "No such file", "/home/maria")) == (
        "FileNotFoundError: No such file"
    )
    assert describe_error(ValueError("Maria")) == "ValueError"


def test_repeats_are_held_back_and_counted() -> None:
    repeats = RepeatFilter(10_000)
    passed = [repeats.filter(record("e", at)) for at in range(8)]
    assert passed == [True] * REPEATS_MAX + [False] * 3
    later = record("e", 11.0)
    assert repeats.filter(later)
    assert json.loads(JsonFormatter().format(later))["repeated"] == 3


def test_a_clock_that_is_set_back_silences_nothing_until_it_has_caught_up() -> None:
    repeats = RepeatFilter(10_000)
    for _ in range(REPEATS_MAX + 1):
        repeats.filter(record("e", 3_600.0))
    again = record("e", 0.0)
    assert repeats.filter(again)
    assert json.loads(JsonFormatter().format(again))["repeated"] == 1


def test_events_of_different_members_or_reasons_are_different() -> None:
    repeats = RepeatFilter(10_000)
    for _ in range(REPEATS_MAX):
        repeats.filter(record("e", member="a", reason="x"))
    assert not repeats.filter(record("e", member="a", reason="x"))
    assert repeats.filter(record("e", member="b", reason="x"))
    assert repeats.filter(record("e", member="a", reason="y"))


def test_the_memory_for_repeats_is_bounded() -> None:
    repeats = RepeatFilter(10_000)
    for number in range(REPEAT_KEYS_MAX + 100):
        repeats.filter(record(f"event-{number}"))
    assert len(repeats._seen) == REPEAT_KEYS_MAX


def test_people_get_one_short_line() -> None:
    line = HumanFormatter().format(record("peer_connected", member="hosp-a"))
    assert line == "00:00:00.000 INFO    peer_connected  member=hosp-a"


def test_redaction_can_be_switched_off_for_development() -> None:
    plain = JsonFormatter(redacting=False).format(record("e", detail=PID))
    assert json.loads(plain)["detail"] == PID


def test_the_level_can_change_while_running(stream: io.StringIO) -> None:
    log = logging.getLogger("salus.net")
    set_level("debug")
    log_event(log, logging.DEBUG, "now")
    set_level("error")
    log_event(log, logging.WARNING, "never")
    assert [line["event"] for line in lines(stream)] == ["now"]


def test_a_config_problem_reads_as_a_sentence() -> None:
    problem = ConfigProblem("CONFIG_VALUE", "node.toml:3", "a.b", "a.b must be a text")
    assert str(problem) == "error[CONFIG_VALUE] node.toml:3: a.b must be a text."
