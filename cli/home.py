"""Where things lie on disk: the home of one node, or the root of a testnet with several.

    NODE_HOME   node.toml  genesis.json  join.json  pepper.json  api.token  keys/  data/  logs/
    testnet     testnet.json  genesis.json  nodes/NAME/ (a NODE_HOME each)  logs/NAME.log  seen-height

Told apart by `testnet.json` and `node.toml`. Nothing here talks to a node.
"""

import json
import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.seen import SeenHeight
from node import toml

DEFAULT_API = "127.0.0.1:7480"


@dataclass(frozen=True)
class NodeHome:
    """The files of one node."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "node.toml"

    @property
    def genesis(self) -> Path:
        return self.path / "genesis.json"

    @property
    def join(self) -> Path:
        return self.path / "join.json"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def token_file(self) -> Path:
        return self.path / "api.token"

    @property
    def pepper(self) -> Path:
        """The secret of identity tags, sealed to the box key (cli/peppers.py)."""
        return self.path / "pepper.json"

    @property
    def exists(self) -> bool:
        return self.config.is_file()

    def token(self) -> str | None:
        """What protected paths of the API ask for; only who may read the home has it."""
        try:
            return self.token_file.read_text().strip() or None
        except FileNotFoundError:
            return None

    def settings(self) -> dict[str, Any]:
        """node.toml as plain data, unchecked; `node.config` is what checks it."""
        try:
            return toml.parse(self.config.read_text("utf-8"))
        except FileNotFoundError:
            raise CliError("NO_HOME", f"{self.path} is not the home of a node") from None
        except UnicodeDecodeError:
            raise CliError("CONFIG_INVALID", f"{self.config}: not UTF-8") from None
        except (tomllib.TOMLDecodeError, toml.Unreadable) as error:
            raise CliError("CONFIG_INVALID", f"{self.config}: {error}") from None

    def setting(self, section: str, name: str, default: str) -> str:
        """One text of node.toml, or of the environment variable that overrides it."""
        override = os.environ.get(f"SALUS_{section}__{name}".upper())
        table = self.settings().get(section, {})
        return override or str(table.get(name, default) if isinstance(table, dict) else default)

    def api_url(self) -> str:
        scheme = "http" if self.api_certificate() is None else "https"
        return f"{scheme}://{_reachable(self.setting('api', 'listen', DEFAULT_API))}"

    def answers_at(self, url: str) -> bool:
        """Whether that is the address of this home's API: as it listens, loopback however it is
        written, or by TLS one of the names in `hosts`."""
        own = self.api_url()
        named = url.lower()
        if _same_url(named, own):
            return True
        table = self.settings().get("api", {})
        hosts = table.get("hosts", []) if isinstance(table, dict) else []
        port = own.rpartition(":")[2]
        # A name is only as good as who answers to it: without TLS that is anybody.
        return own.startswith("https:") and any(
            named.rstrip("/") == f"https://{host}:{port}".lower() for host in hosts
        )

    def api_certificate(self) -> Path | None:
        """The node's own HTTPS certificate, trusted by whoever can read the home."""
        name = self.setting("api", "tls_cert", "")
        return self.path / name if name else None

    def member(self) -> str | None:
        """The id of the member whose home this is, as its join file says."""
        try:
            return str(json.loads(self.join.read_bytes())["member"]["id"])
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None


@dataclass(frozen=True)
class TestnetNode:
    """One node as testnet.json names it."""

    __test__ = False  # for pytest: not a test class

    name: str
    pid: int
    api: str
    home: str
    address: str
    p2p: str

    @property
    def node_home(self) -> NodeHome:
        return NodeHome(Path(self.home))

    def document(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class TestnetDescription:
    __test__ = False

    chain_id: str
    genesis_hash: str
    nodes: tuple[TestnetNode, ...]

    def node(self, name: str) -> TestnetNode:
        for node in self.nodes:
            if name == node.name or _same_url(name, node.api):
                return node
        known = ", ".join(node.name for node in self.nodes)
        raise CliError(
            "UNKNOWN_NODE",
            f"there is no node «{name}» in this testnet",
            next_step=f"known: {known}",
        )

    def document(self) -> dict[str, Any]:
        return {
            "chain_id": self.chain_id,
            "genesis_hash": self.genesis_hash,
            "nodes": [node.document() for node in self.nodes],
        }


@dataclass(frozen=True)
class Target:
    """Whom a command talks to, and whose keys are at hand."""

    urls: tuple[str, ...]
    home: NodeHome | None
    name: str
    own: bool = True  # the first URL is an address that the home itself names

    def token(self) -> str | None:
        """What the home's node asks for. It belongs to that node: no other address is told it."""
        return self.home.token() if self.home is not None and self.own else None


class Home:
    """What --home names."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def is_testnet(self) -> bool:
        return (self.path / "testnet.json").is_file()

    @property
    def node(self) -> NodeHome:
        return NodeHome(self.path)

    @cached_property
    def testnet(self) -> TestnetDescription:
        return read_testnet(self.path)

    @cached_property
    def seen(self) -> SeenHeight | None:
        """Of a testnet: the height that its user has seen. A home of one node needs none."""
        return SeenHeight(self.path / "seen-height") if self.is_testnet else None

    def local(self, node: str | None) -> NodeHome:
        """The files of one node on this machine, made or not; of a testnet's, --node says which."""
        if not self.is_testnet:
            return self.node
        if node is None:
            raise CliError("USAGE", "which node of the testnet? --node NAME")
        return self.testnet.node(node).node_home

    def existing(self, node: str | None) -> NodeHome:
        """As `local`, and it must be there."""
        home = self.local(node)
        if not home.exists:
            raise CliError("NO_HOME", f"{home.path} is not the home of a node")
        return home

    def target(self, node: str | None) -> Target:
        """The node that --node names, or the one that the home suggests."""
        if self.is_testnet:
            if node is None:
                return self._any_of_testnet()
            if "://" not in node or any(_same_url(node, n.api) for n in self.testnet.nodes):
                found = self.testnet.node(node)
                return Target((found.api,), found.node_home, found.name)
        if node is not None and "://" in node:
            here = self.node if self.node.exists else None
            own = here is not None and here.answers_at(node)
            return Target((node.rstrip("/"),), here, node, own)
        if not self.node.exists:
            raise CliError("NO_HOME", f"{self.path} is neither a node's home nor a testnet")
        name = self.node.member() or self.path.name
        if node not in {None, name}:
            raise CliError(
                "UNKNOWN_NODE",
                f"«{node}» is not the node of this home",
                next_step="name it by its URL: --node http://HOST:PORT",
            )
        return Target((self.node.api_url(),), self.node, name)

    def _any_of_testnet(self) -> Target:
        """All of them, those whose process lives first: the client fails over."""
        nodes = sorted(self.testnet.nodes, key=lambda node: not alive(node.pid))
        return Target(tuple(n.api for n in nodes), nodes[0].node_home, nodes[0].name)


def read_testnet(root: Path) -> TestnetDescription:
    path = root / "testnet.json"
    try:
        document = json.loads(path.read_text())
        nodes = tuple(TestnetNode(**node) for node in document["nodes"])
        return TestnetDescription(document["chain_id"], document["genesis_hash"], nodes)
    except FileNotFoundError:
        raise CliError("NO_HOME", f"{root} is not a testnet") from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CliError("CONFIG_INVALID", f"{path} is damaged") from None


def alive(pid: int) -> bool:
    """Whether a process of this id runs (a zombie does not)."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # Field 3, after the name in brackets: Z = dead, and only waiting to be collected.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def _same_url(given: str, api: str) -> bool:
    """Whether a URL names a node on loopback, however it is written."""
    loopback = given.rstrip("/").replace("//localhost:", "//127.0.0.1:")
    # Compared as text: what two readers of URLs take for different hosts is no match here.
    return api in {given.rstrip("/"), loopback}


def _reachable(listen: str) -> str:
    """An address to dial for one to listen on."""
    host, _, port = listen.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '[::]': '[::1]', '': '127.0.0.1'}.get(host, host) }:{port}"
