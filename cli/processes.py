"""Node processes of a testnet: started detached, found again by their pid file, ended gently.

Law of the file: a signal goes only to a process whose command line names the home that we
started it for; a pid file that outlived a reboot must not kill a stranger.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cli.errors import CliError

STOP_S = 15.0  # a node drains within 10 s of SIGTERM; then it is killed
POLL_S = 0.02
NODE = ("cli.main", "start")

_ended: dict[
    int, int
] = {}  # how the children of this process ended, by pid; the system says it once


def start(home: Path, log: Path, command: Sequence[str] = NODE) -> int:
    """Start the node of `home` in a session of its own; its pid. `command`: a module and its
    arguments, `--home` excepted."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        # The caller's overrides are not meant for the nodes of a testnet.
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SALUS_")
    }
    with log.open("ab") as output:
        process = subprocess.Popen(
            # -P: the folder we are called from is not searched for modules.
            [sys.executable, "-P", "-m", *command, "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=environment,
        )
    pid_file(home).write_text(f"{process.pid}\n")
    _ended.pop(process.pid, None)  # of another, long ago, that had the same number
    # Not waited for: `running` reaps it if it dies while we live; afterwards init does.
    process.returncode = 0
    deadline = time.monotonic() + 2
    # For a moment after the fork the system shows no command line, and `running` would say no.
    while not _command_line(process.pid) and time.monotonic() < deadline:
        time.sleep(0.001)
    return process.pid


def pid_file(home: Path) -> Path:
    return home / "node.pid"


def running(home: Path) -> int | None:
    """The pid of the node that runs from `home`, if one does."""
    try:
        pid = int(pid_file(home).read_text())
    except (FileNotFoundError, ValueError):
        return None
    if pid <= 0:
        return None  # To the system a number for many processes, never for a node.
    ours, line = _lives(pid), _command_line(pid)
    # A child of ours without a command line is on its way in or out, and still holds its files.
    return pid if str(home) in line or (ours and not line) else None


def ending(pid: int) -> str | None:
    """How a node that this very process started has ended, in words: "exit 78", "SIGKILL"; None
    while it runs, and of a node that another process started."""
    _lives(pid)
    code = _ended.get(pid)
    if code is None:
        return None
    return f"exit {code}" if code >= 0 else signal.Signals(-code).name


def _lives(pid: int) -> bool:
    """A child of ours that has not ended; one that has is collected, and its end kept."""
    try:
        ended, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return False
    if ended == pid:
        _ended[pid] = os.waitstatus_to_exitcode(status)
    return ended == 0


def send(home: Path, number: signal.Signals) -> None:
    """Signal the node of `home`; raises if none runs."""
    pid = running(home)
    if pid is None:
        raise CliError("NODE_FAILED", f"{home.name} does not run", next_step="salus testnet status")
    os.kill(pid, number)


def stop(homes: list[Path], *, kill_at_once: bool = False) -> list[Path]:
    """End the nodes of `homes`; those that had to be killed."""
    for home in homes:
        if (pid := running(home)) is not None:
            if kill_at_once:
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)  # a paused node cannot act on SIGTERM
    deadline = time.monotonic() + STOP_S
    waiting = list(homes)
    while waiting and time.monotonic() < deadline:
        waiting = [home for home in waiting if running(home) is not None]
        if waiting:
            time.sleep(POLL_S)
    for home in waiting:
        if (pid := running(home)) is not None:
            os.kill(pid, signal.SIGKILL)
    for home in waiting:
        while running(home) is not None:
            time.sleep(POLL_S)
    for home in homes:
        pid_file(home).unlink(missing_ok=True)
    return waiting


def last_lines(log: Path, count: int = 12) -> str:
    """The end of a log; reads a bounded piece of it."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16 * 1024))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-count:]) or "(the log is empty)"


def _command_line(pid: int) -> str:
    """The arguments of a living process; empty if there is none."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):
        return ""
    try:
        return (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode("utf-8", "replace")
        )
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout
