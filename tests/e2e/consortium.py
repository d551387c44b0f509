"""A testnet of real processes led by the commands of docs/operating.md, as each hospital types them."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cli import processes
from cli.home import NodeHome, read_testnet
from cli.main import run
from tests.e2e.shell import patient, refused, until
from tests.ports import free_ports

DATA = Path(__file__).parent.parent.parent / "cli" / "data"
PATIENCE = ("--timeout", "60")  # for a commit, on a machine with other things to do


class Done(NamedTuple):
    """What a shell would see of one command."""

    returncode: int
    stdout: str
    stderr: str


def salus(*arguments: object) -> Done:
    """A command, in this process: the nodes are processes of their own, and the many commands
    would spend most of their time on importing the same modules."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = run([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


def document(*arguments: object) -> Any:
    done = salus(*patient(*arguments), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def error(code: int, *arguments: object) -> Any:
    done = salus(*refused(code, *arguments), "--json")
    assert done.returncode == code, f"{done.returncode}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)["error"]


def level(*homes: Path) -> None:
    """The nodes of these homes have the newest block of any of them: what one has told, all tell."""

    def height(home: Path) -> int:
        return int(document("status", "--home", home)["height"])

    newest = max(map(height, homes))
    for home in homes:
        until(f"{home.name} is at block {newest}", partial(lambda one: height(one) >= newest, home))


class Consortium:
    """A testnet, and hospitals that join it from homes of their own."""

    def __init__(self, root: Path, founders: int = 4) -> None:
        self.root, self.net = root, root / "net"
        try:
            document("testnet", "up", "-n", founders, "--home", self.net)
        except BaseException:
            salus("testnet", "down", "--home", self.net)  # some may run
            raise
        self.genesis_hash = document("genesis", "hash", "--home", self.net)["genesis_hash"]
        self.homes = {node.name: node.node_home for node in read_testnet(self.net).nodes}

    # -- what one hospital does

    def at(self, name: str) -> tuple[object, ...]:
        """Options that make a command one of this hospital's."""
        return ("--home", self.homes[name].path)

    def status(self, name: str) -> Any:
        return document("status", *self.at(name))

    def record(self, name: str) -> Any:
        return document("record", "add", DATA / "visit-1.json", *self.at(name), *PATIENCE)

    def proof(self, name: str, record: Any, *more: object) -> Path:
        file = self.root / f"{record['record_id']}.{len(more)}.proof"
        document(
            "proof", "make", "--record", record["record_id"], "-o", file, *more, *self.at(name)
        )
        return file

    def new_home(self, name: str, *more: object) -> NodeHome:
        """As a hospital makes it that has genesis, its hash and the others' join files; `more` goes
        to `init`."""
        home = NodeHome(self.root / name)
        p2p, api = free_ports(2)
        password = self.root / "password"
        password.write_text("x\n")
        password.chmod(0o600)
        joins = [word for other in self.homes.values() for word in ("--join", other.join)]
        document(
            "init", "--moniker", name, "--endpoint", f"127.0.0.1:{p2p}", *joins,
            "--from-genesis", self.net / "genesis.json", "--genesis-hash", self.genesis_hash,
            "--password-file", password, "--home", home.path, *more,
        )  # fmt: skip
        (home.keys / "password").write_text("x\n")
        (home.keys / "password").chmod(0o600)
        document(
            "config", "set", "p2p.listen", f"127.0.0.1:{p2p}", "api.listen", f"127.0.0.1:{api}",
            "api.auth", "none", "profile", "dev", "storage.free_min", "64MiB", "records.batch_period", "200ms", "--home",
            home.path,
        )  # fmt: skip
        document("keeper", "init", "--password-file", password, "--home", home.path)
        (home.path / "keeper" / "keys" / "password").write_text("x\n")
        (home.path / "keeper" / "keys" / "password").chmod(0o600)
        self.homes[name] = home
        return home

    def start(self, name: str) -> None:
        home = self.homes[name].path
        processes.start_keeper(home, self.log(name).with_suffix(".keeper.log"))
        processes.start(home, self.log(name))

    def stop(self, *names: str, kill: bool = False) -> None:
        processes.stop([self.homes[name].path for name in names], kill_at_once=kill)

    def log(self, name: str) -> Path:
        return self.net / "logs" / f"{name}.log"

    def until(self, name: str, what: str, **wanted: object) -> Any:
        seen: Any = None

        def reached() -> bool:
            nonlocal seen
            done = salus("status", "--json", *self.at(name))
            seen = json.loads(done.stdout) if done.returncode == 0 else done.stdout
            return done.returncode == 0 and all(seen[key] == wanted[key] for key in wanted)

        try:
            until(f"{name} {what}", reached)
        except AssertionError as failed:
            raise AssertionError(
                f"{failed}: {seen}\n{self.log(name).read_text()[-3000:]}"
            ) from None
        return seen

    # -- what all do

    def level(self, *names: str) -> None:
        """These nodes, or all."""
        level(*(self.homes[name].path for name in names or self.homes))

    def vote(self, number: int, *names: str, **options: object) -> Any:
        """These vote yes, one after another; the proposal after the last vote."""
        more = [word for key, value in options.items() for word in (f"--{key}", value)]
        for name in names:
            self.seen(number, name)
            asked = document("gov", "vote", number, "yes", *more, *self.at(name), *PATIENCE)
        return asked["proposal"]

    def seen(self, number: int, name: str) -> None:
        """The node there has the block with the proposal."""
        show = ("gov", "show", number, *self.at(name))
        until(f"{name} has proposal {number}", lambda: salus(*show).returncode == 0)

    def in_force(self, number: int, name: str) -> Any:
        found: Any = None

        def effective() -> bool:
            nonlocal found
            found = document("gov", "show", number, *self.at(name))["proposal"]
            return bool(found["stage"] == "effective")

        until(f"proposal {number} in force", effective)
        return found

    def verified(self, proof: Path, *more: object) -> Any:
        """Offline: the file and the genesis hash."""
        return document("verify", proof, "--genesis", self.genesis_hash, *more)


@contextmanager
def consortium(root: Path, founders: int = 4) -> Iterator[Consortium]:
    made = Consortium(root, founders)
    try:
        yield made
    finally:
        made.stop(*made.homes)
    for name in made.homes:
        assert "Traceback" not in made.log(name).read_text(), name
