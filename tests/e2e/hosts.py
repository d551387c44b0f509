"""Hosts with addresses of their own on one machine: a network namespace each, behind one switch.

A command runs on its host: it sees that host's loopback and its one line to the others. What a
person would carry from one host to another, a test copies from desk to desk. Needs root and ip(8).
"""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.shell import COMMAND_S, command, environment, patient
from tests.history.wires import holder, ip, release

PREFIX = "10.78.0"  # in namespaces of the test's own: it meets no other network
END_S = 60


class Host:
    """`home`: of its node; `desk`: what people put down there."""

    def __init__(self, root: Path, name: str, address: str, namespace: int) -> None:
        self.name, self.address, self.namespace = name, address, namespace
        self.home, self.desk, self.log = root / name / "home", root / name, root / name / "node.log"
        self.desk.mkdir(parents=True)
        self.node: subprocess.Popen[bytes] | None = None

    def here(self, *arguments: object) -> list[str]:
        return ["nsenter", "--net", f"--target={self.namespace}", *map(str, arguments)]

    def environment(self) -> dict[str, str]:
        """Who works here has the password of this node's keys."""
        return environment() | {"SALUS_PASSWORD_FILE": str(self.desk / "password")}

    def salus(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """On this host, in its desk, with its home."""
        return subprocess.run(
            self.here(*command(*arguments, "--home", self.home)),
            cwd=self.desk,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def document(self, *arguments: object) -> Any:
        done = self.salus(*patient(*arguments), "--json")
        assert done.returncode == 0, f"{self.name}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def start(self, *arguments: object) -> None:
        """nsenter(1) becomes the node."""
        with self.log.open("ab") as log:
            self.node = subprocess.Popen(
                self.here(*command("start", *arguments, "--home", self.home)),
                cwd=self.desk,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def stop(self) -> int:
        """In order; its exit code."""
        assert self.node is not None
        self.node.send_signal(signal.SIGTERM)
        return self.node.wait(END_S)

    def line(self, state: str) -> None:
        """`up` or `down`: its only line to the others."""
        ip("link", "set", "eth0", state, inside=self.namespace)


@contextmanager
def hosts(root: Path, names: tuple[str, ...]) -> Iterator[tuple[Host, ...]]:
    """At the end every node is ended, and every namespace is gone."""
    keepers = [holder() for _ in (*names, "switch")]
    *spaces, switch = (keeper.pid for keeper in keepers)
    made: list[Host] = []
    try:
        ip("link", "add", "switch", "type", "bridge", inside=switch)
        ip("link", "set", "switch", "up", inside=switch)
        for number, (name, space) in enumerate(zip(names, spaces, strict=True), 1):
            line = ("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns")
            ip(*line, str(space), inside=switch)
            ip("link", "set", name, "master", "switch", "up", inside=switch)
            ip("link", "set", "lo", "up", inside=space)
            ip("addr", "add", f"{PREFIX}.{number}/24", "dev", "eth0", inside=space)
            ip("link", "set", "eth0", "up", inside=space)
            made.append(Host(root, name, f"{PREFIX}.{number}", space))
        yield tuple(made)
    finally:
        for host in made:
            if host.node is not None and host.node.poll() is None:
                host.node.kill()
                host.node.wait(END_S)
        for keeper in keepers:
            release(keeper)
