"""`salus testnet …`: a local network of separate processes, and the faults to try on it."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from cli import keepers, processes
from cli import testnet as network
from cli.connect import waits
from cli.errors import CliError
from cli.group import group
from cli.home import TestnetDescription, TestnetNode, read_testnet
from cli.session import Session, pass_session
from salus.client import Client
from salus.errors import SalusError
from salus.forms import Faults
from salus.forms_node import Status
from salus.validators import Validator, ValidatorSet

DEFAULT_NODES = 4
FAULT_S = 60.0  # for the answer of a node that others keep from its processor


@group()
def testnet() -> None:
    """A local network of separate processes."""


@testnet.command()
@click.option("-n", "nodes", type=click.IntRange(1, network.NODES_MAX), help="Default: 4.")
@click.option("--chain-id", default="health-dev", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=NUMBER", help="A parameter.")
@click.option("--dry-run", is_flag=True, help="Say what would be made; make nothing.")
@pass_session
@waits
async def up(
    session: Session, nodes: int | None, chain_id: str, settings: tuple[str, ...], dry_run: bool
) -> None:
    """Make a network (or start an existing one again); returns when all nodes are ready."""
    from cli.ceremony import parameters_with

    root = session.home.path
    if network.exists(root):
        present = read_testnet(root)
        if nodes not in {None, len(present.nodes)}:
            raise CliError(
                "REFUSES_OVERWRITE", f"{root} is a testnet of {len(present.nodes)} nodes already"
            )
    count = nodes or DEFAULT_NODES
    if dry_run:
        names = network.node_names(count)
        session.out.result({"home": str(root), "nodes": names}, f"{root}: {', '.join(names)}")
        return
    if not network.exists(root):
        parameters = parameters_with(settings, network.PARAMETERS)
        session.out.note(f"making keys and genesis for {count} nodes in {root}")
        network.create(root, count, chain_id, parameters)
    started = time.monotonic()
    description = network.start(root)
    session.out.note("waiting until all are ready and connected")
    await network.wait_ready(root, description)
    session.out.detail(f"ready after {time.monotonic() - started:.1f} s")
    await _show(session, description)


@testnet.command()
@click.option("--delete", is_flag=True, help="Remove the whole directory afterwards.")
@pass_session
def down(session: Session, delete: bool) -> None:
    """Stop all nodes and keepers: SIGTERM, and SIGKILL for whoever does not obey."""
    root = session.home.path
    description = read_testnet(root)
    killed = network.stop(root)
    for name in killed:
        session.out.note(f"{name} did not stop in {processes.STOP_S:g} s and was killed")
    if delete:
        session.confirm(f"Delete {root} with all keys and data?")
        import shutil

        shutil.rmtree(root)
    names = [node.name for node in description.nodes]
    document = {"stopped": names, "killed": killed, "deleted": delete}
    session.out.result(document, f"stopped {', '.join(names)}")


@testnet.command()
@pass_session
@waits
async def status(session: Session) -> None:
    """State, role, height and peers of every node."""
    await _show(session, read_testnet(session.home.path))


@testnet.command()
@click.argument("name")
@click.option("-n", "count", type=click.IntRange(1, 10_000), default=40, show_default=True)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@pass_session
def logs(session: Session, name: str, count: int, follow: bool) -> None:
    """The last lines of a node's log."""
    node = read_testnet(session.home.path).node(name)
    path = network.log_of(session.home.path, node.name)
    text = processes.last_lines(path, count)
    session.out.result({"node": node.name, "log": str(path), "lines": text.splitlines()}, text)
    if follow:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            while True:
                if line := file.readline():
                    click.echo(line, nl=False)
                else:
                    time.sleep(0.2)


@testnet.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@pass_session
def kill(session: Session, names: tuple[str, ...]) -> None:
    """SIGKILL to node and keeper: as if the machine had lost its power."""
    homes = [Path(read_testnet(session.home.path).node(name).home) for name in names]
    processes.stop(homes, kill_at_once=True)
    _note_pids(session)
    _done(session, "killed", names, "bring it back: salus testnet start " + names[0])


@testnet.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@pass_session
@waits
async def start(session: Session, names: tuple[str, ...]) -> None:
    """Start nodes that were killed; returns when they are ready."""
    root = session.home.path
    wanted = [read_testnet(root).node(name).name for name in names]
    description = network.start(root, wanted)
    await network.wait_ready(root, description, wanted)
    _done(session, "started", names, "")


@testnet.command()
@click.argument("name")
@click.option("--observer", is_flag=True, help="A member without a vote.")
@click.option("--dry-run", is_flag=True, help="Say what would be made; make nothing.")
@pass_session
@waits
async def add(session: Session, name: str, observer: bool, dry_run: bool) -> None:
    """One more hospital: its keys, the vote of the others, its node; returns when it votes."""
    from cli import testnet_members as members

    root = session.home.path
    _new_name(read_testnet(root), name)
    if dry_run:
        session.out.result({"home": str(root / "nodes" / name)}, f"would make and vote in {name}")
        return
    node, card, admission = members.make_node(root, name, observer=observer)
    session.out.note(f"{name}: keys and home made; fingerprint {card.fingerprint()}")
    network.start(root, [name])
    member = card.member
    number = await members.decide(
        root,
        "add_member",
        member=name,
        roles=tuple(member.roles),
        node_key=member.node_key,
        operator_key=member.operator_key,
        box_key=member.box_key,
        node_possession=admission.node_possession,
        operator_possession=admission.operator_possession,
        candidate=member.validator,
    )
    session.out.note(f"proposal {number} has passed; waiting for the epoch that brings it")
    height = await members.in_force(root, number)
    session.out.note(f"{name} is a member since height {height}")
    if observer:
        status = await members.until_status(root, name, "ready", ready=True)
    else:
        status = await members.until_status(root, name, "voting", signing="signing")
        session.out.note(f"{name} has caught up and votes, in epoch {status.epoch}")
    document = {
        "node": node.name,
        "proposal": number,
        "member_since": height,
        "epoch": status.epoch,
        "signing": status.signing,
        "api": node.api,
    }
    session.out.result(document, f"added {name}   API {node.api}")


@testnet.command()
@click.argument("name")
@click.option("--dry-run", is_flag=True, help="Say what would be voted on; change nothing.")
@pass_session
@waits
async def remove(session: Session, name: str, dry_run: bool) -> None:
    """A hospital leaves by vote, for ever; its node is stopped, its home stays on the disk."""
    from cli import testnet_members as members

    root = session.home.path
    node = read_testnet(root).node(name)
    if dry_run:
        session.out.result({"member": node.name}, f"would vote {node.name} out and stop its node")
        return
    number, height = await members.leave(session.out.note, root, node.name)
    members.forget(root, node.name)
    document = {"removed": node.name, "proposal": number, "since": height, "home": node.home}
    since = "it was no member" if height is None else f"no member since height {height}"
    session.out.result(document, f"removed {node.name}: {since}; its home: {node.home}")


def _new_name(description: TestnetDescription, name: str) -> None:
    from salus.validators import MemberId

    if any(node.name == name for node in description.nodes):
        raise CliError("USAGE", f"there is a node «{name}» already")
    if len(description.nodes) >= network.NODES_MAX:
        raise CliError("USAGE", f"a testnet has at most {network.NODES_MAX} nodes")
    try:
        msgspec.convert(name, MemberId)
    except msgspec.ValidationError:
        raise CliError("USAGE", "a member's id is a lower-case word, e.g. hosp-e") from None


@testnet.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@pass_session
def pause(session: Session, names: tuple[str, ...]) -> None:
    """SIGSTOP: the node hangs, its connections stay open. Its keeper goes on."""
    _signal(session, names, signal.SIGSTOP, "paused")


@testnet.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
@pass_session
def resume(session: Session, names: tuple[str, ...]) -> None:
    """SIGCONT after a pause."""
    _signal(session, names, signal.SIGCONT, "resumed")


@testnet.command()
@click.argument("groups", nargs=-1, required=True, metavar="A,B / C,D")
@pass_session
@waits
async def partition(session: Session, groups: tuple[str, ...]) -> None:
    """Cut the network into groups that do not reach each other."""
    description = read_testnet(session.home.path)
    sides = [
        {description.node(name.strip()).name for name in side.split(",") if name.strip()}
        for side in " ".join(groups).split("/")
    ]
    sides = [side for side in sides if side]
    named = set().union(*sides)
    if len(sides) == 1:
        sides.append({node.name for node in description.nodes} - named)
    if sum(map(len, sides)) != len(set().union(*sides)):
        raise CliError("USAGE", "a node stands in two groups")
    everybody = set().union(*sides)
    for side in sides:
        for name in sorted(side):
            await _fault(description.node(name), blocked=sorted(everybody - side))
    quorum, _ = await _quorum(description)
    able = [side for side in sides if len(side) >= quorum]
    verdict = (
        f"{', '.join(sorted(able[0]))} have the quorum of {quorum} and go on"
        if able
        else "no quorum on either side: expect no blocks"
    )
    document = {"groups": [sorted(side) for side in sides], "quorum": quorum, "goes_on": bool(able)}
    session.out.result(document, f"{verdict}. Heal: salus testnet heal")


@testnet.command()
@pass_session
@waits
async def heal(session: Session) -> None:
    """End every partition and delay."""
    description = read_testnet(session.home.path)
    healed = []
    for node in description.nodes:
        if processes.running(Path(node.home)) is not None:
            await _fault(node, blocked=[], delay_ms=0)
            healed.append(node.name)
    session.out.result({"healed": healed}, f"healed {', '.join(healed)}")


@testnet.command()
@click.argument("milliseconds", type=click.IntRange(0, 60_000))
@click.argument("names", nargs=-1, metavar="[NAME…]")
@pass_session
@waits
async def delay(session: Session, milliseconds: int, names: tuple[str, ...]) -> None:
    """Add a delay to every frame that the nodes (default: all) send; 0 ends it."""
    description = read_testnet(session.home.path)
    nodes = [description.node(name) for name in names] or list(description.nodes)
    for node in nodes:
        await _fault(node, delay_ms=milliseconds)
    document = {"delay_ms": milliseconds, "nodes": [node.name for node in nodes]}
    session.out.result(document, f"{milliseconds} ms at {', '.join(node.name for node in nodes)}")


async def _fault(
    node: TestnetNode, *, blocked: list[str] | None = None, delay_ms: int | None = None
) -> None:
    """Change one fault of a node and keep the other."""
    async with Client(node.api, token=node.node_home.token(), timeout_s=FAULT_S) as client:
        present = msgspec.to_builtins((await client.api("GET", "/v1/dev/faults")).decode(Faults))
        wanted = {
            "blocked": present["blocked"] if blocked is None else blocked,
            "delay_ms": present["delay_ms"] if delay_ms is None else delay_ms,
        }
        await client.api("POST", "/v1/dev/faults", json.dumps(wanted).encode())


def _signal(session: Session, names: tuple[str, ...], number: signal.Signals, word: str) -> None:
    description = read_testnet(session.home.path)
    for name in names:
        processes.send(Path(description.node(name).home), number)
    _done(session, word, names, "")


def _note_pids(session: Session) -> None:
    """testnet.json after a kill: the dead have pid 0."""
    network.start(session.home.path, names=[])


def _done(session: Session, word: str, names: tuple[str, ...], hint: str) -> None:
    text = f"{word} {', '.join(names)}" + (f"   {hint}" if hint else "")
    session.out.result({word: list(names)}, text)


async def _quorum(description: TestnetDescription) -> tuple[int, int]:
    """Quorum and f as a living node knows them; where none lives, as if each node had a vote."""
    living = [n.api for n in description.nodes if processes.running(Path(n.home)) is not None]
    if living:
        try:
            async with Client(living, timeout_s=2.0) as client:
                answer = await client.validators()
                return answer.quorum, answer.f
        except SalusError:
            pass  # silent, as a paused one is
    validators = tuple(Validator(node.name, bytes(32)) for node in description.nodes)
    founders = ValidatorSet(0, validators)
    return founders.quorum, founders.f


async def _show(session: Session, description: TestnetDescription) -> None:
    shown = await asyncio.gather(*(_row(node) for node in description.nodes))
    rows = [row for row, _ in shown]
    quorum, faults = await _quorum(description)
    count = len(description.nodes)
    session.out.note(
        f"{description.chain_id}  {count} nodes  f={faults}  quorum {quorum}"
        f"   logs {session.home.path / 'logs'}"
    )
    session.out.table(
        description.document(),
        ("NODE", "STATE", "ROLE", "HEIGHT", "VIEW", "PEERS", "KEEPER", "API"),
        rows,
    )
    for node, (_, why) in zip(description.nodes, shown, strict=True):
        if why:
            session.out.note(f"{node.name} {why}")
    if session.out.fancy:
        first = description.nodes[-1].name
        session.out.note(
            f"stop: salus testnet down --home {session.home.path}\n"
            f"break something: salus testnet kill {first} --home {session.home.path}"
        )


async def _row(node: TestnetNode) -> tuple[Sequence[object], str]:
    """The line of the table, and what takes a sentence to say."""
    keeper = _keeper(node)
    if processes.running(Path(node.home)) is None:
        return (node.name, "down", "", "", "", "", keeper, node.api), ""
    try:
        async with Client(node.api, timeout_s=2.0) as client:
            status = await client.status()
    except SalusError as error:
        return (
            node.name,
            "silent",
            "",
            "",
            "",
            "",
            _keeper(node),
            node.api,
        ), f"is silent: {error.message}"
    return row(node, status, keeper), "" if status.ready else f"is not ready: {status.reason}"


def row(node: TestnetNode, status: Status, keeper: str) -> Sequence[object]:
    """A word for the state: a halt may need a paragraph, and the table has one line."""
    if status.ready:
        state = "up"
    elif status.signing in {"halted", "quarantine"}:
        state = status.signing
    else:
        state = "catching up" if status.syncing else "not ready"
    role = "primary" if status.is_primary else "replica"
    if status.signing == "observer":
        role = "observer"
    peers = f"{status.peers.connected}/{status.peers.expected}"
    return (node.name, state, role, status.height, status.view, peers, keeper, node.api)


def _keeper(node: TestnetNode) -> str:
    keeper = keepers.known(node.node_home)
    return ("up" if keeper.answers else "down") if keeper.named else "none"
