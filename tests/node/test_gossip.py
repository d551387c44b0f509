"""Gossip: who is told what and when (B26, L17), and that no table grows without bound (B25)."""

import asyncio
from collections.abc import Iterable, Sequence
from types import SimpleNamespace

import pytest

from node import gossip_rules as rules
from node.gossip import (
    INTAKE_BATCH,
    INTAKE_BYTES_PER_PEER_MAX,
    JOIN_MS_MAX,
    JOINED_PER_MS,
    Gossip,
    GossipTask,
)
from node.gossip_rules import (
    ANNOUNCE_DELAY_MS,
    QUEUE_MIN,
    QUEUE_PER_MS,
    REANNOUNCE_MS,
    REQUEST_TIMEOUT_MS,
    GossipSend,
)
from node.net.frames import IdsFrame, Kind, TransactionsFrame
from salus.codec import decode
from salus.errors import BadMessage
from salus.parameters import Parameters
from tests.steps import stepped


class FakePool:
    def __init__(self) -> None:
        self.raws: dict[bytes, bytes] = {}
        self.flying: set[bytes] = set()
        self.later = 0  # of them, valid from a later height only

    @property
    def owed(self) -> int:
        return len(self.raws) - self.later

    def find(self, tx_id: bytes):
        raw = self.raws.get(tx_id)
        return None if raw is None else SimpleNamespace(raw=raw)

    def is_ordered(self, tx_id: bytes) -> bool:
        return tx_id in self.flying

    def missing(self, ids: Iterable[bytes]) -> list[bytes]:
        return [tx_id for tx_id in ids if tx_id not in self.raws]


class World:
    """A node «me» among a, b, c; what it sends is written down as (to, kind, numbers)."""

    def __init__(self, primary: str | None = "a") -> None:
        self.pool = FakePool()
        self.gossip = Gossip(self.pool, ["c", "b", "a"], primary)
        self.gossip.begin_epoch(["c", "b", "a"], Parameters().progress_timeout_ms)

    def admit(self, *numbers: int, source: str | None = None, now_ms: int = 0):
        pairs = [(tx_id(n), raw(n)) for n in numbers]
        self.pool.raws.update(pairs)
        return seen(self.gossip.admitted(pairs, source, now_ms))

    def tick(self, now_ms: int):
        return seen(self.gossip.tick(now_ms))

    def announced(self, member: str, *numbers: int, now_ms: int = 0):
        return seen(self.gossip.announced(member, [tx_id(n) for n in numbers], now_ms))

    def requested(self, member: str, *numbers: int):
        return seen(self.gossip.requested(member, [tx_id(n) for n in numbers]))

    def executed(self, *numbers: int, now_ms: int) -> None:
        for number in numbers:
            self.pool.raws.pop(tx_id(number), None)
        self.gossip.executed([tx_id(n) for n in numbers], now_ms)

    def told_after_ms(self, number: int, now_ms: int) -> int:
        """From entering to the announcement."""
        self.admit(number, now_ms=now_ms)
        for waited_ms in range(0, 10_000, 10):
            if self.tick(now_ms + waited_ms):
                self.gone(number)
                return waited_ms
        raise AssertionError("nobody was told")

    def gone(self, *numbers: int) -> None:
        for number in numbers:
            self.pool.raws.pop(tx_id(number), None)
        self.gossip.gone([tx_id(n) for n in numbers])


def tx_id(number: int) -> bytes:
    return number.to_bytes(32)


def raw(number: int) -> bytes:
    return b"raw" + number.to_bytes(4)


def seen(sends: Sequence[GossipSend]) -> list[tuple[str, str, list[int]]]:
    found = []
    for send in sends:
        if send.kind is Kind.TRANSACTIONS:
            bodies = decode(send.payload, TransactionsFrame).transactions
            numbers = [int.from_bytes(body[3:7]) for body in bodies]
        else:
            numbers = [int.from_bytes(i) for i in decode(send.payload, IdsFrame).ids]
        found.append((send.member, send.kind.name, numbers))
    return found


class TestSpreading:
    def test_a_clients_transaction_goes_to_the_primary_at_once(self) -> None:
        world = World()
        assert world.admit(1, 2) == [("a", "TRANSACTIONS", [1, 2])]

    def test_the_others_are_told_the_ids_after_a_while(self) -> None:
        world = World()
        world.admit(1)
        world.admit(2)
        assert world.tick(ANNOUNCE_DELAY_MS - 1) == []
        assert world.tick(ANNOUNCE_DELAY_MS) == [
            ("b", "ANNOUNCE", [1, 2]),
            ("c", "ANNOUNCE", [1, 2]),
        ]
        assert world.tick(ANNOUNCE_DELAY_MS + 1) == []

    def test_a_pre_prepare_in_time_saves_the_announcement(self) -> None:
        world = World()
        world.admit(1, 2)
        world.pool.flying.add(tx_id(1))
        assert world.tick(ANNOUNCE_DELAY_MS) == [("b", "ANNOUNCE", [2]), ("c", "ANNOUNCE", [2])]

    def test_what_is_executed_is_never_mentioned_again(self) -> None:
        world = World()
        world.admit(1)
        world.gone(1)
        assert world.tick(10**6) == []
        assert world.gossip.sizes()["tracked"] == 0

    def test_what_left_the_pool_is_forgotten_even_if_nobody_says_so(self) -> None:
        world = World()
        world.admit(1)
        world.pool.raws.clear()
        assert world.tick(ANNOUNCE_DELAY_MS) == []
        assert world.gossip.sizes()["tracked"] == 0

    def test_the_primary_itself_announces_and_sends_no_bodies(self) -> None:
        world = World(primary=None)
        assert world.admit(1) == []
        assert [to for to, *_ in world.tick(ANNOUNCE_DELAY_MS)] == ["a", "b", "c"]

    def test_a_peers_transaction_is_not_sent_on_but_announced_to_who_may_lack_it(self) -> None:
        world = World()
        assert world.admit(1, source="b") == []
        assert world.tick(ANNOUNCE_DELAY_MS) == [("a", "ANNOUNCE", [1]), ("c", "ANNOUNCE", [1])]

    def test_whoever_announced_it_is_not_told(self) -> None:
        world = World()
        world.admit(1)
        world.announced("b", 1)
        assert world.tick(ANNOUNCE_DELAY_MS) == [("c", "ANNOUNCE", [1])]

    def test_what_waits_on_is_announced_again_to_all_at_growing_intervals(self) -> None:
        """L17: everybody must know it, or nobody could complain; frames may be lost."""
        world = World()
        world.admit(1)
        now_ms, gaps = ANNOUNCE_DELAY_MS, []
        assert len(world.tick(now_ms)) == 2
        for _ in range(7):
            gap_ms = 0
            while not (sends := world.tick(now_ms)):
                now_ms += REANNOUNCE_MS
                gap_ms += REANNOUNCE_MS
            assert [to for to, *_ in sends] == ["a", "b", "c"]
            gaps.append(gap_ms // REANNOUNCE_MS)
        assert gaps == [1, 2, 4, 8, 16, 16, 16]

    def test_known_bytes_are_sent_once(self) -> None:
        world = World()
        world.admit(1)
        assert world.admit(1) == []

    def test_many_bodies_travel_in_frames_of_moderate_size(self) -> None:
        world = World()
        pairs = [(tx_id(n), bytes(50_000)) for n in range(20)]
        sends = world.gossip.admitted(pairs, None, 0)
        frames = [decode(send.payload, TransactionsFrame).transactions for send in sends]
        assert [len(frame) for frame in frames] == [5, 5, 5, 5]

    def test_a_queue_explains_a_delay_and_puts_the_announcement_off(self) -> None:
        world = World(primary=None)
        for number in range(QUEUE_MIN + 100 * QUEUE_PER_MS):
            world.admit(number)
        early = sum(len(ids) for to, _, ids in world.tick(ANNOUNCE_DELAY_MS) if to == "a")
        assert QUEUE_MIN < early < QUEUE_MIN + 30 * QUEUE_PER_MS
        late = sum(len(ids) for to, _, ids in world.tick(ANNOUNCE_DELAY_MS + 100) if to == "a")
        assert early + late == QUEUE_MIN + 100 * QUEUE_PER_MS

    def test_an_array_does_not_wait_behind_itself(self) -> None:
        world = World(primary=None)
        world.admit(*range(QUEUE_MIN + 100 * QUEUE_PER_MS))
        told = sum(len(ids) for to, _, ids in world.tick(ANNOUNCE_DELAY_MS) if to == "a")
        assert told == QUEUE_MIN + 100 * QUEUE_PER_MS

    def test_a_primary_that_stops_gives_its_clients_transactions_to_somebody(self) -> None:
        """It alone has them, and will not propose them any more."""
        world = World(primary=None)
        world.admit(1, 2, 3)
        world.admit(4, source="b")
        world.announced("c", 3)
        world.pool.flying.add(tx_id(2))
        assert seen(world.gossip.leave()) == [("a", "TRANSACTIONS", [1])]
        assert World().gossip.leave() == []

    def test_many_ids_travel_in_several_frames(self) -> None:
        world = World(primary=None)
        world.admit(*range(2_500))
        sends = world.tick(ANNOUNCE_DELAY_MS + 2_500 // QUEUE_PER_MS)
        assert [(to, len(ids)) for to, _, ids in sends if to == "a"] == [
            ("a", 1_000),
            ("a", 1_000),
            ("a", 500),
        ]


class TestNewPrimary:
    def test_it_gets_our_clients_transactions_at_once(self) -> None:
        world = World()
        world.admit(1)
        world.admit(2, source="c")
        assert seen(world.gossip.primary_changed("b", 10)) == [("b", "TRANSACTIONS", [1])]

    def test_it_is_not_sent_what_it_has(self) -> None:
        world = World()
        world.admit(1)
        world.announced("b", 1)
        assert world.gossip.primary_changed("b", 10) == []

    def test_what_the_old_view_had_ordered_is_announced_anew(self) -> None:
        """A proposal may be dropped by the view change; its transactions must not be."""
        world = World()
        world.admit(1)
        world.pool.flying.add(tx_id(1))
        assert world.tick(10_000) == []
        world.pool.flying.clear()
        world.gossip.primary_changed("b", 10_000)
        assert world.tick(10_000 + ANNOUNCE_DELAY_MS) == [("c", "ANNOUNCE", [1])]

    def test_it_is_announced_even_if_nobody_says_that_the_order_was_lost(self) -> None:
        world = World()
        world.admit(1)
        world.pool.flying.add(tx_id(1))
        assert world.tick(ANNOUNCE_DELAY_MS) == []
        world.pool.flying.clear()
        assert len(world.tick(ANNOUNCE_DELAY_MS + REANNOUNCE_MS)) == 2

    def test_when_it_is_us_nothing_is_sent(self) -> None:
        world = World()
        world.admit(1)
        assert world.gossip.primary_changed(None, 10) == []
        assert world.admit(2) == []


def test_where_blocks_take_longer_the_announcement_is_put_off() -> None:
    """A busy network's PRE-PREPAREs came after 60 ms, so a sixth of all transactions was announced, asked
    for, sent and checked a second time, which made them later still."""
    world = World(primary=None)
    world.admit(1, now_ms=0)
    world.executed(1, now_ms=9)
    assert world.told_after_ms(2, 1_000) == ANNOUNCE_DELAY_MS
    world.admit(3, now_ms=2_000)
    world.admit(4, now_ms=2_060)
    world.executed(3, 4, now_ms=2_083)  # the slowest counts
    assert world.told_after_ms(5, 3_000) == 70


def test_a_slow_block_is_forgotten_and_no_wait_is_longer_than_so_much() -> None:
    """L17, L22: with 400 ms a primary just under the timeout was never replaced, for nobody knew who waited."""
    world = World(primary=None)
    world.admit(1, now_ms=0)
    world.executed(1, now_ms=60_000)
    assert world.told_after_ms(2, 60_000) == 110  # an eighth, in ticks of 20
    for _ in range(20):
        world.executed(99, now_ms=70_000)  # another node's: it says nothing of how long ours take
    assert world.told_after_ms(3, 70_000) == 110
    for _ in range(20):
        world.admit(4, now_ms=80_000)
        world.executed(4, now_ms=80_010)
    assert world.told_after_ms(5, 80_000) == ANNOUNCE_DELAY_MS


def test_a_shorter_timeout_shortens_the_wait() -> None:
    """Voted in, before any block has shown it."""
    world = World(primary=None)
    world.admit(1, now_ms=0)
    world.executed(1, now_ms=60_000)
    world.gossip.begin_epoch(["a", "b", "c"], 100)
    assert world.told_after_ms(2, 60_000) == ANNOUNCE_DELAY_MS


def test_what_no_block_can_hold_yet_explains_no_delay() -> None:
    """Five thousand that are valid from a later height put everybody's announcements off by 4.6 s (L17)."""
    world = World(primary=None)
    world.pool.later = 5_000
    world.admit(*range(5_000))
    world.tick(ANNOUNCE_DELAY_MS)
    assert world.told_after_ms(5_001, 1_000) == ANNOUNCE_DELAY_MS


def test_who_expired_says_nothing_of_how_long_blocks_take() -> None:
    world = World(primary=None)
    world.admit(1, now_ms=0)
    world.gone(1)
    assert world.told_after_ms(2, 60_000) == ANNOUNCE_DELAY_MS


def test_it_gets_megabytes_at_once_and_asks_for_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In view 0 they were to be announced when the queue before them had passed, ten seconds later
    perhaps: the new primary has no such queue, and its first blocks would be empty."""
    monkeypatch.setattr(rules, "ANSWER_BYTES_MAX", 3_000 * len(raw(0)))
    world = World()
    world.admit(*range(10_000))
    frames = seen(world.gossip.primary_changed("b", 10))
    assert {to for to, *_ in frames} == {"b"}
    assert [number for *_, numbers in frames for number in numbers] == list(range(3_000))
    rest: list[int] = []
    for now_ms in range(20, 10 + ANNOUNCE_DELAY_MS + 7_020, 10):
        told = [number for to, _, told in world.tick(now_ms) if to == "b" for number in told]
        news = sorted(set(told) - set(rest) - set(range(3_000)))  # some again, after two seconds
        assert len(news) <= 20 * QUEUE_PER_MS
        rest += news
    assert rest == list(range(3_000, 10_000))


def test_views_that_change_one_after_the_other_do_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each puts what is left for the new primary on time once more."""
    monkeypatch.setattr(rules, "ANSWER_BYTES_MAX", 0)
    monkeypatch.setattr(rules, "TRACKED_MAX", 100)
    world = World()
    world.admit(*range(100))
    for number in range(20):
        world.gossip.primary_changed("bc"[number % 2], 10 + 100 * number)
        assert world.gossip.sizes()["due"] <= 200


class TestPulling:
    def test_an_unknown_id_is_asked_for_once(self) -> None:
        world = World()
        assert world.announced("b", 1, 2) == [("b", "REQUEST", [1, 2])]
        assert world.announced("c", 1) == []
        assert world.announced("b", 1) == []

    def test_known_ids_are_not_asked_for(self) -> None:
        world = World()
        world.admit(1)
        world.pool.raws[tx_id(2)] = raw(2)
        assert world.announced("b", 1, 2) == []

    def test_an_id_twice_in_one_announcement_is_asked_for_once(self) -> None:
        assert World().announced("b", 1, 1) == [("b", "REQUEST", [1])]

    def test_when_no_answer_comes_the_next_announcer_is_asked(self) -> None:
        world = World()
        world.announced("b", 1)
        world.announced("c", 1, now_ms=10)
        assert world.tick(REQUEST_TIMEOUT_MS - 1) == []
        assert world.tick(REQUEST_TIMEOUT_MS) == [("c", "REQUEST", [1])]
        assert world.tick(2 * REQUEST_TIMEOUT_MS) == []
        assert world.gossip.sizes()["wanted"] == 0

    def test_an_id_that_was_given_up_may_be_announced_again(self) -> None:
        world = World()
        world.announced("b", 1)
        world.tick(REQUEST_TIMEOUT_MS)
        assert world.announced("b", 1, now_ms=1_000) == [("b", "REQUEST", [1])]

    @pytest.mark.parametrize("how", ["admitted", "pooled", "gone", "refused"])
    def test_once_it_is_here_nobody_is_asked_again(self, how: str) -> None:
        world = World()
        world.announced("b", 1)
        world.announced("c", 1)
        if how == "admitted":
            world.admit(1, source="b")
        elif how == "refused":
            world.gossip.refused(tx_id(1))
        elif how == "pooled":  # it came with a proposal
            world.pool.raws[tx_id(1)] = raw(1)
        else:
            world.gone(1)
        assert [s for s in world.tick(REQUEST_TIMEOUT_MS) if s[1] == "REQUEST"] == []
        assert world.gossip.sizes()["wanted"] == 0

    def test_what_the_pool_refused_is_not_asked_for_again(self) -> None:
        world = World()
        world.gossip.refused(tx_id(1))
        assert world.announced("b", 1) == []

    def test_bodies_are_given_to_who_asks(self) -> None:
        world = World()
        world.admit(1, 2)
        assert world.requested("b", 1, 9, 2) == [("b", "TRANSACTIONS", [1, 2])]
        assert world.requested("b", 9) == []
        assert world.tick(ANNOUNCE_DELAY_MS) == [("c", "ANNOUNCE", [1, 2])]  # b has them now

    def test_an_answer_is_bounded(self) -> None:
        world = World()
        for number in range(100):
            world.pool.raws[tx_id(number)] = bytes(100_000)
        sends = world.gossip.requested("b", [tx_id(n) for n in range(100)])
        assert sum(len(send.payload) for send in sends) <= rules.ANSWER_BYTES_MAX + 1_000


class TestBounds:
    def test_a_liar_fills_his_own_share_only(self) -> None:
        world = World()
        for start in range(0, 20_000, 1_000):
            world.announced("b", *range(start, start + 1_000))
        assert world.gossip.sizes()["wanted"] == rules.WANTED_PER_PEER_MAX
        assert world.gossip.dropped_total == 20_000 - rules.WANTED_PER_PEER_MAX
        assert world.announced("c", 10**6) == [("c", "REQUEST", [10**6])]

    def test_the_liars_share_is_free_again_after_the_timeout(self) -> None:
        world = World()
        for start in range(0, 5_000, 1_000):
            world.announced("b", *range(start, start + 1_000))
        world.tick(REQUEST_TIMEOUT_MS)
        assert world.gossip.sizes()["wanted"] == 0
        assert world.announced("b", 7_777, now_ms=REQUEST_TIMEOUT_MS) != []

    def test_every_table_has_a_cap(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("TRACKED_MAX", "WANTED_MAX", "REFUSED_MAX", "EVIDENCE_MAX"):
            monkeypatch.setattr(rules, name, 10)
        world = World()
        for number in range(100):
            world.admit(number)
            world.gossip.refused(tx_id(1_000 + number))
            world.gossip.evidence(raw(number), None)
        world.announced("b", *range(5_000, 5_100))
        sizes = world.gossip.sizes()
        assert sizes == {"tracked": 10, "due": sizes["due"], "wanted": 10, "refused": 10} | {
            "evidence": 10
        }
        assert sizes["due"] <= 21

    def test_entries_of_executed_transactions_do_not_pile_up(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(rules, "TRACKED_MAX", 10)
        world = World()
        for number in range(1_000):
            world.admit(number)
            world.gone(number)
        assert world.gossip.sizes()["due"] <= 21


class TestEvidence:
    def test_each_piece_goes_once_to_everybody_but_its_bringer(self) -> None:
        """L23."""
        world = World()
        sends = world.gossip.evidence(b"proof", "b")
        assert [(send.member, send.kind) for send in sends] == [
            ("a", Kind.EVIDENCE),
            ("c", Kind.EVIDENCE),
        ]
        assert world.gossip.evidence(b"proof", "c") == []
        assert world.gossip.knows_evidence(b"proof")
        assert not world.gossip.knows_evidence(b"other")


class TestTask:
    """The shell: bodies wait in a bounded queue and never on the way of a frame."""

    async def test_bodies_are_worked_off_and_liars_counted(self) -> None:
        taken: asyncio.Queue[tuple[str, list[bytes]]] = asyncio.Queue()
        penalties: asyncio.Queue[tuple[str, int, str]] = asyncio.Queue()

        async def intake(member: str, raws: Sequence[bytes]) -> None:
            if member == "liar":
                raise BadMessage("no", code="BAD_SIGNATURE")
            if member == "ours":
                raise KeyError("a fault of ours")
            await taken.put((member, list(raws)))

        task = GossipTask(World().gossip, lambda *_: True)
        running = asyncio.create_task(
            task.run(intake, lambda *penalty: penalties.put_nowait(penalty))
        )
        try:
            async with asyncio.timeout(60):
                assert task.put("ours", [b"0"])
                assert task.put("liar", [b"1"])
                assert task.put("b", [b"2", b"3"])
                assert await taken.get() == ("b", [b"2", b"3"])
                assert (await penalties.get())[::2] == ("liar", "BAD_SIGNATURE")
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def test_a_peer_s_frames_are_checked_together_and_each_peer_s_beside_the_others(
        self,
    ) -> None:
        """A client's array a frame would be two turns of a busy loop each."""
        taken: asyncio.Queue[tuple[str, list[bytes]]] = asyncio.Queue()
        held = asyncio.Event()

        async def intake(member: str, raws: Sequence[bytes]) -> None:
            await taken.put((member, list(raws)))
            if member == "slow":
                await held.wait()

        task = GossipTask(World().gossip, lambda *_: True)
        before = [b"%d" % number for number in range(300)]
        assert task.put("early", before[:200])  # when nothing runs yet
        running = asyncio.create_task(task.run(intake))
        try:
            async with asyncio.timeout(60):
                assert await taken.get() == ("early", before[:200])
                task.put("slow", before)
                assert await taken.get() == ("slow", before)  # as large as it came
                for place in range(300):
                    task.put("slow", before[place : place + 1])
                task.put("b", [b"1"])
                assert await taken.get() == ("b", [b"1"])
                assert taken.empty()
                held.set()
                assert await taken.get() == ("slow", before[:INTAKE_BATCH])
                assert await taken.get() == ("slow", before[INTAKE_BATCH:])
                task.put("b", [b"2"])
                assert await taken.get() == ("b", [b"2"])
                for _ in range(9):
                    await asyncio.sleep(0)
            assert not task._queues
            assert not task._queued_bytes
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def test_what_peers_send_while_the_node_stops_is_no_fault(self) -> None:
        """Connections are closed last: a peer's first frame found no worker, and none to be had."""

        async def intake(member: str, raws: Sequence[bytes]) -> None:
            await asyncio.Event().wait()

        task = GossipTask(World().gossip, lambda *_: True)
        running = asyncio.create_task(task.run(intake))
        await asyncio.sleep(0)
        assert task.put("a", [b"1"])
        await asyncio.sleep(0)
        running.cancel()
        assert task.put("b", [b"2"])
        await asyncio.sleep(0)
        assert task.put("c", [b"3"])
        await asyncio.gather(running, return_exceptions=True)
        assert task.put("d", [b"4"])

    async def test_a_flooding_peer_fills_its_own_share_only(self) -> None:
        """B25: nothing is worked off here, as when verification lags."""
        task = GossipTask(World().gossip, lambda *_: True)
        large = bytes(1024 * 1024)
        taken = 0
        while task.put("flood", [large]):
            taken += 1
        assert taken == INTAKE_BYTES_PER_PEER_MAX // len(large)
        assert task.intake_dropped_total == 1
        assert task.put("b", [large])

    async def test_the_clock_ticks_the_rules_and_sends_go_out(self) -> None:
        sent: asyncio.Queue[tuple[str, Kind]] = asyncio.Queue()
        world = World()
        task = GossipTask(world.gossip, lambda to, kind, _: not sent.put_nowait((to, kind)))
        world.pool.raws[tx_id(1)] = raw(1)
        task.perform(world.gossip.admitted([(tx_id(1), raw(1))], None, task.now_ms()))
        running = asyncio.create_task(task.run())
        try:
            async with asyncio.timeout(60):
                assert await sent.get() == ("a", Kind.TRANSACTIONS)
                assert await sent.get() == ("b", Kind.ANNOUNCE)
                assert await sent.get() == ("c", Kind.ANNOUNCE)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    @stepped
    async def test_what_clients_send_one_by_one_goes_to_the_primary_together(self) -> None:
        """At once on a quiet node, a few milliseconds later on one that has many waiting: a frame for
        each cost the primary as much as the transactions in it."""
        world, sent = World(), []
        task = GossipTask(world.gossip, lambda *send: not sent.append(GossipSend(*send)))

        def enter(*numbers: int) -> None:
            world.pool.raws.update((tx_id(n), raw(n)) for n in numbers)
            task.admitted([(tx_id(n), raw(n)) for n in numbers])

        enter(1)
        enter(2)
        assert not sent
        await asyncio.sleep(0)
        assert seen(sent) == [("a", "TRANSACTIONS", [1, 2])]
        many = range(3, 3 + JOINED_PER_MS * JOIN_MS_MAX)
        enter(*many)
        await asyncio.sleep(0)
        assert seen(sent[1:]) == [("a", "TRANSACTIONS", [*many])]
        for number in (1_001, 1_002, 1_003):
            enter(number)
            await asyncio.sleep(0.001)
        assert len(sent) == 2
        world.gossip.primary_changed("b", 0)
        await asyncio.sleep(JOIN_MS_MAX / 1000 - 0.003)
        assert seen(sent[2:]) == [("b", "TRANSACTIONS", [1_001, 1_002, 1_003])]
        world.gone(*many)
        enter(1_004)
        await asyncio.sleep(0)
        assert seen(sent[3:]) == [("b", "TRANSACTIONS", [1_004])]
        enter(*many)
        await asyncio.sleep(1)
        enter(1_005)
        array = range(2_000, 2_000 + JOINED_PER_MS)
        enter(*array)
        await asyncio.sleep(0)
        assert seen(sent[-1:]) == [("b", "TRANSACTIONS", [1_005, *array])], (
            "an array waits for nobody"
        )
        enter(1_006)
        task.forward()
        assert seen(sent[-1:]) == [("b", "TRANSACTIONS", [1_006])], "nor does a node that stops"

    @stepped
    async def test_the_clock_stands_while_nothing_is_due(self) -> None:
        """An idle node sleeps; a transaction sets the clock going, and its end stops it again."""
        world, ticks, sent = World(), 0, []

        def tick(now_ms: int) -> list[GossipSend]:
            nonlocal ticks
            ticks += 1
            return ticked(now_ms)

        ticked = world.gossip.tick
        world.gossip.tick = tick  # type: ignore[method-assign]
        task = GossipTask(world.gossip, lambda *send: not sent.append(send))
        running = asyncio.create_task(task.run())
        await asyncio.sleep(10)
        assert ticks == 0
        world.pool.raws[tx_id(1)] = raw(1)
        task.perform(world.gossip.admitted([(tx_id(1), raw(1))], None, task.now_ms()))
        await asyncio.sleep(1)
        assert [to for to, *_ in sent] == ["a", "b", "c"]
        del world.pool.raws[tx_id(1)]
        world.gossip.gone([tx_id(1)])
        await asyncio.sleep(10)
        went = ticks
        await asyncio.sleep(10)
        assert ticks == went > 0
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    @stepped
    async def test_what_an_idle_node_drops_is_said(self, caplog: pytest.LogCaptureFixture) -> None:
        task = GossipTask(World().gossip, lambda *_: True)
        running = asyncio.create_task(task.run())
        await asyncio.sleep(1)
        while task.put("flood", [bytes(1024 * 1024)]):
            pass
        await asyncio.sleep(1)
        assert [record.message for record in caplog.records] == ["gossip_dropped"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
