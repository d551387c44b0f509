"""The command line as a shell runs it: real processes, and every wait has an end."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from salus.codes import Exit

COMMAND_S = 120
LINE_S = 60  # a machine that is busy with the rest of the suite


def command(*arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", "cli.main", *map(str, arguments))


def environment() -> dict[str, str]:
    """Without the caller's own overrides; output comes as it is written."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SALUS_")}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def salus(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        env=environment(),
        stdin=subprocess.DEVNULL,
        check=False,
    )


def patient(*arguments: object) -> tuple[object, ...]:
    """The command waits longer than a person would, if it does not say how long."""
    return arguments if "--timeout" in arguments else (*arguments, "--timeout", LINE_S)


def refused(code: int, *arguments: object) -> tuple[object, ...]:
    """The same for one that ends with this exit code; who cannot be reached is tried until the end."""
    return arguments if code == Exit.UNREACHABLE else patient(*arguments)


def document(*arguments: object) -> Any:
    """What a command that succeeds prints with --json."""
    done = salus(*patient(*arguments), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def error(code: int, *arguments: object) -> Any:
    """What a command that ends with this exit code says with --json."""
    done = salus(*refused(code, *arguments), "--json")
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)["error"]


class Reader:
    """A command that goes on, and its lines as they come."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        assert process.stdout is not None
        self._stream = process.stdout
        os.set_blocking(self._stream.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stream, selectors.EVENT_READ)
        self._buffer = b""

    def line(self, within_s: float = LINE_S) -> str:
        deadline = time.monotonic() + within_s
        while b"\n" not in self._buffer:
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._selector.select(left_s):
                raise AssertionError(f"no line within {within_s} s; so far {self._buffer!r}")
            read = self._stream.read()
            if read == b"":
                raise AssertionError(f"it ended, with {self.process.wait(COMMAND_S)}")
            self._buffer += read or b""
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode()


@contextmanager
def following(*arguments: object) -> Iterator[Reader]:
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        env=environment(),
    )
    try:
        yield Reader(process)
    finally:
        process.terminate()
        process.wait(COMMAND_S)
        assert process.stdout is not None
        process.stdout.close()


def until(what: str, condition: Callable[[], bool], within_s: float = LINE_S) -> None:
    """For what nobody announces, such as a line in a file."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


def lines(log: Path) -> list[dict[str, Any]]:
    """The whole lines of a node's log that are events."""
    text = log.read_text() if log.exists() else ""
    whole = text.rpartition("\n")[0]  # it may be writing the last one
    return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
