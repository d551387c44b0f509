"""Reading settings: defaults < node.toml < environment `SALUS_P2P__LISTEN` < command line.

Law of the file: every fault of a configuration is reported at once, each with its place and,
where it helps, with what was perhaps meant; nothing is guessed and nothing unknown is ignored.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

from node import toml
from node.config_lines import element_line, error_line, key_lines
from node.config_tables import Config, settings
from node.errors import ConfigError, ConfigProblem
from node.settings import BadValue
from salus.errors import BadMessage
from salus.site import parse_sites

__all__ = ["Config", "Loaded", "load"]

CONFIG_BYTES_MAX = 1024 * 1024  # what a person wrote is smaller
_HERE = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked configuration and where each value came from, by path («p2p.listen»)."""

    config: Config
    origins: dict[str, str]


def _sites(texts: tuple[str, ...]) -> bool:
    try:
        parse_sites(texts)
    except BadMessage:
        return False
    return True


def load(
    path: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, str] | None = None,
) -> Loaded:
    """The configuration of a node; raises `ConfigError` with every problem.

    `path`: node.toml, or None for defaults. `environ`: names with `__` in them are ours.
    `overrides`: «p2p.listen» → text, from the command line.
    """
    reader = _Reader()
    if path is not None:
        reader.file(path)
    reader.environment(environ or {})
    reader.command_line(overrides or {})
    return reader.finish()


class _Reader:
    """Collects values and problems, source after source; later sources win."""

    def __init__(self) -> None:
        self._problems: list[ConfigProblem] = []
        self._settings = {
            (f"{table}.{key}" if table else key): (table, attribute, setting)
            for table, key, attribute, setting, _ in settings()
        }
        self._values: dict[str, Any] = {}
        self._origins = dict.fromkeys(self._settings, "default")
        self._text = ""  # of the file, to point into lists

    def file(self, path: Path) -> None:
        name = path.name
        try:
            raw = path.read_bytes()
            if len(raw) > CONFIG_BYTES_MAX:
                raise BadValue("the file is larger than 1 MiB")
            text = raw.decode()
            document = toml.parse(text)
        except OSError as error:
            self._problem("CONFIG_UNREADABLE", name, "", f"cannot be read: {error.strerror}")
            return
        except tomllib.TOMLDecodeError as error:
            reason = str(error).split(" (at ")[0]
            line = error_line(text, str(error))
            self._problem("CONFIG_SYNTAX", f"{name}:{line}", "", f"not TOML: {reason}")
            return
        except (UnicodeDecodeError, toml.Unreadable, BadValue) as error:
            reason = "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            self._problem("CONFIG_SYNTAX", name, "", reason)
            return
        lines, self._text = key_lines(text), text
        tables = {path.partition(".")[0] for path in self._settings if "." in path}
        if "version" not in document:
            self._problem("CONFIG_VERSION", name, "version", "«version = 1» is missing")
        for key, value in document.items():
            if key in tables and isinstance(value, dict):
                for inner, inner_value in value.items():
                    where = f"{key}.{inner}"
                    self._take(where, inner_value, name, lines.get(where, lines.get(key)))
            elif isinstance(value, dict):
                close = difflib.get_close_matches(key, sorted(tables), 1)
                source = f"{name}:{lines[key]}" if key in lines else name
                self._problem("CONFIG_UNKNOWN_TABLE", source, key, f"unknown table [{key}]", close)
            else:
                self._take(key, value, name, lines.get(key))

    def environment(self, environ: Mapping[str, str]) -> None:
        for variable in sorted(environ):
            if variable.startswith("SALUS_") and "__" in variable:
                table, _, key = variable.removeprefix("SALUS_").lower().partition("__")
                self._take_text(f"{table}.{key}", environ[variable], variable)

    def command_line(self, overrides: Mapping[str, str]) -> None:
        for where, text in overrides.items():
            self._take_text(where, text, f"command line ({where})")

    def finish(self) -> Loaded:
        tables: dict[str, dict[str, Any]] = {}
        for where, value in self._values.items():
            table, attribute, _ = self._settings[where]
            tables.setdefault(table, {})[attribute] = value
        hints = get_type_hints(Config)
        inner = {name: hints[name](**values) for name, values in tables.items() if name}
        config = Config(**tables.get("", {}), **inner)
        self._check(config)
        if self._problems:
            raise ConfigError(tuple(self._problems))
        return Loaded(config, self._origins)

    def _take(self, where: str, value: object, name: str, line: int | None) -> None:
        source = f"{name}:{line}" if line else name
        if self._known(where, source):
            try:
                self._values[where] = self._settings[where][2].parse(value)
                self._origins[where] = source
            except BadValue as error:
                self._bad(where, source, error, name, line)

    def _take_text(self, where: str, text: str, source: str) -> None:
        if self._known(where, source):
            try:
                self._values[where] = self._settings[where][2].parse_text(text)
                self._origins[where] = source
            except BadValue as error:
                self._bad(where, source, error)

    def _known(self, where: str, source: str) -> bool:
        if where in self._settings:
            return True
        table, dot, key = where.rpartition(".")
        paths = list(self._settings)
        siblings = [p.rpartition(".")[2] for p in paths if p.rpartition(".")[0] == table]
        tables = sorted({p.partition(".")[0] for p in paths if "." in p})
        if dot and not siblings:
            close = difflib.get_close_matches(table, tables, 1)
            self._problem("CONFIG_UNKNOWN_TABLE", source, where, f"unknown table [{table}]", close)
            return False
        close = difflib.get_close_matches(key, siblings if dot else siblings + tables, 1)
        close = close or [p for p in paths if p.endswith(f".{key}")][:1]
        place = f"in [{table}]" if dot else "at the top"
        self._problem("CONFIG_UNKNOWN_KEY", source, where, f"unknown key «{key}» {place}", close)
        return False

    def _bad(
        self, where: str, source: str, error: BadValue, file: str = "", line: int | None = None
    ) -> None:
        code = "CONFIG_VERSION" if where == "version" else "CONFIG_VALUE"
        if not error.elements:
            self._problem(code, source, where, f"{where} {error}")
        for element, reason in error.elements:  # each entry of a list has its own line
            place = f"{file}:{element_line(self._text, line, element)}" if line else source
            self._problem(code, place, where, f"{where} {reason}")

    def _check(self, config: Config) -> None:
        """What no single value can be wrong about alone."""

        def require(condition: bool, where: str, code: str, message: str) -> None:
            if not condition:
                origin = self._origins[where]
                source = origin if origin != "default" else f"default of {where}"
                self._problem(code, source, where, message)

        p2p, api = config.p2p, config.api
        dev = config.profile == "dev"
        require(
            api.auth != "none" or api.listen.loopback,
            "api.auth",
            "CONFIG_UNSAFE",
            "api.auth «none» is allowed only when api.listen is on loopback",
        )
        require(
            (api.tls_cert is None) == (api.tls_key is None),
            "api.tls_cert" if api.tls_cert else "api.tls_key",
            "CONFIG_VALUE",
            "api.tls_cert and api.tls_key belong together",
        )
        require(
            config.log.redact or dev,
            "log.redact",
            "CONFIG_UNSAFE",
            "log.redact «false» is allowed only with profile «dev»",
        )
        outbox = config.outbox
        require(
            outbox.smtp_security != "none" or outbox.smtp_host in (None, *_HERE) or dev,
            "outbox.smtp_security",
            "CONFIG_UNSAFE",
            "outbox.smtp_security «none» is allowed only for a relay on this machine",
        )
        require(
            outbox.smtp_host is None or "@" in (outbox.smtp_from or ""),
            "outbox.smtp_from",
            "CONFIG_VALUE",
            "outbox.smtp_from must be an address where outbox.smtp_host is set",
        )
        require(
            _sites(config.reading.sites),
            "reading.sites",
            "CONFIG_VALUE",
            "reading.sites: each is SYSTEM|VALUE, printable and without blanks",
        )
        require(
            not config.dev.fault_injection or dev,
            "dev.fault_injection",
            "CONFIG_UNSAFE",
            "dev.fault_injection needs profile «dev»",
        )
        require(
            p2p.dial_min_ms <= p2p.dial_max_ms,
            "p2p.dial_min",
            "CONFIG_VALUE",
            "p2p.dial_min must not exceed p2p.dial_max",
        )
        require(
            2 * p2p.ping_interval_ms <= p2p.idle_timeout_ms,
            "p2p.idle_timeout",
            "CONFIG_VALUE",
            "p2p.idle_timeout must be at least twice p2p.ping_interval",
        )
        require(
            p2p.unauthenticated_per_ip_max <= p2p.unauthenticated_max,
            "p2p.unauthenticated_per_ip_max",
            "CONFIG_VALUE",
            "p2p.unauthenticated_per_ip_max must not exceed p2p.unauthenticated_max",
        )
        require(
            p2p.listen.port != api.listen.port or p2p.listen.port == 0,
            "api.listen",
            "CONFIG_VALUE",
            "api.listen and p2p.listen need different ports",
        )

    def _problem(
        self, code: str, source: str, path: str, message: str, close: list[str] | None = None
    ) -> None:
        self._problems.append(ConfigProblem(code, source, path, message, (close or [""])[0]))
