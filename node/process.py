"""A node as a process of the operating system: its files, its keys, its signals.

Law of the file: SIGTERM and SIGINT end it in order, SIGHUP reads node.toml again; whatever keeps it
from starting is raised to the command line, which knows the words for it.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from node.config import load
from node.interpreter import tune
from node.logs import describe_error, log_event, set_level, setup
from node.node import Node
from salus.errors import SalusError
from salus.genesis import from_json
from salus.keystore import Keystore, unlock_seed

log = logging.getLogger("salus.node")


async def run(
    home: Path,
    overrides: Mapping[str, str] | None = None,
    *,
    password: str,
    build: type[Node] = Node,
) -> None:
    """Run the node of this home until SIGTERM or SIGINT; raises what keeps it from starting."""
    loop = asyncio.get_running_loop()
    # SIGHUP would end a process that has no handler yet, without a word. From here on one that comes
    # early waits for the loop, and finds the handler that stands below.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    path = home / "node.toml"
    config = load(path, environ=os.environ, overrides=overrides or {}).config
    setup(
        level=config.log.level,
        form=config.log.format,
        redacting=config.log.redact,
        repeat_interval_ms=config.log.repeat_interval_ms,
    )
    genesis = from_json((home / "genesis.json").read_text())
    key = Keystore.unlock(home / "keys" / "node.json", password)
    box_seed = unlock_seed(home / "keys" / "box.json", password)
    node = build(home, config, genesis, key, box_seed)
    tune()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, node.stop_asked.set)

    loop.add_signal_handler(signal.SIGHUP, _reload, node, path, overrides or {})
    await node.run()


def _reload(node: Node, path: Path, overrides: Mapping[str, str]) -> None:
    """SIGHUP: the log level, anew, and peers that were added: a new hospital must not cost the
    others a restart. A slip of the editor must not cost the node its run."""
    try:
        config = load(path, environ=os.environ, overrides=overrides).config
    except (SalusError, OSError) as error:
        log_event(log, logging.ERROR, "reload_failed", error=describe_error(error))
    else:
        set_level(config.log.level)
        node.dialling.dial(config.p2p.peers)
        log_event(
            log,
            logging.INFO,
            "reloaded",
            log_level=config.log.level,
            peers=len(config.p2p.peers),
        )
