"""Nodes and keepers for the end-to-end tests, forked from an interpreter that has imported Salus.

A consortium of four is eight processes, and each would spend most of its first second of CPU on the
same imports. They are processes like all others: a session, a command line, an exit status of their
own; the tests are their parent. Cold starts are those of tests/e2e/test_ceremony.py, of `salus demo`,
of tests/cli/test_network.py, and wherever a promise in seconds counts them. Linux only; elsewhere
every start is a cold one.

    python -P -m tests.e2e.nursery PLACE    serves the socket on its standard input
"""

import ctypes
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from itertools import cycle
from pathlib import Path
from unittest.mock import patch

from cli import processes

ROOT = Path(__file__).resolve().parents[2]
REQUEST_BYTES_MAX = 64 * 1024
ANSWER_S = 60  # the first one waits for the imports, on a machine with other things to do

# Sets iterate by the hash of their strings, which a fork inherits: two nurseries take turns, so that
# of nodes that are started together no quorum shares one order.
NURSERIES = 2

# What a node or a keeper has imported when it is ready; nothing of it starts a thread or a loop.
IMPORTED = ("cli.commands.keeper", "cli.commands.start", "cli.loop", "node.keeper_process",
            "node.process", "tests.laggard", "tests.pace", "uvloop")  # fmt: skip

COLD = processes.spawn

PLACE_BYTES = 4096  # room for the command line of a child, kept free by an argument of the nursery
_PR_SET_CHILD_SUBREAPER = 36  # ◆ of the Linux kernel


class Nursery:
    """One warm interpreter, a child of the tests."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        kept = {name: word for name, word in os.environ.items() if not name.startswith("SALUS_")}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "tests.e2e.nursery", "." * PLACE_BYTES],
                stdin=theirs,
                stdout=subprocess.DEVNULL,
                cwd=ROOT,
                env={**kept, "PYTHONPATH": str(ROOT)},
            )
        ours.settimeout(ANSWER_S)
        self._socket = ours

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str], output: int) -> int:
        """As `processes.spawn`."""
        asked = json.dumps([list(arguments), dict(environment), os.getcwd()]).encode()
        socket.send_fds(self._socket, [asked], [output])
        return int(self._socket.recv(REQUEST_BYTES_MAX))

    def close(self) -> None:
        self._socket.close()
        self._process.wait(ANSWER_S)


class Nurseries:
    """Made when the first process is asked for. They take turns: for nodes, and for keepers."""

    def __init__(self) -> None:
        self._made: list[Nursery] = []
        self._turns = {keeper: cycle(range(NURSERIES)) for keeper in (True, False)}

    def spawn(self, arguments: Sequence[str], environment: Mapping[str, str], output: int) -> int:
        """As `processes.spawn`."""
        if not self._made:
            # A nursery lets go of each child, and the system gives it to us.
            assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
            self._made = [Nursery() for _ in range(NURSERIES)]
        turn = next(self._turns[processes.KEEPER.option in arguments])
        return self._made[turn].spawn(arguments, environment, output)

    @contextmanager
    def used(self) -> Iterator[None]:
        """Within, what this process starts through `cli.processes` comes from here."""
        if sys.platform != "linux":
            yield
            return
        with patch.object(processes, "spawn", self.spawn):
            yield

    @contextmanager
    def unused(self) -> Iterator[None]:
        """Within, every start is a cold one: where a promise in seconds counts it."""
        with patch.object(processes, "spawn", COLD):
            yield

    def close(self) -> None:
        for nursery in self._made:
            nursery.close()


# -- inside the nursery ---------------------------------------------------------------------------


def serve(asked: socket.socket) -> tuple[str, list[str]]:
    """Returns in each child, with the module that it shall run and its arguments; ends with the
    tests."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(asked, REQUEST_BYTES_MAX, 1)
        if not request:
            os._exit(0)
        arguments, environment, folder = json.loads(request)
        (output,) = descriptors
        told, tell = os.pipe()
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            os.close(told)
            asked.detach()  # its descriptor becomes the standard input
            become(arguments, environment, folder, output)
            os.write(tell, str(os.getpid()).encode())  # it may be looked for from now on
            os.close(tell)
            return arguments[0], arguments[1:]
        os.close(tell)
        os.close(output)
        os.waitpid(between, 0)  # now it is a child of the tests
        pid = os.read(told, 32)
        os.close(told)
        asked.send(pid)


def become(arguments: list[str], environment: dict[str, str], folder: str, output: int) -> None:
    """What subprocess.Popen and execve(2) would do."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    for used in (nothing, output):
        if used > 2:
            os.close(used)
    show([sys.executable, "-P", "-m", *arguments])


def show(command: list[str]) -> None:
    """In /proc/PID/cmdline, by which `processes.running` knows its own."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = int(fields[45]), int(fields[46])  # arg_start and arg_end of proc(5), 48 and 49
    line = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in command)
    assert len(line) < end - begin, "PLACE_BYTES is too small"
    ctypes.memmove(begin, line.ljust(end - begin, b"\0"), end - begin)


def main() -> None:
    for name in IMPORTED:
        import_module(name)
    assert threading.active_count() == 1, "a fork takes one thread along"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, which then close us
    module, arguments = serve(socket.socket(fileno=0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [module, *arguments]
    if processes.NODE.option in arguments:
        laggard = import_module("tests.laggard")
        laggard.slow_down(Path(arguments[arguments.index(processes.NODE.option) + 1]))
        import_module("tests.pace").change()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
