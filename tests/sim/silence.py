"""Metrics that nobody reads. A file of its own: it is never compiled (`compiled.py`), for it makes
its attributes as they are asked for."""

from __future__ import annotations

from typing import Any


class Silence:
    """Every attribute, call and label is this again."""

    def __getattr__(self, name: str) -> Silence:
        setattr(self, name, self)  # Asked once; then it is found at once.
        return self

    def __call__(self, *args: Any, **named: Any) -> Silence:
        return self


SILENCE: Any = Silence()
