"""A second version of a contract, activated by vote at a height: real processes (rules S13, S14).

The contract is a test's own (tests/history/applications.py); the vote, the boundary, the upgrade of
a node and the proofs are the real ones, by the commands of docs/operating.md.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import processes
from salus.client import Client, Committed
from salus.client import operation as signed
from salus.client_errors import RejectedError
from salus.codec import encode
from salus.codes import Exit
from salus.parameters import ContractVersion, Parameters
from salus.transaction import ParsedTransaction, build
from salus.verifier import verify_file
from tests.e2e.network import NAMES, Network, network
from tests.e2e.shell import document, error, lines, until
from tests.history.applications import ACTIVE, SwapArgs, WriteArgs
from tests.history.newer import IncreaseArgs
from tests.history.node import CHAIN_ID, MODULE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WINDOW = 16  # blocks from a decision to the end of its epoch
AHEAD = 4 * WINDOW  # so far off the change is asked for: the votes are there long before
KEY = 7
LATER = (7).to_bytes(16)  # a nonce
OLD, NEWER = (MODULE,), (MODULE, "--newer")
PATIENCE = ("--timeout", "60")
POLL_S = 0.02
SLOW_MS = 50  # a frame: a window of empty blocks takes a second or two, and a poll comes into it


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    """Three hospitals have the release with version 2 already; the fourth does not."""
    contracts = tuple(sorted((*ACTIVE, ContractVersion("governance", 1)), key=lambda c: c.contract))
    parameters = Parameters(
        contracts=contracts,
        watermark_window=WINDOW,
        in_flight_proposals_max=2,
        execute_ahead_max=4,
    )
    with network(tmp_path, 4, parameters, CHAIN_ID) as made:
        for name in NAMES:
            made.commands[name] = NEWER if name != NAMES[3] else OLD
        yield made


async def write(client: Client, version: int, value: int) -> Committed:
    return await client.call("register", "write", version, WriteArgs(KEY, value))


async def refused(client: Client, method: str, version: int, args: object) -> str:
    with pytest.raises(RejectedError) as caught:
        await client.call("register", method, version, encode(args))
    return caught.value.code


async def sent_ahead(client: Client, height: int) -> str:
    """The id of a write that waits in the pool until that height. It is sent as soon as the node takes it,
    a window before: from there on the blocks to the end of the epoch come by themselves."""
    tx = await valid_from(client, height)
    while True:
        try:
            return (await client.submit(tx)).tx_id
        except RejectedError as refusal:
            assert refusal.code == "NOT_YET_VALID"  # noqa: PT017 (until it is time)
        await asyncio.sleep(POLL_S)


async def valid_from(client: Client, height: int) -> ParsedTransaction:
    """A write under version 1 that may be ordered from that height on."""
    chain = await client.chain()
    assert client.signer is not None
    return build(
        (signed("register", "write", 1, WriteArgs(KEY, 1)),),
        signer=client.signer,
        chain_id=chain.genesis.chain_id,
        genesis_hash=chain.genesis_hash,
        nonce=LATER,
        first_height=height,
        expiry_height=height + WINDOW,
    )


async def test_a_contract_version_begins_at_its_height_on_all_nodes(net: Network) -> None:
    """Old rules before the height, new ones at it; who was down over it and who lacked the software
    come after; proofs from both sides verify offline."""
    first, *others, last = NAMES
    at = {name: ("--home", net.node(name).home) for name in NAMES}
    await net.up()
    async with net.client(first) as client, net.client(others[0]) as second:
        genesis_hash = (await client.chain()).genesis_hash
        before = await write(client, 1, 1)
        assert await refused(client, "write", 2, WriteArgs(KEY, 1)) == "WRONG_VERSION"
        assert await refused(client, "increase", 2, IncreaseArgs(KEY, 1)) == "WRONG_VERSION"

        height = before.height + AHEAD
        asked = document("gov", "propose", "activate-contract", "register", 2,
                         "--at-height", height, *at[first], *PATIENCE)  # fmt: skip
        number = asked["proposal"]["number"]
        await net.agree()  # the others have heard of it
        # Whose software lacks it would vote itself out: its own node does not pass that on.
        no = error(Exit.CONFIG, "gov", "vote", number, "yes", *at[last], *PATIENCE)
        assert no["code"] == "UPGRADE_NEEDED"
        document("gov", "vote", number, "yes", *at[others[0]], *PATIENCE)
        passed = document("gov", "vote", number, "yes", *at[others[1]], *PATIENCE)["proposal"]
        assert passed["stage"] == "passed"
        assert passed["activation_height"] == height
        net.kill(last)  # down over the height

        # Every block up to the height goes by version 1, and none from it on.
        done: list[Committed] = [await write(client, 1, 2)]
        while done[-1].height < height - WINDOW - 4:
            done.append(await write(client if len(done) % 2 else second, 1, len(done) + 2))
        document("testnet", "delay", SLOW_MS, first, *others, "--home", net.root)
        sending = asyncio.create_task(sent_ahead(client, height))
        while (await client.status()).epoch == 0:
            try:
                done.append(await write(client if len(done) % 2 else second, 1, len(done) + 2))
            except RejectedError as ended:
                assert ended.code == "WRONG_VERSION"  # noqa: PT017 (most go through)
                break
        waiting = await sending
        document("testnet", "delay", 0, first, *others, "--home", net.root)
        assert all(one.height < height for one in done)
        for name in (first, *others):
            await net.until(name, "in the new epoch", epoch=1)
        shown = document("gov", "show", number, *at[first])["proposal"]
        assert (shown["stage"], shown["effective_height"]) == ("effective", height)
        with pytest.raises(RejectedError):
            await client.wait(waiting)
        late = await client.transaction(waiting)
        assert late.height is not None
        assert late.height >= height
        assert [receipt.code for receipt in late.receipts] == ["WRONG_VERSION"]

        after = await write(second, 2, 100)
        assert after.height >= height
        (receipt,) = after.answer.receipts
        assert receipt.events[0].data == {"value": 100, "before": len(done) + 1}
        more = await second.call("register", "increase", 2, IncreaseArgs(KEY, 11))
        assert more.answer.receipts[0].events[0].data == {"value": 111, "before": 100}
        assert await refused(client, "swap", 2, SwapArgs(KEY, 111, 1)) == "UNKNOWN_METHOD"
        assert await refused(client, "write", 1, WriteArgs(KEY, 1)) == "WRONG_VERSION"

        # Down over it, and with the old software: it comes up to the last block of version 1, says
        # what it lacks, and ends. With the release of the others it goes on.
        net.start(last)
        until("it ends", lambda: processes.running(Path(net.node(last).home)) is None)
        (stray,) = net.lives.strays()
        assert stray.ending == f"exit {Exit.CONFIG}"
        log = net.root / "logs" / f"{last}.log"
        assert "UPGRADE_NEEDED" in log.read_text()
        assert max(line.get("height", 0) for line in lines(log)) < height
        net.commands[last] = NEWER
        net.start(last)
        await net.until(last, "back, and voting", ready=True, signing="signing", epoch=1)
        net.kill(others[1])  # now its vote is needed
        async with net.client(last) as returned:
            newest = await returned.call("register", "increase", 2, IncreaseArgs(KEY, 1))
            assert newest.answer.receipts[0].events[0].data == {"value": 112, "before": 111}
            at_the_end = await newest.proof()
        net.start(others[1])
        await net.until(others[1], "back", ready=True)

        # The same blocks everywhere, and the same value.
        await net.agree()
        top = newest.height
        chains = set()
        for name in NAMES:
            async with net.client(name) as one:
                hashes = [(await one.block(h)).header.hash for h in range(1, top + 1)]
                cell = await one.query("register", "value", key=KEY)
            chains.add((tuple(hashes), cell["value"]))
        assert {value for _, value in chains} == {112}
        assert len(chains) == 1
        proofs = {
            "before": await before.proof(),
            "just before": await done[-1].proof(),
            "after": await after.proof(),
            "at the end": at_the_end,
        }

    # Offline: with the file and the genesis hash alone.
    for name, epochs in (("before", 0), ("just before", 0), ("after", 1), ("at the end", 1)):
        report = verify_file(proofs[name], genesis_hash)
        checks = {check.name: check.detail for check in report.checks}
        assert f"{epochs} change" in checks["validators"], (name, checks["validators"])
        assert report.operation in ("register.write", "register.increase")
