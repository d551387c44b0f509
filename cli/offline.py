"""`salus verify` in a process of its own that has no network, and the proof that it has none."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

# Where the system cannot take the network away: no socket can be made in this process at all.
_BLOCKED = """
import socket, sys
class NoNetwork(OSError): pass
def refuse(*arguments, **settings):
    raise NoNetwork("this process has no network")
class Refused(socket.socket):
    __init__ = refuse
socket.socket, socket.create_connection, socket.getaddrinfo = Refused, refuse, refuse
from cli.main import main
main(sys.argv[1:])
"""


def isolation() -> tuple[list[str], str]:
    """The words that start a process without network, and how they do it."""
    unshare = shutil.which("unshare")
    if unshare is not None:
        options = ["-n"] if os.geteuid() == 0 else ["-r", "-n"]
        for variant in (options, ["-r", "-n"]):
            tried = subprocess.run(
                [unshare, *variant, "true"], capture_output=True, check=False, timeout=10
            )
            if tried.returncode == 0:
                python = [sys.executable, "-P", "-m", "cli.main"]
                return [unshare, *variant, *python], "a network namespace without any interface"
    return [sys.executable, "-P", "-c", _BLOCKED], "a process in which no socket can be made"


def verify(
    prefix: list[str], arguments: list[str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run `salus verify` there, with nothing of ours in its environment."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SALUS_")
    }
    environment["HOME"] = str(folder)
    return subprocess.run(
        [*prefix, "verify", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
