"""Logs: one event a line, as JSON for machines or as text for people at a terminal.

Law of the file: no patient identifier, key material, document content or query string leaves
through a log, whoever calls it. Fields are kept by name: ids that the ledger publishes stay
whole, everything else is cut down by `redact`; errors from elsewhere are named by type and
place, never by their text, which may echo input.
"""

import json
import logging
import re
import sys
import time
import traceback
from collections import OrderedDict
from typing import TextIO

from salus.errors import SalusError
from storage.errors import StorageError

Field = str | int | bool | bytes | None

REPEATS_MAX = 5  # of one event within an interval; the next one says how many were held back
REPEAT_KEYS_MAX = 1_024  # events remembered for that
FIELD_CHARS_MAX = 512
_ROOT = "salus"

# Ids that the ledger itself publishes: whoever greps a log needs them whole.
_PUBLIC_IDS = frozenset(
    {
        "tx_id",
        "digest",
        "header_hash",
        "genesis_hash",
        "state_root",
        "body_hash",
        "parent_hash",
        "key_hash",
    }
)
# Keys of nodes (organisations), as opposed to addresses of people.
_NODE_KEYS = frozenset({"key", "node_key", "expected_key", "found_key", "own_key"})
# Whatever bears such a name is not for a log, whatever it holds.
_SECRET_NAMES = re.compile(
    r"patient|subject|(^|_)pid($|_)|seed|secret|passw|mnemonic|token|authoriz|cookie|session"
    r"|document|content|payload|body$|(^|_)raw($|_)|args|query|private|opening|salt"
)
_REDACTED = "«redacted»"

_TEXT_RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    # Query strings of URLs.
    (re.compile(r"(?<=[\w/])\?[^\s\"'<>]*=[^\s\"'<>]*"), "?…"),
    # PEM blocks.
    (re.compile(r"-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|\Z)", re.DOTALL), _REDACTED),
    # FHIR references name patients and their documents.
    (
        re.compile(r"\b(Patient|Person|RelatedPerson|Encounter|Observation)/[A-Za-z0-9.-]{1,64}"),
        r"\1/…",
    ),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE), "uuid…"),
    (re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]+"), "mail…"),
    # Addresses of people are their public keys; four letters tell two apart in one log.
    (re.compile(r"\b(sal1[a-z0-9]{4})[a-z0-9]{8,}"), r"\1…"),
    # Hashes, pids, seeds: 32 bytes look alike, so none stays whole in free text.
    (re.compile(r"\b([0-9a-fA-F]{4})[0-9a-fA-F]{28,}\b"), r"\1…"),
)


def log_event(logger: logging.Logger, level: int, event: str, /, **fields: Field) -> None:
    """`event`: a word that names what happened; `fields`: its facts, by name."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={"fields": fields})


def redact(text: str) -> str:
    """Free text without what must not be in a log."""
    for pattern, replacement in _TEXT_RULES:
        text = pattern.sub(replacement, text)
    return text[:FIELD_CHARS_MAX]


def redact_field(name: str, value: object) -> object:
    """What may be written of a field of this name."""
    if value is None or isinstance(value, (bool, int, float)):
        # A number under a secret's name is a secret too; sizes and counts say so in theirs.
        return _REDACTED if _secret(name) and value is not None else value
    if name in _PUBLIC_IDS:
        return value.hex() if isinstance(value, bytes) else redact_id(str(value))
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if _secret(name):
        return _REDACTED
    if name in _NODE_KEYS and re.fullmatch(r"sal1[a-z0-9]{58}", str(value)):
        return str(value)
    return redact(str(value))


def redact_id(value: str) -> str:
    """An id stays whole if it is one."""
    return value if re.fullmatch(r"[0-9a-f]{64}(#\d+)?", value) else redact(value)


def _secret(name: str) -> bool:
    return name.endswith(("_bytes", "_ms", "_count", "_total")) is False and bool(
        _SECRET_NAMES.search(name)
    )


def describe_error(error: BaseException) -> str:
    """Type and place of an exception. Only our own errors speak: theirs may echo input."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename.rsplit('/', 1)[-1]}:{frames[-1].lineno}" if frames else ""
    if isinstance(error, SalusError):
        return redact(f"{type(error).__name__} {error.code}: {error.message}{place}")
    if isinstance(error, StorageError):
        return f"{type(error).__name__} {error.code}{place}"
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}{place}"
    return f"{type(error).__name__}{place}"


class JsonFormatter(logging.Formatter):
    """ts, level, logger, event, then the fields: one object a line."""

    def __init__(self, *, redacting: bool = True) -> None:
        super().__init__()
        self._redacting = redacting

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "ts": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": _event(record, self._redacting),
        }
        for name, value in _fields(record, self._redacting).items():
            line.setdefault(name, value)
        return json.dumps(line, ensure_ascii=False, default=str)


class HumanFormatter(logging.Formatter):
    """The same for a terminal: time, level, event, name=value."""

    def __init__(self, *, redacting: bool = True) -> None:
        super().__init__()
        self._redacting = redacting

    def format(self, record: logging.LogRecord) -> str:
        clock = _timestamp(record.created)[11:23]
        fields = " ".join(f"{k}={v}" for k, v in _fields(record, self._redacting).items())
        event = _event(record, self._redacting)
        return f"{clock} {record.levelname:<7} {event}  {fields}".rstrip()


class RepeatFilter(logging.Filter):
    """Lets the first few of equal events through an interval and counts the rest.

    Equal: same logger, level, event, and the same `member` and `reason` if there are any. The
    time is the record's own, so a test needs no clock."""

    def __init__(self, interval_ms: int) -> None:
        super().__init__()
        self._interval_s = interval_ms / 1000
        # key → start of the interval, records in it
        self._seen: OrderedDict[tuple[object, ...], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        fields = getattr(record, "fields", {})
        key = (record.name, record.levelno, record.msg, fields.get("member"), fields.get("reason"))
        started, count = self._seen.pop(key, (record.created, 0))
        # Outside on either side: a clock that is set back must not silence an event until then.
        if not 0 <= record.created - started < self._interval_s:
            if count > REPEATS_MAX:
                record.repeated = count - REPEATS_MAX
            started, count = record.created, 0
        self._seen[key] = (started, count + 1)
        if len(self._seen) > REPEAT_KEYS_MAX:
            self._seen.popitem(last=False)
        return count < REPEATS_MAX


def setup(
    *,
    level: str,
    form: str,
    redacting: bool,
    repeat_interval_ms: int,
    stream: TextIO | None = None,
) -> logging.Handler:
    """Route everything through one handler. Called once, by the composition root."""
    handler = logging.StreamHandler(stream or sys.stderr)
    formatter = JsonFormatter if form == "json" else HumanFormatter
    handler.setFormatter(formatter(redacting=redacting))
    handler.addFilter(RepeatFilter(repeat_interval_ms))
    root = logging.getLogger()
    for old in tuple(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # libraries speak when something is wrong
    set_level(level)
    return handler


def set_level(level: str) -> None:
    """Of our own loggers; SIGHUP calls this."""
    logging.getLogger(_ROOT).setLevel(level.upper())


def _timestamp(created: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    return f"{whole}.{int(created * 1000) % 1000:03d}Z"


def _event(record: logging.LogRecord, redacting: bool) -> str:
    if hasattr(record, "fields"):  # ours: a word of the code, no input in it
        return str(record.msg)
    # Of a library: its template says what happened; its arguments may be input.
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = str(record.msg)
    return redact(text) if redacting else text


def _fields(record: logging.LogRecord, redacting: bool) -> dict[str, object]:
    given: dict[str, object] = dict(getattr(record, "fields", {}))
    if redacting:
        given = {name: redact_field(name, value) for name, value in given.items()}
    if record.exc_info and record.exc_info[1] is not None:
        given["error"] = describe_error(record.exc_info[1])
    repeated = getattr(record, "repeated", 0)
    if repeated:
        given["repeated"] = repeated
    return given
