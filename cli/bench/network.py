"""The network that a benchmark measures: its founding load, its keys, how high it is."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cli import testnet
from cli.bench import load
from cli.bench.founding import found_alike
from cli.errors import CliError
from cli.home import NodeHome, TestnetNode, read_testnet
from cli.keyfiles import read_password
from salus.client import Client
from salus.genesis import from_json
from salus.keystore import unlock_seed
from salus.parameters import Parameters

COMMIT_TIMEOUT_S = 60
POLL_S = 0.05

Say = Callable[[str], None]  # progress, for people


def create(root: Path, validators: int, chain_id: str, state_keys: int, told: Say) -> None:
    """Homes of a chain that begins with so many keys beside genesis's own; starts nothing."""
    testnet.create(root, validators, chain_id, Parameters())
    if state_keys:
        told(f"founding stores of {state_keys} keys")
        homes = [node.node_home for node in read_testnet(root).nodes]
        genesis = from_json(homes[0].genesis.read_text())
        found_alike([home.data / "state" for home in homes], genesis, state_keys)


def chain_of(root: Path) -> load.Chain:
    """For what is signed at genesis."""
    genesis = from_json((root / "genesis.json").read_text())
    return load.Chain(
        genesis.chain_id,
        genesis.hash(),
        genesis.parameters.expiry_window_blocks - genesis.parameters.watermark_window,
        tuple(_operator_seed(node.node_home) for node in read_testnet(root).nodes),
    )


async def later(chain: load.Chain, node: TestnetNode) -> load.Chain:
    """The same, for what is signed now: expiry counts from the present height."""
    return replace(chain, expiry_height=chain.expiry_height + await height_of(node))


async def prefill(chain: load.Chain, nodes: Sequence[TestnetNode], per_org: int) -> None:
    async def fill(org: int, node: TestnetNode) -> None:
        raws = await asyncio.to_thread(load.prefill, chain, org, per_org)
        async with Client(node.api, timeout_s=COMMIT_TIMEOUT_S) as client:
            for start in range(0, len(raws), 10):
                part = raws[start : start + 10]
                answer = await client.submit_many(part)
                for item in answer:
                    if item.tx_id is not None:
                        await client.wait(item.tx_id, COMMIT_TIMEOUT_S)

    async with asyncio.TaskGroup() as group:
        for org, node in enumerate(nodes):
            group.create_task(fill(org, node))


async def inject(node: TestnetNode, blocked: Sequence[str], delay_ms: int) -> None:
    """Faults in the transport of a node: nothing to and from `blocked`; all that it sends later."""
    async with Client(node.api, token=node.node_home.token()) as client:
        wanted = {"blocked": list(blocked), "delay_ms": delay_ms}
        await client.api("POST", "/v1/dev/faults", json.dumps(wanted).encode())


async def same_height(nodes: Sequence[TestnetNode]) -> int:
    """Waits until every node has what the highest has now. Raises `CliError`."""
    highest = max([await height_of(node) for node in nodes])
    deadline = time.monotonic() + COMMIT_TIMEOUT_S
    for node in nodes:
        while await height_of(node) < highest:
            if time.monotonic() > deadline:
                raise CliError("BENCH_FAILED", f"{node.name} did not come to block {highest}")
            await asyncio.sleep(POLL_S)
    return highest


async def height_of(node: TestnetNode) -> int:
    async with Client(node.api) as client:
        return (await client.status()).height


def _operator_seed(home: NodeHome) -> bytes:
    password = read_password(home.keys / "password")
    return unlock_seed(home.keys / "operator.json", password)
