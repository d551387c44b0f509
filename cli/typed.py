"""Commands as people type them, each in a process of its own: for what plays a whole consortium."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND_S = 180  # a machine that plays four hospitals has other things to do
PATIENCE_S = 60  # for a commit


@dataclass(frozen=True, slots=True)
class Done:
    """What a shell would see of a command with --json."""

    words: tuple[str, ...]
    code: int
    document: dict[str, Any]


async def salus(home: Path, words: Sequence[object]) -> Done:
    """`salus WORDS --home HOME --json`."""
    said = tuple(map(str, words))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "cli.main", *said,
        "--home", str(home), "--timeout", str(PATIENCE_S), "--json",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(COMMAND_S):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        out = b""
    return Done(said, process.returncode or 0, _document(out))


def _document(out: bytes) -> dict[str, Any]:
    try:
        document = json.loads(out)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
