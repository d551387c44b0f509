"""`salus status`: one screen about one node."""

import asyncio

import click

from cli.connect import connect, plain, waits
from cli.group import command
from cli.keepers import Known, known
from cli.membership import belonging
from cli.session import Session, pass_session
from salus.codes import CODES
from salus.forms_node import Status


@command()
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@pass_session
@waits
async def status(session: Session, watch: bool) -> None:
    """Height, view, primary, quorum and peers of a node."""
    home = session.home.target(session.node).home
    async with connect(session) as client:
        while True:
            answer = await client.status()
            standing = None
            if answer.signing != "signing" and home is not None:
                told = await belonging(client, home)  # a candidate, or no member at all?
                standing = told[0].detail if told else None
            keeper = None if home is None or not home.exists else known(home)
            document = plain(answer) | {
                "membership": standing,
                "keeper": None
                if keeper is None
                else {"named": keeper.named, "answers": keeper.answers},
            }
            if watch and session.out.fancy:
                click.clear()
            if watch:
                session.out.line(document, text(answer, standing, keeper))
            else:
                session.out.result(document, text(answer, standing, keeper))
                return
            await asyncio.sleep(1)


def text(status: Status, standing: str | None = None, keeper: Known | None = None) -> str:
    """What an operator wants to see, most important first. `standing`: of a node without a vote,
    how the consortium sees it."""
    if status.ready:
        state = "ready"
    else:
        state = "NOT READY"
    if status.syncing:
        state += f", catching up ({status.sync_lag_blocks} blocks behind)"
    role = "primary" if status.is_primary else f"primary is {status.primary}"
    rows = {
        "node": f"{status.member or 'no member'}  ({status.version})  {state}",
        "chain": f"{status.chain_id}  genesis {status.genesis_hash[:16]}…",
        "height": f"{status.height}   last block {status.last_block_age_s:.1f} s ago",
        "view": f"{status.view}  ({role})   epoch {status.epoch}"
        + (f", ends at height {status.epoch_end}" if status.epoch_end else ""),
        "signing": status.signing + (f"   {standing}" if standing else ""),
        "quorum": f"{status.quorum.online} of {status.quorum.needed} needed"
        + ("" if status.quorum.online >= status.quorum.needed else "   NO QUORUM: salus doctor"),
        "peers": f"{status.peers.connected} of {status.peers.expected} connected",
        "mempool": f"{status.mempool_transactions} transactions, {status.mempool_bytes} bytes",
        "keeper": "its home is not here" if keeper is None else keeper.words(),
        "disk": ", ".join(f"{k} {v / 2**20:.1f} MB" for k, v in status.storage_bytes.items()),
        "state": status.state_root,
    }
    if not status.ready:
        why = status.reason or "no reason given"
        trouble = {"why": f"{status.code}: {why}" if status.code else why}
        if status.code in CODES:
            trouble["next"] = CODES[status.code].hint
        rows = {"node": rows.pop("node")} | trouble | rows
    alarms = {"contract faults": status.contract_faults, "equivocations": status.equivocations}
    if any(alarms.values()):
        told = ", ".join(f"{count} {name}" for name, count in alarms.items() if count)
        rows["alarms"] = f"{told} since its start: salus doctor"
    if status.quorum.needed <= 2:
        rows["note"] = "fewer than four validators: no fault is tolerated"
    return "\n".join(f"{name:<8} {value}" for name, value in rows.items())
