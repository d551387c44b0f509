"""Batches, versions and their end (health.md §4.5)."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.records import AnchorArgs, RetractArgs, SupersedeArgs
from salus import merkle
from salus.genesis import NO_PEPPER, Genesis, Member, Role
from salus.record import Anchor, Spent, anchor_key, record_leaf, spent_key, tag_hash
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import Lab, h, parameters


class Batch:
    """Versions by name, padded to a power of two."""

    def __init__(self, *names: str, size: int | None = None) -> None:
        self.names = list(names)
        self.size = size or 1 << (len(names) - 1).bit_length()
        self.names += [f"padding {n}" for n in range(self.size - len(names))]
        self.leaves = [record_leaf(h(f"version {n}"), tag_hash(h(f"tag {n}"))) for n in self.names]
        self.root = merkle.root(self.leaves)

    def anchor(self, chain: Lab, **changes: object) -> Operation:
        fields = {"root": self.root, "leaves": self.size, "author": h("a"), "context": h("c")}
        return chain.op("records", "anchor", AnchorArgs(**(fields | changes)))  # type: ignore[arg-type]

    def _version(self, name: str) -> dict[str, Any]:
        index = self.names.index(name)
        return {
            "root": self.root,
            "leaves": self.size,
            "index": index,
            "version_commitment": h(f"version {name}"),
            "tag": h(f"tag {name}"),
            "path": tuple(merkle.inclusion_proof(self.leaves, index)),
        }

    def supersede(self, chain: Lab, name: str, by: "Batch", **changes: object) -> Operation:
        fields = self._version(name) | {"successor_root": by.root} | changes
        return chain.op("records", "supersede", SupersedeArgs(**fields))

    def retract(self, chain: Lab, name: str, **changes: object) -> Operation:
        fields = self._version(name) | {"reason": h("reason")} | changes
        return chain.op("records", "retract", RetractArgs(**fields))

    def standing(self, chain: Lab, name: str, org: str = "hosp-a") -> dict[str, Any]:
        hash_of_tag = tag_hash(h(f"tag {name}"))
        args = {"org": org, "root": self.root.hex(), "tag_hash": hash_of_tag.hex()}
        answer: dict[str, Any] = chain.executor.active.query(
            chain.executor.read, "records", "version", args
        )
        return answer


ONE, TWO, THREE = Batch("one"), Batch("two", "other"), Batch("x", "y", "z")


def test_an_organisation_anchors_a_batch_once() -> None:
    chain = Lab()
    assert chain.codes(ONE.anchor(chain)) == ["OK"]
    assert chain.value(anchor_key("hosp-a", ONE.root), Anchor) == Anchor("hosp-a", 1, 1)
    (receipt,) = chain.run(ONE.anchor(chain, author=h("b")))
    assert (receipt.code, receipt.facts) == ("DUPLICATE_ROOT", {"height": 1})
    assert chain.value(anchor_key("hosp-a", ONE.root), Anchor) == Anchor("hosp-a", 1, 1)


def test_a_root_seen_in_a_pending_transaction_gains_another_nothing() -> None:
    """Whoever anchors it first, even with a false size, can neither block nor end the author's
    version, and his own entry tells only of himself."""
    chain = Lab()
    thief = "operator hosp-b"
    assert chain.codes(THREE.anchor(chain, leaves=1), by=thief) == ["OK"]
    assert chain.codes(THREE.anchor(chain)) == ["OK"]
    assert chain.value(anchor_key("hosp-a", THREE.root), Anchor) == Anchor("hosp-a", 2, 4)
    assert chain.value(anchor_key("hosp-b", THREE.root), Anchor) == Anchor("hosp-b", 1, 1)
    assert chain.codes(THREE.retract(chain, "y"), by=thief) == ["BAD_PROOF"]
    assert THREE.standing(chain, "y")["standing"] == "current"
    assert chain.codes(THREE.retract(chain, "y")) == ["OK"]
    assert THREE.standing(chain, "y")["standing"] == "retracted"


def test_a_copied_batch_and_tag_end_the_copy_alone() -> None:
    """Even with root, path and tag of the author's pending retraction (health.md §4.5)."""
    chain = Lab()
    chain.run(THREE.anchor(chain))
    copied = (THREE.anchor(chain), THREE.retract(chain, "y"))
    assert chain.codes(*copied, by="operator hosp-b") == ["OK", "OK"]
    assert THREE.standing(chain, "y", "hosp-b")["standing"] == "retracted"
    answer = THREE.standing(chain, "y")
    assert (answer["standing"], answer["org"]) == ("current", "hosp-a")
    assert chain.codes(TWO.anchor(chain), THREE.supersede(chain, "y", TWO)) == ["OK", "OK"]
    assert THREE.standing(chain, "y")["standing"] == "superseded"
    assert THREE.standing(chain, "y", "hosp-b")["standing"] == "retracted"


@pytest.mark.parametrize(
    ("leaves", "code"),
    [(1, "OK"), (2, "OK"), (4096, "OK"), (3, "BAD_BATCH"), (4095, "BAD_BATCH")],
)
def test_a_batch_is_a_power_of_two(leaves: int, code: str) -> None:
    chain = Lab()
    assert chain.codes(ONE.anchor(chain, leaves=leaves)) == [code]


@pytest.mark.parametrize("leaves", [0, 8192])
def test_a_batch_has_at_least_one_and_at_most_4096_leaves(leaves: int) -> None:
    chain = Lab()
    assert chain.codes(ONE.anchor(chain, leaves=leaves)) == ["BAD_ARGUMENTS"]


@pytest.mark.parametrize("by", ["node hosp-a", "somebody"])
def test_only_operators_anchor(by: str) -> None:
    chain = Lab()
    assert chain.codes(ONE.anchor(chain), by=by) == ["NOT_AUTHORISED"]


@pytest.mark.parametrize(
    ("role", "code"), [(Role.LABORATORY, "OK"), (Role.INSURER, "NOT_AUTHORISED")]
)
def test_only_hospitals_and_laboratories_anchor(role: Role, code: str) -> None:
    plain = factories.member("hosp-a")
    one = Member(
        plain.id, plain.name, (role,), True, plain.node_key, plain.operator_key, plain.box_key
    )
    genesis = Genesis(1, factories.CHAIN_ID, factories.TIME_MS, (one,), parameters(), NO_PEPPER)
    chain = Lab(genesis)
    assert chain.codes(ONE.anchor(chain)) == [code]


def test_a_version_is_superseded_by_one_in_a_later_batch() -> None:
    chain = Lab()
    chain.run(ONE.anchor(chain))
    assert ONE.standing(chain, "one")["standing"] == "current"
    executed = chain.block(chain.tx(TWO.anchor(chain), ONE.supersede(chain, "one", TWO)))
    assert [r.code for r in executed.receipts] == ["OK", "OK"]
    key = spent_key("hosp-a", tag_hash(h("tag one")))
    assert chain.value(key, Spent) == Spent(2, TWO.root, executed.tx_ids[0])
    answer = ONE.standing(chain, "one")
    assert (answer["standing"], answer["ended_height"]) == ("superseded", 2)
    assert answer["successor_root"] == TWO.root.hex()
    assert TWO.standing(chain, "two")["standing"] == "current"


def test_a_version_is_retracted_without_a_successor() -> None:
    chain = Lab()
    chain.run(THREE.anchor(chain))
    assert chain.codes(THREE.retract(chain, "y")) == ["OK"]
    assert THREE.standing(chain, "y")["standing"] == "retracted"
    assert THREE.standing(chain, "z")["standing"] == "current"


def test_a_spent_tag_names_the_transaction_that_spent_it() -> None:
    chain = Lab()
    chain.run(ONE.anchor(chain), TWO.anchor(chain))
    (tx_id,) = chain.block(chain.tx(ONE.retract(chain, "one"))).tx_ids
    for again in (ONE.retract(chain, "one"), ONE.supersede(chain, "one", TWO)):
        (receipt,) = chain.run(again)
        assert receipt.code == "TAG_SPENT"
        assert receipt.facts == {"height": 2, "tx_id": tx_id.hex()}


WRONG: list[tuple[dict[str, object], str]] = [
    ({"root": h("nothing")}, "UNKNOWN_ANCHOR"),
    ({"leaves": 2}, "BAD_PROOF"),
    ({"leaves": 8}, "BAD_PROOF"),
    ({"index": 0}, "BAD_PROOF"),
    ({"index": 4}, "BAD_PROOF"),
    ({"index": 4095}, "BAD_PROOF"),
    ({"version_commitment": h("version x")}, "BAD_PROOF"),
    ({"tag": h("tag x")}, "BAD_PROOF"),
    ({"path": ()}, "BAD_PROOF"),
    ({"path": (h("1"), h("2"))}, "BAD_PROOF"),
    ({"path": (h("1"),) * 12}, "BAD_PROOF"),
    ({"path": (h("1"),) * 13}, "BAD_ARGUMENTS"),
    ({"path": (b"short",)}, "BAD_ARGUMENTS"),
]


@pytest.mark.parametrize(("changes", "code"), WRONG)
def test_only_a_version_that_stands_in_the_batch_can_end(
    changes: dict[str, object], code: str
) -> None:
    chain = Lab()
    chain.run(THREE.anchor(chain), TWO.anchor(chain))
    before = chain.dump()
    assert chain.codes(THREE.retract(chain, "y", **changes)) == [code]
    assert chain.codes(THREE.supersede(chain, "y", TWO, **changes)) == [code]
    assert chain.dump() == before


def test_another_organisations_version_cannot_be_ended() -> None:
    chain = Lab()
    chain.run(ONE.anchor(chain))
    chain.run(TWO.anchor(chain), by="operator hosp-b")
    assert chain.codes(ONE.retract(chain, "one"), by="operator hosp-b") == ["UNKNOWN_ANCHOR"]
    assert chain.codes(ONE.supersede(chain, "one", TWO)) == ["UNKNOWN_SUCCESSOR"]


def test_a_tag_seen_in_a_pending_transaction_cannot_be_spent_by_another() -> None:
    """Whoever copies the leaf into a batch of his own spends his own tag, not the hospital's."""
    chain = Lab()
    chain.run(ONE.anchor(chain))
    copy = Batch("one", "decoy")
    assert chain.codes(copy.anchor(chain), copy.retract(chain, "one"), by="operator hosp-b") == [
        "OK",
        "OK",
    ]
    assert ONE.standing(chain, "one")["standing"] == "current"
    assert chain.codes(ONE.retract(chain, "one")) == ["OK"]


def test_one_organisation_spends_a_tag_once_whatever_the_batch() -> None:
    chain = Lab()
    copy = Batch("one", "decoy")
    chain.run(ONE.anchor(chain), copy.anchor(chain))
    assert chain.codes(copy.retract(chain, "one")) == ["OK"]
    assert ONE.standing(chain, "one")["standing"] == "retracted"
    assert chain.codes(ONE.retract(chain, "one")) == ["TAG_SPENT"]


def test_the_successor_is_anchored_before_and_is_another_batch() -> None:
    chain = Lab()
    chain.run(ONE.anchor(chain))
    assert chain.codes(ONE.supersede(chain, "one", TWO), TWO.anchor(chain)) == [
        "UNKNOWN_SUCCESSOR",
        "ROLLED_BACK",
    ]
    assert chain.codes(ONE.supersede(chain, "one", ONE)) == ["SAME_SUCCESSOR"]


def test_queries_of_what_is_not_there() -> None:
    chain = Lab()
    assert ONE.standing(chain, "one")["standing"] == "unknown"
    ask = chain.executor.active.query
    asked = {"org": "hosp-a", "root": ONE.root.hex()}
    assert ask(chain.executor.read, "records", "batch", asked) is None
    chain.run(ONE.anchor(chain))
    assert ask(chain.executor.read, "records", "batch", asked) == {
        "org": "hosp-a",
        "height": 1,
        "leaves": 1,
    }
    assert ask(chain.executor.read, "records", "batch", asked | {"org": "hosp-b"}) is None
    assert ask(chain.executor.read, "records", "batch", asked | {"root": "00" * 32}) is None
    assert ONE.standing(chain, "one", "hosp-b")["standing"] == "unknown"


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 7), max_size=12))
def test_standings_follow_a_plain_model(steps: list[int]) -> None:
    """Against a dictionary: whatever the order, each version ends at most once."""
    chain, batch = Lab(), Batch(*(f"v{n}" for n in range(8)))
    chain.run(batch.anchor(chain), TWO.anchor(chain))
    ended: dict[str, int] = {}
    for step in steps:
        name = f"v{step}"
        end = batch.retract(chain, name) if step % 2 else batch.supersede(chain, name, TWO)
        assert chain.codes(end) == ["TAG_SPENT" if name in ended else "OK"]
        ended.setdefault(name, chain.executor.head.height)
    for n in range(8):
        answer = batch.standing(chain, f"v{n}")
        assert answer["ended_height"] == ended.get(f"v{n}")
        kind = "retracted" if n % 2 else "superseded"
        assert answer["standing"] == (kind if f"v{n}" in ended else "current")
