"""The keeper as a process: its own folder, its own key, its own copy of genesis.

    FOLDER   genesis.json  member  keys/keeper.json  epochs  log  lock  keeper.sock

The folder should belong to another user than the node's; the node's group then has the right to pass
through it and to ask at the socket, and no other. With both on one host, who is root there has both.
Law of the file: a folder that anybody else could have changed is not started from, for in it stands
whom the keeper believes.
"""

import asyncio
import grp
import logging
import os
import signal
import time
from pathlib import Path

from node.keeper import TICKET_LIFE_MS, Keeper
from node.keeper_epochs import opened
from node.keeper_log import KeeperLog
from node.keeper_socket import KeeperServer
from node.logs import log_event, setup
from salus import keystore
from salus.errors import SalusError
from salus.files import replace
from salus.genesis import Genesis, from_json, to_json
from salus.keystore import KeystoreError
from storage.disk import RealDisk

log = logging.getLogger("salus.keeper")

SOCKET = "keeper.sock"
LOG = "log"
EPOCHS = "epochs"
KEY = Path("keys") / "keeper.json"
_TRUSTED = ("genesis.json", "member", KEY)


def make(
    folder: Path,
    genesis: Genesis,
    org: str,
    password: str,
    *,
    kdf: keystore.Kdf = keystore.INTERACTIVE,
) -> bytes:
    """A new keeper's folder; its public key, to which the node seals. Raises `KeystoreError`
    (REFUSES_OVERWRITE) if there is one, and then changes nothing: whom a keeper believes is in it."""
    refuse_if_made(folder)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The key last: a folder without it is no keeper's, and may be made again.
    replace(folder / "genesis.json", to_json(genesis).encode())
    replace(folder / "member", f"{org}\n".encode())
    made = keystore.write(folder / KEY, os.urandom(32), password, kind=keystore.BOX, kdf=kdf)
    return bytes.fromhex(made.address)


def refuse_if_made(folder: Path) -> None:
    """Raises `KeystoreError` (REFUSES_OVERWRITE) if there is a keeper."""
    if (folder / KEY).exists():
        raise KeystoreError(
            f"{folder} is a keeper's folder already",
            code="REFUSES_OVERWRITE",
            hint="A new keeper opens nothing that was sealed to this one: choose another folder.",
        )


def public_key(folder: Path) -> bytes:
    """Of the keeper in this folder; needs no password. Raises `KeystoreError`."""
    return bytes.fromhex(keystore.read(folder / KEY).address)


async def run(folder: Path, password: str, group: str | None = None) -> None:
    """Until SIGTERM or SIGINT; raises what keeps it from starting. `group`: whose members may ask;
    without it only the keeper's own user."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    setup(level="info", form="json", redacting=True, repeat_interval_ms=1_000)
    group_id = None if group is None else _group_id(group)
    _guard(folder, group_id)
    unlock = RealDisk().lock(str(folder / "lock"))
    try:
        genesis = from_json((folder / "genesis.json").read_text())
        org = (folder / "member").read_text().strip()
        if not org:
            raise SalusError(f"{folder / 'member'} names no organisation", code="CONFIG_INVALID")
        secret = keystore.unlock_seed(folder / KEY, password)
        epochs = opened(folder / EPOCHS, TICKET_LIFE_MS)
        # Without an end of an epoch any former quorum is believed, until the first ticket of today.
        newest = epochs.newest
        known = {} if newest is None else {"epoch": newest.epoch + 1, "height": newest.height}
        log_event(log, logging.INFO, "epochs_known" if known else "epochs_unknown", **known)
        lines = KeeperLog(str(folder / LOG))
        keeper = Keeper(genesis, org, secret, lines.record, _now_ms, epochs)
        server = KeeperServer(keeper, folder / SOCKET, group=group_id)
        await server.start()
        try:
            await stop.wait()
        finally:
            await server.close()
            lines.close()
    finally:
        unlock()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise SalusError(f"there is no group «{name}»", code="CONFIG_INVALID") from None


def _guard(folder: Path, group: int | None) -> None:
    """Gives the group its way through the folder. Raises `SalusError` (CONFIG_UNSAFE)."""
    me = os.geteuid()
    # Of what the keeper believes nothing may be another's; whoever can write a folder can replace what
    # lies in it.
    learned = [folder / EPOCHS] if (folder / EPOCHS).exists() else []
    for path in (folder, folder / "keys", *(folder / name for name in _TRUSTED), *learned):
        status = path.stat()
        if status.st_uid != me or status.st_mode & 0o022:
            raise SalusError(
                f"{path} can be changed by another user than the keeper's own",
                code="CONFIG_UNSAFE",
            )
    try:
        if group is not None:
            os.chown(folder, -1, group)
        folder.chmod(0o700 if group is None else 0o710)
    except PermissionError:
        raise SalusError(
            "the keeper's user is no member of the group that shall ask it", code="CONFIG_INVALID"
        ) from None
