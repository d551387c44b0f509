"""The feed never drops, numbers events by the chain, and says when something is gone."""

import asyncio

import pytest

from node import feed
from node.feed import (
    END_OF_BLOCK,
    RECENT_BLOCKS_MAX,
    Feed,
    Position,
    Pruned,
    block_events,
)
from salus.block import Event, Header, Receipt
from salus.errors import SalusError
from tests import factories
from tests.factories import Chain

Block = tuple[Header, tuple[Receipt, ...]]


class Store:
    """A chain behind a feed, counting how often it is read."""

    def __init__(self) -> None:
        self.chain = Chain()
        self.reads = 0
        self.feed = Feed(self.read, height=0)

    def read(self, height: int) -> Block | None:
        self.reads += 1
        if height > self.chain.height:
            return None
        return self.chain.headers[height], tuple(self.chain.receipts[height])

    def grow(self, transactions: int = 1, code: str = "OK") -> None:
        sent = [factories.transaction(self.chain.genesis) for _ in range(transactions)]
        receipts = factories.receipts_of(sent, code)
        self.chain.add(*sent, receipts=receipts)
        self.feed.publish(self.chain.headers[-1], tuple(receipts))


@pytest.fixture
def store() -> Store:
    return Store()


def kinds(block: Block) -> list[str]:
    return [event.kind for event in block_events(*block)]


def test_who_asks_for_one_contract_is_spared_blocks_that_did_not_call_it(store: Store) -> None:
    store.grow()
    header = store.chain.headers[1]
    receipts = tuple(store.chain.receipts[1])
    for called, given in (
        (None, receipts),
        ({"consent"}, receipts),
        ({"records"}, ()),
        (set(), ()),
    ):
        feed = Feed(store.read, height=0)
        feed.publish(header, receipts, None if called is None else frozenset(called))
        assert feed.recent(1) == receipts
        assert feed.recent(1, "consent") == given
        assert feed.recent(2, "consent") is None
        assert feed.events_of(1) == block_events(header, receipts)


def test_a_block_is_told_in_the_order_of_its_operations(store: Store) -> None:
    store.grow(2)
    events = store.feed.events_of(1)
    assert [event.kind for event in events] == [
        "block.certified",
        "tx.committed",
        "records.anchored",
        "tx.committed",
        "records.anchored",
    ]
    assert [str(event.position) for event in events] == ["1.0", "1.1", "1.2", "1.3", "1.4"]
    assert events[2].tx_id == events[1].tx_id != events[3].tx_id
    assert (events[1].operation, events[2].operation) == (None, 0)


def receipt(tx: int, operation: int, code: str, *events: Event) -> Receipt:
    return Receipt(bytes([tx]) * 32, operation, code, {}, events)


def test_refused_independent_and_repeated_transactions(store: Store) -> None:
    header = store.chain.headers[0]
    one = Event("x.y", {"root": b"\xab" * 32, "n": 1})
    receipts = (
        receipt(1, 0, "TAG_SPENT"),
        receipt(2, 0, "OK", one),
        receipt(2, 1, "TAG_SPENT"),  # independent operations: one stood
        receipt(3, 0, "DUPLICATE"),  # executed in an earlier block, told there
    )
    events = block_events(header, receipts)
    assert [(e.kind, e.data.get("code")) for e in events[1:]] == [
        ("tx.rejected", "TAG_SPENT"),
        ("tx.committed", "TAG_SPENT"),
        ("x.y", None),
    ]
    assert events[-1].data == {"root": "ab" * 32, "n": 1}


async def test_a_reader_that_never_keeps_up_misses_nothing(store: Store) -> None:
    with store.feed.subscribe(Position(0, END_OF_BLOCK)) as reader:
        for _ in range(RECENT_BLOCKS_MAX * 2):
            store.grow()
        seen = []
        while (events := await reader.next(0)) and events:
            seen += [event.position for event in events]
        assert [p.height for p in seen] == [h for h in range(1, 129) for _ in range(3)]
        assert store.reads == RECENT_BLOCKS_MAX, "old blocks from storage, new ones from memory"


def test_what_is_kept_decoded_is_bounded_by_receipts_as_well(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 blocks of 100 operations in each transaction would be a quarter of a gigabyte."""
    monkeypatch.setattr(feed, "RECENT_RECEIPTS_MAX", 10)
    for _ in range(3):
        store.grow(4)
    assert [store.feed.recent(height) is None for height in (1, 2, 3)] == [True, False, False]
    store.grow(11)
    assert store.feed.recent(3) is None
    assert store.feed.recent(4) is not None, "the newest is always kept"
    store.feed.prune(5)
    for _ in range(2):
        store.grow(5)
    assert store.feed.recent(5) is not None, "what was pruned counts no more"


async def test_a_waiting_reader_is_woken_by_the_block(store: Store) -> None:
    with store.feed.subscribe(None) as reader:
        waiting = asyncio.create_task(reader.next(60))
        await asyncio.sleep(0)
        assert not waiting.done()
        store.grow()
        events = await waiting
        assert events is not None
        assert events[0].kind == "block.certified"
        assert await reader.next(0) == [], "nothing new in time"


async def test_a_reader_resumes_inside_a_block(store: Store) -> None:
    store.grow(2)
    with store.feed.subscribe(Position.parse("1.2")) as reader:
        events = await reader.next(0)
        assert events is not None
        assert [str(event.position) for event in events] == ["1.3", "1.4"]
    with store.feed.subscribe(Position.parse("1.4")) as reader:
        assert await reader.next(0) == []
        assert str(reader.position.height) == "1"


async def test_pruned_events_are_refused_with_the_first_that_is_left(store: Store) -> None:
    for _ in range(5):
        store.grow()
    store.feed.prune(4)
    with pytest.raises(Pruned) as caught:
        store.feed.subscribe(Position.parse("2"))
    assert caught.value.facts == {"first": "4.0"}
    assert caught.value.code == "EVENTS_PRUNED"
    with pytest.raises(Pruned):
        store.feed.subscribe(Position.parse("0"))
    with store.feed.subscribe(Position.parse("3")) as reader:
        events = await reader.next(0)
        assert events is not None
        assert events[0].position == Position(4, 0)


async def test_pruning_that_overtakes_a_slow_reader_is_told_to_him(store: Store) -> None:
    with store.feed.subscribe(Position(0, END_OF_BLOCK)) as reader:
        for _ in range(RECENT_BLOCKS_MAX + 5):
            store.grow()
        store.feed.prune(4)
        with pytest.raises(Pruned):
            await reader.next(0)


async def test_a_jump_over_blocks_is_no_silent_gap(store: Store) -> None:
    """After a snapshot the blocks in between are not here (rule L20)."""
    store.grow()
    with store.feed.subscribe(Position(1, END_OF_BLOCK)) as reader:
        store.feed.jumped(50, 50)
        with pytest.raises(Pruned):
            await reader.next(0)


async def test_closing_ends_readers_after_what_is_there(store: Store) -> None:
    store.grow()
    with store.feed.subscribe(Position(0, END_OF_BLOCK)) as reader:
        waiting = asyncio.create_task(reader.next(60))
        store.feed.close()
        events = await waiting
        assert events
        assert await reader.next(60) is None
    assert store.feed.subscribers == 0


def test_subscribers_and_the_lag_of_the_slowest_are_counted(store: Store) -> None:
    assert store.feed.lag_blocks() == 0
    with store.feed.subscribe(None), store.feed.subscribe(None):
        store.grow()
        store.grow()
        assert (store.feed.subscribers, store.feed.lag_blocks()) == (2, 2)


@pytest.mark.parametrize(
    "text", ["", ".", "1.", ".1", "x", "1.x", "-1.0", "1.0.0", "1e3", "²", "9" * 40]
)
def test_a_malformed_position_is_refused(text: str) -> None:
    with pytest.raises(SalusError) as caught:
        Position.parse(text)
    assert caught.value.code == "BAD_POSITION"


def test_a_position_ahead_of_the_chain_is_refused(store: Store) -> None:
    with pytest.raises(SalusError):
        store.feed.subscribe(Position.parse("1.0"))


def test_a_gap_in_publishing_is_our_own_mistake(store: Store) -> None:
    store.chain.add()
    store.chain.add()
    with pytest.raises(AssertionError):
        store.feed.publish(store.chain.headers[2], ())
