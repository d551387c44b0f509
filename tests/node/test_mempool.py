"""Admission, bounds, order of arrival, flight, fairness (rules S15, L17, L22)."""

from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from node import mempool as module
from node.later import LATER_SHARE
from node.mempool import BLOCK_ITEM_BYTES, Mempool
from node.quotas import STRANGERS_SHARE
from salus.block import Proposal, check_proposal
from salus.codec import encode
from salus.errors import BadMessage, SalusError
from salus.keys import verify
from salus.parameters import Parameters
from salus.transaction import Operation, ParsedTransaction
from tests import factories

GENESIS = factories.genesis(4)
LIMITS = Parameters(pool_transactions_max=100)
BLOCK_MAX = 1_000, 2**20


def known(sender: bytes) -> str | None:
    for name in ("hosp-a", "hosp-b"):
        if sender == factories.key(f"operator {name}").public_key:
            return name
    return None


def pool(
    limits: Parameters = LIMITS,
    *,
    is_executed: Callable[[ParsedTransaction], bool] = lambda tx: False,
    admit: Callable[[ParsedTransaction], None] = lambda tx: None,
    bytes_max: int = module.BYTES_MAX,
    per_sender_max: int = 50,
) -> Mempool:
    return Mempool(
        GENESIS.chain_id,
        GENESIS.hash(),
        limits,
        is_executed=is_executed,
        organisation=known,
        admit=admit,
        bytes_max=bytes_max,
        per_sender_max=per_sender_max,
    )


def tx(
    number: int | None = None, *, by: str = "operator hosp-a", size: int = 10, **how: int
) -> ParsedTransaction:
    return factories.transaction(
        GENESIS,
        Operation("records", "anchor", 1, bytes(size)),
        signer=factories.key(by),
        number=number,
        **how,  # type: ignore[arg-type]
    )


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(SalusError) as caught:
        call()
    return caught.value.code


# ── admission ────────────────────────────────────────────────────────────────


def test_a_transaction_is_checked_added_and_found_by_all_its_bytes() -> None:
    mine, one = pool(), tx()
    assert mine.get(one.raw) is None
    assert mine.parse_check(one.raw) == one
    assert mine.add(one)
    assert mine.get(one.raw) is one
    assert mine.find(one.id) is one
    assert (mine.pending, mine.proposable, mine.bytes) == (1, 1, len(one.raw))


def test_sending_something_twice_is_no_error() -> None:
    mine, one = pool(), tx()
    mine.add(one)
    assert mine.parse_check(one.raw) is one
    assert not mine.add(one)
    assert mine.pending == 1


def test_the_same_content_under_another_signature_is_not_what_was_verified() -> None:
    """Exact bytes only: a forged signature must not pass as verified (rule S15)."""
    mine, one = pool(), tx()
    mine.add(one)
    forged = encode(msgspec.structs.replace(one.body, signature=b"\1" * 64))
    assert mine.get(forged) is None
    parsed = mine.parse_check(forged)
    assert parsed.id != one.id
    assert not parsed.signature_valid()
    raw = factories.proposal(1, parsed)
    assert refusal(lambda: _check(raw, 1, mine)) == "BAD_SIGNATURE"
    assert mine.get(forged) is None


def _check(raw: bytes, sequence: int, mine: Mempool) -> None:
    check_proposal(raw, sequence, GENESIS.chain_id, GENESIS.hash(), LIMITS, mine)


@pytest.mark.parametrize(
    ("first", "expiry", "height", "code"),
    [
        (0, 5, 5, "EXPIRED"),
        (0, 5, 4, None),
        (0, 8_192 + 64, 0, None),
        (0, 8_192 + 65, 0, "EXPIRY_RANGE"),
        (64, 100, 0, None),
        (65, 100, 0, "NOT_YET_VALID"),
    ],
)
def test_heights_decide_admission(first: int, expiry: int, height: int, code: str | None) -> None:
    """With a window of slack: a node may be a little behind its clients."""
    mine = pool()
    mine.expire(height)
    one = tx(first_height=first, expiry_height=expiry)
    if code is None:
        assert mine.add(mine.parse_check(one.raw))
    else:
        assert refusal(lambda: mine.parse_check(one.raw)) == code
        assert refusal(lambda: mine.add(one)) == code


@pytest.mark.parametrize("raw", [b"", b"\xc1", b"\x90", bytes(100_000)])
def test_garbage_is_refused(raw: bytes) -> None:
    assert refusal(lambda: pool().parse_check(raw)) in ("NOT_CANONICAL", "TOO_LARGE")


def test_another_chains_transaction_is_refused() -> None:
    other = msgspec.structs.replace(GENESIS, chain_id="other-chain")
    one = factories.transaction(other)
    assert refusal(lambda: pool().parse_check(one.raw)) == "WRONG_CHAIN"


def test_what_was_executed_is_refused() -> None:
    one = tx()
    mine = pool(is_executed=lambda asked: asked.id == one.id)
    assert refusal(lambda: mine.parse_check(one.raw)) == "DUPLICATE"
    assert refusal(lambda: mine.add(one)) == "DUPLICATE"


def test_only_local_transactions_are_held_against_the_contracts() -> None:
    """What others let in gets a receipt; refusing it here would punish the messenger."""

    def refuse(asked: ParsedTransaction) -> None:
        raise BadMessage("no such contract", code="UNKNOWN_CONTRACT")

    mine, one = pool(admit=refuse), tx()
    assert refusal(lambda: mine.parse_check(one.raw, local=True)) == "UNKNOWN_CONTRACT"
    assert mine.parse_check(one.raw) == one


def test_of_what_is_turned_away_it_is_asked_only_whether_it_may_come_again() -> None:
    def refuse(asked: ParsedTransaction) -> None:
        raise BadMessage("no such contract", code="UNKNOWN_CONTRACT")

    ran, one, late = tx(), tx(), tx(expiry_height=5)
    mine = pool(admit=refuse, is_executed=lambda asked: asked.id == ran.id)
    mine.expire(5)
    assert mine.parse_check(one.raw, local=True, full=True) == one
    for raw, code in ((ran.raw, "DUPLICATE"), (late.raw, "EXPIRED"), (b"junk", "NOT_CANONICAL")):
        assert refusal(partial(mine.parse_check, raw, local=True, full=True)) == code


# ── bounds ───────────────────────────────────────────────────────────────────


def test_the_pool_is_bounded_by_number() -> None:
    mine = pool(Parameters(pool_transactions_max=3))
    for _ in range(3):
        mine.add(tx())
    one = tx()
    assert refusal(lambda: mine.parse_check(one.raw)) == "POOL_FULL"
    assert refusal(lambda: mine.add(one)) == "POOL_FULL"
    mine.executed(mine.ids(1), 1)
    assert mine.add(one)


def test_the_pool_is_bounded_by_bytes() -> None:
    one, two = tx(), tx()
    mine = pool(bytes_max=len(one.raw) + len(two.raw) - 1)
    mine.add(one)
    assert refusal(lambda: mine.add(two)) == "POOL_FULL"


def test_one_organisation_cannot_fill_the_pool() -> None:
    mine = pool(per_sender_max=5)
    for _ in range(5):
        mine.add(tx())
    assert refusal(lambda: mine.add(tx())) == "SENDER_QUOTA"
    assert mine.add(tx(by="operator hosp-b"))
    assert mine.organisations == 2
    mine.executed(mine.ids(5), 1)
    assert mine.add(tx())


def filled_with_later(mine: Mempool, **how: int | str) -> str:
    """Transactions of a later height until they are refused; the code."""
    for number in range(200):
        try:
            mine.add(tx(number, first_height=10, **how))  # type: ignore[arg-type]
        except SalusError as error:
            return error.code
    raise AssertionError("they are bounded by nothing")


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"per_sender_max": 1_000}, "POOL_FULL"),
        ({"per_sender_max": 1_000, "bytes_max": 5_000}, "POOL_FULL"),
        ({"per_sender_max": 50}, "SENDER_QUOTA"),
    ],
)
@pytest.mark.parametrize("by", ["operator hosp-a", "nobody"])
def test_what_is_valid_later_cannot_keep_out_what_is_valid_now(
    by: str, limits: dict[str, int], code: str
) -> None:
    """Rule B25: an idle chain makes no block, so what waits for one would fill the pool for ever;
    and a primary that was filled so would refuse what the others hold, and lose its place (L17)."""
    mine = pool(**limits)  # type: ignore[arg-type]
    found = filled_with_later(mine, by=by)
    assert found == (code if by != "nobody" or "bytes_max" in limits else "SENDER_QUOTA")
    assert mine.add(tx(by="operator hosp-b"))
    assert mine.add(tx(by=by)), "also of the one who sent them all"
    assert mine.proposable == 2


def test_what_has_become_valid_leaves_its_room_to_what_has_not() -> None:
    mine = pool(per_sender_max=40)
    filled_with_later(mine)
    mine.expire(9)
    assert mine.proposable == mine.pending == 40 // LATER_SHARE
    assert mine.add(tx(first_height=20))


def test_keys_of_nobody_share_a_small_part() -> None:
    """Keys cost nothing: a thousand of them are one stranger."""
    mine = pool(per_sender_max=2 * STRANGERS_SHARE)
    for n in range(2):
        mine.add(tx(by=f"stranger {n}"))
    assert refusal(lambda: mine.add(tx(by="stranger 3"))) == "SENDER_QUOTA"
    assert mine.add(tx())


def test_whoever_fills_its_quota_at_the_primary_waits_behind_itself() -> None:
    """L22: the primary refuses what comes on top, and another node, which has it, would blame the
    primary: anybody could have honest ones replaced, one after the other."""
    mine = pool(per_sender_max=8)
    waiting = tx(by="operator hosp-b")
    mine.add(waiting)
    number = mine.oldest_owed
    assert number is not None
    elsewhere = [tx(by="operator hosp-b") for _ in range(4)]  # the primary had them before
    mine.remember(elsewhere)
    for height, one in enumerate(elsewhere[:3], 1):
        mine.executed([one.id], height)
    assert mine.oldest_owed == number, "not enough to have filled a part of the quota"
    mine.executed([elsewhere[3].id], 4)
    assert mine.oldest_owed is None
    other = tx(by="operator hosp-c")
    mine.add(other)
    assert mine.oldest_owed == number + 1, "and nobody else hides behind that"
    mine.begin_view()
    assert mine.oldest_owed == number, "the next primary has to show it by itself"


def test_what_came_before_it_is_no_excuse_for_leaving_one_out() -> None:
    """L22: a hospital with a queue waits for its queue, and then it is its turn."""
    mine = pool(per_sender_max=8)
    queue = [tx() for _ in range(6)]
    for one in queue:
        mine.add(one)
    mine.executed([one.id for one in queue[:5]], 1)
    assert mine.oldest_owed == 6


def test_the_memory_of_verified_bytes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.verified.EXTRAS_MAX", 3)
    mine, made = pool(), [tx() for _ in range(5)]
    mine.remember(made)
    assert [mine.get(one.raw) is not None for one in made] == [False, False, True, True, True]
    monkeypatch.setattr("node.verified.EXTRAS_BYTES_MAX", len(made[0].raw))
    mine.remember([tx()])
    assert len(mine._verified._by_bytes) == 1


# ── verified once ────────────────────────────────────────────────────────────


def test_what_a_proposal_brought_is_verified_once() -> None:
    calls = []

    def counting(public_key: bytes, payload: bytes, signature: bytes) -> bool:
        calls.append(payload)
        return verify(public_key, payload, signature)

    mine = pool()
    mine.verifier = counting
    one, two = tx(), tx()
    mine.add(one)
    raw = factories.proposal(1, one, two)
    _check(raw, 1, mine)
    assert len(calls) == 1
    _check(raw, 1, mine)
    assert mine.parse_check(two.raw).id == two.id
    assert mine.get(two.raw) is not None
    assert len(calls) == 1
    mine.executed([one.id, two.id], 1)
    assert mine.get(two.raw) is None


# ── order, flight, release ───────────────────────────────────────────────────


def taken(mine: Mempool, sequence: int, count: int = 1_000, size: int = 2**20) -> list[bytes]:
    return [one.id for one in mine.take(sequence, count, size)]


def test_transactions_are_taken_in_the_order_they_came() -> None:
    mine, made = pool(), [tx() for _ in range(5)]
    for one in made:
        mine.add(one)
    assert taken(mine, 1, count=2) == [one.id for one in made[:2]]
    assert taken(mine, 2, count=2) == [one.id for one in made[2:4]]
    assert (mine.proposable, mine.pending, mine.in_flight) == (1, 5, 4)


def test_a_block_is_filled_up_to_its_bytes_and_fits_them() -> None:
    mine = pool()
    for size in (10, 200, 3_000):
        for _ in range(5):
            mine.add(tx(size=size))
    limit = 5_000
    chosen = mine.take(1, 1_000, limit)
    assert sum(len(one.raw) + BLOCK_ITEM_BYTES for one in chosen) <= limit
    assert len(factories.proposal(1, *chosen)) <= limit + 64
    assert len(chosen) == 10


def test_what_anothers_proposal_holds_is_not_proposed_again() -> None:
    mine, one, two = pool(), tx(), tx()
    mine.add(one)
    mine.ordered([one.id, two.id], 7)
    mine.add(two)  # it comes by gossip after the proposal
    assert mine.proposable == 0
    assert mine.missing([one.id, two.id]) == []
    assert mine.is_ordered(two.id)
    mine.release(7)
    assert mine.proposable == 2


def test_released_transactions_wait_at_their_old_places() -> None:
    mine, made = pool(), [tx() for _ in range(6)]
    for one in made:
        mine.add(one)
    taken(mine, 1, count=2)
    taken(mine, 2, count=2)
    mine.release(1)
    assert taken(mine, 3) == [made[n].id for n in (0, 1, 4, 5)]


def test_another_proposal_for_the_sequence_frees_what_the_first_held() -> None:
    """A new view chose otherwise (S9)."""
    mine, made = pool(), [tx() for _ in range(3)]
    for one in made:
        mine.add(one)
    mine.ordered([made[0].id, made[1].id], 1)
    mine.ordered([made[1].id], 1)
    assert taken(mine, 2) == [made[0].id, made[2].id]


def test_a_sequence_that_passed_frees_what_it_did_not_execute() -> None:
    mine, one = pool(), tx()
    mine.add(one)
    taken(mine, 3)
    mine.executed([], 2)
    assert mine.proposable == 0
    mine.executed([], 3)  # a null proposal was chosen
    assert mine.proposable == 1


def test_executed_transactions_are_gone_everywhere() -> None:
    mine, made = pool(), [tx() for _ in range(4)]
    for one in made:
        mine.add(one, local=True)
    taken(mine, 1, count=2)
    assert mine.executed([one.id for one in made], 1) == []
    empty = (mine._pool, mine._waiting, mine._flying, mine._sequences, mine._expiries)
    assert [len(part) for part in empty] == [0] * 5
    kept = mine._verified
    rest = (mine.quotas, mine._forwarded, kept._by_bytes, kept._extras, mine._later)
    assert [len(part) for part in rest] == [0] * 5
    assert mine.bytes == 0


# ── heights ──────────────────────────────────────────────────────────────────


def test_expired_transactions_are_dropped_and_named() -> None:
    mine = pool()
    one, two = tx(expiry_height=5), tx(expiry_height=6)
    mine.add(one)
    mine.add(two)
    assert mine.expire(4) == []
    assert mine.executed([], 5) == [one.id]
    assert mine.expire(5) == []
    assert mine.expire(100) == [two.id]
    assert mine.pending == 0


def test_what_is_valid_later_waits_until_then() -> None:
    mine = pool()
    later, now = tx(first_height=10), tx()
    far = tx(expiry_height=8_192 + 10)
    for one in (later, far, now):
        mine.add(one)
    assert mine.proposable == 1
    assert taken(mine, 1) == [now.id]
    mine.executed([now.id], 1)
    mine.expire(8)
    assert mine.proposable == 0
    mine.expire(9)
    assert set(taken(mine, 10)) == {later.id, far.id}


def test_what_is_owed_for_later_is_counted_until_it_is_due_or_gone() -> None:
    mine = pool()
    due, gone, far, strange = (tx(first_height=first) for first in (10, 10, 20, 20))
    for one in (due, gone, far):
        mine.add(one, local=True)
    mine.add(strange)
    assert (mine.taken, mine.taken_for_later) == (3, 3)
    mine.add(due, local=True)
    assert mine.taken_for_later == 3, "asked for twice, it is one"
    mine.add(strange, local=True)
    assert (mine.taken, mine.taken_for_later) == (4, 4)
    mine.executed([gone.id], 1)
    assert (mine.taken, mine.taken_for_later) == (3, 3)
    mine.expire(9)
    assert (mine.taken, mine.taken_for_later) == (3, 2)
    mine.expire(100)
    assert (mine.taken, mine.taken_for_later) == (0, 0)


def test_what_expires_before_the_sequence_is_not_put_into_it() -> None:
    """A proposal that held it would be invalid (S15)."""
    mine = pool()
    short, long = tx(expiry_height=2), tx(expiry_height=90)
    mine.add(short)
    mine.add(long)
    assert taken(mine, 3) == [long.id]
    assert mine.proposable == 0
    mine.release(3)
    assert taken(mine, 2) == [short.id, long.id]


def test_taken_transactions_always_make_a_valid_proposal() -> None:
    mine = pool()
    for expiry in (2, 3, 50, 8_192, 8_195, 8_200):
        for first in (0, 1, 2, 40):
            if first <= expiry:
                mine.add(tx(first_height=first, expiry_height=expiry))
    for sequence in range(1, 12):
        chosen = mine.take(sequence, *BLOCK_MAX)
        _check(factories.proposal(sequence, *chosen), sequence, mine)
        mine.executed([one.id for one in chosen], sequence)


def test_a_new_epochs_smaller_limits_drop_what_no_block_may_hold() -> None:
    mine = pool()
    small, large = tx(size=10), tx(size=2_000)
    mine.add(small)
    mine.add(large)
    mine.begin_epoch(Parameters(transaction_bytes_max=512, pool_transactions_max=100))
    assert mine.ids(10) == [small.id]


def test_a_narrower_expiry_window_never_makes_a_primary_refuse_its_own_proposal() -> None:
    """What may stand in a block only later waits for that; what admission would refuse leaves."""
    mine = pool()
    near, later, far = tx(expiry_height=64), tx(expiry_height=70), tx(expiry_height=5_000)
    for one in (far, later, near):
        mine.add(one, local=True)
    narrow = Parameters(expiry_window_blocks=64, pool_transactions_max=100)
    mine.begin_epoch(narrow)
    assert (mine.pending, mine.proposable, mine.owed) == (2, 1, 1)
    for height in range(7):
        chosen = mine.take(height + 1, *BLOCK_MAX)
        body = Proposal(1, height + 1, 0, 0, 1, tuple(one.raw for one in chosen))
        check_proposal(encode(body), height + 1, GENESIS.chain_id, GENESIS.hash(), narrow, mine)
        mine.executed([one.id for one in chosen], height + 1)
        assert mine.pending == (1 if height < 5 else 0)


def test_a_narrower_expiry_window_does_not_fill_the_pool_with_what_is_valid_later() -> None:
    """B25: else nothing that is valid would find room to move an idle chain."""
    mine = pool(Parameters(pool_transactions_max=10))
    for number in range(10):
        mine.add(tx(number, expiry_height=70))
    mine.begin_epoch(Parameters(expiry_window_blocks=64, pool_transactions_max=10))
    assert (mine.pending, mine.proposable, mine.owed) == (5, 0, 0)
    assert mine.add(tx(expiry_height=20))


def test_a_wider_expiry_window_lets_in_at_once_what_it_allows() -> None:
    mine = pool(Parameters(expiry_window_blocks=64, pool_transactions_max=100))
    one = tx(expiry_height=100)
    mine.add(one)
    assert mine.proposable == 0
    mine.begin_epoch(LIMITS)
    assert mine.take(1, *BLOCK_MAX) == [one]


# ── fairness (L17, L22) ──────────────────────────────────────────────────────


def order_others(mine: Mempool, count: int, height: int) -> int:
    """Blocks of strangers' transactions that reached this node with their proposal."""
    for n in range(count):
        height += 1
        mine.executed([factories.seed(f"other {height} {n}")], height)
    return height


def fair_pool() -> Mempool:
    return pool(Parameters(pool_transactions_max=20))


def test_a_primary_that_passes_one_over_is_complained_about() -> None:
    mine, one = fair_pool(), tx(expiry_height=5_000)
    mine.add(one, local=True)
    height = order_others(mine, 20, 0)
    assert not mine.fairness()
    height = order_others(mine, 1, height)
    assert mine.fairness()
    mine.begin_view()
    assert not mine.fairness()
    order_others(mine, 21, height)
    assert mine.fairness()


def test_what_came_earlier_is_no_wrong() -> None:
    """A healthy saturated network complains about nobody: a full pool ahead of mine is fair."""
    mine = fair_pool()
    earlier = [tx(expiry_height=5_000) for _ in range(15)]
    for one in earlier:
        mine.add(one)
    mine.add(tx(expiry_height=5_000), local=True)
    height = 0
    for one in earlier:
        height += 1
        mine.executed([one.id], height)
    order_others(mine, 20, height)
    assert not mine.fairness()


def test_only_what_this_node_owes_to_a_client_is_watched() -> None:
    mine = fair_pool()
    mine.add(tx(expiry_height=5_000))
    order_others(mine, 50, 0)
    assert not mine.fairness()


def test_a_transaction_in_flight_is_not_passed_over() -> None:
    mine, one = fair_pool(), tx(expiry_height=5_000)
    mine.add(one, local=True)
    mine.ordered([one.id], 1_000)
    order_others(mine, 50, 0)
    assert not mine.fairness()


def test_a_new_view_is_owed_what_we_forwarded() -> None:
    mine, one, two, other = fair_pool(), tx(), tx(), tx()
    for each in (one, two):
        mine.add(each, local=True)
    mine.add(other)
    mine.ordered([two.id], 1)
    assert mine.begin_view() == [one]


def test_a_client_that_asks_for_a_known_one_starts_the_watch() -> None:
    mine, one = fair_pool(), tx(expiry_height=5_000)
    mine.add(one)
    height = order_others(mine, 50, 0)
    mine.add(one, local=True)
    assert not mine.fairness()
    order_others(mine, 22, height)
    assert mine.fairness()


# ── against a plain model ────────────────────────────────────────────────────


class PoolModel(RuleBasedStateMachine):
    """Whatever happens: nothing is lost, nothing is given out twice, sums are right."""

    def __init__(self) -> None:
        super().__init__()
        self.mine = pool(Parameters(pool_transactions_max=12), per_sender_max=8)
        self.height = 0
        self.sequence = 0
        self.flying: dict[int, list[bytes]] = {}
        self.here: dict[bytes, ParsedTransaction] = {}
        self.number = 0

    @rule(life=st.integers(1, 20), local=st.booleans(), who=st.sampled_from(["a", "b", "x"]))
    def add(self, life: int, local: bool, who: str) -> None:
        self.number += 1
        one = tx(self.number, by=f"operator hosp-{who}", expiry_height=self.height + life)
        room = len(self.here) < 12 and (
            sum(other.body.sender == one.body.sender for other in self.here.values()) < 8
        )
        if who == "x":
            room = room and not any(
                other.body.sender == one.body.sender for other in self.here.values()
            )
        if room:
            assert self.mine.add(one, local=local)
            self.here[one.id] = one
        else:
            assert refusal(lambda: self.mine.add(one)) in ("POOL_FULL", "SENDER_QUOTA")

    @rule(count=st.integers(0, 4))
    def take(self, count: int) -> None:
        self.sequence = max(self.sequence, self.height) + 1
        chosen = taken(self.mine, self.sequence, count)
        busy = [tx_id for ids in self.flying.values() for tx_id in ids]
        assert not set(chosen) & set(busy)
        assert all(tx_id in self.here for tx_id in chosen)
        self.flying[self.sequence] = chosen

    @precondition(lambda self: self.flying)
    @rule(last=st.booleans())
    def release(self, last: bool) -> None:
        sequence = (max if last else min)(self.flying)
        self.mine.release(sequence)
        del self.flying[sequence]

    @rule(holds=st.booleans())
    def execute(self, holds: bool) -> None:
        self.height += 1
        ids = self.flying.pop(self.height, []) if holds else []
        self.flying.pop(self.height, None)
        gone = self.mine.executed(ids, self.height)
        for tx_id in [*ids, *gone]:
            self.here.pop(tx_id, None)

    @invariant()
    def sums(self) -> None:
        mine = self.mine
        assert set(mine._pool) == set(self.here)
        assert mine.bytes == sum(len(one.raw) for one in self.here.values())
        assert sum(mine.quotas._held.values()) == mine.pending <= 12
        assert len(mine._waiting) + len(mine._later) + mine.in_flight == mine.pending
        assert not any(tx_id in mine._later for tx_id in mine._owed)
        later = mine._later.entries
        assert mine._later.bytes == sum(len(self.here[tx_id].raw) for tx_id in later)
        assert mine._later._groups.total() == len(later)
        assert mine._waiting.keys() <= mine._owed.keys() <= mine._pool.keys()
        assert set(mine._verified._by_bytes) == {one.raw for one in self.here.values()}
        assert all(one.body.expiry_height > self.height for one in self.here.values())
        order = [entry.arrival for entry in mine._waiting.values()]
        assert order == sorted(order)


PoolModel.TestCase.settings = settings(deadline=None, max_examples=40, stateful_step_count=30)
TestPoolModel = PoolModel.TestCase
