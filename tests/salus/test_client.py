"""The client against the real API in front of fake nodes: errors, fail-over, resend, resume."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import aiohttp.web
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from node.api.app import ApiServer
from node.api.settings import ApiSettings
from node.api.view import TransactionView
from salus import client_errors, client_http
from salus.client import Client, Trust, operation
from salus.client_errors import (
    AuthError,
    ClientError,
    NotFoundError,
    NotReadyError,
    PendingError,
    RejectedError,
    RequestError,
    UnreachableError,
)
from salus.client_events import ChainEvent, FileCheckpoint
from salus.client_http import Answer, Endpoint, Transport
from salus.client_sync import SyncClient
from salus.codes import CODES, Code
from salus.errors import VerificationError
from salus.forms import Problem, TransactionForm, TransactionState
from salus.transaction import ParsedTransaction
from tests import factories
from tests.factories import Chain
from tests.node.api.fakes import DOCUMENT, HOSTS, RECORD, FakeNode, api_of

TOKEN = "a-token"
Serve = Callable[..., Awaitable[str]]


class Servers:
    """Nodes on sockets; `stop` closes one as a crash would."""

    def __init__(self) -> None:
        self._servers: dict[str, ApiServer] = {}

    async def start(self, node: FakeNode, *, token: str | None = None) -> str:
        server = ApiServer(api_of(node, ApiSettings(hosts=HOSTS, token=token)))
        await server.start("127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.port}"
        self._servers[url] = server
        return url

    async def stop(self, url: str) -> None:
        await self._servers.pop(url).stop()


@pytest.fixture
async def servers() -> AsyncIterator[Servers]:
    running = Servers()
    yield running
    for url in list(running._servers):
        await running.stop(url)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off as always, a hundred times faster."""
    monkeypatch.setattr(client_http, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(client_http, "BACKOFF_MAX_S", 0.01)
    monkeypatch.setattr("salus.client_events.PAUSE_S", 0.001)
    monkeypatch.setattr("node.api.app.SHUTDOWN_S", 0.01)


@pytest.fixture
async def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def url(node: FakeNode, servers: Servers) -> str:
    return await servers.start(node)


@pytest.fixture
async def client(url: str) -> AsyncIterator[Client]:
    async with Client(url, signer=factories.key("operator hosp-a"), timeout_s=60) as client:
        yield client


class Clock:
    """Time that passes only while a client rests or a node waits; `on_rest` is called then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rests: list[float] = []
        self.on_rest: Callable[[], None] = lambda: None

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.rests.append(seconds)
        self.on_rest()


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def stepped(url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    """A client of one node whose deadlines and back-off go by `clock`."""
    monkeypatch.setattr(client_http, "BACKOFF_FIRST_S", 0.1)
    monkeypatch.setattr(client_http, "BACKOFF_MAX_S", 5.0)
    async with Client(url, signer=factories.key("operator hosp-a"), timeout_s=60) as client:
        client._http = Transport(
            [url], token=None, ssl=None, clock=lambda: clock.now, sleep=clock.sleep
        )
        yield client


def new(node: FakeNode) -> ParsedTransaction:
    return factories.transaction(node.genesis)


async def certify_next(node: FakeNode, code: str = "OK") -> None:
    await node.arrived.wait()
    node.certify(code=code)


async def test_call_builds_signs_submits_and_waits(node: FakeNode, client: Client) -> None:
    done, _ = await asyncio.gather(client.call("records", "anchor", 1, b"args"), certify_next(node))
    assert (done.height, done.answer.code) == (1, "OK")
    [tx] = node.chain.transactions[1]
    assert tx.id.hex() == done.tx_id
    assert tx.body.sender == factories.key("operator hosp-a").public_key
    window = node.genesis.parameters.expiry_window_blocks
    assert tx.body.expiry_height == window // 2
    assert await done.proof() == b"proof of " + tx.id[:4]


async def test_a_client_that_lives_long_learns_of_another_expiry_window(
    node: FakeNode, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S13: a vote may have changed it, and what is signed for the old one could be refused."""
    one = operation("records", "anchor", 1, b"")
    await client.build([one])
    shorter = msgspec.structs.replace(node.genesis.parameters, expiry_window_blocks=100)
    monkeypatch.setattr(node, "parameters", lambda: (1, shorter))
    for _ in range(64):
        node.chain.add()
    await client.height()
    assert (await client.build([one])).body.expiry_height == 64 + 100 // 2


def grow(node: FakeNode, blocks: int) -> None:
    for _ in range(blocks):
        node.chain.add()


async def test_a_client_of_several_nodes_reads_no_older_state_than_it_was_told_of(
    servers: Servers,
) -> None:
    ahead, behind = FakeNode(), FakeNode()
    grow(ahead, 3)
    first = await servers.start(ahead)
    async with Client([first, await servers.start(behind)], timeout_s=60) as client:
        assert await client.height() == 3
        await servers.stop(first)
        behind.on_wait = lambda: grow(behind, 3)
        assert await client.height() == 3
    assert behind.awaited == [(3, 2.0)]


async def test_what_an_earlier_client_saw_counts_but_is_no_height_of_this_one(
    node: FakeNode, url: str
) -> None:
    """Else a wrong one would give transactions an expiry that every node refuses."""
    async with Client(url, timeout_s=60, seen_height=9) as client:
        assert client.seen_height == 0
        assert await client.height() == 0
    assert node.awaited == [(9, 2.0)]


async def test_a_height_that_a_node_has_waited_for_in_vain_is_not_named_to_it_again(
    servers: Servers,
) -> None:
    """A node that is cut off, or that another lied about, cost two seconds with every call."""
    ahead, behind = FakeNode(), FakeNode()
    grow(ahead, 3)
    first = await servers.start(ahead)
    async with Client([first, await servers.start(behind)], timeout_s=60) as client:
        assert await client.height() == 3
        await servers.stop(first)
        for _ in range(3):
            assert await client.height() == 0
        assert behind.awaited == [(3, 2.0)]
        grow(behind, 5)
        assert await client.height() == 5
    assert behind.awaited == [(3, 2.0)]


async def test_who_waits_for_an_outcome_names_no_height(node: FakeNode, url: str) -> None:
    """The node ends that wait so that its answer arrives in time; another one before it, and the
    caller hears nothing of a transaction that was taken."""
    async with Client(url, timeout_s=60, seen_height=9) as client:
        tx = new(node)
        done, _ = await asyncio.gather(client.commit(tx), certify_next(node))
    assert done.height == 1
    assert (9, 2.0) not in node.awaited


async def test_two_calls_have_two_nonces(client: Client) -> None:
    one = operation("records", "anchor", 1, b"")
    assert (await client.build([one])).id != (await client.build([one])).id


async def test_submit_returns_the_state_and_the_same_again(node: FakeNode, client: Client) -> None:
    tx = new(node)
    first = await client.submit(tx)
    assert (first.tx_id, first.state) == (tx.id.hex(), TransactionState.PENDING)
    assert await client.submit(tx.raw) == first
    node.certify()
    assert (await client.submit(tx)).state is TransactionState.COMMITTED
    assert (await client.wait(tx.id)).height == 1


async def test_a_certified_refusal_raises_rejected_with_word_and_id(
    node: FakeNode, client: Client
) -> None:
    tx = new(node)
    with pytest.raises(RejectedError) as caught:
        await asyncio.gather(client.commit(tx), certify_next(node, "TAG_SPENT"))
    assert (caught.value.code, caught.value.tx_id) == ("TAG_SPENT", tx.id.hex())
    assert caught.value.retryable is False
    for again in (client.commit(tx), client.wait(tx.id.hex())):
        with pytest.raises(RejectedError) as caught:
            await again
        assert (caught.value.code, caught.value.tx_id) == ("TAG_SPENT", tx.id.hex())


async def test_a_refusal_in_a_word_that_this_version_does_not_know_is_a_refusal_too(
    node: FakeNode, client: Client
) -> None:
    """A contract of a newer node, or of somebody else, has words of its own."""
    tx = new(node)
    assert "SLOT_TAKEN" not in CODES
    with pytest.raises(RejectedError) as caught:
        await asyncio.gather(client.commit(tx), certify_next(node, "SLOT_TAKEN"))
    assert (caught.value.code, caught.value.tx_id) == ("SLOT_TAKEN", tx.id.hex())


async def test_a_refusal_at_admission_raises_rejected_too(node: FakeNode, client: Client) -> None:
    tx = new(node)
    with pytest.raises(RejectedError) as caught:
        await client.submit(tx.raw[:-1] + bytes([tx.raw[-1] ^ 1]))
    assert caught.value.code == "BAD_SIGNATURE"
    assert caught.value.tx_id is not None
    with pytest.raises(RejectedError) as caught:
        await client.submit(b"junk")
    assert caught.value.tx_id is None


def wait_in_no_time(node: FakeNode, clock: Clock) -> None:
    """Nothing is certified while this node waits."""

    async def wait(tx_id: bytes, timeout_s: float) -> TransactionView:
        clock.now += timeout_s
        return node.transaction(tx_id)

    node.wait = wait  # type: ignore[method-assign]


async def test_time_that_runs_out_raises_pending_with_the_id(
    node: FakeNode, stepped: Client, clock: Clock
) -> None:
    wait_in_no_time(node, clock)
    tx = new(node)
    with pytest.raises(PendingError) as caught:
        await stepped.commit(tx, timeout_s=40)
    assert (caught.value.tx_id, clock.now, node.submissions) == (tx.id.hex(), 40, 2)
    assert caught.value.retryable is True
    assert "Do NOT" in caught.value.hint
    with pytest.raises(PendingError):
        await stepped.wait(tx.id)
    with pytest.raises(NotFoundError):
        await stepped.wait(bytes(32))
    assert clock.now == 160


async def test_arrays_are_cut_at_500_and_keep_their_order(node: FakeNode, client: Client) -> None:
    sent = [new(node) for _ in range(501)]
    items = await client.submit_many([*sent[:1], b"junk", *sent[1:]])
    assert node.submissions == 2
    assert items[1].code == "NOT_CANONICAL"
    assert [i.tx_id for i in items if i.code is None] == [tx.id.hex() for tx in sent]


async def test_a_dead_node_is_passed_over(node: FakeNode, url: str, servers: Servers) -> None:
    dead = await servers.start(FakeNode())
    await servers.stop(dead)
    async with Client([dead, url], timeout_s=60) as client:
        assert (await client.status()).height == 0
        assert (await client.submit(new(node))).state is TransactionState.PENDING


async def test_no_node_at_all_raises_unreachable(servers: Servers) -> None:
    dead = await servers.start(FakeNode())
    await servers.stop(dead)
    async with Client(dead, timeout_s=0.1) as client:
        with pytest.raises(UnreachableError) as caught:
            await client.status()
        assert caught.value.retryable is True


async def test_a_transaction_survives_the_death_of_the_node_that_took_it(
    node: FakeNode, servers: Servers
) -> None:
    """The same bytes go to the next node; both know the same id, so nothing happens twice."""
    first = FakeNode(node.chain)
    urls = [await servers.start(first), await servers.start(node)]
    tx = new(node)

    async def crash() -> None:
        await first.arrived.wait()
        await servers.stop(urls[0])
        await certify_next(node)

    async with Client(urls, timeout_s=60) as client:
        done, _ = await asyncio.gather(client.commit(tx), crash())
    assert (done.tx_id, done.height) == (tx.id.hex(), 1)


async def test_a_busy_node_is_asked_again_later(
    node: FakeNode, stepped: Client, clock: Clock
) -> None:
    """After what its `Retry-After` says, and then less and less often."""
    node.refuse = "POOL_FULL"

    def relax() -> None:
        if node.submissions == 6:
            node.refuse = None

    clock.on_rest = relax
    assert (await stepped.submit(new(node))).state is TransactionState.PENDING
    assert clock.rests == pytest.approx([1, 1, 1, 1, 1.6, 3.2])
    assert stepped._http.endpoints[0].refusal is None


async def test_an_array_that_finds_no_room_says_so_of_each_and_keeps_what_came_before(
    node: FakeNode, stepped: Client, clock: Clock
) -> None:
    sent = [new(node) for _ in range(501)]

    def fill() -> None:
        node.refuse = "POOL_FULL"

    node.on_submit = fill
    items = await stepped.submit_many(sent, timeout_s=20)
    assert [item.code for item in items] == [None] * 500 + ["POOL_FULL"]
    assert [item.tx_id for item in items] == [tx.id.hex() for tx in sent]
    assert node.submissions > 2, "it was asked again until the time was up"


async def test_when_the_time_is_up_the_refusal_is_raised_and_not_that_the_time_is_up(
    node: FakeNode, stepped: Client, clock: Clock
) -> None:
    node.refuse = "NOT_READY"
    with pytest.raises(NotReadyError) as caught:
        await stepped.submit(new(node), timeout_s=2.05)
    assert caught.value.code == "NOT_READY"
    assert (node.submissions, clock.rests) == (3, [1, 1]), "0.05 s are no time for another one"


async def test_a_node_that_rests_is_not_asked_and_its_refusal_is_known(
    node: FakeNode, stepped: Client, clock: Clock
) -> None:
    node.refuse = "NOT_READY"
    for _ in range(2):
        with pytest.raises(NotReadyError) as caught:
            await stepped.submit(new(node), timeout_s=0)
        assert caught.value.code == "NOT_READY"
    assert (node.submissions, clock.rests) == (1, [])
    node.refuse = None
    clock.now += 1
    assert (await stepped.submit(new(node), timeout_s=0)).state is TransactionState.PENDING


class Script(Transport):
    """A transport that meets what a test says instead of a node; notes how it was asked."""

    def __init__(self, nodes: int, clock: Clock, *outcomes: Answer | Exception) -> None:
        urls = [f"http://node-{number}" for number in range(nodes)]
        super().__init__(urls, token=None, ssl=None, clock=lambda: clock.now, sleep=clock.sleep)
        self.hours, self.outcomes = clock, list(outcomes)
        self.asked: list[tuple[float, Mapping[str, str]]] = []  # seconds it had, parameters

    async def _once(self, *args: Any) -> Answer:
        _, _, _, params, _, _, attempt_s, _ = args
        self.asked.append((attempt_s, params or {}))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, TimeoutError):
            self.hours.now += attempt_s
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


BUSY, GOOD = Answer(503, {}, b"", "http://node"), Answer(200, {}, b"{}", "http://node")


@pytest.mark.parametrize(
    ("transaction", "error"), [(False, NotReadyError), (True, UnreachableError)]
)
async def test_what_was_sent_and_not_answered_may_have_been_taken(
    stepped: Client, clock: Clock, transaction: bool, error: type[ClientError]
) -> None:
    """A read tells what the node had said; a transaction is never called refused then."""
    http = Script(1, clock, BUSY, TimeoutError())
    with pytest.raises(error):
        await http.request("POST", "/", timeout_s=0.3, body=b"", transaction=transaction)
    assert [seconds for seconds, _ in http.asked] == pytest.approx([0.3, 0.2])
    assert http.endpoints[0].failures == 1, "the caller's haste is no failure of the node"


def refusing(status: int, code: str, url: str) -> Answer:
    problem = Problem(
        type="", title="no", status=status, detail="no", instance="", code=code, retryable=False
    )
    return Answer(status, {}, msgspec.json.encode(problem), url)


NO_TOKEN = refusing(401, "UNAUTHENTICATED", "http://node-1")
NO_WAY_IN = Answer(403, {}, b"<html>", "http://node-1")  # a proxy in front of it


@pytest.mark.parametrize("refusal", [NO_TOKEN, NO_WAY_IN])
async def test_who_refuses_strangers_is_not_what_is_wrong_while_ones_own_node_is_silent(
    stepped: Client, clock: Clock, refusal: Answer
) -> None:
    """Its token goes to the first alone, so the caller would look for a fault in a token that is good."""
    http = Script(2, clock, TimeoutError(), refusal, GOOD)
    assert await http.request("GET", "/", timeout_s=60) == GOOD
    assert http.endpoints[0].failures == 0, "it is the first that has answered"
    http = Script(2, clock, TimeoutError(), refusal, TimeoutError())
    with pytest.raises(UnreachableError) as caught:
        await http.request("GET", "/", timeout_s=2.05)
    assert caught.value.message.startswith(
        "http://node-0: no answer in time; http://node-1 refuses ("
    )
    later = Script(2, clock, refusal)
    later.endpoints[0] = replace(http.endpoints[0], rest_until=clock.now + 5)
    with pytest.raises(UnreachableError) as caught:
        await later.request("GET", "/", timeout_s=2)
    assert "http://node-0: no answer in time; http://node-1 refuses" in caught.value.message


async def test_that_a_token_goes_to_the_first_node_alone_is_said(
    stepped: Client, clock: Clock
) -> None:
    for token, said in ((None, False), (TOKEN, True)):
        http = Script(2, clock, TimeoutError(), NO_TOKEN, TimeoutError())
        http._token = {} if token is None else {"Authorization": token}
        with pytest.raises(UnreachableError) as caught:
            await http.request("GET", "/", timeout_s=2.05)
        assert ("sent to no other" in caught.value.message) is said
        assert TOKEN not in caught.value.message


async def test_the_refusal_of_ones_own_node_is_final_whoever_else_is_silent(
    stepped: Client, clock: Clock
) -> None:
    gone = aiohttp.ServerDisconnectedError()
    http = Script(2, clock, BUSY, gone, refusing(403, "FORBIDDEN", "http://node-0"))
    with pytest.raises(AuthError):
        await http.request("GET", "/", timeout_s=60)
    http = Script(2, clock, refusing(401, "UNAUTHENTICATED", "http://node-0"))
    with pytest.raises(AuthError):
        await http.request("GET", "/", timeout_s=60)


@pytest.mark.parametrize(
    "refusal",
    [
        NO_TOKEN,
        NO_WAY_IN,
        refusing(403, "FORBIDDEN", "http://node-0"),
        refusing(404, "NOT_SERVED", "http://node-0"),
    ],
)
async def test_what_a_silent_node_may_have_taken_is_pending_whoever_refuses_it(
    node: FakeNode, stepped: Client, clock: Clock, refusal: Answer
) -> None:
    """Or its signer would sign the same again, and the wallet forget what it has sent."""
    tx = new(node)
    stepped._http = Script(2, clock, TimeoutError(), refusal, *[TimeoutError()] * 60)
    with pytest.raises(PendingError) as caught:
        await stepped.commit(tx, timeout_s=3)
    assert caught.value.tx_id == tx.id.hex()
    assert "refuses" in caught.value.message


@pytest.mark.parametrize("refusal", [NO_TOKEN, refusing(404, "NOT_SERVED", "http://node-0")])
async def test_what_a_node_took_is_pending_whoever_refuses_it_then(
    node: FakeNode, stepped: Client, clock: Clock, refusal: Answer
) -> None:
    tx = new(node)
    form = TransactionForm(tx_id=tx.id.hex(), state=TransactionState.PENDING)
    taken = msgspec.json.encode(form)
    stepped._http = Script(1, clock, Answer(202, {}, taken, "http://node-0"), refusal)
    with pytest.raises(PendingError):
        await stepped.commit(tx, timeout_s=3)


async def test_a_feed_outlasts_its_own_node_though_others_let_no_stranger_in() -> None:
    async def shut(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        return aiohttp.web.Response(status=401, body=NO_TOKEN.body)

    async with served(shut) as own, served(shut) as other:
        http = Transport([own, other], token=TOKEN, ssl=None)
        try:
            with pytest.raises(AuthError):
                async with http.stream("/v1/events", params={}, headers={}):
                    pass
            http.endpoints[0].rest_until = float("inf")  # it is silent
            with pytest.raises(UnreachableError) as caught:  # after which a subscriber tries again
                async with http.stream("/v1/events", params={}, headers={}):
                    pass
        finally:
            await http.close()
    assert f"{other} refuses (UNAUTHENTICATED)" in caught.value.message


async def test_a_node_that_is_silent_for_long_is_left_alone(stepped: Client, clock: Clock) -> None:
    http = Script(2, clock, TimeoutError(), GOOD, GOOD)
    for _ in range(2):
        await http.request("GET", "/", timeout_s=4)
    assert [seconds for seconds, _ in http.asked] == [2, 2, 4]
    assert [endpoint.failures for endpoint in http.endpoints] == [1, 0]


async def test_a_node_is_asked_to_wait_no_longer_than_its_turn_lasts(clock: Clock) -> None:
    """Of several nodes each gets its share of the time; a healthy one ends its wait within it."""
    for nodes, timeout_s, expected in ((1, 21, "20.000s"), (4, 21, "4.250s"), (4, 1, "0.100s")):
        http = Script(nodes, clock, GOOD)
        await http.request("GET", "/", timeout_s=timeout_s, params={"a": "b"}, wait_s=20)
        assert http.asked[0][1] == {"a": "b", "timeout": expected}


async def test_what_one_node_took_is_pending_whatever_a_later_one_says(
    node: FakeNode, stepped: Client, clock: Clock
) -> None:
    """The wait ends without an outcome, the bytes are sent again, and the node is not ready."""

    async def wait(tx_id: bytes, timeout_s: float) -> TransactionView:
        node.refuse = "NOT_READY"
        clock.now += timeout_s
        return node.transaction(tx_id)

    node.wait = wait  # type: ignore[method-assign]
    tx = new(node)
    with pytest.raises(PendingError) as caught:
        await stepped.commit(tx)
    assert caught.value.tx_id == tx.id.hex()


async def test_the_wrong_chain_is_noticed_before_anything_is_signed(
    node: FakeNode, url: str
) -> None:
    signer = factories.key("operator hosp-a")
    async with Client(url, signer=signer, trust=Trust(genesis="00" * 32)) as client:
        with pytest.raises(VerificationError) as caught:
            await client.call("records", "anchor", 1, b"")
        assert caught.value.code == "WRONG_CHAIN"
    async with Client(url, signer=signer, trust=Trust(genesis=node.genesis_hash.hex())) as client:
        assert (await client.chain()).genesis == node.genesis


async def test_a_proof_is_judged_here_and_the_node_is_not_believed(
    node: FakeNode, url: str
) -> None:
    """The fake node's proof is no proof; the real one is tested end to end."""
    tx = new(node)
    node.certify(tx)
    async with Client(url) as client:
        with pytest.raises(ClientError) as caught:
            await client.verified_proof(tx.id.hex())
        assert caught.value.code == "NO_ANCHOR"
    trust = Trust(node.genesis_hash.hex(), (1, node.chain.headers[1].hash().hex()))
    async with Client(url, trust=trust) as client:
        with pytest.raises(VerificationError):
            await client.verified_proof(tx.id.hex())


async def test_a_token_is_sent_and_its_absence_is_an_auth_error(
    node: FakeNode, servers: Servers
) -> None:
    url = await servers.start(node, token=TOKEN)
    async with Client(url) as client:
        with pytest.raises(AuthError) as caught:
            await client.submit(new(node))
        assert caught.value.code == "UNAUTHENTICATED"
    async with Client(url, token=TOKEN) as client:
        assert (await client.submit(new(node))).state is TransactionState.PENDING


async def test_the_token_of_the_first_node_goes_to_no_other() -> None:
    """The others are other organisations' nodes, and whoever has it may do what the operator may."""
    heard: list[str | None] = []

    async def answers(request: web.Request) -> web.Response:
        heard.append(request.headers.get("Authorization"))
        return web.Response(status=400)

    app = web.Application()
    app.router.add_get("/{path:.*}", answers)
    async with TestServer(app) as one, TestServer(app) as other:
        urls = [str(server.make_url("")) for server in (one, other)]
        async with Client(urls, token=TOKEN) as client:
            with pytest.raises(ClientError):
                await client.status()
            await one.close()
            with pytest.raises(ClientError):
                await client.status()
    assert heard == [f"Bearer {TOKEN}", None]


async def test_without_a_signer_nothing_is_built(url: str) -> None:
    async with Client(url) as client:
        with pytest.raises(ClientError) as caught:
            await client.call("records", "anchor", 1, b"")
        assert caught.value.code == "NO_SIGNER"


async def test_reads(node: FakeNode, client: Client) -> None:
    node.certify(new(node))
    assert (await client.block()).header.height == 1
    assert (await client.block(0)).certificate is None
    assert (await client.validators()).quorum == 3
    key = node.genesis.members[0].operator_key
    assert (await client.account(key.hex())).member == "hosp-a"
    assert await client.query("records", "anchor_of", root="00") == {"org": "hosp-a"}
    with pytest.raises(NotFoundError) as caught:
        await client.block(9)
    assert caught.value.problem is not None
    with pytest.raises(RequestError):
        await client.query("records", "anchor_of", other="00")
    answer = await client.api("GET", "/v1/mempool")
    assert msgspec.json.decode(answer.body)["transactions_max"] == 20_000


async def test_a_record_is_staged_and_anchored_in_one_call(node: FakeNode, client: Client) -> None:
    (staged, done), _ = await asyncio.gather(
        client.record_add(DOCUMENT, "application/fhir+json"), certify_next(node)
    )
    assert (staged.record_id, done.height) == (RECORD, 1)
    node.arrived.clear()
    (staged, done), _ = await asyncio.gather(
        client.record_amend(DOCUMENT, "application/fhir+json", RECORD), certify_next(node)
    )
    assert (staged.version, done.height) == (2, 2)
    assert (await client.records()).items[0].record_id == RECORD
    assert (await client.record(RECORD)).media_type == "text/plain"
    assert await client.record_document(RECORD) == ("application/fhir+json", DOCUMENT)
    assert await client.record_proof(RECORD, 1, as_of=True) == b"proof"


async def test_events_resume_at_another_node_without_gap_or_repetition(servers: Servers) -> None:
    chain = Chain()
    nodes = [FakeNode(chain), FakeNode(chain)]
    urls = [await servers.start(node) for node in nodes]
    for _ in range(2):
        nodes[0].certify(new(nodes[0]))
        nodes[1].feed.publish(chain.headers[-1], tuple(chain.receipts[-1]))
    seen: list[str] = []
    async with Client(urls) as client:
        events = client.events("tx.*", after="0")
        async for event in events:
            seen.append(event.id)
            if event.id == "2.1":
                await servers.stop(urls[0])
                nodes[1].certify(new(nodes[1]))
            if event.id == "3.1":
                break
        await events.aclose()
    assert seen == ["1.1", "2.1", "3.1"]


async def test_a_checkpoint_remembers_what_was_acknowledged(
    node: FakeNode, client: Client, tmp_path: Path
) -> None:
    for _ in range(3):
        node.certify(new(node))
    checkpoint = FileCheckpoint(tmp_path / "position")

    async def first(count: int) -> list[ChainEvent]:
        found: list[ChainEvent] = []
        events = client.events("tx.*", after="0", checkpoint=checkpoint)
        async for event in events:
            found.append(event)
            if len(found) == count:
                break
        await events.aclose()
        return found

    one, two = await first(2)
    await one.ack()
    assert (one.id, two.id, one.height) == ("1.1", "2.1", 1)
    assert [event.id for event in await first(2)] == ["2.1", "3.1"], "at least once"


async def test_events_that_are_gone_end_the_subscription_with_an_error(
    node: FakeNode, client: Client
) -> None:
    for _ in range(3):
        node.certify(new(node))
    node.feed.prune(3)
    with pytest.raises(NotFoundError) as caught:
        async for _ in client.events(after="0"):
            pass
    assert caught.value.code == "EVENTS_PRUNED"


Answering = Callable[[aiohttp.web.BaseRequest], Awaitable[aiohttp.web.StreamResponse]]


@asynccontextmanager
async def served(answer: Answering) -> AsyncIterator[str]:
    """The URL of something that is not our API."""
    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(answer), shutdown_timeout=0.01)
    await runner.setup()
    await aiohttp.web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_an_answer_that_is_not_ours_is_a_client_error() -> None:
    async def html(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        return aiohttp.web.Response(text="<html>", status=200)

    async with served(html) as url, Client(url) as client:
        with pytest.raises(ClientError) as caught:
            await client.status()
    assert caught.value.code == "BAD_ANSWER"


def test_back_off_grows_to_its_cap_and_ends_with_an_answer() -> None:
    endpoint = Endpoint("http://a")
    pauses = []
    for _ in range(12):
        endpoint.failed(0.0, NotReadyError("busy"))
        pauses.append(endpoint.rest_until)
    assert pauses == sorted(pauses)
    assert pauses[-1] == client_http.BACKOFF_MAX_S
    endpoint.answered()
    assert endpoint.rest_until == 0


@pytest.mark.parametrize(
    ("word", "status", "tx_id", "sent", "expected"),
    [
        ("UNAUTHENTICATED", 401, None, True, AuthError),
        ("FORBIDDEN", 403, None, True, AuthError),
        ("FOREIGN_HOST", 403, None, False, AuthError),
        ("NOT_AUTHORISED", 403, "00" * 32, True, RejectedError),
        ("A_CONTRACTS_OWN_WORD", 403, "00" * 32, True, RejectedError),
        ("A_WORD_OF_A_NEWER_NODE", 403, None, False, AuthError),
    ],
)
def test_only_what_another_token_could_change_is_an_auth_error(
    word: str, status: int, tx_id: str | None, sent: bool, expected: type[ClientError]
) -> None:
    """A transaction whose key may not do what it asks for was refused, and stays so."""
    problem = Problem(
        type="", title="", status=status, detail="", instance="", code=word, retryable=False,
        tx_id=tx_id,
    )  # fmt: skip
    assert type(client_errors.from_problem(problem, sent_transaction=sent)) is expected


@pytest.mark.parametrize("row", CODES.values(), ids=lambda row: row.word)
def test_every_word_becomes_an_error_that_retries_as_it_says(row: Code) -> None:
    problem = Problem(
        type="", title="", status=max(row.status, 400), detail="", instance="", code=row.word,
        retryable=row.retryable,
    )  # fmt: skip
    for sent in (False, True):
        error = client_errors.from_problem(problem, sent_transaction=sent)
        assert error.retryable is row.retryable
        assert error.code == row.word


def test_importing_the_library_imports_no_client() -> None:
    code = "import salus, sys; assert not {'aiohttp', 'asyncio', 'salus.client'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_the_sync_client_does_the_same_without_await() -> None:
    with SyncClient("http://127.0.0.1:9", timeout_s=0.01) as client:
        with pytest.raises(UnreachableError):
            client.status()
        with pytest.raises(AttributeError):
            client.no_such_method()
