"""Declaration, dispatch by version, who may send, views and queries."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.context import Capacity, Context
from contracts.errors import BadDeclaration
from contracts.framework import ANYONE, FACT_WORD_MAX, Contract, _is_word, publishable
from contracts.members import MEMBERSHIP
from contracts.registry import Registry
from contracts.state import State
from salus.block import Event
from salus.codec import Wire, decode, encode
from salus.errors import BadMessage
from salus.parameters import ContractVersion
from salus.transaction import Operation
from tests import factories
from tests.contracts import planted
from tests.contracts.lab import Lab, parameters


def lab(**changes: object) -> Lab:
    limits = parameters(**({"contracts": planted.ACTIVE} | changes))
    return Lab(factories.genesis(4, parameters=limits), planted.registry)


# ── dispatch ─────────────────────────────────────────────────────────────────

REFUSED = {
    "UNKNOWN_CONTRACT": Operation("nothing", "put", 1, b"\x90"),
    "WRONG_VERSION": Operation("planted", "put", 2, encode(planted.Number(1))),
    "UNKNOWN_METHOD": Operation("planted", "nothing", 1, b"\x90"),
    "BAD_ARGUMENTS": Operation("planted", "put", 1, b"\x90"),
}


@pytest.mark.parametrize("code", REFUSED)
def test_an_operation_nobody_can_run_gets_its_own_code(code: str) -> None:
    assert lab().codes(REFUSED[code]) == [code]


BAD_ARGS = {
    "empty": b"",
    "garbage": b"\xc1",
    "text for a number": encode(("x",)),
    "one field too many": encode((1, 2)),
    "not canonical": b"\x91\xcd\x00\x01",
    "trailing byte": encode(planted.Number(1)) + b"\0",
    "beyond 2^53": encode((2**53,)),
    "negative": encode((-1,)),
    "a map": encode({"n": 1}),
    "deep": b"\x91" * 5_000 + b"\x90",
}


@pytest.mark.parametrize("case", BAD_ARGS, ids=str)
def test_arguments_that_do_not_decode_are_refused_on_the_chain(case: str) -> None:
    assert lab().codes(Operation("planted", "put", 1, BAD_ARGS[case])) == ["BAD_ARGUMENTS"]


@pytest.mark.parametrize("raw", [b"", b"\xc0", encode(("a", "b")), encode(("A", "b", 1, b""))])
def test_an_operation_that_does_not_decode_is_refused_on_the_chain(raw: bytes) -> None:
    chain = lab()
    tx = chain.tx(Operation("planted", "put", 1, b""))
    bad = msgspec.structs.replace(tx.body, operations=(raw,))
    executed = chain.block(type(tx)(tx.raw, bad, tx.id, tx.signed))
    assert [receipt.code for receipt in executed.receipts] == ["BAD_OPERATION"]


def test_wrong_version_names_the_active_one() -> None:
    (receipt,) = lab().run(REFUSED["WRONG_VERSION"])
    assert receipt.facts == {"active": 1}


def test_the_epochs_parameters_choose_the_version() -> None:
    """The same software runs old heights with the old version."""
    contracts = (ContractVersion("members", 1), ContractVersion("planted", 2))
    chain = lab(contracts=contracts)
    chain.run(chain.op("planted", "put_again", n=1))
    key = b"planted/cell/" + (1).to_bytes(8)
    assert chain.value(key, planted.Cell) == planted.Cell(2)
    assert chain.codes(Operation("planted", "put", 1, encode(planted.Number(1)))) == [
        "WRONG_VERSION"
    ]


def test_software_without_a_version_that_the_epoch_needs_says_so() -> None:
    with pytest.raises(BadMessage) as caught:
        planted.registry().activate((ContractVersion("planted", 9),))
    assert caught.value.code == "UNKNOWN_CONTRACT"


# ── who may send ─────────────────────────────────────────────────────────────


def test_senders_and_roles_are_enforced_before_the_method_runs() -> None:
    chain = lab()
    args = planted.EveryKind(True, 1, planted.Colour.RED, "hosp-a", bytes(32), None, (), b"")
    op = chain.op("stranger", "every_kind", args)
    assert chain.codes(op) == ["NOT_AUTHORISED"]  # an operator; staff is asked for
    assert chain.codes(op, by="somebody") == ["NOT_AUTHORISED"]


def test_anyone_may_call_what_is_declared_so() -> None:
    chain = lab()
    assert chain.codes(chain.op("planted", "put", n=1), by="somebody") == ["OK"]


# ── prefixes and views ───────────────────────────────────────────────────────


def test_a_contract_writes_under_its_own_name_only() -> None:
    chain = lab()
    before = chain.dump()
    chain.run(chain.op("planted", "put", n=1))
    new = [key for key in chain.dump() if key not in before]
    assert new == [b"planted/cell/" + (1).to_bytes(8)]


def test_a_declared_view_answers_and_an_undeclared_one_is_a_fault() -> None:
    chain = lab()
    (receipt,) = chain.run(chain.op("planted", "greet"))
    assert receipt.events[0].data == {"what": 1}
    assert chain.codes(chain.op("planted", "ask_stranger")) == ["CONTRACT_FAULT"]


# ── declarations ─────────────────────────────────────────────────────────────


class Nothing(Wire, frozen=True):
    """No arguments."""


def _contract(**changes: object) -> Contract:
    return Contract(**({"name": "toy", "version": 1, "doc": "A toy.", "refusals": {}} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["Toy", "", "toy-box", "9toy", "toy\n", "t" * 33])
def test_names_are_words(name: str) -> None:
    with pytest.raises(BadDeclaration):
        _contract(name=name)


@pytest.mark.parametrize("code", ["lower", "X", "ROLLED_BACK", "DUPLICATE", "TWO WORDS"])
def test_refusals_are_new_code_words(code: str) -> None:
    with pytest.raises(BadDeclaration):
        _contract(refusals={code: "No."})


def test_a_method_needs_a_docstring_annotations_and_a_name_of_its_own() -> None:
    toy = _contract()

    def silent(ctx: Context, state: State, args: Nothing) -> list[Event]:
        return []

    def short(ctx: Context, state: State) -> list[Event]:
        """Too few parameters."""
        return []

    def fine(ctx: Context, state: State, args: Nothing) -> list[Event]:
        """Do nothing."""
        return []

    with pytest.raises(BadDeclaration):
        toy.method(senders=ANYONE)(silent)
    with pytest.raises(BadDeclaration):
        toy.method(senders=ANYONE)(short)  # type: ignore[arg-type]
    toy.method(senders=ANYONE)(fine)
    with pytest.raises(BadDeclaration):
        toy.method(senders=ANYONE)(fine)


def test_an_event_declares_few_facts_with_short_names() -> None:
    toy = Contract("toy", version=1, doc="A toy.", refusals={})
    toy.event("most", "As many as a receipt takes.", **{f"{n:a>32}": "fact" for n in range(16)})
    with pytest.raises(BadDeclaration):
        toy.event("more", "One too many.", **{f"fact_{n}": "fact" for n in range(17)})
    with pytest.raises(BadDeclaration):
        toy.event("longer", "No receipt could carry it.", **{"a" * 33: "fact"})


def test_one_version_of_a_contract_stands_in_the_registry_once() -> None:
    with pytest.raises(BadDeclaration):
        Registry((_contract(), _contract()), MEMBERSHIP)


# ── what follows from a declaration ──────────────────────────────────────────


def test_methods_are_listed_for_cli_and_sdk() -> None:
    active = Lab().executor.active
    listed = [f"{m.contract}.{m.name}" for m in active.methods()]
    others = ("access.", "consent.", "emergency.", "erasure.", "governance.", "identity.")
    assert [name for name in listed if not name.startswith(others)] == [
        "members.staff_register",
        "members.staff_revoke",
        "members.rejoin",
        "members.offer",
        "records.anchor",
        "records.supersede",
        "records.retract",
    ]
    anchor = active.method("records", "anchor")
    assert anchor.senders == (Capacity.OPERATOR,)
    with pytest.raises(BadMessage) as caught:
        active.method("records", "burn")
    assert caught.value.code == "UNKNOWN_METHOD"


def test_operations_are_shown_decoded_or_not_at_all() -> None:
    chain = lab()
    op = chain.op("planted", "put", n=7)
    assert chain.executor.active.decoded(op) == {"n": 7}
    assert chain.executor.active.decoded(Operation("planted", "put", 1, b"")) is None
    assert chain.executor.active.decoded(REFUSED["UNKNOWN_CONTRACT"]) is None


def test_declarations_for_the_api_name_every_field_and_its_publication() -> None:
    (records,) = [c for c in Lab().executor.active.declarations() if c.name == "records"]
    (anchor, *_) = records.methods
    assert [(field.name, field.publication) for field in anchor.fields] == [
        ("root", "committed"),
        ("leaves", "public"),
        ("author", "committed"),
        ("context", "committed"),
    ]


@pytest.mark.parametrize(
    ("contract", "name", "arguments", "code"),
    [
        ("nothing", "member", {}, "UNKNOWN_QUERY"),
        ("members", "nothing", {}, "UNKNOWN_QUERY"),
        ("members", "member", {}, "BAD_ARGUMENTS"),
        ("members", "member", {"id": 7}, "BAD_ARGUMENTS"),
        ("members", "member", {"id": "hosp-a", "more": 1}, "BAD_ARGUMENTS"),
    ],
)
def test_bad_queries_are_refused(
    contract: str, name: str, arguments: dict[str, object], code: str
) -> None:
    chain = Lab()
    with pytest.raises(BadMessage) as caught:
        chain.executor.active.query(chain.executor.read, contract, name, arguments)
    assert caught.value.code == code


def test_checking_an_operation_without_state_gives_method_and_arguments() -> None:
    chain = lab()
    method, args = chain.executor.active.check(encode(chain.op("planted", "put", n=7)))
    assert (method.name, args) == ("put", planted.Number(7))
    for code, op in REFUSED.items():
        with pytest.raises(BadMessage) as caught:
            chain.executor.active.check(encode(op))
        assert caught.value.code == code
    with pytest.raises(BadMessage) as caught:
        chain.executor.active.check(b"")
    assert caught.value.code == "BAD_OPERATION"


def test_operations_that_are_checked_together_are_judged_as_each_alone() -> None:
    active = lab().executor.active
    good = [encode(lab().op("planted", "put", n=n)) for n in range(3)]
    assert active.check_all(good) == [active.check(raw) for raw in good]
    for code, bad in REFUSED.items():
        with pytest.raises(BadMessage) as caught:
            active.check_all([*good, encode(bad), b""])
        assert caught.value.code == code
    with pytest.raises(BadMessage) as caught:
        active.check_all([b"", *good])
    assert caught.value.code == "BAD_OPERATION"


# ── dispatch without patterns (the fast path) gives what the strict one gives ────────────────

_words = st.sampled_from(["planted", "put", "nothing", "Planted", "put\n", "", "p" * 40, "é"])


@given(_words, _words, st.sampled_from([0, 1, 2]), st.binary(max_size=4), st.binary(max_size=2))
def test_dispatch_judges_as_the_strict_form_does(
    contract: str, method: str, version: int, args: bytes, tail: bytes
) -> None:
    raw = encode((contract, method, version, args)) + tail
    active = planted.registry().activate(planted.ACTIVE)
    try:
        expected: object = active.find(decode(raw, Operation)), args
    except BadMessage as error:
        # Whatever has no code of its own does not decode.
        known = error.code in ("UNKNOWN_CONTRACT", "UNKNOWN_METHOD", "WRONG_VERSION")
        expected = (error.code if known else "BAD_OPERATION", error.facts)
    try:
        found: object = active.dispatch(raw)
    except BadMessage as error:
        found = error.code, error.facts
    assert found == expected


@pytest.mark.parametrize(
    ("fact", "may"),
    [
        ("0a" * 32, True),
        ("0A" * 32, False),
        ("a" * 64, True),
        ("g" * 64, False),
        ("é" * 64, False),
        ("0a" * 31 + "  ", False),
        (" " * 64, False),
        ("\udc80" * 64, False),
        ("a" * 63, False),
        ("word-1", True),
        ("1word", False),
        ("two words", False),
        ("", False),
        (True, True),
        (2**53, False),
        (-1, False),
        (1.5, False),
        (b"x" * 32, False),
        (None, False),
    ],
)
def test_only_words_hashes_flags_and_integers_are_published(fact: object, may: bool) -> None:
    assert publishable({"fact": fact}) is may


def test_of_words_only_those_that_could_be_published_are_remembered() -> None:
    """A contract may hand out a text of any length; the cache counts texts, not bytes."""
    _is_word.cache_clear()
    assert publishable({"fact": "w" * FACT_WORD_MAX})
    for count in (FACT_WORD_MAX + 1, 2**20):
        assert not publishable({"fact": "w" * count})
    assert _is_word.cache_info().currsize == 1
