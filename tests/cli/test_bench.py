"""The benchmark's own rules: what is dropped, what disk it needs, and when it must not count."""

import asyncio
import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cli.bench import catchup, clients, load, machine, overload, transactions, wan
from cli.bench.machine import Processors, cores, processors
from cli.bench.reads import blocks_until_effective
from cli.bench.transactions import Options
from cli.bench.usage import Memory, Usage
from cli.errors import CliError
from cli.home import TestnetNode
from cli.main import run


@pytest.mark.parametrize(("seconds", "dropped"), [(1, 2), (59, 2), (60, 10), (3600, 10)])
def test_a_figure_to_be_published_drops_its_first_ten_seconds(seconds: int, dropped: int) -> None:
    options = Options(seconds=seconds, rate=100)
    assert options.warm_up_s == dropped
    assert options.transactions == 100 * (seconds + dropped), "signed for both"


def test_the_disk_needed_follows_the_load() -> None:
    small = Options(seconds=1, prefill=0, rate=10)
    assert small.disk_bytes < 2 * 2**30
    assert Options(seconds=60).disk_bytes > 4 * 2**30, "a minute of four at full speed"
    for more in (
        Options(seconds=1, prefill=10**6, rate=10),
        Options(seconds=1, prefill=0, state_keys=10**7, rate=10),
        Options(seconds=1, prefill=0, rate=10_000),
        Options(seconds=10**5, prefill=0, rate=10),
        Options(seconds=1, prefill=0, rate=10_000, operations=400),
    ):
        assert more.disk_bytes > small.disk_bytes


@pytest.mark.parametrize("seconds", [1, 100, 101, 599, 600, 3_600])
def test_a_long_saturation_is_signed_in_rounds_that_do_not_expire(seconds: int) -> None:
    """What is signed 8,000 blocks before it is sent is refused, and ten minutes do not fit into memory."""
    options = Options(seconds=seconds)
    assert sum(counted for _, counted in options.rounds) == seconds
    assert all(1 <= counted <= transactions.ROUND_S for _, counted in options.rounds)
    first, *others = [dropped for dropped, _ in options.rounds]
    assert first == options.warm_up_s
    assert set(others) <= {transactions.WARM_UP_S}, "each begins from idle nodes"


async def test_the_figures_of_all_rounds_are_one_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a later one signs what the earlier ones have shown to be needed, with numbers of its own."""
    signed: list[tuple[int, int]] = []  # (first number, how many for one organisation)
    used = iter(range(1, 1_000))

    async def nothing(*_: Any, **__: Any) -> Any:
        return 7

    async def saturate(nodes: Any, load: Any, measured: clients.Measured, *_: Any) -> None:
        assert measured.ends_s - measured.starts_s > 1
        measured.record(measured.starts_s, measured.starts_s, 1_000 * 60)
        measured.sent += 1_000 * 60

    def sign_all(chain: Any, each: int, filled: int, operations: int, begin: int) -> Any:
        signed.append((begin, each))
        return [[]]

    async def summary(*given: Any) -> Any:
        return SimpleNamespace(nodes_agree=True, spent=given[3], measured=given[2])

    async def snapshot(nodes: Any) -> Any:
        height = next(used)
        node = Usage(height, height, height, 0, height)
        return transactions._Snapshot([node], Processors(0.0, 0.0, height), height, height)

    monkeypatch.setattr(transactions, "read_testnet", lambda root: SimpleNamespace(nodes=["one"]))
    for name in ("later", "same_height"):
        monkeypatch.setattr(transactions, name, nothing)
    monkeypatch.setattr(transactions, "saturate", saturate)
    monkeypatch.setattr(transactions.load, "sign_all", sign_all)
    monkeypatch.setattr(transactions, "_snapshot", snapshot)
    monkeypatch.setattr(transactions, "_summary", summary)
    monkeypatch.setattr(transactions.stage_table, "spent", lambda nodes: None)
    monkeypatch.setattr(transactions, "Memory", QuietMemory)
    options = Options(seconds=180)
    made = await transactions.measure(cast(Any, None), cast(Any, None), options, lambda _: None)
    found = cast(Any, made[0])
    assert found.measured.committed == found.measured.sent == 2 * 60_000
    assert found.spent.height == found.spent.nodes[0].cpu_s == found.spent.processors.total_s == 2
    assert signed[0] == (0, transactions.SIGNED_PER_S * (10 + 90))
    seen_per_s = 60_000 / 90
    assert signed[1][0] == signed[0][1], "no number twice"
    assert 2 * seen_per_s < signed[1][1] / 92 < 4 * seen_per_s


class QuietMemory:
    def __init__(self, *_: Any) -> None: ...

    async def watch(self) -> None: ...

    def look(self) -> None: ...


def test_memory_is_told_over_time_and_mapped_files_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """LevelDB maps its files: what was read of them is the kernel's to take back."""

    def status(self: Path) -> str:
        own, mapped = {"/proc/1/status": (100, 900), "/proc/2/status": (300, 600)}[str(self)]
        kib = 1024
        return f"Name:\tsalus\nRssAnon:\t{own * kib} kB\nRssFile:\t{mapped * kib} kB\nRssShmem:\t0 kB\n"

    monkeypatch.setattr(Path, "read_text", status)
    monkeypatch.setattr("cli.bench.usage.children", lambda pid: [])
    nodes = [cast(TestnetNode, SimpleNamespace(pid=pid)) for pid in (1, 2)]
    memory = Memory(nodes, 1.0)
    memory.look()
    assert (memory.most.all_bytes >> 20, memory.most.own_bytes >> 20) == (1_000, 100)
    assert memory.table() == [(0, 100, 900)], "of the largest"


def test_too_little_disk_is_said_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = Options(validators=4, seconds=60).disk_bytes
    usage = SimpleNamespace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    monkeypatch.setattr(transactions, "run", None)
    assert run(["bench", "--seconds", "60", "--json"]) != 0
    said = json.loads(capsys.readouterr().out)["error"]
    assert said["code"] == "DISK_FULL"
    assert f"{needed >> 20} MiB needed" in said["message"]


async def test_a_load_that_ends_before_the_time_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a fast machine would be reported as a slow one."""

    async def post(
        session: Any, api: str, part: Sequence[load.Signed]
    ) -> tuple[int, list[load.Signed]]:
        return 0, []

    async def committed(session: Any, api: str, tx_id: bytes) -> None: ...

    monkeypatch.setattr(clients, "_post_array", post)
    monkeypatch.setattr(clients, "_committed", committed)
    node = cast(TestnetNode, SimpleNamespace(api="http://nowhere"))
    signed = [[load.Signed(b"", bytes(32), True)] * 10]
    now = time.perf_counter()
    measured = clients.Measured(now, now + 1_000)
    await clients.saturate([node], signed, measured)
    assert measured.committed == 10
    assert measured.ran_dry
    over = clients.Measured(now - 2, now - 1)
    await clients.saturate([node], [[load.Signed(b"", bytes(32), True)]], over)
    assert not over.ran_dry


async def test_a_node_without_room_is_asked_by_fewer_requests_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It had parsed between two and six transactions in vain for each one that it took."""
    held: dict[bytes, int] = {}  # transactions of a request, by the last of them
    room, operations, total = 30, 25, 2_000

    async def post(
        session: Any, api: str, part: Sequence[load.Signed]
    ) -> tuple[int, list[load.Signed]]:
        await asyncio.sleep(0)
        taken = min(len(part), room - sum(held.values()))
        if taken:
            held[part[taken - 1].tx_id] = taken
        return 0, list(part[taken:])

    async def committed(session: Any, api: str, tx_id: bytes) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        del held[tx_id]

    monkeypatch.setattr(clients, "_post_array", post)
    monkeypatch.setattr(clients, "_committed", committed)
    monkeypatch.setattr(clients, "RETRY_S", 0)
    assert room < 2 * clients.per_request(operations)
    node = cast(TestnetNode, SimpleNamespace(api="http://nowhere"))
    signed = [[load.Signed(b"", number.to_bytes(32), True) for number in range(total)]]
    now = time.perf_counter()
    measured = clients.Measured(now, now + 1_000)
    await clients.saturate([node], signed, measured, operations)
    assert measured.committed == total
    assert measured.turned_away < 0.3 * total


def test_over_a_distance_as_much_more_is_outstanding_as_it_takes_longer() -> None:
    """Else the load is measured, not the network: 8,000 transactions are 0.8 s of it."""
    most = clients.REQUESTS_AT_ONCE
    assert wan.requests_at_once(2_000, 0) == most
    assert wan.requests_at_once(2_000, 20) == most + 1, "50 ms of it, in whole requests"
    assert wan.requests_at_once(2_000, 200) == most + 2, "500 ms of it are 1,000"


async def test_waits_at_a_node_that_ceased_to_be_the_primary_are_measured_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = [TestnetNode(name, 1, "", "", "", "") for name in ("a", "b", "c")]
    chain = load.Chain("bench", bytes(32), 100, (bytes(32),) * 3)
    primaries, asked = iter("abcc"), list[str]()

    async def primary(_: object) -> str:
        return next(primaries)

    async def waits(node: TestnetNode, signed: Sequence[load.Signed]) -> wan.Waits:
        assert len(signed) == wan.SAMPLES
        asked.append(node.name)
        return wan.Waits(len(asked), 0)

    monkeypatch.setattr(wan, "_primary", primary)
    monkeypatch.setattr(wan, "_waits", waits)
    assert await wan.near_and_far(nodes, chain) == (wan.Waits(5, 0), wan.Waits(6, 0))
    assert asked == ["a", "b", "b", "c", "c", "a"]
    primaries = iter("ab" * wan.TRIES)
    with pytest.raises(CliError) as failed:
        await wan.near_and_far(nodes, chain)
    assert failed.value.code == "BENCH_FAILED"


async def test_the_primary_is_whom_the_nodes_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that a burst had left behind, or that had given the view up alone, named another one: its waits
    were measured."""
    nodes = [TestnetNode(name, 1, "", "", "", "") for name in ("a", "b", "c", "d")]
    named = iter("abab" + "accc")

    async def by(node: TestnetNode) -> str:
        return next(named)

    monkeypatch.setattr(wan, "_named_by", by)
    monkeypatch.setattr(wan, "POLL_S", 0)
    assert await wan._primary(nodes) == "c"
    assert not list(named)
    named = iter("ab" * 1_000)
    monkeypatch.setattr(wan, "COMMIT_TIMEOUT_S", 0)
    with pytest.raises(CliError) as failed:
        await wan._primary(nodes)
    assert failed.value.code == "BENCH_FAILED"


@pytest.mark.parametrize("heights", [[], [(7, True)], [(9, False)]])
def test_a_revocation_around_which_nothing_was_read_or_refused_is_no_figure(
    heights: list[tuple[int, bool]],
) -> None:
    """It would be «effective at once»."""
    with pytest.raises(CliError) as caught:
        blocks_until_effective(heights, 8)
    assert caught.value.code == "BENCH_FAILED"


def test_a_ticket_in_the_block_of_the_revocation_is_one_block_late() -> None:
    assert [blocks_until_effective([(last, True), (9, False)], 8) for last in (5, 7, 8, 9)] == [
        0,
        0,
        1,
        2,
    ]


async def test_nodes_that_do_not_agree_are_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: Any, **__: Any) -> Any:
        return 0

    async def summary(*_: Any) -> Any:
        return SimpleNamespace(nodes_agree=False)

    monkeypatch.setattr(transactions, "read_testnet", lambda root: SimpleNamespace(nodes=["one"]))
    for name in ("later", "height_of", "same_height", "saturate"):
        monkeypatch.setattr(transactions, name, nothing)
    monkeypatch.setattr(transactions.load, "sign_all", lambda *_: [])
    monkeypatch.setattr(transactions, "usage", lambda node: Usage(0, 0, 0, 0, 0))
    monkeypatch.setattr(transactions, "Memory", QuietMemory)
    monkeypatch.setattr(transactions.stage_table, "spent", lambda nodes: None)
    monkeypatch.setattr(transactions, "_summary", summary)
    with pytest.raises(CliError) as caught:
        await transactions.measure(cast(Any, None), cast(Any, None), Options(), lambda _: None)
    assert caught.value.code == "BENCH_FAILED"


async def test_after_an_overload_what_fails_fast_is_not_counted_as_good_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken(request: web.Request) -> web.Response:
        return web.Response(status=500)

    app = web.Application()
    app.router.add_post("/v1/txs", broken)
    async with TestServer(app) as server:
        node = SimpleNamespace(api=str(server.make_url("")).rstrip("/"))
        monkeypatch.setattr(overload, "AFTER_S", 1)
        signed = [[load.Signed(b"", b"", good=True)] * 2]
        offered = overload.Offered()
        done = await overload._after(cast(Any, [node]), signed, 2, offered)
    assert (done, offered.errors) == ((0.0, 0.0), 2)


def test_what_the_host_and_others_took_is_of_these_seconds_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hertz = os.sysconf("SC_CLK_TCK")

    def read(*seconds: int) -> Processors:
        ticks = " ".join(str(second * hertz) for second in seconds)
        monkeypatch.setattr(Path, "read_text", lambda _: f"cpu  {ticks} 0 0\ncpu0 1\n")
        return processors()

    # user nice system idle iowait irq softirq steal
    before, after = read(100, 1, 2, 300, 0, 0, 0, 50), read(120, 6, 7, 350, 10, 0, 0, 60)
    between = after.since(before)
    assert (between.busy_s, between.stolen_s, between.total_s) == (30, 10, 100)
    assert between.stolen_share == 0.1
    assert between.others_share(22) == 0.08
    assert between.others_share(31) == 0.0, "rounded ticks"


def test_the_signature_limit_is_of_the_cores_that_may_be_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under `taskset -c 0,1` half of four: else the share would be half of what it is."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert cores() == machine.machine().cores == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 4, "where the system does not say"


def test_a_node_stays_away_until_it_is_as_far_behind_as_was_asked_for() -> None:
    wish = catchup.Wish(20, transactions=10**6, blocks=1_000)
    assert wish.granted(20, 10**6, 1_000)
    for less in ((19.9, 10**6, 1_000), (20, 10**6 - 1, 1_000), (20, 10**6, 999)):
        assert not wish.granted(*less)


async def test_a_single_transaction_that_is_not_certified_ends_a_catch_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its blocks are counted: one that failed fast would count as load."""
    answers = iter((200, 422))

    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=next(answers))

    monkeypatch.setattr(catchup, "CLIENTS", 1)
    app = web.Application()
    app.router.add_post("/v1/txs", answer)
    async with TestServer(app) as server:
        node = cast(TestnetNode, SimpleNamespace(api=str(server.make_url("")).rstrip("/")))
        ends = time.perf_counter() + 60
        signed = [[load.Signed(b"", b"", good=False), load.Signed(b"", b"", good=True)]]
        assert await catchup._one_by_one([node], signed, ends) == 1, "the bad one is not sent"
        signed = [[load.Signed(b"", b"", good=True)]]
        with pytest.raises(ExceptionGroup) as caught:
            await catchup._one_by_one([node], signed, ends)
    assert isinstance(caught.value.exceptions[0], CliError)


def test_a_system_without_such_figures_reports_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: "no figures")
    assert processors().stolen_share == processors().since(processors()).others_share(1) == 0.0
