"""Permits and the outer decision (rules C-1 … C-6 of decision 0010)."""

from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.permit import (
    DOCKET_PERMITS_MAX,
    EMPTY,
    Docket,
    Effect,
    Outcome,
    Permit,
    Purpose,
    Reach,
    Reason,
    RecordClass,
    decide,
    decide_own,
    docket_key,
    with_new,
)
from salus.relation import DAY_MAX
from tests.contracts.lab import Lab, h
from tests.contracts.patients import TODAY, Patient, enter
from tests.contracts.test_governance import L, idle, lab
from tests.contracts.test_governance import decide as suspend

CLASSES = tuple(RecordClass)


def patient(**kwargs: Any) -> tuple[Lab, Patient]:
    chain = Lab()
    ada = Patient(chain, **kwargs)
    enter(chain, ada)
    return chain, ada


def docket_of(chain: Lab, ada: Patient, grantee: str = "hosp-b") -> Docket:
    key = docket_key(ada.org, ada.handle, grantee, Purpose.TREATMENT)
    found = chain.value(key, Docket)
    assert isinstance(found, Docket)
    return found


# -- the contract ----------------------------------------------------------------------------


def test_a_grant_stands_in_its_docket_and_a_revoked_one_ends_for_ever() -> None:
    chain, ada = patient()
    assert chain.codes(ada.grant("p", classes=("medications", "results")), by="ada") == ["OK"]
    assert chain.codes(ada.grant("p", "hosp-c"), by="ada") == ["DUPLICATE_PERMIT"]
    (permit,) = docket_of(chain, ada).permits
    assert (permit.id, permit.granted_height, permit.ended_height) == (h("p"), 2, None)
    assert permit.classes == (RecordClass.MEDICATIONS, RecordClass.RESULTS)
    assert chain.codes(ada.revoke("q"), by="ada") == ["UNKNOWN_PERMIT"]
    assert chain.codes(ada.revoke("p"), by="ada") == ["OK"]
    assert docket_of(chain, ada).permits[0].ended_height == 5
    (receipt,) = chain.run(ada.revoke("p"), by="ada")
    assert (receipt.code, receipt.facts) == ("ALREADY_ENDED", {"height": 5})


def test_the_last_day_of_all_can_be_said_as_a_date() -> None:
    """Whoever lists permits writes days as dates; a day that is none would end his list."""
    chain, ada = patient()
    assert chain.codes(ada.grant("p", until_day=DAY_MAX), by="ada") == ["OK"]
    assert date(1970, 1, 1) + timedelta(days=DAY_MAX) == date.max


@pytest.mark.parametrize("by", ["operator hosp-a", "node hosp-a", "operator hosp-b", "mal"])
def test_nobody_else_grants_or_revokes(by: str) -> None:
    chain, ada = patient()
    chain.run(ada.grant("p"), by="ada")
    assert chain.codes(ada.grant("q"), by=by) == ["NOT_AUTHORISED"]
    assert chain.codes(ada.revoke("p"), by=by) == ["NOT_AUTHORISED"]


def test_a_grant_needs_no_sealed_field() -> None:
    chain, ada = patient()
    assert chain.codes(ada.grant("p", opening=b""), by="ada") == ["OK"]
    assert chain.codes(ada.grant("q", opening=bytes(512)), by="ada") == ["OK"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"grantee": "hosp-z"}, "UNKNOWN_GRANTEE"),
        ({"classes": ("results", "conditions")}, "BAD_CLASSES"),
        ({"classes": ("results", "results")}, "BAD_CLASSES"),
        ({"from_day": TODAY + 9, "until_day": TODAY + 8}, "BAD_PERIOD"),
        ({"from_day": TODAY - 9, "until_day": TODAY - 1}, "BAD_PERIOD"),
        ({"until_day": DAY_MAX + 1}, "BAD_ARGUMENTS"),
        ({"purpose": Purpose.EMERGENCY}, "BAD_PURPOSE"),
        ({"purpose": Purpose.PATIENT_REQUEST}, "BAD_PURPOSE"),
        ({"org": "hosp-b"}, "UNKNOWN_RELATION"),
        ({"classes": ()}, "BAD_ARGUMENTS"),
        ({"opening": bytes(513)}, "BAD_ARGUMENTS"),
        ({"opening": bytes(511)}, "BAD_OPENING"),
        ({"opening": bytes(1)}, "BAD_OPENING"),
    ],
)
def test_what_is_no_grant_is_refused(changes: dict[str, Any], code: str) -> None:
    chain, ada = patient()
    assert chain.codes(ada.grant("p", **changes), by="ada") == [code]


def test_the_hospital_may_revoke_what_its_key_granted_but_no_denial() -> None:
    """C-2: revoking narrows; ending a denial widens."""
    chain, ada = patient(custodial=True)
    chain.run(ada.grant("p"), ada.grant("d", effect=Effect.DENY), by="ada")
    assert chain.codes(ada.revoke("p")) == ["OK"]
    assert chain.codes(ada.revoke("d")) == ["NOT_AUTHORISED"]


def test_a_full_docket_drops_what_says_nothing_any_more() -> None:
    chain, ada = patient()
    for number in range(DOCKET_PERMITS_MAX):
        part = ada.grant(f"p{number}", reach=Reach.PART)
        assert chain.codes(part, by="ada") == ["OK"]
    assert chain.codes(ada.grant("more", reach=Reach.PART), by="ada") == ["DOCKET_FULL"]
    assert chain.codes(ada.grant("other grantee", "hosp-c"), by="ada") == ["OK"]
    # C-3: one that covers them all makes room, and takes their place.
    assert chain.codes(ada.grant("all"), by="ada") == ["OK"]
    assert [one.id for one in docket_of(chain, ada).permits] == [h("all")]


def test_many_visits_fill_no_docket_for_ever() -> None:
    """Permits to single doctors, each over by now, leave room for the next."""
    chain, ada = patient()
    for number in range(DOCKET_PERMITS_MAX):
        chain.run(ada.grant(f"p{number}", reach=Reach.PART), by="ada")
        chain.run(ada.revoke(f"p{number}"), by="ada")
    assert chain.codes(ada.grant("next", reach=Reach.PART), by="ada") == ["OK"]
    assert ada.ask("1", "next") == "PERMIT"


def test_a_delegates_denials_close_no_docket_for_ever() -> None:
    chain, ada = patient()
    chain.run(ada.delegate("phone", "deny"), by="ada")
    for number in range(DOCKET_PERMITS_MAX):
        denial = ada.grant(f"d{number}", effect=Effect.DENY)
        assert chain.codes(denial, by="phone") == ["OK"]
    assert chain.codes(ada.grant("p"), by="ada") == ["DOCKET_FULL"]
    assert chain.codes(ada.revoke("d0"), by="ada") == ["OK"]
    assert chain.codes(ada.grant("p"), by="ada") == ["OK"]


def newest(chain: Lab, ada: Patient) -> list[str]:
    """Ids from the newest permit back to the first, as queries give them."""
    query, found = chain.executor.active.query, []
    where = {"org": ada.org, "handle": ada.handle.hex()}
    head = query(chain.executor.read, "consent", "newest", where)
    at = head["newest"]
    while at is not None:
        found.append(at)
        at = query(chain.executor.read, "consent", "permit", where | {"permit": at})["before"]
    assert head["count"] == len(found)
    return found


def test_the_newest_permit_leads_to_all_of_them() -> None:
    chain, ada = patient()
    for name, grantee in (("p", "hosp-b"), ("q", "hosp-c"), ("r", "hosp-b")):
        chain.run(ada.grant(name, grantee), by="ada")
    assert newest(chain, ada) == [h("r").hex(), h("q").hex(), h("p").hex()]


# -- the decision ----------------------------------------------------------------------------


def permit(
    name: str,
    *classes: RecordClass,
    effect: Effect = Effect.PERMIT,
    reach: Reach = Reach.ORGANISATION,
    days: tuple[int, int] = (10, 20),
    ended: int | None = None,
) -> Permit:
    return Permit(h(name), effect, reach, classes, *days, h("terms"), 1, ended)


RESULTS, SUMMARY = RecordClass.RESULTS, RecordClass.SUMMARY


@pytest.mark.parametrize(
    ("permits", "reason"),
    [
        ((), Reason.NO_PERMIT),
        ((permit("p", RESULTS),), Reason.PERMIT),
        ((permit("other", RESULTS),), Reason.NO_PERMIT),
        ((permit("p", RESULTS, effect=Effect.DENY),), Reason.NO_PERMIT),
        ((permit("p", RESULTS, ended=7),), Reason.ENDED),
        ((permit("p", RESULTS, days=(16, 20)),), Reason.NOT_YET),
        ((permit("p", RESULTS, days=(10, 14)),), Reason.PAST),
        ((permit("p", RESULTS, days=(15, 15)),), Reason.PERMIT),
        ((permit("p", SUMMARY),), Reason.CLASS),
        ((permit("d", RESULTS, effect=Effect.DENY), permit("p", RESULTS)), Reason.PERMIT),
        ((permit("p", RESULTS), permit("d", RESULTS, effect=Effect.DENY)), Reason.LATER_DENY),
        ((permit("p", RESULTS), permit("d", SUMMARY, effect=Effect.DENY)), Reason.PERMIT),
        (
            (permit("p", RESULTS), permit("d", RESULTS, effect=Effect.DENY, ended=9)),
            Reason.PERMIT,
        ),
        (
            (permit("p", RESULTS), permit("d", RESULTS, effect=Effect.DENY, days=(16, 20))),
            Reason.PERMIT,
        ),
        ((permit("p", RESULTS), permit("q", RESULTS)), Reason.LATER_CONSENT),
        # What is agreed today for next month leaves today's consent in force.
        ((permit("p", RESULTS), permit("q", RESULTS, days=(16, 20))), Reason.PERMIT),
        # Revoking a later consent revives no older one.
        ((permit("p", RESULTS), permit("q", RESULTS, ended=9)), Reason.LATER_CONSENT),
        # Another doctor's own permit ends nobody's.
        ((permit("p", RESULTS), permit("q", RESULTS, reach=Reach.PART, ended=9)), Reason.PERMIT),
        ((permit("p", RESULTS), permit("q", SUMMARY)), Reason.PERMIT),
        # A denial of a part is the inner terms' to decide.
        (
            (permit("p", RESULTS), permit("d", RESULTS, effect=Effect.DENY, reach=Reach.PART)),
            Reason.PERMIT,
        ),
        (
            (
                permit("p", RESULTS),
                permit("d", RESULTS, effect=Effect.DENY),
                permit("q", RESULTS, reach=Reach.PART),
            ),
            Reason.LATER_DENY,
        ),
    ],
)
def test_the_outer_decision(permits: tuple[Permit, ...], reason: Reason) -> None:
    """C-4, row by row."""
    expected = Outcome(reason is Reason.PERMIT, reason)
    assert decide(Docket(permits), h("p"), (RESULTS,), 15) == expected


def test_all_classes_asked_for_must_be_permitted_and_none_is_not_all() -> None:
    docket = Docket((permit("p", RESULTS, SUMMARY),))
    assert decide(docket, h("p"), (RESULTS, SUMMARY), 15).permitted
    assert not decide(docket, h("p"), (RESULTS, RecordClass.OTHER), 15).permitted
    assert not decide(docket, h("p"), (), 15).permitted
    assert not decide(docket, None, (RESULTS,), 15).permitted


PERMITS = st.builds(
    Permit,
    st.sampled_from([h(name) for name in "abcdef"]),
    st.sampled_from(Effect),
    st.sampled_from(Reach),
    st.lists(st.sampled_from(CLASSES), min_size=1, unique=True).map(lambda c: tuple(sorted(c))),
    st.integers(0, 5),
    st.integers(3, 9),
    st.just(h("terms")),
    st.just(1),
    st.sampled_from([None, None, 4]),
)
DOCKETS = st.lists(PERMITS, max_size=8, unique_by=lambda p: p.id).map(lambda p: Docket(tuple(p)))
ASKED = st.lists(st.sampled_from(CLASSES), max_size=3, unique=True)


@given(DOCKETS, PERMITS, ASKED, st.integers(0, 9))
def test_a_later_denial_never_widens(
    docket: Docket, entry: Permit, asked: list[RecordClass], day: int
) -> None:
    denial = msgspec.structs.replace(entry, id=h("denial"), effect=Effect.DENY)
    more = Docket((*docket.permits, denial))
    for one in docket.permits:
        if decide(more, one.id, asked, day).permitted:
            assert decide(docket, one.id, asked, day).permitted
    if decide_own(more, asked, day).permitted:
        assert decide_own(docket, asked, day).permitted


@given(DOCKETS, st.integers(0, 7), ASKED, st.integers(0, 9))
def test_ending_a_permit_never_widens(
    docket: Docket, which: int, asked: list[RecordClass], day: int
) -> None:
    if which >= len(docket.permits) or docket.permits[which].effect is Effect.DENY:
        return
    ended = msgspec.structs.replace(docket.permits[which], ended_height=9)
    after = Docket((*docket.permits[:which], ended, *docket.permits[which + 1 :]))
    for one in docket.permits:
        if decide(after, one.id, asked, day).permitted:
            assert decide(docket, one.id, asked, day).permitted


@given(
    st.lists(PERMITS, min_size=1, max_size=6),
    PERMITS,
    st.lists(st.sampled_from(CLASSES), min_size=1, max_size=3, unique=True),
    st.integers(0, 9),
)
def test_making_room_changes_no_decision(
    some: list[Permit], entry: Permit, asked: list[RecordClass], day: int
) -> None:
    full = Docket(
        tuple(
            msgspec.structs.replace(some[n % len(some)], id=h(f"{n}"))
            for n in range(DOCKET_PERMITS_MAX)
        )
    )
    new = msgspec.structs.replace(entry, id=h("new"))
    smaller = with_new(full, new, day)
    full = Docket((*full.permits, new))
    if smaller is None:
        return
    assert smaller.permits[-1] == new
    assert len(smaller.permits) <= DOCKET_PERMITS_MAX
    kept = {one.id for one in smaller.permits}
    for one in full.permits:
        before = decide(full, one.id, asked, day).permitted
        assert decide(smaller, one.id, asked, day).permitted == before
        if one.id not in kept:
            assert not before
    assert decide_own(smaller, asked, day).permitted == decide_own(full, asked, day).permitted


def test_making_room_revives_no_older_consent() -> None:
    """C-3, C-5: an ended permit says for its inner terms that nothing older speaks. It stays while
    something older is there that could."""
    older = permit("older", RESULTS, SUMMARY)
    ended = permit("ended", RESULTS, reach=Reach.PART, ended=7)
    denied = permit("denied", RESULTS, effect=Effect.DENY, reach=Reach.PART, ended=7)
    later = tuple(
        permit(f"later {n}", RESULTS, reach=Reach.PART, ended=8) for n in range(DOCKET_PERMITS_MAX)
    )
    whole = permit("whole", RESULTS)
    docket = Docket((older, ended, denied, *later)[:DOCKET_PERMITS_MAX])
    assert with_new(docket, whole, 15) is None
    revoked = msgspec.structs.replace(older, ended_height=9)
    assert with_new(Docket((revoked, *docket.permits[1:])), whole, 15) == Docket((whole,))
    both = permit("both", RESULTS, SUMMARY)
    assert with_new(docket, both, 15) == Docket((both,))
    tomorrow = permit("tomorrow", RESULTS, SUMMARY, days=(16, 20))
    assert with_new(docket, tomorrow, 15) is None  # today the older one is in force


def test_own_staff_read_unless_a_denial_names_their_hospital() -> None:
    denial = permit("d", RESULTS, effect=Effect.DENY)
    assert decide_own(EMPTY, (RESULTS,), 15) == Outcome(True, Reason.OWN_CARE)
    assert decide_own(Docket((denial,)), (RESULTS,), 15) == Outcome(False, Reason.LATER_DENY)
    assert decide_own(Docket((denial,)), (SUMMARY,), 15).permitted
    assert decide_own(Docket((denial,)), (RESULTS,), 21).permitted
    assert not decide_own(EMPTY, (), 15).permitted
    some = permit("d", RESULTS, effect=Effect.DENY, reach=Reach.PART)
    assert decide_own(Docket((some,)), (RESULTS,), 15).permitted


def test_a_suspended_hospitals_custodial_key_grants_nothing_alone() -> None:
    """I-6: its own keys open nothing meanwhile; neither does the patient's in its hands."""
    chain = lab()
    ada = Patient(chain, org="hosp-d", custodial=True)
    enter(chain, ada)
    assert chain.codes(ada.grant("before"), by="ada") == ["OK"]
    suspend(chain, "suspend_member", member="hosp-d")
    idle(chain, L)
    assert chain.codes(ada.grant("after"), by="ada") == ["NEEDS_COSIGNATURE"]
    helped = ada.grant("after", by="operator hosp-c")
    assert chain.codes(helped, by="ada") == ["OK"]
    assert chain.codes(ada.revoke("before"), by="ada") == ["OK"]
