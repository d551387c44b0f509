"""The open loop of the benchmark: every transaction on time, its answer read whole, none expired."""

import asyncio
import json
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cli.bench import clients, load
from cli.bench.freshness import AHEAD_S, Freshness
from cli.bench.posts import Posts
from cli.errors import CliError
from salus.keys import SigningKey
from salus.parameters import Parameters
from salus.transaction import parse

WINDOW = 8_192
CHAIN = load.Chain("bench", bytes(32), WINDOW, (SigningKey.from_seed(bytes(32)).seed, bytes(32)))


def one_node(server: TestServer) -> Any:
    return SimpleNamespace(api=str(server.make_url("")).rstrip("/"))


async def test_a_post_is_whole_on_both_sides_and_its_connection_serves_again() -> None:
    seen: list[tuple[object, bytes]] = []

    async def take(request: web.Request) -> web.StreamResponse:
        assert request.query_string == "wait=commit"
        assert request.content_type == "application/octet-stream"
        seen.append((request.transport, await request.read()))
        if len(seen) == 2:  # an answer in pieces, its head too
            transport = request.transport
            assert transport is not None
            for part in (
                b"HTTP/1.1 202 Acc",
                b"epted\r\ncontent-LENGTH: 4\r\nRetry-After: 1\r\n\r",
                b"\n12",
                b"34",
            ):
                cast(asyncio.Transport, transport).write(part)
                await asyncio.sleep(0)
            raise asyncio.CancelledError  # nothing more of aiohttp's own
        return web.Response(body=b"x" * 100_000)

    app = web.Application()
    app.router.add_post("/v1/txs", take)
    async with TestServer(app) as server:
        posts = Posts(one_node(server).api, "/v1/txs?wait=commit", "application/octet-stream")
        bodies = [bytes([number]) * 70_000 for number in range(2)]
        assert await posts.post(bodies[0]) == (200, b"x" * 100_000, False)
        assert await posts.post(bodies[1]) == (202, b"1234", True)
        assert [body for _, body in seen] == bodies
        assert seen[0][0] is seen[1][0], "one connection"
        posts.close()


async def test_requests_that_wait_do_not_hold_up_others() -> None:
    arrived, go = [0], asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        arrived[0] += 1
        if arrived[0] == 5:
            go.set()
        await go.wait()
        return web.Response(body=b"{}")

    app = web.Application()
    app.router.add_post("/v1/txs", take)
    async with TestServer(app) as server:
        posts = Posts(one_node(server).api, "/v1/txs", "application/octet-stream")
        async with asyncio.timeout(60):
            assert (
                await asyncio.gather(*(posts.post(b"") for _ in range(5)))
                == [(200, b"{}", False)] * 5
            )
        posts.close()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"])
async def test_an_answer_that_breaks_off_is_no_answer(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        posts = Posts(f"http://127.0.0.1:{port}", "/v1/txs", "application/octet-stream")
        with pytest.raises(CliError, match="gave no answer") as caught:
            async with asyncio.timeout(60):
                await posts.post(b"")
        assert caught.value.code == "BENCH_FAILED"
        posts.close()


async def test_a_node_that_closes_is_asked_over_another_connection() -> None:
    seen: set[object] = set()

    async def take(request: web.Request) -> web.Response:
        seen.add(request.transport)
        answer = web.Response(body=b"{}")
        answer.force_close()
        return answer

    app = web.Application()
    app.router.add_post("/v1/txs", take)
    async with TestServer(app) as server:
        posts = Posts(one_node(server).api, "/v1/txs", "application/octet-stream")
        assert [await posts.post(b"") for _ in range(3)] == [(200, b"{}", False)] * 3
        posts.close()
    assert len(seen) == 3


async def test_an_open_loop_sends_each_once_and_tells_the_answers_apart() -> None:
    seen: list[bytes] = []
    status = {b"bad": 422, b"full": 429, b"busy": 503, b"halted": 503}

    async def take(request: web.Request) -> web.Response:
        seen.append(await request.read())
        said = {"code": "BUSY" if seen[-1] == b"busy" else "HALTED"}
        text = json.dumps(said, separators=(",", ":"))
        return web.Response(status=status.get(seen[-1], 200), text=text)

    app = web.Application()
    app.router.add_post("/v1/txs", take)
    async with TestServer(app) as server:
        node = one_node(server)
        signed = [
            [load.Signed(raw, b"", good=raw != b"bad") for raw in (b"a", b"full", b"busy")],
            [load.Signed(raw, b"", good=raw != b"bad") for raw in (b"b", b"bad", b"c")],
        ]
        now = time.perf_counter()
        measured = clients.Measured(now, now + 1_000)
        await clients.at_rate([node, node], signed, measured, 1_000)
        assert sorted(seen) == [b"a", b"b", b"bad", b"busy", b"c", b"full"]
        assert (measured.sent, measured.refused, measured.turned_away) == (4, 1, 2)
        assert (measured.committed, len(measured.latencies)) == (3, 3)
        for raw, code in ((b"bad", 422), (b"halted", 503)):
            later = time.perf_counter()
            wrong = clients.Measured(later, later + 1_000)
            with pytest.raises(ExceptionGroup) as caught:
                await clients.at_rate([node], [[load.Signed(raw, b"", good=True)]], wrong, 1_000)
            assert caught.group_contains(CliError, match=f"answered {code}")


@pytest.mark.parametrize(("blocks_per_s", "seconds"), [(290, 60), (25, 60), (0, 5)])
def test_nothing_is_sent_that_the_chain_has_outgrown(blocks_per_s: int, seconds: int) -> None:
    """500 a second for half a minute: what was signed before the clock ran had expired (422)."""
    rate, orgs = 4, len(CHAIN.seeds)
    each = rate * seconds // orgs
    signed = [load.sign(CHAIN, org, 0, each, 0) for org in range(orgs)]
    first = {tx.raw for part in signed for tx in part}
    freshness = Freshness(signed, CHAIN, rate, 0)
    sent = []
    for second in range(seconds):
        height = second * blocks_per_s
        now = replace(CHAIN, expiry_height=CHAIN.expiry_height + height)
        for stale in freshness.stale(now, WINDOW):
            made = load.sign(*freshness.sign(now, stale))
            signed[stale.org].pop()  # one is sent while others are signed
            sent.append(second)
            freshness.replace(stale, made)
        for part in signed:
            for _ in range(rate // orgs):
                if not part:
                    continue
                tx = part.pop()
                body = parse(tx.raw, CHAIN.chain_id, CHAIN.genesis_hash, Parameters()).body
                assert height < body.expiry_height <= height + WINDOW
                first.discard(tx.raw)
                sent.append(second)
    assert len(sent) == orgs * each, "none is lost"
    anew = blocks_per_s * seconds > WINDOW // 2
    assert bool(first) == anew, "nothing is signed twice that need not be"
    if anew:
        assert (
            len(first) <= orgs * each * (1 - WINDOW / 2 / blocks_per_s / seconds) + rate * AHEAD_S
        )
