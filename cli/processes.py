"""Processes of a testnet, nodes and keepers: started detached, found again by their pid file, ended
gently.

Law of the file: a signal goes only to a process whose command line names the folder that we
started it for; a pid file that outlived a reboot must not kill a stranger.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError

STOP_S = 15.0  # a node drains within 10 s of SIGTERM; then it is killed
POLL_S = 0.02


@dataclass(frozen=True)
class Program:
    """What runs in a folder: a module and its arguments, the option that names the folder, and the
    file in it with the pid."""

    command: tuple[str, ...]
    option: str
    pid_file: str


NODE = Program(("cli.main", "start"), "--home", "node.pid")
KEEPER = Program(("cli.main", "keeper", "start"), "--dir", "keeper.pid")
KEEPER_FOLDER = "keeper"  # in the home of its node

_ended: dict[
    int, int
] = {}  # how the children of this process ended, by pid; the system says it once


def start(
    folder: Path, log: Path, command: Sequence[str] | None = None, *, program: Program = NODE
) -> int:
    """Start the program of a folder in a session of its own; its pid. `command`: a module and its
    arguments in place of the program's."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        # The caller's overrides are not meant for the nodes of a testnet.
        name: value
        for name, value in os.environ.items()
        if not name.startswith("SALUS_")
    }
    arguments = (*(command or program.command), program.option, str(folder))
    with log.open("ab") as output:
        pid = spawn(arguments, environment, output.fileno())
    (folder / program.pid_file).write_text(f"{pid}\n")
    _ended.pop(pid, None)  # of another, long ago, that had the same number
    deadline = time.monotonic() + 2
    # For a moment after the fork the system shows no command line, and `running` would say no.
    while not _command_line(pid) and time.monotonic() < deadline:
        time.sleep(0.001)
    return pid


def spawn(arguments: Sequence[str], environment: Mapping[str, str], output: int) -> int:
    """Run a module with its arguments in a session of its own; its pid. `output`: a descriptor."""
    process = subprocess.Popen(
        # -P: the folder we are called from is not searched for modules.
        [sys.executable, "-P", "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        env=environment,
    )
    # Not waited for: `running` reaps it if it dies while we live; afterwards init does.
    process.returncode = 0
    return process.pid


def start_keeper(home: Path, log: Path) -> None:
    """Start the keeper in the home of a node, if there is one and it does not run."""
    folder = home / KEEPER_FOLDER
    if folder.is_dir() and running(folder, KEEPER) is None:
        start(folder, log, program=KEEPER)


def running(folder: Path, program: Program = NODE) -> int | None:
    """The pid of the node that runs from this home, or of another program from its folder."""
    try:
        pid = int((folder / program.pid_file).read_text())
    except (OSError, ValueError):
        return None
    if pid <= 0:
        return None  # To the system a number for many processes, never for a node.
    ours, line = _lives(pid), _command_line(pid)
    # A child of ours without a command line is on its way in or out, and still holds its files.
    return pid if f" {folder} " in f" {line.strip()} " or (ours and not line) else None


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
    """End the nodes of `homes` and then their keepers; the homes whose node had to be killed."""
    killed = _stop(homes, NODE, kill_at_once)
    _stop([home / KEEPER_FOLDER for home in homes], KEEPER, kill_at_once)
    return killed


def _stop(folders: list[Path], program: Program, kill_at_once: bool) -> list[Path]:
    for folder in folders:
        if (pid := running(folder, program)) is not None:
            if kill_at_once:
                os.kill(pid, signal.SIGKILL)
            else:
                os.kill(pid, signal.SIGTERM)
                os.kill(pid, signal.SIGCONT)  # a paused one cannot act on SIGTERM
    deadline = time.monotonic() + STOP_S
    waiting = list(folders)
    while waiting and time.monotonic() < deadline:
        waiting = [folder for folder in waiting if running(folder, program) is not None]
        if waiting:
            time.sleep(POLL_S)
    for folder in waiting:
        if (pid := running(folder, program)) is not None:
            os.kill(pid, signal.SIGKILL)
    for folder in waiting:
        while running(folder, program) is not None:
            time.sleep(POLL_S)
    for folder in folders:
        (folder / program.pid_file).unlink(missing_ok=True)
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
            .decode("utf-8", "surrogateescape")  # as Python holds a path that is not UTF-8
        )
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return ""
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout
