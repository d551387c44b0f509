"""The keeper as a process: its own folder, its own key, its own copy of genesis.

    FOLDER   genesis.json  member  keys/keeper.json  log  lock  keeper.sock

The folder may belong to another user than the node's; then the node needs a group's right on it and
the socket. With both on one host, who is root there has both.
"""

import asyncio
import os
import signal
import time
from pathlib import Path

from node.keeper import Keeper
from node.keeper_log import KeeperLog
from node.keeper_socket import KeeperServer
from node.logs import setup
from salus import keystore
from salus.errors import SalusError
from salus.genesis import Genesis, from_json, to_json
from storage.disk import RealDisk

SOCKET = "keeper.sock"
LOG = "log"
KEY = Path("keys") / "keeper.json"


def make(folder: Path, genesis: Genesis, org: str, password: str) -> bytes:
    """A new keeper's folder; its public key, to which the node seals. Raises `KeystoreError`
    (REFUSES_OVERWRITE) if there is one."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The key last: a folder without it is no keeper's, and may be made again.
    (folder / "genesis.json").write_text(to_json(genesis))
    (folder / "member").write_text(f"{org}\n")
    made = keystore.write(folder / KEY, os.urandom(32), password, kind=keystore.BOX)
    return bytes.fromhex(made.address)


def public_key(folder: Path) -> bytes:
    """Of the keeper in this folder; needs no password. Raises `KeystoreError`."""
    return bytes.fromhex(keystore.read(folder / KEY).address)


async def run(folder: Path, password: str) -> None:
    """Until SIGTERM or SIGINT; raises what keeps it from starting."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    setup(level="info", form="json", redacting=True, repeat_interval_ms=1_000)
    unlock = RealDisk().lock(str(folder / "lock"))
    try:
        genesis = from_json((folder / "genesis.json").read_text())
        org = (folder / "member").read_text().strip()
        if not org:
            raise SalusError(f"{folder / 'member'} names no organisation", code="CONFIG_INVALID")
        secret = keystore.unlock_seed(folder / KEY, password)
        log = KeeperLog(str(folder / LOG))
        keeper = Keeper(genesis, org, secret, log.record, lambda: time.time_ns() // 1_000_000)
        server = KeeperServer(keeper, folder / SOCKET)
        await server.start()
        try:
            await stop.wait()
        finally:
            await server.close()
            log.close()
    finally:
        unlock()
