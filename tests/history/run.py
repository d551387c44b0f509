"""One run: four node processes, clients at each, a nemesis; then everything is judged.

In the manner of Jepsen (K. Kingsbury, jepsen.io): black-box clients, a history with real time,
unknown outcomes kept open, and checkers that know the model and not the system.
"""

import asyncio
import signal
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from subprocess import SubprocessError

from cli.errors import CliError
from salus.client import Client
from salus.client_errors import ClientError
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.parameters import Parameters
from tests.e2e.network import WAIT_S, Network, network
from tests.history.applications import ACTIVE
from tests.history.chain import check_chain, executed_at, read_blocks, strangers
from tests.history.clients import OPERATION_S, HistoryClient, Shared, settle
from tests.history.growth import check_set
from tests.history.linear import check_register
from tests.history.nemesis import Nemesis
from tests.history.node import CHAIN_ID, CLOCK_SIGNAL, MODULE
from tests.history.operation import Kind, Operation, Outcome
from tests.history.report import NODES, REGISTER, Plan, Report
from tests.history.wires import Namespaces, Switches, Wires
from tests.history.witness import double_votes, votes
from tests.stopwatch import Stopwatch

# A node, the lines or the machine; a fault of the harness itself is none.
GIVES_UP = (SalusError, CliError, AssertionError, OSError, SubprocessError, ExceptionGroup)


async def run(plan: Plan, root: Path) -> Report:
    """In an empty directory; what is wrong stands in the report, and so does why it gave up."""
    # Inherited: a node that has no handler yet is not ended by it, and reads the file when it has.
    signal.signal(CLOCK_SIGNAL, signal.SIG_IGN)
    with network(root, NODES, Parameters(contracts=ACTIVE), CHAIN_ID) as net:
        wires: Wires = Namespaces(net) if plan.namespaces else Switches(net)
        rng = Random(plan.seed)
        shared = Shared(Random(rng.random()))
        nemesis = Nemesis(net, wires, Random(rng.random()), plan.wipes)
        report = Report(plan, wires.name, shared.operations, nemesis.events, nemesis.counts)
        try:
            with Stopwatch() as watch:
                await _run(plan, net, wires, shared, nemesis, report, watch)
        except GIVES_UP as error:
            report.wrong.append(f"the run gave up: {_causes(error)}")
        finally:
            report.slowness = watch.slowness
            report.wrong += [str(life) for life in net.lives.strays()]
            wires.close()
    report.wrong[:] = dict.fromkeys(report.wrong)  # the chain is the same at all nodes
    report.endings = net.lives.endings()  # the last ones have ended with the network
    _judge(report, [Path(node.home) for node in net.nodes])
    return report


def _causes(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(map(_causes, error.exceptions))
    return f"{type(error).__name__}: {error}"


async def _run(
    plan: Plan,
    net: Network,
    wires: Wires,
    shared: Shared,
    nemesis: Nemesis,
    report: Report,
    watch: Stopwatch,
) -> None:
    for node in net.nodes:
        net.commands[node.name] = (MODULE, "--witness", *wires.arguments(node.name))
    await net.up()
    async with AsyncExitStack() as stack:
        clients = {
            node.name: await stack.enter_async_context(
                Client(
                    node.api,
                    signer=net.operators[node.name],
                    timeout_s=OPERATION_S,
                    token=node.node_home.token(),
                )
            )
            for node in net.nodes
        }
        async with asyncio.TaskGroup() as group:
            for name, client in clients.items():
                others = [other for other in clients.values() if other is not client]
                for _ in range(plan.clients_per_node):
                    caller = HistoryClient(shared, name, client, others)
                    group.create_task(caller.run(plan.pause_s))
            group.create_task(nemesis.run())
            await asyncio.sleep(plan.seconds)
            shared.stopping = True
            nemesis.stop()
    await wires.heal()
    await _recover(net, watch)
    async with AsyncExitStack() as stack:
        # From here on nothing happens to the nodes: whoever asks has patience.
        clients = {
            node.name: await stack.enter_async_context(net.client(node.name)) for node in net.nodes
        }
        report.control = await _control(net, wires, shared, clients, report.wrong)
        await wires.heal()
        await _recover(net, watch)
        await _resolve(shared, clients)
        await _last_reads(shared, clients)
        await net.agree()
        status = await net.status(net.nodes[0].name)
        report.blocks, report.epochs = status.height, status.epoch
        for client in clients.values():
            executed = executed_at(await read_blocks(client, status.height))
            report.wrong += check_chain(executed, shared.operations)
            unknown = await strangers(client, executed, shared.operations)
            report.wrong += [f"nobody sent {tx_id}" for tx_id in unknown]


async def _recover(net: Network, watch: Stopwatch) -> None:
    """Everybody is up and votes: within a minute of a quiet machine."""
    net.revive()
    began_s = time.monotonic()
    for node in net.nodes:
        while True:
            try:
                await net.until(node.name, "ready and voting", ready=True, signing="signing")
                break
            except AssertionError:
                if time.monotonic() - began_s > WAIT_S * watch.slowness:
                    raise


async def _control(
    net: Network,
    wires: Wires,
    shared: Shared,
    clients: dict[str, Client],
    wrong: list[str],
) -> str:
    """The judges on a fault that is certain: a node that is cut off, asked without min_height,
    gives an old value; asked with it, it says that it cannot."""
    *others, alone = clients
    cuts = [cut for name in others for cut in ((alone, name), (name, alone))]
    await wires.cut(cuts)
    key = shared.key()
    caller = HistoryClient(shared, others[0], clients[others[0]], patience_s=WAIT_S)
    writing = await caller.write(key)
    async with net.client(alone, OPERATION_S) as client:
        try:
            await HistoryClient(shared, alone, client).ask(Kind.READ, key)
            wrong.append("a node that was cut off answered a read of a height it cannot have")
        except ClientError:
            pass
    async with net.client(alone) as client:  # another: the first leaves the node alone for a while
        stale = await HistoryClient(shared, alone, client).ask(Kind.READ, key, min_height=0)
    shared.operations.remove(stale)  # It was allowed to be stale, and is no part of the history.
    if check_register([writing, stale]).linearizable:
        wrong.append(f"the judge believes a stale read: {writing}, then {stale}")
    return f"a stale read at {alone}, which was cut off, is seen as one"


async def _resolve(shared: Shared, clients: dict[str, Client]) -> None:
    """What was left open is asked for at every node; what none knows stays open."""

    async def resolve(operation: Operation, tx_id: str) -> None:
        for client in clients.values():
            form = await client.transaction(tx_id)
            if form.state in (TransactionState.PENDING, TransactionState.ORDERED):
                try:
                    await client.wait(tx_id)
                except ClientError:
                    pass  # Refused, or still waiting: what the node says next is asked for anyway.
                form = await client.transaction(tx_id)
            if form.height is not None:
                settle(shared, operation, form)
                return

    waiting = [o for o in shared.operations if o.outcome is Outcome.OPEN and o.tx_id is not None]
    await asyncio.gather(*(resolve(operation, str(operation.tx_id)) for operation in waiting))


async def _last_reads(shared: Shared, clients: dict[str, Client]) -> None:
    """Every register and every set once more, at every node."""
    registers = sorted({o.key for o in shared.operations if o.kind in REGISTER})
    sets = sorted({o.key for o in shared.operations if o.kind not in REGISTER})
    for name, client in clients.items():
        caller = HistoryClient(shared, name, client)
        for key in registers:
            await caller.ask(Kind.READ, key)
        for key in sets:
            await caller.ask(Kind.SEE, key)


def _judge(report: Report, homes: Sequence[Path]) -> None:
    registers, sets = _by_key(report.operations, REGISTER), _by_key(report.operations, None)
    for key, history in registers.items():
        verdict = check_register(history)
        report.pairs += verdict.pairs
        if not verdict.linearizable:
            why = "is not linearizable" if verdict.decided else "was not decided"
            told = [o for o in history if o not in verdict.longest]
            first = min(told, key=lambda o: o.ended_s)
            report.wrong.append(
                f"register {key} {why}; the longest order has {len(verdict.longest)} of "
                f"{len(history)} and cannot take {first}"
            )
    for history in sets.values():
        report.wrong += check_set(history)
    if votes(homes):
        report.wrong += [f"signed twice: {place}" for place in double_votes(homes)]
    elif report.operations:  # a run that never began has none either
        report.wrong.append("no node has written down a vote")


def _by_key(
    operations: Iterable[Operation], kinds: tuple[Kind, ...] | None
) -> dict[int, list[Operation]]:
    found: dict[int, list[Operation]] = {}
    for operation in operations:
        if (operation.kind in REGISTER) == (kinds is not None):
            found.setdefault(operation.key, []).append(operation)
    return found


def timed(plan: Plan, root: Path) -> tuple[Report, float]:
    began = time.monotonic()
    return asyncio.run(run(plan, root)), time.monotonic() - began
