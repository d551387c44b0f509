"""The clients of a benchmark: at saturation in a closed loop, or on time in an open one."""

import asyncio
import time
from collections.abc import Sequence

import aiohttp
import msgspec

from cli.bench import load
from cli.bench.network import COMMIT_TIMEOUT_S
from cli.bench.posts import Posts
from cli.errors import CliError
from cli.home import TestnetNode

TRANSACTIONS_PER_REQUEST = 500
# Of many operations each, at least so many: some nine full blocks are outstanding then, as with single ones. With six the
# nodes wait for the load a sixth of the time; 500 of 100 operations waited for more than a minute.
REQUEST_MIN = 30
# Per node: ≈ 8,000 transactions outstanding with four nodes, well below the pool of 20,000. With
# half of them the nodes wait for the load a sixth of the time.
REQUESTS_AT_ONCE = 4
# A node that has no room is asked by one request fewer at once, and by one more when so many were taken
# whole: as in TCP. Else a node that is slow today parses the same transactions again and again.
MORE_AFTER = 8
# What falls due in less is sent together, at most so late: the loop rounds a shorter sleep down to none, and
# turns on the processor that the nodes need. A latency counts from when it was due.
BEAT_S = 0.001
BUSY = b'"code":"BUSY"'  # a node that answers as many requests as it may
RETRY_S = 1.0  # the least that the node's Retry-After asks for


class Measured:
    """What the workers saw, from the end of the warm-up on."""

    def __init__(self, starts_s: float, ends_s: float) -> None:
        self.starts_s, self.ends_s = starts_s, ends_s
        self.latencies: list[tuple[float, int]] = []  # (ms, transactions)
        self.committed = 0
        self.refused = 0
        self.sent = 0
        self.turned_away = 0  # for want of room; at saturation they are sent again
        self.ran_dry = False  # everything that was signed is sent, and the time is not over

    def record(self, sent_s: float, done_s: float, count: int) -> None:
        if self.starts_s <= done_s <= self.ends_s:
            self.committed += count
        if self.starts_s <= sent_s <= self.ends_s:
            self.latencies.append((1000 * (done_s - sent_s), count))

    def percentile(self, share: float) -> float:
        total = sum(count for _, count in self.latencies)
        seen = 0
        for latency, count in sorted(self.latencies):
            seen += count
            if seen >= share * total:
                return round(latency, 1)
        return 0.0


class Line:
    """How many requests are outstanding at one node."""

    def __init__(self, at_once: int) -> None:
        self.at_once = self._most = at_once
        self._open = self._taken = 0
        self._moved = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: self._open < self.at_once)
            self._open += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._moved:
            self._open -= 1
            self._moved.notify()

    def taken(self, whole: bool) -> None:
        """A request was taken, wholly or not."""
        if not whole:
            self.at_once, self._taken = max(1, self._open - 1), 0
        else:
            self._taken += 1
            if self._taken % MORE_AFTER == 0:
                self.at_once = min(self._most, self.at_once + 1)


def per_request(operations: int) -> int:
    """Transactions of so many operations that one request carries."""
    return max(REQUEST_MIN, TRANSACTIONS_PER_REQUEST // operations)


async def saturate(
    nodes: Sequence[TestnetNode],
    signed: list[list[load.Signed]],
    measured: Measured,
    operations: int = 1,
    at_once: int = REQUESTS_AT_ONCE,
) -> None:
    """Closed loop: so many requests of 500 are outstanding at each node, never more."""
    size = per_request(operations)

    async def worker(
        session: aiohttp.ClientSession, api: str, queue: list[load.Signed], line: Line
    ) -> None:
        while time.perf_counter() < measured.ends_s and queue:
            async with line:
                if time.perf_counter() >= measured.ends_s or not queue:
                    break  # while this one stood in line
                part = [queue.pop() for _ in range(min(size, len(queue)))]
                sent_s = time.perf_counter()
                refused, turned_away = await _post_array(session, api, part)
                line.taken(whole=not turned_away)
                measured.turned_away += len(turned_away)
                if turned_away:  # no room: once more, later, as what comes next
                    queue += turned_away
                    away = {tx.tx_id for tx in turned_away}
                    part = [tx for tx in part if tx.tx_id not in away]
                    if not any(tx.good for tx in part):
                        await asyncio.sleep(RETRY_S)
                        continue
                measured.refused += refused
                measured.sent += len(part)
                # The pool is first in, first out: when the last is certified, all are, and its latency
                # stands for all that was taken. What was turned away waits outside, uncounted.
                last = next(tx for tx in reversed(part) if tx.good)
                await _committed(session, api, last.tx_id)
                measured.record(sent_s, time.perf_counter(), len(part) - refused)
        measured.ran_dry = measured.ran_dry or time.perf_counter() < measured.ends_s

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for node, queue in zip(nodes, signed, strict=True):
            line = Line(at_once)
            for _ in range(at_once):
                group.create_task(worker(session, node.api, queue, line))


async def at_rate(
    nodes: Sequence[TestnetNode],
    signed: list[list[load.Signed]],
    measured: Measured,
    rate: int,
) -> None:
    """Open loop: one transaction per request, sent on time whether or not others are answered."""

    async def one(posts: Posts, tx: load.Signed, due: float, api: str) -> None:
        status, answer, _ = await posts.post(tx.raw)
        if status == 429 or (status == 503 and BUSY in answer):  # a rate that is not carried
            measured.turned_away += 1
            return
        measured.sent += 1
        if status == 200:
            measured.record(due, time.perf_counter(), 1)
        elif status in (400, 422) and not tx.good:
            measured.refused += 1
        else:
            raise CliError("BENCH_FAILED", f"{api} answered {status}")

    path = f"/v1/txs?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
    lines = [Posts(node.api, path, "application/octet-stream") for node in nodes]
    began = time.perf_counter()
    total = min(int(rate * (measured.ends_s - began)), sum(map(len, signed)))
    sent = 0
    try:
        async with asyncio.TaskGroup() as group:
            while sent < total:
                due = min(total, 1 + int((time.perf_counter() - began) * rate))
                for number in range(sent, due):
                    org = number % len(nodes)
                    tx = signed[org].pop()
                    group.create_task(one(lines[org], tx, began + number / rate, nodes[org].api))
                sent = due
                await asyncio.sleep(max(BEAT_S, began + sent / rate - time.perf_counter()))
    finally:
        for posts in lines:
            posts.close()


async def _post_array(
    session: aiohttp.ClientSession, api: str, part: Sequence[load.Signed]
) -> tuple[int, list[load.Signed]]:
    """How many were refused, and for which there was no room; raises unless all others that were
    refused are the bad ones, and these were."""
    body = msgspec.msgpack.encode([tx.raw for tx in part])
    headers = {"Content-Type": "application/msgpack"}
    async with session.post(f"{api}/v1/txs", data=body, headers=headers) as response:
        answer = msgspec.json.decode(await response.read())
        if response.status == 429:
            return 0, list(part)
        if response.status != 202:
            raise CliError("BENCH_FAILED", f"{api} answered {response.status}: {answer}")
    words = [item.get("code") for item in answer["items"]]
    pairs = list(zip(part, words, strict=True))
    turned_away = [tx for tx, word in pairs if word == "POOL_FULL"]
    wrong = {word for tx, word in pairs if word != "POOL_FULL" and (word is None) != tx.good}
    if wrong:
        raise CliError("BENCH_FAILED", f"{api} refused, or took, what it should not: {wrong}")
    return int(answer["refused"]) - len(turned_away), turned_away


async def _committed(session: aiohttp.ClientSession, api: str, tx_id: bytes) -> None:
    url = f"{api}/v1/txs/{tx_id.hex()}?wait=commit&timeout={COMMIT_TIMEOUT_S}s"
    async with session.get(url) as response:
        answer = msgspec.json.decode(await response.read())
    if answer.get("state") != "committed":
        ended = f"{answer.get('state')} {answer.get('code', '')}"
        raise CliError("BENCH_FAILED", f"a transaction ended as {ended}")
