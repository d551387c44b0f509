"""What an attacker looks for: a text in every dress that data wears, a date in every count of time."""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from urllib.parse import quote

DAY_S = 86_400
BASE64_CHARS_MIN = 8  # shorter pieces of it stand in any random data
TEXT_CHARS_MIN = 5


@dataclass(frozen=True, slots=True)
class Needle:
    """`what`: in words, for the report; `shape`: case-folded bytes."""

    what: str
    dress: str
    shape: bytes


def of_text(text: str) -> Iterator[Needle]:
    """UTF-8 and -16, hex, base64 and base64url at every alignment, percent-encoded; case-folded."""
    assert len(text) >= TEXT_CHARS_MIN, f"{text!r} stands in anything"
    for variant in {text, text.lower(), text.upper()}:
        raw = variant.encode()
        yield Needle(text, "utf-8", raw.lower())
        yield Needle(text, "json", json.dumps(variant).strip('"').encode().lower())
        yield Needle(text, "utf-16-le", variant.encode("utf-16-le").lower())
        yield Needle(text, "utf-16-be", variant.encode("utf-16-be").lower())
        yield Needle(text, "hex", raw.hex().encode())
        yield Needle(text, "percent", quote(variant, safe="").encode().lower())
        for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
            for before in range(3):
                # The first and last characters depend on the neighbours.
                whole = encode(b"\0" * before + raw)
                whole = whole[-(-before * 8 // 6) :].rstrip(b"=")
                inner = whole[: len(raw) * 8 // 6 - 1]
                if len(inner) >= BASE64_CHARS_MIN:
                    yield Needle(text, name, inner.lower())


def of_date(day: date) -> Iterator[Needle]:
    """ISO, compact, epoch seconds and milliseconds as text."""
    second = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    for text in (day.isoformat(), day.strftime("%Y%m%d"), str(second), str(second * 1000)):
        if len(text) >= TEXT_CHARS_MIN:
            for needle in of_text(text):
                yield Needle(day.isoformat(), needle.dress, needle.shape)


def numbers_of(day: date) -> frozenset[int]:
    """Seconds, milliseconds and days since 1970, for numbers in MessagePack."""
    second = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    return frozenset({second, second * 1000, second // DAY_S})


def search(needles: Iterable[Needle], hay: Iterable[bytes]) -> list[Needle]:
    """The needles that stand in any piece of it, case folded."""
    folded = b"\0\0\xff\0\0".join(piece.lower() for piece in hay)
    return [needle for needle in needles if needle.shape in folded]
