"""The API's bearer token: whoever holds it may read documents in plain text.

Law of the file: a token is 32 random bytes, on disk wholly or not at all, readable by the owner
only; a file that is anything else keeps the node from starting. An empty one must never serve:
an empty bearer would equal it.
"""

import secrets
from pathlib import Path

from node.errors import ConfigError, ConfigProblem
from salus.files import write_new

TOKEN_CHARS_MIN = 32  # what an operator writes by hand must not be guessed either
FILE_BYTES_MAX = 4096


def api_token(path: Path) -> str:
    """The token in the file, a new one if there is no file. Raises `ConfigError`."""
    try:
        with path.open("rb") as stream:
            mode = path.stat().st_mode
            content = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        token = secrets.token_urlsafe(32)
        write_new(path, token.encode() + b"\n")
        return token
    if mode & 0o077:
        raise _unsafe(path, "others may read it: chmod 600, or remove it and start again")
    text = content.decode("ascii", "replace").strip()
    plain = len(content) <= FILE_BYTES_MAX and text.isascii() and text.isprintable()
    if len(text) < TOKEN_CHARS_MIN or not plain or " " in text:
        raise _unsafe(
            path, f"not a token of at least {TOKEN_CHARS_MIN} letters: remove it and start again"
        )
    return text


def _unsafe(path: Path, why: str) -> ConfigError:
    problem = ConfigProblem("CONFIG_UNSAFE", path.name, "api.token", f"{path.name}: {why}")
    return ConfigError((problem,))
