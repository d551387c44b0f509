"""`salus bench --measure reads`: a doctor at one hospital reads what another one keeps.

Four processes with their keepers, production settings. A read is timed from the request that is signed
to the plain text that is verified: ticket agreed on and certified, keeper, cut, seal, transport, proof.
Then a large document, and revocations in the middle of reads, with other transactions beside them.
Law of the file: tickets on the chain must be as many as reads, and bytes without one are counted.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli import testnet
from cli.bench import clients, load, network
from cli.bench.network import Say
from cli.bench.usage import held
from cli.errors import CliError
from cli.home import TestnetDescription, read_testnet
from cli.keyfiles import password_for
from cli.typed import salus
from salus.asking import Wish
from salus.client import Client, Trust
from salus.client_access import AccessClient, Read
from salus.errors import SalusError
from salus.keys import Signer
from salus.keystore import Keystore
from salus.parameters import Parameters
from salus.permit import Purpose
from salus.reading import Ask, Decided

CUSTODIAN, READER = "hosp-a", "hosp-b"
STAFF, PATIENT = "dr-bench", "p1"
SMALL_BYTES, LARGE_BYTES = 10_000, 100_000_000
MEDIA_TYPE = "application/octet-stream"
SCOPES = "documents"
CHAIN_ID = "bench-reads"
BESIDE_PER_S = 200  # other transactions while permits are revoked
REVOCATIONS = 5
SETTLE_S = 0.5  # of reads before a revocation and after it, and until there was one
SEEN_S = 60.0
REVOCATION_S = 6  # with the commands for it; so long the load beside must last
READERS = 4
THEFTS = 20  # reads of which every chunk is asked for too early


@dataclass(frozen=True, slots=True)
class Summary:
    """Milliseconds from the request that is sent to the plain text that is verified and on disk; `whole`:
    with what comes before (who keeps the record, which permit to cite) and after (the receipt).
    `bytes_without_ticket`: chunks that came although the certified state had no permitted ticket."""

    mode: str
    reads: int
    tickets: int
    bytes_without_ticket: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    whole_p50_ms: float
    large_bytes: int
    large_seconds: float
    large_mb_per_s: float
    revocations: int
    beside_per_s: int  # committed, while permits were revoked
    reads_while_revoked: int
    blocks_until_effective_max: int  # effective height − height of the revocation
    rss_custodian_mb: int
    rss_reader_mb: int


async def run(root: Path, reads: int, large_bytes: int, told: Say) -> Summary:
    """Raises `CliError` (BENCH_FAILED) if tickets and reads differ, a byte came without one, or a
    revocation was not seen: with reads before that were permitted, and after it that were not."""
    net = root / "net"
    testnet.create(net, 4, CHAIN_ID, Parameters())
    try:
        told("starting 4 validators with their keepers")
        testnet.start(net)
        await testnet.wait_ready(net, read_testnet(net))
        house = _House(root, net)
        await house.furnish(large_bytes)
        async with house.reader() as client:
            told(f"{reads} reads of {SMALL_BYTES} bytes")
            times, whole = await house.small(client, reads)
            await house.thefts(client)
            told(f"one of {large_bytes} bytes")
            seconds = await house.large(client)
            asked, tickets = house.asked, await house.tickets(client)
            told(f"{REVOCATIONS} revocations, {BESIDE_PER_S} transactions a second beside")
            late, while_revoked, beside = await house.revocations(client)
        memory = {node.name: held(node) for node in house.description.nodes}
    finally:
        testnet.stop(net)
    summary = Summary(
        mode="reads",
        reads=asked,
        tickets=tickets,
        bytes_without_ticket=house.early_bytes,
        p50_ms=_at(times, 0.50),
        p95_ms=_at(times, 0.95),
        p99_ms=_at(times, 0.99),
        whole_p50_ms=_at(whole, 0.50),
        large_bytes=large_bytes,
        large_seconds=round(seconds, 2),
        large_mb_per_s=round(large_bytes / 1e6 / seconds, 1),
        revocations=REVOCATIONS,
        beside_per_s=beside,
        reads_while_revoked=while_revoked,
        blocks_until_effective_max=late,
        rss_custodian_mb=memory[CUSTODIAN].all_bytes >> 20,
        rss_reader_mb=memory[READER].all_bytes >> 20,
    )
    if summary.tickets != summary.reads or summary.bytes_without_ticket:
        raise CliError("BENCH_FAILED", f"tickets and reads do not agree: {summary}")
    return summary


class _House:
    def __init__(self, root: Path, net: Path) -> None:
        self.root, self.net = root, net
        self.description: TestnetDescription = read_testnet(net)
        self.asked = self.early_bytes = 0
        self.handle = self.small_id = self.large_id = ""
        self.signer: Signer

    # ── the house ────────────────────────────────────────────────────────────

    async def furnish(self, large_bytes: int) -> None:
        await self._typed("staff", "add", STAFF, "--at", READER)
        patient = await self._typed("patient", "register", PATIENT, "--at", CUSTODIAN)
        self.handle = str(patient["handle"])
        self.small_id = await self._record("small", SMALL_BYTES)
        self.large_id = await self._record("large", large_bytes)
        await self.grant()
        home = self.description.node(READER).node_home
        self.signer = Keystore(home.keys / f"{STAFF}.json", password_for(home))

    async def _record(self, name: str, size: int) -> str:
        file = self.root / name
        file.write_bytes(os.urandom(size))
        added = await self._typed(
            "record", "add", file, "--patient", PATIENT, "--at", CUSTODIAN,
            "--media-type", MEDIA_TYPE,
        )  # fmt: skip
        return str(added["record_id"])

    async def grant(self) -> str:
        granted = await self._typed(
            "consent", "grant", "--patient", PATIENT, "--at-org", CUSTODIAN, "--to", READER,
            "--scope", SCOPES, "--purpose", "TREAT", "--until", "2d",
        )  # fmt: skip
        return str(granted["consent_id"])

    async def _typed(self, *words: object) -> dict[str, Any]:
        done = await salus(self.net, words)
        if done.code:
            raise CliError("BENCH_FAILED", f"salus {' '.join(done.words[:2])}: {done.document}")
        return done.document

    def reader(self) -> Client:
        node = self.description.node(READER)
        return Client(
            node.api,
            token=node.node_home.token(),
            trust=Trust(self.description.genesis_hash),
            timeout_s=60,
        )

    async def tickets(self, client: Client) -> int:
        head = await client.query("access", "trail", org=CUSTODIAN, handle=self.handle)
        return int(head["tickets"])

    # ── reading ──────────────────────────────────────────────────────────────

    async def read(
        self, client: Client, record_id: str, access: AccessClient | None = None
    ) -> Read:
        chain = await client.chain()
        output = self.root / f"read-{self.asked}"
        self.asked += 1
        wish = Wish(chain.genesis.chain_id, READER, Purpose.TREATMENT, b"bench")
        try:
            return await (access or client.access).read(
                bytes.fromhex(record_id), wish, self.signer, output
            )
        finally:
            output.unlink(missing_ok=True)

    async def small(self, client: Client, reads: int) -> tuple[list[float], list[float]]:
        """Milliseconds, ascending: from request to plain text, and of all."""
        watch = _Watch(client)
        await self._permitted(client, self.small_id)  # the first one fills caches
        times, whole = [], []
        for _ in range(reads):
            began = time.perf_counter()
            await self._permitted(client, self.small_id, watch)
            whole.append(1000 * (time.perf_counter() - began))
            times.append(1000 * (watch.verified_s - watch.sent_s))
        return sorted(times), sorted(whole)

    async def large(self, client: Client) -> float:
        began = time.perf_counter()
        await self._permitted(client, self.large_id)
        return time.perf_counter() - began

    async def _permitted(
        self, client: Client, record_id: str, access: AccessClient | None = None
    ) -> None:
        done = await self.read(client, record_id, access)
        if not done.permitted:
            raise CliError("BENCH_FAILED", f"a read was denied: {done.reason}")

    async def thefts(self, client: Client) -> None:
        """Reads whose chunks are asked for from the first moment on, before anything is decided."""
        thief = _Thief(client, self.handle)
        for _ in range(THEFTS):
            done = await self.read(client, self.small_id, thief)
            if not done.permitted:
                raise CliError("BENCH_FAILED", f"a read was denied: {done.reason}")
        self.early_bytes += thief.early_bytes
        if not thief.tries:
            raise CliError("BENCH_FAILED", "nothing was tried before a ticket was there")

    async def revocations(self, client: Client) -> tuple[int, int, int]:
        """(blocks until effective at most, reads meanwhile, other transactions a second beside)."""
        chain = await network.later(network.chain_of(self.net), self.description.nodes[0])
        seconds = REVOCATIONS * REVOCATION_S
        signed = await asyncio.to_thread(
            load.sign_all, chain, BESIDE_PER_S * seconds // len(self.description.nodes), 0, 1
        )
        now = time.perf_counter()
        measured = clients.Measured(now, now + seconds)
        beside = asyncio.create_task(
            clients.at_rate(self.description.nodes, signed, measured, BESIDE_PER_S)
        )
        worst = count = 0
        began = time.perf_counter()
        try:
            for _ in range(REVOCATIONS):
                late, reads = await self._revocation(client)
                worst, count = max(worst, late), count + reads
        finally:
            beside.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await beside
        took = min(seconds, time.perf_counter() - began)
        return worst, count, round(measured.committed / took)

    async def _revocation(self, client: Client) -> tuple[int, int]:
        consent = await self.grant()
        heights: list[tuple[int, bool]] = []
        ended = {True: asyncio.Event(), False: asyncio.Event()}  # a read that was permitted, or not
        stop = asyncio.Event()

        async def read_on() -> None:
            while not stop.is_set():
                with contextlib.suppress(SalusError):  # ended on the way: its ticket stands
                    done = await self.read(client, self.small_id)
                    # Denials may be too many for a ticket of their own; they are denials all the same.
                    heights.append((done.ticket_height or 0, done.permitted))
                    ended[done.permitted].set()

        readers = [asyncio.create_task(read_on()) for _ in range(READERS)]
        await asyncio.sleep(SETTLE_S)
        await _within(ended[True])
        ended[False].clear()
        revoked = await self._typed("consent", "revoke", consent, "--as", PATIENT)
        await asyncio.sleep(SETTLE_S)
        await _within(ended[False])
        stop.set()
        await asyncio.gather(*readers)
        return blocks_until_effective(heights, int(revoked["height"])), len(heights)


async def _within(seen: asyncio.Event) -> None:
    """Or after SEEN_S: a slow machine has slow reads."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SEEN_S):
            await seen.wait()


def blocks_until_effective(heights: Sequence[tuple[int, bool]], revoked: int) -> int:
    """`heights`: of the tickets around a revocation, and were they permitted? Raises `CliError`
    (BENCH_FAILED) where nothing was read, or nothing refused: then it says nothing of the revocation."""
    permitted = [height for height, was in heights if was]
    refused = [height for height, was in heights if not was]
    if not permitted or not refused:
        raise CliError(
            "BENCH_FAILED",
            f"around a revocation {len(permitted)} reads were permitted and {len(refused)} refused",
        )
    # A ticket before the revocation in the very block is good; so it counts from the next one.
    return max(0, max(permitted) - revoked + 1)


class _Watch(AccessClient):
    """Notes when the request goes out, and when the file is there, of which the receipt tells next."""

    sent_s = verified_s = 0.0

    async def ask(self, ask: Ask) -> Decided:
        self.sent_s = time.perf_counter()
        return await super().ask(ask)

    async def confirm(self, ask: Ask, digest: bytes) -> None:
        self.verified_s = time.perf_counter()
        await super().confirm(ask, digest)


class _Thief(AccessClient):
    """Asks for chunks while the request is being decided; what comes too early is counted."""

    def __init__(self, client: Client, handle: str) -> None:
        super().__init__(client)
        self._reader, self._handle = client, handle
        self.tries = self.early_bytes = 0

    async def ask(self, ask: Ask) -> Decided:
        stealing = asyncio.create_task(self._steal(ask))
        try:
            return await super().ask(ask)
        finally:
            stealing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stealing

    async def _steal(self, ask: Ask) -> None:
        (version,) = ask.versions
        while True:
            self.tries += 1
            try:
                chunk = await self.chunk(ask, version.commitment, 0)
            except SalusError:
                await asyncio.sleep(0.002)
                continue
            ticket = await self._reader.query(
                "access", "ticket_of", org=CUSTODIAN, request_id=ask.request.request_id.hex()
            )
            if ticket is None or not ticket["permitted"]:
                self.early_bytes += len(chunk)


def _at(times: list[float], share: float) -> float:
    return round(times[min(len(times) - 1, int(len(times) * share))], 1)
