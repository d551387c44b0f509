"""Organisations, staff keys and the rejoin of a validator."""

import msgspec
import pytest

from contracts.context import Capacity
from contracts.members import (
    MEMBERS_PER_PAGE,
    RejoinArgs,
    StaffRegisterArgs,
    identify,
    validator_set,
)
from contracts.offers import OfferArgs
from contracts.state import ReadState
from salus.codec import decode
from salus.offer import Offer, Service, Surface
from salus.staff import StaffRole
from salus.transaction import Operation
from salus.wire_json import from_json
from tests import factories
from tests.contracts.lab import Lab, h, parameters, possession_of

FROM_MS, UNTIL_MS = factories.TIME_MS, factories.TIME_MS + 1_000  # blocks are 100 ms apart


def register(chain: Lab, key: str = "nurse", **changes: object) -> Operation:
    fields: dict[str, object] = {
        "org": "hosp-a",
        "handle": h("handle"),
        "roles": (StaffRole.CLINICIAN, StaffRole.NURSE),
        "qualification": h("licence"),
        "from_ms": FROM_MS,
        "until_ms": UNTIL_MS,
    }
    fields |= changes
    if "possession" not in fields:
        org, handle = str(fields["org"]), fields["handle"]
        assert isinstance(handle, bytes)
        fields["possession"] = possession_of(key, org, handle)
    fields["key"] = factories.key(key).public_key
    args = StaffRegisterArgs(**fields)  # type: ignore[arg-type]
    return chain.op("members", "staff_register", args)


def state(chain: Lab) -> ReadState:
    return ReadState(chain.executor.read, "members")


# ── who is who ───────────────────────────────────────────────────────────────


def test_genesis_keys_are_known_in_their_capacity() -> None:
    chain = Lab()
    for kind, capacity in (("operator", Capacity.OPERATOR), ("node", Capacity.NODE)):
        identity = identify(state(chain), factories.key(f"{kind} hosp-b").public_key, 0)
        assert identity is not None
        assert (identity.member, identity.capacity) == ("hosp-b", capacity)
    assert identify(state(chain), factories.key("somebody").public_key, 0) is None


@pytest.mark.parametrize(
    ("time_ms", "known"),
    [(FROM_MS - 1, False), (FROM_MS, True), (UNTIL_MS - 1, True), (UNTIL_MS, False)],
)
def test_a_staff_key_is_valid_within_its_period_of_block_time(time_ms: int, known: bool) -> None:
    chain = Lab()
    assert chain.codes(register(chain)) == ["OK"]
    identity = identify(state(chain), factories.key("nurse").public_key, time_ms)
    assert (identity is not None) == known
    if identity is not None:
        assert identity.staff == h("handle")
        assert identity.staff_roles == (StaffRole.CLINICIAN, StaffRole.NURSE)


def test_a_revoked_key_is_nobodys_in_the_very_next_transaction() -> None:
    chain = Lab()
    chain.run(register(chain))
    revoke = chain.op("members", "staff_revoke", handle=h("handle"))
    chain.block(chain.tx(revoke))
    assert identify(state(chain), factories.key("nurse").public_key, FROM_MS) is None


# ── staff ────────────────────────────────────────────────────────────────────

REFUSED = [
    ({"org": "hosp-b"}, "NOT_AUTHORISED"),
    ({"until_ms": FROM_MS}, "BAD_PERIOD"),
    ({"roles": (StaffRole.NURSE, StaffRole.CLINICIAN)}, "BAD_ROLES"),
    ({"roles": (StaffRole.NURSE, StaffRole.NURSE)}, "BAD_ROLES"),
    ({"roles": ()}, "BAD_ARGUMENTS"),
    ({"key": "operator hosp-b"}, "KEY_IN_USE"),
    ({"key": "node hosp-a"}, "KEY_IN_USE"),
    ({"possession": possession_of("nurse", "hosp-b", h("handle"))}, "NO_POSSESSION"),
    ({"possession": possession_of("nurse", "hosp-a", h("other"))}, "NO_POSSESSION"),
    ({"possession": possession_of("other", "hosp-a", h("handle"))}, "NO_POSSESSION"),
    ({"possession": bytes(64)}, "NO_POSSESSION"),
    ({"possession": bytes(63)}, "BAD_ARGUMENTS"),
    ({"qualification": b"short"}, "BAD_ARGUMENTS"),
]


@pytest.mark.parametrize(("changes", "code"), REFUSED)
def test_a_wrong_registration_is_refused(changes: dict[str, object], code: str) -> None:
    chain = Lab()
    before = chain.dump()
    assert chain.codes(register(chain, **changes)) == [code]  # type: ignore[arg-type]
    assert chain.dump() == before


def test_a_key_that_is_no_point_of_the_curve_is_refused() -> None:
    chain = Lab()
    fields = msgspec.structs.replace(decode(register(chain).args, StaffRegisterArgs), key=bytes(32))
    assert chain.codes(chain.op("members", "staff_register", fields)) == ["BAD_KEY"]


def test_who_sees_a_registration_waiting_cannot_take_key_or_handle_away() -> None:
    """Else the nurse of one hospital would sign in the name of another."""
    chain = Lab()
    waiting = register(chain)
    seen = decode(waiting.args, StaffRegisterArgs)
    copied = msgspec.structs.replace(seen, org="hosp-b")
    other = register(chain, key="other", org="hosp-b")  # the handle, with a key of his own
    executed = chain.block(
        chain.tx(chain.op("members", "staff_register", copied), by="operator hosp-b"),
        chain.tx(other, by="operator hosp-b"),
        chain.tx(waiting),
    )
    assert [receipt.code for receipt in executed.receipts] == ["NO_POSSESSION", "OK", "OK"]
    nurse = identify(state(chain), factories.key("nurse").public_key, FROM_MS)
    assert nurse is not None
    assert (nurse.member, nurse.staff) == ("hosp-a", h("handle"))


@pytest.mark.parametrize("by", ["node hosp-a", "somebody", "nurse"])
def test_only_the_operator_key_registers_staff(by: str) -> None:
    chain = Lab()
    chain.run(register(chain))
    again = register(chain, key="other", handle=h("other"))
    assert chain.codes(again, by=by) == ["NOT_AUTHORISED"]


def test_handles_and_keys_are_taken_once_even_after_revocation() -> None:
    chain = Lab()
    chain.run(register(chain))
    assert chain.codes(register(chain, key="other")) == ["DUPLICATE_STAFF"]
    revoke = chain.op("members", "staff_revoke", handle=h("handle"))
    assert chain.codes(revoke) == ["OK"]
    assert chain.codes(register(chain, handle=h("new"))) == ["KEY_IN_USE"]
    (receipt,) = chain.run(revoke)
    assert (receipt.code, receipt.facts) == ("ALREADY_REVOKED", {"height": 3})


def test_staff_of_another_organisation_cannot_be_revoked() -> None:
    chain = Lab()
    chain.run(register(chain))
    revoke = chain.op("members", "staff_revoke", handle=h("handle"))
    assert chain.codes(revoke, by="operator hosp-b") == ["UNKNOWN_STAFF"]
    nobody = chain.op("members", "staff_revoke", handle=h("nobody"))
    assert chain.codes(nobody) == ["UNKNOWN_STAFF"]


# ── rejoin (S4, S13) ─────────────────────────────────────────────────────────


def rejoin(chain: Lab) -> Operation:
    return chain.op("members", "rejoin", RejoinArgs())


@pytest.mark.parametrize(
    ("by", "code"),
    [
        ("operator hosp-a", "NOT_AUTHORISED"),
        ("somebody", "NOT_AUTHORISED"),
        ("node obs-000", "NOT_AUTHORISED"),
        ("node hosp-a", "OK"),
    ],
)
def test_only_a_validators_node_key_rejoins(by: str, code: str) -> None:
    chain = Lab(factories.genesis(4, observers=1, parameters=parameters()))
    assert chain.codes(rejoin(chain), by=by) == [code]
    window = chain.genesis.parameters.watermark_window
    assert chain.executor.epoch.end == (1 + window if code == "OK" else 0)


def test_a_validator_rejoins_once_an_epoch_and_another_does_not_move_the_end() -> None:
    chain = Lab()
    window = chain.genesis.parameters.watermark_window
    assert chain.codes(rejoin(chain), by="node hosp-a") == ["OK"]
    (receipt,) = chain.run(rejoin(chain), by="node hosp-a")
    assert (receipt.code, receipt.facts) == ("REJOIN_TOO_SOON", {"height": 1 + window + 1})
    assert chain.codes(rejoin(chain), by="node hosp-b") == ["OK"]
    assert chain.executor.epoch.end == 1 + window
    while chain.executor.head.height < 1 + window:
        chain.null()
        chain.certify()
    assert chain.executor.epoch.epoch == 1
    assert chain.codes(rejoin(chain), by="node hosp-a") == ["OK"]
    assert chain.executor.epoch.end == 1 + window + 1 + window


def test_who_rejoins_again_and_again_waits_twice_as_long_each_time() -> None:
    """Each one is an epoch, and a step in the proofs of everybody for ever."""
    chain = Lab()
    limits = parameters()
    window = limits.watermark_window

    def wait() -> int:
        """So many blocks from one rejoin to the next that is allowed."""
        (receipt,) = chain.run(rejoin(chain), by="node hosp-a")
        assert receipt.code == "REJOIN_TOO_SOON"
        again = receipt.facts["height"]
        assert isinstance(again, int)
        height = chain.executor.head.height
        while chain.executor.head.height < again - 1:
            chain.null()
            chain.certify()
        assert chain.codes(rejoin(chain), by="node hosp-a") == ["OK"]
        return again - height

    assert chain.codes(rejoin(chain), by="node hosp-a") == ["OK"]
    waits = [wait() for _ in range(6)]
    assert waits == [window] * 4 + [2 * window, 4 * window]


def test_a_rejoin_long_ago_counts_less() -> None:
    limits = msgspec.structs.replace(parameters(), epoch_blocks_max=parameters().watermark_window)
    chain = Lab(factories.genesis(4, parameters=limits))
    for _ in range(12):  # each wait forgives the one before
        assert chain.codes(rejoin(chain), by="node hosp-a") == ["OK"]
        again = chain.executor.head.height + limits.watermark_window + 1
        while chain.executor.head.height < again - 1:
            chain.null()
            chain.certify()


# ── sets and queries ─────────────────────────────────────────────────────────


def test_the_validator_set_is_read_from_state_in_order() -> None:
    genesis = factories.genesis(7, observers=3, parameters=parameters())
    chain = Lab(genesis)
    assert validator_set(state(chain), 0) == genesis.validators()
    assert validator_set(state(chain), 5).epoch == 5


def test_the_index_of_members_goes_over_pages() -> None:
    genesis = factories.genesis(4, observers=MEMBERS_PER_PAGE, parameters=parameters())
    chain = Lab(genesis)
    answer = chain.executor.active.query(chain.executor.read, "members", "list_members", {})
    assert [m["id"] for m in answer["members"]] == [m.id for m in genesis.members]


def test_queries_show_members_staff_and_keys() -> None:
    chain = Lab()
    chain.run(register(chain))
    ask = chain.executor.active.query
    read = chain.executor.read
    assert ask(read, "members", "member", {"id": "hosp-a"})["roles"] == ["hospital"]
    assert ask(read, "members", "member", {"id": "hosp-z"}) is None
    staff = ask(read, "members", "staff", {"org": "hosp-a", "handle": h("handle").hex()})
    assert staff["roles"] == ["clinician", "nurse"]
    nurse = factories.key("nurse").public_key.hex()
    assert ask(read, "members", "key", {"public_key": nurse})["status"] == "active"
    chain.run(chain.op("members", "staff_revoke", handle=h("handle")))
    assert ask(read, "members", "key", {"public_key": nurse})["status"] == "revoked"
    assert ask(read, "members", "key", {"public_key": "00" * 32}) is None


# ── what is offered ──────────────────────────────────────────────────────────


def offered(chain: Lab, org: str) -> Offer | None:
    answer = chain.executor.active.query(chain.executor.read, "members", "offer_of", {"id": org})
    return None if answer is None else from_json(Offer, answer)


def test_the_last_word_on_what_is_offered_counts_and_is_the_organisations_own() -> None:
    chain = Lab()
    assert offered(chain, "hosp-a") is None
    for services in ((Service.IMAGING,), (Service.EMERGENCY, Service.PHARMACY)):
        args = OfferArgs(services, (156_110_101,), (Surface.PAGE,))
        assert chain.codes(chain.op("members", "offer", args)) == ["OK"]
    found = offered(chain, "hosp-a")
    assert found is not None
    assert found.services == (Service.EMERGENCY, Service.PHARMACY)
    assert offered(chain, "hosp-b") is None
    listed = chain.executor.active.query(chain.executor.read, "members", "offers", {})
    assert [one["org"] for one in listed["offers"]] == ["hosp-a"]


@pytest.mark.parametrize(
    "args",
    [
        OfferArgs((Service.PHARMACY, Service.EMERGENCY), (), ()),
        OfferArgs((Service.PHARMACY, Service.PHARMACY), (), ()),
        OfferArgs((), (2_000_000, 1_000_000), ()),
        OfferArgs((), (), (Surface.PAGE, Surface.FHIR)),
    ],
)
def test_what_is_offered_stands_in_order_once_each(args: OfferArgs) -> None:
    chain = Lab()
    assert chain.codes(chain.op("members", "offer", args)) == ["BAD_OFFER"]
    assert offered(chain, "hosp-a") is None


def test_staff_offer_nothing() -> None:
    chain = Lab()
    chain.run(register(chain))
    nothing = chain.op("members", "offer", OfferArgs((), (), ()))
    chain.block(chain.tx(nothing, by="nurse"))
    assert offered(chain, "hosp-a") is None
