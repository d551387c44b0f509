"""Handles, keys and fingerprints as a person or a node says them: hex of one length."""

from cli.errors import CliError


def hex_bytes(text: object, size: int, what: str, code: str = "USAGE") -> bytes:
    """Raises `CliError` (`code`) unless it is `size` bytes as lower-case hex."""
    letters = "0123456789abcdef"
    if isinstance(text, str) and len(text) == 2 * size and set(text) <= set(letters):
        return bytes.fromhex(text)
    raise CliError(code, f"{what}: {2 * size} hex digits")
