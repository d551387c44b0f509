"""`salus db check`: does the disk still hold what was certified? Works without a node."""

import os
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import processes
from cli.errors import CliError
from cli.group import group
from cli.home import NodeHome
from cli.session import Session, pass_session
from salus.codes import Exit

if TYPE_CHECKING:
    from salus.genesis import Genesis
    from storage.check import Replay

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
    from storage.check_home import check_home

    founding = from_json(home.genesis.read_bytes())
    if not home.data.is_dir():
        raise CliError("FILE_NOT_FOUND", f"{home.data}: nothing is stored here yet")
    height = _height(home.data, founding)
    session.out.note(f"checking {height} blocks and the state after them")
    again = _replay(founding) if replay else None
    found = check_home(home.data, founding, vault_lock=_vault_lock(session, home), replay=again)
    findings = list(islice(found, FINDINGS_MAX))
    document: dict[str, Any] = {
        "ok": not findings,
        "height": height,
        "genesis_hash": founding.hash().hex(),
        "replayed": replay,
        "findings": [{"what": f.what, "height": f.height, "message": f.message} for f in findings],
    }
    if findings:
        lines = [f"{session.out.mark(False)} {finding.what}: {finding}" for finding in findings]
        lines.append("first fault: " + str(findings[0]))
        lines.append(f"next: {_next_step(home, findings[0].what)}")
        session.out.result(document, "\n".join(lines))
        click.get_current_context().exit(Exit.NEGATIVE)
    words = "roots, certificates, indexes and state" + (", replayed" if replay else "")
    session.out.result(document, f"{session.out.mark(True)} {height} blocks: {words} all hold")


def _next_step(home: NodeHome, what: str) -> str:
    """The chain can be had again from the others; the vault is nowhere else."""
    if what == "vault":
        return f"restore {home.data / 'vault'} from your backup"
    if what == "journal":
        return "do not delete the journal; see docs/operating.md, «A lost disk»"
    return f"move blocks/ and state/ out of {home.data} (leave vault/ and journal/); start again"


def _home(session: Session) -> NodeHome:
    """What is left of a damaged home is checked too."""
    home = session.home.local(session.node)
    if not (home.exists or home.data.is_dir()):
        raise CliError("NO_HOME", f"{home.path} is not the home of a node")
    return home


def _height(data: Path, founding: "Genesis") -> int:
    """The certified height; 0 where the state store cannot say (the check will say why)."""
    from storage.errors import StorageError
    from storage.state import StateStore

    try:
        opened = StateStore.open(data / "state", founding.hash(), create=False, as_it_is=True)
        with closing(opened) as state:
            return state.height() if state.initialised else 0
    except StorageError as error:
        if error.code == "STORE_LOCKED":
            raise
        return 0


def _vault_lock(session: Session, home: NodeHome) -> bytes | None:
    """What opens the vault, if the password is at hand without asking a person."""
    from cli.keyfiles import password_for
    from salus.errors import SalusError
    from salus.keystore import unlock_seed
    from storage.vault import vault_lock

    if os.isatty(0) and not (home.keys / "password").exists():
        return None
    try:
        # The vault opens with the organisation's box key, as it does for the node.
        return vault_lock(unlock_seed(home.keys / "box.json", password_for(home)))
    except (CliError, SalusError) as error:
        session.out.note(f"the vault's documents are not read: {error}")
        return None


def _replay(founding: "Genesis") -> "Replay":
    """Execute from genesis on into a store in memory; the header that comes out."""
    from contracts.catalogue import registry
    from node.executor import Executor, read_epoch
    from node.genesis_block import genesis_block
    from salus.block import Header, ParsedProposal
    from salus.certificate import Certificate, IndexedSignature
    from salus.statemap import StateTree
    from storage.kv import MemoryKV
    from storage.state import StateStore

    contracts = registry()
    fresh = StateStore(MemoryKV(), founding.hash())
    fresh.initialise(genesis_block(founding, contracts))
    tree = StateTree(founding.parameters.state_bucket_bits)
    tree.load(fresh.buckets())
    executor = Executor(contracts, founding, fresh, tree, fresh.head, read_epoch(fresh))

    def run(proposal: ParsedProposal) -> Header:
        header = executor.execute(proposal).header
        # The certificate on disk is checked elsewhere; this store only has to hold the state.
        unsigned = (IndexedSignature(0, bytes(64)),)
        certificate = Certificate(header.epoch, header.height, header.hash(), unsigned)
        fresh.commit(executor.batch(header.height, certificate))
        executor.certified(header.height)
        return header

    return run
