"""What can be known about a node from its disk alone: before a start, or when it is dead.

Each check gives a `Finding`; none changes anything, none needs a password. `salus start` refuses
on the first bad one, `salus doctor` shows them all.
"""

import contextlib
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli import peppers, processes
from cli.errors import CliError
from cli.home import NodeHome
from node.config import Config, load
from node.errors import ConfigError
from node.settings import Endpoint
from salus import keystore
from salus.errors import SalusError
from salus.genesis import NO_PEPPER, Genesis, Member, from_json
from salus.keys import address
from salus.keystore import KeystoreError

MIB = 2**20

_PEPPER_FROM = "at another member: salus keys pepper export --to {}; here: salus keys pepper import"


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
        yield from self._pepper()
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
        if self.config is not None and self.config.profile == "prod" and (weak := self._weak()):
            return Finding(
                "keys",
                False,
                f"{weak} is of a test network: its password can be guessed fast",
                "BAD_KEYSTORE",
                "make a home with keys of its own: salus init",
            )
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

    def _weak(self) -> Path | None:
        """A key of this home, or of its keeper, that costs less per guess than `salus init` makes it."""
        folders = (self.home.keys, self.home.path / processes.KEEPER_FOLDER / "keys")
        for path in (path for folder in folders for path in sorted(folder.glob("*.json"))):
            with contextlib.suppress(KeystoreError):  # no key: said elsewhere
                kdf, least = keystore.read(path).kdf, keystore.INTERACTIVE
                if kdf.passes < least.passes or kdf.memory_bytes < least.memory_bytes:
                    return path
        return None

    def _pepper(self) -> Iterator[Finding]:
        """Whether there is a copy for this member, and of the pepper that genesis names. That it
        opens, only the box key can tell: salus keys pepper check."""
        if self.genesis is None or self.genesis.pepper_commitment == NO_PEPPER:
            return
        member, path = self.home.member(), self.home.pepper
        if member is None:
            return
        try:
            file = peppers.read(path)
            peppers.require(path, file, self.genesis, member)
        except FileNotFoundError:
            detail = f"{path} is missing: nobody is registered or found by an identifier here"
            yield Finding("pepper", None, detail, "NO_PEPPER", _PEPPER_FROM.format(member))
        except CliError as error:
            yield Finding("pepper", None, error.message, error.code, _PEPPER_FROM.format(member))
        else:
            if path.stat().st_mode & 0o077:
                detail = f"{path} can be read by others"
                yield Finding("pepper", None, detail, "BAD_PEPPER_FILE", f"chmod 600 {path}")
            else:
                yield Finding("pepper", True, "identity tags: the copy of the pepper is here")

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
