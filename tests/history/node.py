"""A node process for tests: the real one, with applications of its own and things it can suffer.

    python -m tests.history.node --home HOME [--network PID] [--file-bytes-max N] [--witness | --newer]

`--network`: in the network namespace of that process. `--file-bytes-max`: no file grows beyond
(setrlimit(2), as a quota). `--newer`: software that has version 2 of the register, too. SIGUSR2 reads
CLOCK_FILE in the home: so many milliseconds is this node's clock ahead from then on, as after a step
of NTP; the monotonic clock does not step.

Law of the file: no setting and no command of Salus leads here, and it serves no chain but CHAIN_ID.
"""

import argparse
import ctypes
import resource
import signal
import time
from collections.abc import Awaitable
from pathlib import Path

from cli import loop
from cli import main as command_line
from cli.commands import start
from cli.errors import CliError
from consensus.messages import decode_message
from contracts.framework import Contract
from node.config import Config
from node.net.frames import Kind, PrePrepareFrame
from node.node import Node
from node.process import run
from salus.codec import decode
from salus.errors import SalusError
from salus.genesis import Genesis
from salus.keys import SigningKey
from tests.history.applications import registry
from tests.history.newer import register as register_2
from tests.history.witness import Witness

CHAIN_ID = "salus-history"
MODULE = "tests.history.node"
CLOCK_FILE = "clock.ahead_ms"
CLOCK_SIGNAL = signal.SIGUSR2
_CLONE_NEWNET = 0x4000_0000  # ◆ of the Linux kernel


class HistoryNode(Node):
    """Refuses every chain that no test has founded."""

    newer: tuple[Contract, ...] = ()

    def __init__(
        self, home: Path, config: Config, genesis: Genesis, key: SigningKey, box_seed: bytes
    ) -> None:
        if genesis.chain_id != CHAIN_ID:
            raise CliError("USAGE", f"{genesis.chain_id} is no chain of a test")
        super().__init__(home, config, genesis, key, box_seed, registry(*self.newer))


class NewerNode(HistoryNode):
    """After an upgrade: what the vote activates it can run."""

    newer = (register_2,)


class WitnessNode(HistoryNode):
    """Writes down each vote that reaches it, before anybody judges it."""

    def __init__(
        self, home: Path, config: Config, genesis: Genesis, key: SigningKey, box_seed: bytes
    ) -> None:
        self._witness = Witness(home)
        super().__init__(home, config, genesis, key, box_seed)

    def _deliver(self, member: str, kind: Kind, payload: bytes) -> Awaitable[None] | None:
        try:
            if kind is Kind.CONSENSUS:
                self._witness.heard(decode_message(payload))
            elif kind is Kind.PRE_PREPARE:
                self._witness.heard(decode_message(decode(payload, PrePrepareFrame).message))
        except SalusError:
            pass  # Garbage: the node itself says what it thinks of it.
        return super()._deliver(member, kind, payload)


def enter_network(pid: int) -> None:
    """Before the first socket and the first thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")


class Clock:
    """The system's, and what it is ahead; every reader of the time of day in this process has it."""

    def __init__(self, home: Path) -> None:
        self._file = home / CLOCK_FILE
        self._ahead_ns = 0
        self._true_ns = time.time_ns
        time.time_ns = self.time_ns
        time.time = lambda: self.time_ns() / 1e9
        signal.signal(CLOCK_SIGNAL, lambda *_: self.read())  # first: no jump falls between the two
        self.read()

    def read(self) -> None:
        try:
            self._ahead_ns = int(self._file.read_text()) * 1_000_000
        except FileNotFoundError:
            self._ahead_ns = 0

    def time_ns(self) -> int:
        return self._true_ns() + self._ahead_ns


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--network", type=int)
    parser.add_argument("--file-bytes-max", type=int)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--witness", dest="build", action="store_const", const=WitnessNode)
    kind.add_argument("--newer", dest="build", action="store_const", const=NewerNode)
    parser.set_defaults(build=HistoryNode)
    options = parser.parse_args()
    if options.network is not None:
        enter_network(options.network)
    if options.file_bytes_max is not None:
        limit = options.file_bytes_max
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    Clock(options.home)

    def run_node(home: Path, overrides: dict[str, str], password: str) -> None:
        loop.run(run(home, overrides, password=password, build=options.build))

    start.run_node = run_node  # type: ignore[assignment]
    # The checks of `salus start` before, and its words for whatever ends the node after.
    command_line.main(["start", "--home", str(options.home)])


if __name__ == "__main__":
    main()
