"""When something was so, as a resource says it."""

from typing import Any

_TIMES = (
    "effectiveDateTime",
    "effectiveInstant",
    "occurrenceDateTime",
    "performedDateTime",
    "onsetDateTime",
    "issued",
    "authoredOn",
    "recordedDate",
    "date",
    "dateAsserted",
)
_PERIODS = ("effectivePeriod", "performedPeriod", "occurrencePeriod", "onsetPeriod")


def when(content: dict[str, Any]) -> str:
    """The time of what it tells, as it is written; else when it was written down; else nothing."""
    for name in _TIMES:
        if isinstance(content.get(name), str):
            return str(content[name])
    for name in _PERIODS:
        period = content.get(name)
        if isinstance(period, dict) and isinstance(period.get("start"), str):
            return str(period["start"])
    return ""
