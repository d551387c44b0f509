"""Times as people give them."""

from cli.errors import CliError
from salus.errors import BadMessage

_UNITS_MS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000}


def until(text: str, now_ms: int, option: str = "--until") -> int:
    """`90d`, `12h`, `30m` from now, or a time; Unix milliseconds. Raises `CliError` (USAGE)."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS_MS and number.isascii() and number.isdigit() and len(number) <= 6:
        return now_ms + int(number) * _UNITS_MS[unit]
    return instant(text, option)


def instant(text: str, option: str = "--at") -> int:
    """RFC 3339; Unix milliseconds. Raises `CliError` (USAGE)."""
    from salus.consent.instant import parse_instant

    try:
        return parse_instant(text)
    except BadMessage as error:
        raise CliError("USAGE", f"{option}: {error.message}") from None
