"""A local network: keys, genesis and homes for N hospitals, and their processes on loopback."""

import asyncio
import json
import os
import random
import secrets
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cli import keepers, peppers, processes
from cli.errors import CliError
from cli.home import NodeHome, TestnetDescription, TestnetNode, read_testnet
from cli.keyfiles import NodeKeys, make_keys, write_secret
from node import keeper_process
from node.config_docs import render_toml
from salus import keystore, pepper
from salus.client import Client
from salus.errors import SalusError
from salus.genesis import GENESIS_VERSION, Genesis, Member, Role, check_genesis, to_json
from salus.identity_tag import PEPPER_BYTES
from salus.join import Card, write_join
from salus.keys import address
from salus.parameters import Parameters

# What differs from the defaults on every node: only this machine can call, so no token; and
# faults on purpose. configs/testnet.toml shows it as a file.
PROFILE: dict[str, object] = {
    "profile": "dev",
    "api.auth": "none",
    "storage.free_min": "64MiB",
    "records.batch_period": "200ms",  # nobody waits at a test network
    "dev.fault_injection": True,
}

NODES_MAX = 31  # f = 10, on one machine; more is a question for the simulator
READY_S = 60.0
POLL_S = 0.05


def node_names(n: int) -> list[str]:
    """hosp-a to hosp-z, then hosp-za and on: ascending, as genesis wants its members."""
    letters = [chr(ord("a") + index) for index in range(26)]
    return [f"hosp-{word}" for word in [*letters, *("z" + letter for letter in letters)][:n]]


# Nobody has to be warned here, and whoever tries an erasure finds its end with the next command.
PARAMETERS = Parameters(erasure_wait_ms=200)


def exists(root: Path) -> bool:
    return (root / "testnet.json").is_file()


def create(root: Path, n: int, chain_id: str, parameters: Parameters) -> TestnetDescription:
    """Keys, genesis and a home for each node; starts nothing."""
    if not 1 <= n <= NODES_MAX:
        raise CliError("USAGE", f"a testnet has 1 to {NODES_MAX} nodes")
    if root.exists() and any(root.iterdir()):
        raise CliError(
            "REFUSES_OVERWRITE",
            f"{root} is not empty and no testnet",
            next_step="choose another --home",
        )
    names = node_names(n)
    homes = {name: NodeHome(root / "nodes" / name) for name in names}
    ports = free_ports(2 * n)
    places = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports[:n], strict=True)}
    apis = {name: f"127.0.0.1:{port}" for name, port in zip(names, ports[n:], strict=True)}
    for home in homes.values():
        home.path.mkdir(parents=True, mode=0o700)
    keys: dict[str, NodeKeys] = {name: new_keys(home) for name, home in homes.items()}
    members = {
        name: Member(
            name,
            f"Hospital {name.removeprefix('hosp-').upper()}",
            (Role.HOSPITAL,),
            True,
            key.node.public_key,
            key.operator.public_key,
            key.box_public_key,
        )
        for name, key in keys.items()
    }
    pepper_secret = os.urandom(PEPPER_BYTES)
    founding = Genesis(
        GENESIS_VERSION,
        chain_id,
        time.time_ns() // 1_000_000,
        tuple(members[name] for name in sorted(names)),
        parameters,
        pepper.commitment(pepper_secret),
    )
    check_genesis(founding)
    boxes = {name: member.box_key for name, member in members.items()}
    copies = pepper.sealed(pepper_secret, chain_id, boxes)
    document = to_json(founding)
    (root / "genesis.json").write_text(document)
    keeper_keys = {name: make_keeper(founding, home, name) for name, home in homes.items()}
    nodes = []
    for name in names:
        home, key = homes[name], keys[name]
        home.genesis.write_text(document)
        peppers.place(home, copies, name)
        home.join.write_text(write_join(Card(members[name], places[name]), key.node, key.operator))
        home.config.write_text(render_toml(_settings(name, members, places, apis, keeper_keys)))
        nodes.append(
            TestnetNode(
                name=name,
                pid=0,
                api=f"http://{apis[name]}",
                home=str(home.path),
                address=address(members[name].node_key),
                p2p=places[name],
            )
        )
    description = TestnetDescription(chain_id, founding.hash().hex(), tuple(nodes))
    save(root, description)  # last: a root without it is no testnet
    return description


def _settings(
    name: str,
    members: dict[str, Member],
    places: dict[str, str],
    apis: dict[str, str],
    keeper_keys: dict[str, bytes],
) -> dict[str, object]:
    return PROFILE | {
        "p2p.listen": places[name],
        "p2p.peers": [
            f"{address(members[other].node_key)}@{place}"
            for other, place in places.items()
            if other != name
        ],
        "api.listen": apis[name],
        "keeper.public_key": keeper_keys[name].hex(),
    }


def new_keys(home: NodeHome) -> NodeKeys:
    """The keys of a node, whose random password lies beside them."""
    return make_keys(home, secrets.token_urlsafe(18), kdf=keystore.TESTNET)


def make_keeper(founding: Genesis, home: NodeHome, org: str) -> bytes:
    """The keeper's folder in a node's home, with a password of its own; its public key."""
    folder, password = home.path / processes.KEEPER_FOLDER, secrets.token_urlsafe(18)
    (folder / "keys").mkdir(mode=0o700, parents=True)
    write_secret(folder / "keys" / "password", password + "\n")
    folder.chmod(0o700)
    return keeper_process.make(folder, founding, org, password, kdf=keystore.TESTNET)


def save(root: Path, description: TestnetDescription) -> None:
    """Replace testnet.json in one step."""
    temporary = root / ".testnet.json.new"
    temporary.write_text(json.dumps(description.document(), indent=2) + "\n")
    os.replace(temporary, root / "testnet.json")


def log_of(root: Path, name: str) -> Path:
    return root / "logs" / f"{name}.log"


def keeper_log_of(root: Path, name: str) -> Path:
    return root / "logs" / f"{name}.keeper.log"


def start(
    root: Path,
    names: list[str] | None = None,
    commands: Mapping[str, Sequence[str]] | None = None,
) -> TestnetDescription:
    """Start the nodes that do not run, with their keepers; testnet.json then names the nodes' pids.
    `commands`: what to run in place of the node, by name."""
    description = read_testnet(root)
    nodes = []
    for node in description.nodes:
        pid = processes.running(Path(node.home))
        if pid is None and (names is None or node.name in names):
            processes.start_keeper(Path(node.home), keeper_log_of(root, node.name))
            command = (commands or {}).get(node.name)
            pid = processes.start(Path(node.home), log_of(root, node.name), command)
        nodes.append(replace(node, pid=pid or 0))
    description = replace(description, nodes=tuple(nodes))
    save(root, description)
    return description


async def wait_ready(
    root: Path,
    description: TestnetDescription,
    names: list[str] | None = None,
    timeout_s: float = READY_S,
) -> None:
    """Until each node is ready, sees all others, and its keeper answers; names the node that is not,
    and why."""
    wanted = [node for node in description.nodes if names is None or node.name in names]
    expected = sum(1 for node in description.nodes if processes.running(Path(node.home))) - 1
    async with asyncio.TaskGroup() as group:
        for node in wanted:
            group.create_task(_wait_one(root, node, expected, timeout_s))


async def _wait_one(root: Path, node: TestnetNode, peers: int, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    reason = "it does not answer"
    async with Client(node.api, timeout_s=2.0) as client:
        while time.monotonic() < deadline:
            if processes.running(Path(node.home)) is None:
                reason = f"its process ended ({processes.ending(node.pid) or 'nobody saw how'})"
                break
            try:
                status = await client.status()
                # Of so few that no quorum can come together, nobody waits for one.
                lonely = peers + 1 < status.quorum.needed and status.signing == "signing"
                ready = status.ready or (lonely and not status.syncing)
                keeper = keepers.known(node.node_home)
                if (
                    ready
                    and status.peers.connected >= peers
                    and (keeper.answers or not keeper.named)
                ):
                    return
                reason = status.reason or (
                    f"sees {status.peers.connected} of {peers} peers, keeper {keeper.words()}"
                )
            except SalusError as error:
                reason = error.message
            await asyncio.sleep(POLL_S)
    log = log_of(root, node.name)
    raise CliError(
        "NODE_FAILED",
        f"{node.name} is not ready: {reason}\n--- {log}\n{processes.last_lines(log)}\n---",
        next_step=f"salus doctor --home {root} --node {node.name}",
        node=node.name,
    )


def stop(root: Path) -> list[str]:
    """End all nodes; the names of those that had to be killed."""
    description = read_testnet(root)
    homes = [Path(node.home) for node in description.nodes]
    killed = processes.stop(homes)
    save(
        root, replace(description, nodes=tuple(replace(node, pid=0) for node in description.nodes))
    )
    return [home.name for home in killed]


def free_ports(count: int) -> list[int]:
    """Ports that are free now, below the range from which the system gives outgoing ports.

    A port of that range could be taken by an outgoing connection while its node is down, and
    who dials it may even connect to himself.
    """
    low = _ephemeral_low()
    taken: list[socket.socket] = []
    try:
        for _ in range(count * 200):
            if len(taken) == count:
                break
            candidate = socket.socket()
            try:
                candidate.bind(("127.0.0.1", random.SystemRandom().randrange(10_000, low)))
                taken.append(candidate)
            except OSError:
                candidate.close()
        if len(taken) < count:
            raise CliError("PORT_TAKEN", f"fewer than {count} free ports on this machine")
        return [int(sock.getsockname()[1]) for sock in taken]
    finally:
        for sock in taken:
            sock.close()


def _ephemeral_low() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
        return max(12_000, int(text.split()[0]))
    except (OSError, ValueError, IndexError):
        return 32_768
