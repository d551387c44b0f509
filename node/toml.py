"""node.toml as plain data, whatever stands in it: Python's `tomllib`, and what it lets happen.

For a key of n dots tomllib makes n names of up to n parts: a file of 16 KiB took 270 MB. And it lets
out what is no fault of TOML: too many digits, and brackets too deep for the stack.
"""

import re
import tomllib
from typing import Any

DOTS_MAX = 128  # in a row of names; ours have one, a host's name at most 126

_NO_NAME = re.compile(r"""[^\w.\-\s"']""")


class Unreadable(ValueError):
    """The text is no TOML that is read here; the words show nothing of it."""


def parse(text: str) -> dict[str, Any]:
    """Raises `tomllib.TOMLDecodeError` or `Unreadable`."""
    for line in text.splitlines():
        if line.count(".") > DOTS_MAX and any(
            names.count(".") > DOTS_MAX for names in _NO_NAME.split(line)
        ):
            raise Unreadable("nested too deeply")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise Unreadable("nested too deeply") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:
        raise Unreadable("a number of too many digits") from None
