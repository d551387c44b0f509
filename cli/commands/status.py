"""`salus status`: one screen about one node."""

import asyncio

import click

from cli.connect import connect, plain, waits
from cli.group import command
from cli.session import Session, pass_session
from salus.forms import Status


@command()
@click.option("--watch", is_flag=True, help="Again every second, until Ctrl-C.")
@pass_session
@waits
async def status(session: Session, watch: bool) -> None:
    """Height, view, primary, quorum and peers of a node."""
    async with connect(session) as client:
        while True:
            answer = await client.status()
            if watch and session.out.fancy:
                click.clear()
            if watch:
                session.out.line(plain(answer), text(answer))
            else:
                session.out.result(plain(answer), text(answer))
                return
            await asyncio.sleep(1)


def text(status: Status) -> str:
    """What an operator wants to see, most important first."""
    if status.ready:
        state = "ready"
    else:
        state = "NOT READY"
    if status.syncing:
        state += f", catching up ({status.sync_lag_blocks} blocks behind)"
    role = "primary" if status.is_primary else f"primary is {status.primary}"
    rows = {
        "node": f"{status.member or 'observer'}  ({status.version})  {state}",
        "chain": f"{status.chain_id}  genesis {status.genesis_hash[:16]}…",
        "height": f"{status.height}   last block {status.last_block_age_s:.1f} s ago",
        "view": f"{status.view}  ({role})   epoch {status.epoch}",
        "signing": status.signing,
        "quorum": f"{status.quorum.online} of {status.quorum.needed} needed"
        + ("" if status.quorum.online >= status.quorum.needed else "   NO QUORUM: salus doctor"),
        "peers": f"{status.peers.connected} of {status.peers.expected} connected",
        "mempool": f"{status.mempool_transactions} transactions, {status.mempool_bytes} bytes",
        "disk": ", ".join(f"{k} {v / 2**20:.1f} MB" for k, v in status.storage_bytes.items()),
        "state": status.state_root,
    }
    if not status.ready:
        rows = {"node": rows.pop("node"), "why": status.reason or "no reason given"} | rows
    alarms = {"contract faults": status.contract_faults, "equivocations": status.equivocations}
    if any(alarms.values()):
        told = ", ".join(f"{count} {name}" for name, count in alarms.items() if count)
        rows["alarms"] = f"{told} since its start: salus doctor"
    if status.quorum.needed <= 2:
        rows["note"] = "fewer than four validators: no fault is tolerated"
    return "\n".join(f"{name:<8} {value}" for name, value in rows.items())
