"""Ports of test networks: two runs on one machine must not get in each other's way."""

import socket
import subprocess
import sys
from contextlib import ExitStack

from tests.ports import FIRST, LAST, SHARE, free_ports

CODE = "from tests.ports import free_ports; print(*free_ports(3), flush=True); input()"


def test_processes_that_run_at_a_time_have_different_ports() -> None:
    """Both would look, find the same ones free, and take them a moment later."""
    shares = [min(free_ports(1)) // SHARE]
    with ExitStack() as stack:
        for _ in range(3):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
            other = stack.enter_context(
                subprocess.Popen([sys.executable, "-c", CODE], text=True, **pipes)
            )
            assert other.stdout is not None
            ports = [int(port) for port in other.stdout.readline().split()]
            assert len(set(ports)) == 3
            assert all(FIRST <= port < LAST for port in ports)
            shares += {port // SHARE for port in ports}
        assert len(set(shares)) == len(shares) == 4
        # Leaving closes their input, and so they end.


def test_a_share_is_free_again_when_its_process_has_ended() -> None:
    """Else a machine would run out of them."""
    for _ in range((LAST - FIRST) // SHARE + 1):
        subprocess.run([sys.executable, "-c", CODE], input="\n", text=True, check=True)


def test_a_port_whose_connections_ended_a_moment_ago_is_free() -> None:
    """Else the share of a process runs out while the kernel remembers them."""
    taken = set()
    for _ in range(SHARE + 1):
        (port,) = free_ports(1)
        taken.add(port)
        with (
            socket.create_server(("127.0.0.1", port)) as server,
            socket.create_connection(("127.0.0.1", port)),
        ):
            server.accept()[0].close()  # the server's side closes first: it waits
    assert len(taken) == SHARE
    (port,) = free_ports(1)
    with socket.create_server(("127.0.0.1", port)):
        again = [free_ports(1)[0] for _ in range(SHARE)]
    assert port not in again
