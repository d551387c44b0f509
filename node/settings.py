"""What a setting is: its kind, its limits, its sentence; text and TOML values to typed values.

A setting is declared once, as `Annotated[type, Setting(...)]` in `node/config.py`; its default,
its line in node.toml, its row in docs/configuration.md and its check all come from there.
Durations are written «200ms» and held as whole milliseconds, sizes «1MiB» and held as bytes.
"""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from node.net.peer import PeerAddress
from salus.errors import BadMessage
from salus.keys import address, parse_address, valid_public_key


class BadValue(ValueError):
    """A value is not of its setting's kind; the text says what it must be.

    `elements`: the faults of a list, entry by entry."""

    def __init__(self, message: str, elements: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message)
        self.elements = elements


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and a port to listen on or to be reached at."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


class What(Enum):
    """The kinds of settings, and how people write them."""

    TEXT = "text"
    FLAG = "true or false"
    COUNT = "whole number"
    DURATION = "duration, as «200ms», «5s», «10m», «1h»"
    SIZE = "size, as «64KiB», «1MiB», «2GiB»"
    ENDPOINT = "«host:port»"
    PEERS = "list of «sal1…@host:port»"
    TEXTS = "list of texts"
    KEY = "64 hex digits"
    CHOICE = "one of"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: what it is, what it may be, what it is for."""

    what: What
    doc: str
    min: int = 0
    max: int = 2**53 - 1
    choices: tuple[str, ...] = ()

    def parse(self, value: object) -> Any:
        """The typed value of what a TOML file says; raises `BadValue`."""
        return _PARSERS[self.what](self, value)

    def parse_text(self, text: str) -> Any:
        """The same from the environment or the command line; lists have commas."""
        if self.what is What.FLAG:
            flags = {"true": True, "1": True, "false": False, "0": False}
            return self.parse(flags.get(text.strip().lower(), text))
        if self.what is What.COUNT:
            return self.parse(int(text) if re.fullmatch(r"-?[0-9]{1,18}", text.strip()) else text)
        if self.what in (What.PEERS, What.TEXTS):
            return self.parse([part.strip() for part in text.split(",") if part.strip()])
        return self.parse(text)

    def written(self, value: object) -> object:
        """What a TOML file says for a typed value: the reverse of `parse`."""
        if self.what is What.DURATION:
            assert isinstance(value, int)
            return _with_unit(value, _DURATIONS)
        if self.what is What.SIZE:
            assert isinstance(value, int)
            return _with_unit(value, _SIZES)
        if self.what is What.PEERS:
            assert isinstance(value, tuple)
            return [peer_text(peer) for peer in value]
        if self.what is What.TEXTS:
            assert isinstance(value, tuple)
            return list(value)
        if self.what is What.KEY:
            assert isinstance(value, bytes)
            return value.hex()
        return str(value) if self.what is What.ENDPOINT else value

    @property
    def range_text(self) -> str:
        """The limits for people; empty if there are none worth saying."""
        if self.what not in (What.COUNT, What.DURATION, What.SIZE):
            return ", ".join(self.choices)
        low, high = self.written(self.min), self.written(self.max)
        return f"{low} or more" if self.max == 2**53 - 1 else f"{low} to {high}"


def peer_text(peer: PeerAddress) -> str:
    return f"{address(peer.public_key)}@{peer}"


_DURATIONS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def _text(setting: Setting, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise BadValue("must be a text")
    return value


def _flag(setting: Setting, value: object) -> bool:
    if not isinstance(value, bool):
        raise BadValue("must be true or false")
    return value


def _count(setting: Setting, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadValue("must be a whole number")
    return _within(setting, value)


def _quantity(units: dict[str, int], example: str) -> Callable[[Setting, object], int]:
    def parse(setting: Setting, value: object) -> int:
        found = (
            re.fullmatch(r"([0-9]{1,15}) ?([A-Za-z]+)", value) if isinstance(value, str) else None
        )
        if found is None or found[2] not in units:
            raise BadValue(f"must be a number with a unit ({', '.join(units)}), as «{example}»")
        return _within(setting, int(found[1]) * units[found[2]])

    return parse


def _within(setting: Setting, value: int) -> int:
    if not setting.min <= value <= setting.max:
        raise BadValue(f"must be {setting.range_text}")
    return value


def _endpoint(setting: Setting, value: object) -> Endpoint:
    return _host_and_port(value)


def _host_and_port(value: object) -> Endpoint:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^:\s/@]+):([0-9]{1,5})", str(value))
    if not isinstance(value, str) or found is None:
        raise BadValue("must be «host:port»; an IPv6 host stands in brackets")
    host, port = found[1].strip("[]"), int(found[2])
    if port > 65_535:
        raise BadValue("a port is at most 65535")
    return Endpoint(host, port)


def _peers(setting: Setting, value: object) -> tuple[PeerAddress, ...]:
    peers: dict[bytes, PeerAddress] = {}
    faults: list[tuple[str, str]] = []
    for text in _texts(setting, value):
        try:
            peer = parse_peer(text)
            if peer.public_key in peers:
                raise BadValue("the key stands twice")
            peers[peer.public_key] = peer
        except (BadMessage, BadValue) as error:
            faults.append((text, f"«{_short(text)}»: {error}"))
    if faults:
        raise BadValue("must be a list of «sal1…@host:port»", tuple(faults))
    return tuple(peers.values())


def parse_peer(text: str) -> PeerAddress:
    """«sal1…@host:port»; raises `BadValue` or `BadMessage`."""
    key_text, at, place = text.partition("@")
    if not at:
        raise BadValue("must be «sal1…@host:port»")
    key, where = parse_address(key_text), _host_and_port(place)
    if not valid_public_key(key):
        raise BadValue("not a valid Ed25519 key")
    if where.port == 0:
        raise BadValue("a peer has a port")
    return PeerAddress(key, where.host, where.port)


def _texts(setting: Setting, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise BadValue("must be a list of texts")
    if len(value) > setting.max:
        raise BadValue(f"must have at most {setting.max} entries")
    return tuple(value)


def _key(setting: Setting, value: object) -> bytes:
    if not isinstance(value, str) or re.fullmatch(r"[0-9a-f]{64}", value) is None:
        raise BadValue("must be 64 hex digits, lower-case")
    return bytes.fromhex(value)


def _choice(setting: Setting, value: object) -> str:
    if not isinstance(value, str) or value not in setting.choices:
        raise BadValue(f"must be one of {', '.join(setting.choices)}")
    return value


def _with_unit(value: int, units: dict[str, int]) -> str:
    unit = next(name for name, size in reversed(units.items()) if value % size == 0 or size == 1)
    if value == 0:
        unit = next(iter(units))
    return f"{value // units[unit]}{unit}"


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:10]}…{text[-24:]}"


_PARSERS: dict[What, Callable[[Setting, object], Any]] = {
    What.TEXT: _text,
    What.FLAG: _flag,
    What.COUNT: _count,
    What.DURATION: _quantity(_DURATIONS, "200ms"),
    What.SIZE: _quantity(_SIZES, "1MiB"),
    What.ENDPOINT: _endpoint,
    What.PEERS: _peers,
    What.TEXTS: _texts,
    What.KEY: _key,
    What.CHOICE: _choice,
}
