"""What can be known about a node from its disk alone: before a start, or when it is dead.

Each check gives a `Finding`; none changes anything, none needs a password. `salus start` refuses
on the first bad one, `salus doctor` shows them all.
"""

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from cli import processes
from cli.home import NodeHome
from node.config import Config, load
from node.errors import ConfigError
from node.settings import Endpoint
from salus.errors import SalusError
from salus.genesis import Genesis, Member, from_json
from salus.keys import address

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a diagnosis. `ok`: True, False, or None for a warning."""

    name: str
    ok: bool | None
    detail: str
    code: str = "OK"
    next_step: str = ""

    def document(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": self.name, "ok": self.ok, "detail": self.detail}
        if self.code != "OK":
            fields |= {"code": self.code, "next": self.next_step}
        return fields


@dataclass
class Preflight:
    """The checks in order; what an earlier one has read, the later ones use."""

    home: NodeHome
    overrides: dict[str, str] = field(default_factory=dict)
    environ: dict[str, str] = field(default_factory=dict)
    config: Config | None = None
    genesis: Genesis | None = None
    member: Member | None = None

    def run(self, *, ports: bool = True) -> Iterator[Finding]:
        yield self._config()
        yield self._genesis()
        yield self._keys()
        if ports:
            yield from self._ports()
        yield self._disk()

    def _config(self) -> Finding:
        try:
            loaded = load(self.home.config, environ=self.environ, overrides=self.overrides)
        except ConfigError as error:
            text = "\n".join(str(problem) for problem in error.problems)
            return Finding("config", False, text, error.problems[0].code, "salus config check")
        self.config = loaded.config
        return Finding("config", True, f"node.toml valid (version {self.config.version})")

    def _genesis(self) -> Finding:
        path = self.home.genesis
        try:
            self.genesis = from_json(path.read_bytes())
        except FileNotFoundError:
            return Finding(
                "genesis",
                False,
                f"{path} is missing",
                "NOT_IN_GENESIS",
                "salus genesis install FILE --hash HASH",
            )
        except SalusError as error:
            return Finding(
                "genesis", False, error.message, error.code, "install the agreed document again"
            )
        validators = self.genesis.validators()
        return Finding(
            "genesis",
            True if validators.f else None,
            f"{self.genesis.chain_id} {self.genesis.hash().hex()[:16]}…  n {validators.n} "
            f"f {validators.f} quorum {validators.quorum}"
            + ("" if validators.f else "  (no fault is tolerated)"),
        )

    def _keys(self) -> Finding:
        from cli.keyfiles import public_key_of

        path = self.home.keys / "node.json"
        try:
            key = public_key_of(path)
        except FileNotFoundError:
            return Finding(
                "keys", False, f"{path} is missing", "FILE_NOT_FOUND", "restore it from the backup"
            )
        except SalusError as error:
            return Finding("keys", False, error.message, error.code, "restore it from the backup")
        if self.genesis is None:
            return Finding("keys", None, f"node key {address(key)}; no genesis to compare with")
        self.member = next((m for m in self.genesis.members if m.node_key == key), None)
        if self.member is None and (named := self._named(key)) is not None:
            # Whether it is a member by now, only the chain can say: the node will.
            return Finding(
                "keys",
                None,
                f"the node key of «{named}» stands not in genesis: a member by vote, or to be one",
                "NOT_IN_GENESIS",
                "salus status; salus gov list",
            )
        if self.member is None:
            return Finding(
                "keys",
                False,
                f"the node key {address(key)} belongs to no member in genesis",
                "NOT_IN_GENESIS",
                "restore the key that your join file named: salus keys import",
            )
        return Finding("keys", True, f"the node key is that of «{self.member.id}» in genesis")

    def _named(self, key: bytes) -> str | None:
        """The member whose join file in this home names the key, if it does."""
        from salus.join import read_join

        try:
            card = read_join(self.home.join.read_bytes())
        except (OSError, SalusError):
            return None
        return card.member.id if card.member.node_key == key else None

    def _ports(self) -> Iterator[Finding]:
        if self.config is None:
            return
        if processes.running(self.home.path) is not None:
            return  # it is us who hold them
        for name, endpoint in (("p2p", self.config.p2p.listen), ("api", self.config.api.listen)):
            yield port_free(name, endpoint)

    def _disk(self) -> Finding:
        place = self.home.data
        while not place.exists():
            place = place.parent
        usage = shutil.disk_usage(place)
        least = 16 * MIB if self.config is None else self.config.storage.free_min_bytes
        detail = f"{usage.free / 2**30:.1f} GB free of {usage.total / 2**30:.0f} GB at {place}"
        if usage.free < least:
            return Finding(
                "disk",
                False,
                f"{detail}; below storage.free_min ({least // MIB} MB)",
                "DISK_FULL",
                "free space, or move the home to a larger disk",
            )
        return Finding("disk", True if usage.free > 4 * least else None, detail)


def port_free(name: str, endpoint: Endpoint) -> Finding:
    """Whether a node could listen there now."""
    family = socket.AF_INET6 if ":" in endpoint.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((endpoint.host, endpoint.port))
        except OSError as error:
            return Finding(
                f"port {name}",
                False,
                f"{endpoint} cannot be listened on: {error.strerror}",
                "PORT_TAKEN",
                f"who has it: ss -ltnp 'sport = :{endpoint.port}'; or change [{name}] listen",
            )
    return Finding(f"port {name}", True, f"{endpoint} is free")
