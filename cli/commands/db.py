"""`salus db check`: does the disk still hold what was certified? Works without a node."""

from collections.abc import Callable
from typing import Any

import click

from cli import processes
from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.session import Session, pass_session
from salus.codes import Exit

FINDINGS_MAX = 20  # the first names the cause; more is noise


@group()
def db() -> None:
    """Check what a node has on its disk."""


@db.command()
@click.option("--replay", is_flag=True, help="Run every block through the contracts again, too.")
@pass_session
def check(session: Session, replay: bool) -> None:
    """Derive all roots again from the blocks; exit 1 and name the first fault."""
    home = _home(session)
    pid = processes.running(home.path)
    if pid is not None:
        raise CliError(
            "NODE_RUNNING",
            f"the node of {home.path} is running (pid {pid})",
            next_step="stop it first: salus testnet down, or systemctl stop salus",
        )
    from salus.genesis import from_json
    from storage.blocks import BlockStore
    from storage.check import check_stores
    from storage.kv import LevelKV
    from storage.state import StateStore

    founding = from_json(home.genesis.read_bytes())
    genesis_hash = founding.hash()
    blocks_kv = LevelKV(home.data / "blocks", create=False)
    try:
        state_kv = LevelKV(home.data / "state", create=False)
        try:
            blocks = BlockStore(blocks_kv, genesis_hash)
            state = StateStore(state_kv, genesis_hash)
            height = state.height()
            session.out.note(f"checking {height} blocks and the state after them")
            again = _replay(founding, state) if replay else None
            findings = []
            for finding in check_stores(blocks, state, founding, replay=again):
                findings.append(finding)
                if len(findings) == FINDINGS_MAX:
                    break
        finally:
            state_kv.close()
    finally:
        blocks_kv.close()
    document: dict[str, Any] = {
        "ok": not findings,
        "height": height,
        "genesis_hash": genesis_hash.hex(),
        "replayed": replay,
        "findings": [{"what": f.what, "height": f.height, "message": f.message} for f in findings],
    }
    if findings:
        lines = [f"{session.out.mark(False)} {finding.what}: {finding}" for finding in findings]
        lines.append("first fault: " + str(findings[0]))
        lines.append(f"next: move {home.data} away (keep keys/) and let the node sync again")
        session.out.result(document, "\n".join(lines))
        click.get_current_context().exit(Exit.NEGATIVE)
    words = "roots, certificates, indexes and state" + (", replayed" if replay else "")
    session.out.result(document, f"{session.out.mark(True)} {height} blocks: {words} all hold")


def _home(session: Session) -> NodeHome:
    if session.home.is_testnet:
        if session.node is None:
            raise CliError("USAGE", "which node of the testnet? --node NAME")
        return session.home.testnet.node(session.node).node_home
    home = session.home.node
    if not (home.exists or home.data.is_dir()):
        raise CliError("NO_HOME", f"{home.path} is not the home of a node")
    return home


def _replay(founding: Any, state: Any) -> Callable[[Any], Any]:
    """Execute from genesis on into a store in memory; the header that comes out."""
    from contracts.catalogue import registry
    from node.executor import Executor, genesis_block, read_epoch
    from salus.statemap import StateTree
    from storage.kv import MemoryKV
    from storage.state import StateStore

    contracts = registry()
    fresh = StateStore(MemoryKV(), founding.hash())
    fresh.initialise(genesis_block(founding, contracts))
    tree = StateTree(founding.parameters.state_bucket_bits)
    tree.load(fresh.buckets())
    executor = Executor(contracts, founding, fresh, tree, fresh.head, read_epoch(fresh))

    def run(proposal: Any) -> Any:
        header = executor.execute(proposal).header
        certificate = state.certificate(header.height)
        assert certificate is not None  # only genesis has none, and it is not replayed
        fresh.commit(executor.batch(header.height, certificate))
        executor.certified(header.height)
        return header

    return run
