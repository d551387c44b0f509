"""Who belongs to a local network, changed by vote as in a real one: add and remove a hospital.

Every step is what hospitals do (docs/operating.md), with this machine holding all their keys. Law
of the file: the vote decides; what is written here only follows it.
"""

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cli import ballots, peppers, processes
from cli import testnet as network
from cli.ceremony import own_key, set_peers, unset_peer
from cli.errors import CliError
from cli.home import NodeHome, TestnetDescription, TestnetNode, read_testnet
from cli.keyfiles import read_password
from node.config_docs import render_toml
from salus import pepper
from salus.client import Client
from salus.client_errors import RejectedError
from salus.errors import SalusError
from salus.forms_node import Status
from salus.genesis import NO_PEPPER, Member, Role, from_json
from salus.join import Admission, Card, read_admission, write_join
from salus.keys import Signer, address
from salus.keystore import Keystore

COMMIT_S = 60.0  # of one transaction, on a machine that is busy with all nodes
EFFECT_S = 120.0  # an epoch's end and, for a vote, the way of a new node to the head
POLL_S = 0.1


def make_node(root: Path, name: str, *, observer: bool) -> tuple[TestnetNode, Card, Admission]:
    """Keys, home and join file of one more hospital; the others learn where it is."""
    description = read_testnet(root)
    home = NodeHome(root / "nodes" / name)
    if home.path.exists():
        raise CliError("REFUSES_OVERWRITE", f"{home.path} exists")
    founding = from_json((root / "genesis.json").read_bytes())
    p2p, api = (f"127.0.0.1:{port}" for port in network.free_ports(2))
    home.path.mkdir(parents=True, mode=0o700)
    keys = network.new_keys(home)
    member = Member(
        name,
        name,
        (Role.HOSPITAL,),
        not observer,
        keys.node.public_key,
        keys.operator.public_key,
        keys.box_public_key,
    )
    home.genesis.write_text((root / "genesis.json").read_text())
    if founding.pepper_commitment != NO_PEPPER:
        held = peppers.held(description.nodes[0].node_home, founding)
        copy = pepper.sealed(held, founding.chain_id, {name: member.box_key})
        peppers.place(home, copy, name)
    join = write_join(Card(member, p2p), keys.node, keys.operator, founding.chain_id)
    home.join.write_text(join)
    peers = [f"{node.address}@{node.p2p}" for node in description.nodes]
    keeper = network.make_keeper(founding, home, name)
    settings = {
        "p2p.listen": p2p,
        "p2p.peers": peers,
        "api.listen": api,
        "keeper.public_key": keeper.hex(),
    }
    home.config.write_text(render_toml(network.PROFILE | settings))
    node = TestnetNode(name, 0, f"http://{api}", str(home.path), address(member.node_key), p2p)
    network.save(root, replace(description, nodes=(*description.nodes, node)))
    for other in description.nodes:
        set_peers(other.node_home, {member.node_key: p2p}, own=own_key(other.node_home))
        if processes.running(Path(other.home)) is not None:
            processes.send(Path(other.home), signal.SIGHUP)  # read the new peer
    card, admission = read_admission(join)
    assert admission is not None
    return node, card, admission


async def decide(root: Path, action: str, **fields: Any) -> int:
    """Propose and vote until it has passed; the number of the proposal. The voters are those whose
    processes run."""
    description = read_testnet(root)
    living = [n for n in description.nodes if processes.running(Path(n.home)) is not None]
    if not living:
        raise CliError("NODE_FAILED", "no node runs", next_step="salus testnet up")
    async with Client([n.api for n in living], timeout_s=COMMIT_S) as client:
        seated = {v.member for v in (await client.validators()).items}
        height = await client.height()
    number, newest = 0, ""
    for voter in (node for node in living if node.name in seated):
        async with Client(voter.api, signer=_operator(voter), timeout_s=COMMIT_S) as client:
            if newest:  # this node may be a block behind the one that was asked before it
                await client.wait(newest, COMMIT_S)
            if number and (await ballots.ask(client, number))["stage"] != "open":
                break
            operation = (
                ballots.vote(number, approve=True)
                if number
                else ballots.proposal(action, height, **fields)
            )
            done = await client.commit(await client.build([operation]))
            number, newest = number or ballots.number_of(done), done.tx_id
    async with Client([n.api for n in living], timeout_s=COMMIT_S) as client:
        await client.wait(newest, COMMIT_S)
        stage = (await ballots.ask(client, number))["stage"]
    if stage in {"open", "rejected", "expired"}:
        raise CliError(
            "NO_QUORUM",
            f"proposal {number} is {stage}: too few of the validators run here",
            next_step=f"salus gov show {number}",
        )
    return number


async def leave(
    note: Callable[[str], None], root: Path, name: str
) -> tuple[int | None, int | None]:
    """The vote that removes a member: its number, and the height since when it is none. Who is no
    member, or not any more, needs no vote: an `add` or a `remove` that broke off in the middle."""
    try:
        number = await decide(root, "remove_member", member=name)
    except RejectedError as refused:
        if refused.code not in {"UNKNOWN_MEMBER", "MEMBER_STATUS"}:
            raise
        return None, None
    note(f"proposal {number} has passed; waiting for the epoch that brings it")
    return number, await in_force(root, number, leaving=name)


def _operator(node: TestnetNode) -> Signer:
    keys = node.node_home.keys
    return Keystore.unlock(keys / "operator.json", read_password(keys / "password"))


async def in_force(root: Path, number: int, *, leaving: str | None = None) -> int:
    """Waits for a proposal that has passed; the height since when it is in force. `leaving` is not
    asked: the others may cut it off before it has read of it."""
    deadline = time.monotonic() + EFFECT_S
    last = "no answer"
    while time.monotonic() < deadline:
        try:
            async with Client(_urls(root, leaving), timeout_s=COMMIT_S) as client:
                found = await ballots.ask(client, number)
            last = found["stage"]
            if last == "effective":
                return int(found["effective_height"])
            if last == "lapsed":
                raise CliError("LAPSED", f"proposal {number} lapsed: {found['lapse']}")
        except SalusError as error:
            last = error.message
        await asyncio.sleep(POLL_S)
    raise CliError("TIMEOUT", f"proposal {number} is not in force yet: {last}")


async def until_status(root: Path, name: str, what: str, **wanted: object) -> Status:
    """Waits until the status of a node has these values."""
    node = read_testnet(root).node(name)
    deadline = time.monotonic() + EFFECT_S
    seen: object = "no answer"
    while time.monotonic() < deadline:
        if processes.running(Path(node.home)) is None:
            seen = "its process ended"
            break
        try:
            async with Client(node.api, timeout_s=5.0) as client:
                status = await client.status()
            seen = {field: getattr(status, field) for field in wanted}
            if seen == wanted:
                return status
        except SalusError as error:
            seen = error.message
        await asyncio.sleep(POLL_S)
    log = network.log_of(root, name)
    raise CliError(
        "NODE_FAILED",
        f"{name} is not {what}: {seen}\n--- {log}\n{processes.last_lines(log)}\n---",
        next_step=f"salus doctor --home {root} --node {name}",
    )


def forget(root: Path, name: str) -> TestnetDescription:
    """Stop a node that has left and take it out of testnet.json; its home stays on the disk."""
    description = read_testnet(root)
    gone = description.node(name)
    processes.stop([Path(gone.home)])
    left = replace(description, nodes=tuple(n for n in description.nodes if n.name != gone.name))
    network.save(root, left)
    for other in left.nodes:
        unset_peer(other.node_home, gone.address)
    return left


def _urls(root: Path, leaving: str | None) -> list[str]:
    nodes = [node for node in read_testnet(root).nodes if node.name != leaving]
    return [n.api for n in nodes if processes.running(Path(n.home)) is not None]
