"""Break-glass, by the rules E-1 … E-9 of decision 0014."""

import pytest

from salus.emergency import (
    ALONE_MAX,
    LATE_MAX,
    PANEL_MAX,
    Due,
    Parties,
    Verdict,
    Waiting,
    draw,
)
from salus.parameters import Parameters
from salus.relation import DAY_MS
from salus.staff import StaffRole
from tests import factories
from tests.contracts.emergencies import ALL, Ward
from tests.contracts.lab import Lab, h, parameters
from tests.contracts.patients import Patient, enter

LIMITS = Parameters()
NEWEST = "00" * 32


def opened(name: str = "one", **ward: object) -> Ward:
    """A case of the clinician of hosp-b, its reviewers drawn."""
    place = Ward(**ward)  # type: ignore[arg-type]
    assert place.open(name) == "OK"
    place.pass_block()
    return place


# ── E-1, E-2: who, and what ──────────────────────────────────────────────────


def test_a_case_is_opened_by_the_role_emergency_alone() -> None:
    ward = Ward()
    ward.employ("nurse", "hosp-b", StaffRole.CLINICIAN, StaffRole.NURSE)
    for by in ("nurse", "operator hosp-b", "node hosp-b", "ada", "mal"):
        assert ward.open("one", by) == "NOT_AUTHORISED"
    assert ward.open("one") == "OK"
    case = ward.case("one")
    assert (case.opener, case.staff, case.alone, case.late) == (
        "hosp-b",
        h("doc hosp-b"),
        True,
        False,
    )


def test_a_clinician_of_a_suspended_organisation_or_revoked_opens_nothing() -> None:
    ward = Ward()
    revoke = ward.chain.op("members", "staff_revoke", handle=h("doc hosp-b"))
    assert ward.run(revoke, by="operator hosp-b") == "OK"
    assert ward.open("one") == "NOT_AUTHORISED"


def test_without_a_relation_or_against_the_patients_will_nothing_opens() -> None:
    ward = Ward()
    bob = Patient(ward.chain, "bob")
    op = ward.chain.op
    named = {"nonce": h("n"), "details": h("d")}
    unknown = op("emergency", "open", org="hosp-a", handle=bob.handle, **named)
    assert ward.run(unknown, by="doc hosp-b") == "UNKNOWN_RELATION"
    enter(ward.chain, bob)
    assert ward.run(unknown, by="doc hosp-b") == "OK"  # that he has no summary is found out later
    assert ward.run(ward.opt("opt_in"), by="ada") == "NOT_OPTED_OUT"
    assert ward.run(ward.opt("opt_out"), by="mal") == "NOT_AUTHORISED"
    assert ward.run(ward.opt("opt_out"), by="ada") == "OK"
    assert ward.open("one") == "OPTED_OUT"
    assert ward.run(ward.opt("opt_out"), by="ada") == "OPTED_OUT"
    assert ward.run(ward.deposit(), by="ada") == "OPTED_OUT"
    assert ward.run(ward.opt("opt_in"), by="ada") == "OK"
    assert ward.run(ward.deposit(), by="ada") == "OK"
    assert ward.open("one") == "OK"
    assert ward.open("one") == "DUPLICATE_CASE"


def test_a_waiting_case_cannot_be_entered_by_who_saw_it() -> None:
    ward = Ward()
    waiting = ward.opening("one")
    executed = ward.chain.block(
        ward.chain.tx(waiting, by="doc hosp-c"), ward.chain.tx(waiting, by="doc hosp-b")
    )
    assert [receipt.code for receipt in executed.receipts] == ["OK", "OK"]
    assert ward.case("one").opener == "hosp-b"
    assert ward.case("one", "doc hosp-c").opener == "hosp-c"


@pytest.mark.parametrize(
    ("holders", "threshold", "code"),
    [
        (("hosp-b", "hosp-a"), 2, "BAD_HOLDERS"),
        (("hosp-a", "hosp-a"), 2, "BAD_HOLDERS"),
        (("hosp-a", "hosp-z"), 2, "BAD_HOLDERS"),
        (("hosp-a", "hosp-b"), 3, "BAD_THRESHOLD"),
        (("hosp-a", "hosp-b"), 2, "OK"),
        (ALL, 4, "OK"),
    ],
)
def test_holders_are_active_members_and_enough(
    holders: tuple[str, ...], threshold: int, code: str
) -> None:
    ward = Ward()
    assert ward.run(ward.deposit(holders, threshold), by="ada") == code


def test_the_threshold_is_more_than_the_liars_that_the_consortium_bears() -> None:
    seven = tuple(factories.member_ids(7))
    chain = Lab(factories.genesis(7, parameters=parameters()))
    assert chain.executor.epoch.validators.f == 2
    ada = Patient(chain)
    enter(chain, ada)
    for threshold, code in ((2, "BAD_THRESHOLD"), (3, "OK")):
        deposit = chain.op(
            "emergency",
            "deposit",
            org=ada.org,
            handle=ada.handle,
            summary=h("summary"),
            holders=seven,
            threshold=threshold,
            generation=1,
            cosigner=None,
            cosignature=None,
        )
        assert chain.codes(deposit, by="ada") == [code]


def test_a_new_deposit_is_a_new_generation_and_remembers_who_left() -> None:
    ward = Ward()
    assert ward.run(ward.deposit(("hosp-c", "hosp-d")), by="ada") == "OK"
    found = ward.ask("summary_of", org="hosp-a", handle=ward.ada.handle.hex())
    assert (found["generation"], found["holders"], found["former"]) == (
        2,
        ["hosp-c", "hosp-d"],
        ["hosp-a", "hosp-b"],
    )


@pytest.mark.parametrize("method", ["deposit", "opt_out", "opt_in"])
def test_a_hospitals_key_needs_a_second_word_for_it(method: str) -> None:
    """I-6."""
    ward = Ward()
    bob = Patient(ward.chain, "bob", custodial=True)
    enter(ward.chain, bob)
    ward.ada = bob
    make = ward.deposit if method == "deposit" else lambda by=None: ward.opt(method, by)
    if method == "opt_in":
        assert ward.run(ward.opt("opt_out", by="operator hosp-c"), by="bob") == "OK"
    assert ward.run(make(), by="bob") == "NEEDS_COSIGNATURE"
    assert ward.run(make(by="operator hosp-a"), by="bob") == "BAD_COSIGNATURE"
    assert ward.run(make(by="operator hosp-b"), by="bob") == "OK"


def test_what_was_co_signed_once_counts_once() -> None:
    """I-6: else a hospital would undo a patient's last word with an earlier one, or bring back an old
    summary with its old holders."""
    ward = Ward()
    ward.ada = Patient(ward.chain, "bob", custodial=True)
    enter(ward.chain, ward.ada)
    friend = "operator hosp-c"
    first = ward.deposit(by=friend)
    assert ward.run(first, by="bob") == "OK"
    assert ward.run(ward.deposit(ALL[1:], by=friend), by="bob") == "OK"
    assert ward.run(first, by="bob") == "STALE_GENERATION"
    out = ward.opt("opt_out", by=friend)
    assert ward.run(out, by="bob") == "OK"
    back = ward.opt("opt_in", by=friend)
    assert ward.run(back, by="bob") == "OK"
    assert ward.run(out, by="bob") == "STALE_GENERATION"
    assert ward.run(ward.opt("opt_out", by=friend), by="bob") == "OK"
    assert ward.run(back, by="bob") == "STALE_GENERATION"
    assert ward.open("one") == "OPTED_OUT"


def test_nothing_is_deposited_while_an_approved_recovery_waits() -> None:
    ward = Ward()
    assert ward.run(ward.ada.recover("new"), by="operator hosp-a") == "OK"
    approve = ward.ada.act("recover_approve", "new")
    assert ward.run(approve, by="operator hosp-b") == "OK"
    assert ward.run(ward.deposit(), by="ada") == "RECOVERY_OPEN"


# ── E-3, E-4: until when, and the colleague ──────────────────────────────────


def test_a_case_opens_for_an_hour_and_co_signed_for_a_day() -> None:
    ward = opened()
    case = ward.case("one")
    start = case.opened_ms
    assert case.opens(start + LIMITS.emergency_cosign_ms - 1)
    assert not case.opens(start + LIMITS.emergency_cosign_ms)
    assert ward.act("cosign", "one", "doc hosp-b") == "SAME_ORGANISATION"
    ward.employ("nurse", "hosp-c", StaffRole.NURSE)
    assert ward.act("cosign", "one", "nurse") == "NOT_AUTHORISED"
    assert ward.act("cosign", "none", "doc hosp-c") == "UNKNOWN_CASE"
    assert ward.act("cosign", "one", "doc hosp-c") == "OK"
    assert ward.act("cosign", "one", "doc hosp-d") == "ALREADY_COSIGNED"
    case = ward.case("one")
    assert case.opens(start + LIMITS.emergency_open_ms - 1)
    assert not case.opens(start + LIMITS.emergency_open_ms)


def test_a_colleague_who_comes_late_changes_nothing() -> None:
    ward = opened()
    ward.later(LIMITS.emergency_cosign_ms)
    assert ward.act("cosign", "one", "doc hosp-c") == "DEADLINE_OVER"


def test_uncosigned_a_clinician_opens_nothing_alone_until_it_is_reviewed() -> None:
    ward = opened()
    assert ward.open("two") == "OK"  # within the hour
    assert ward.case("two").alone
    assert ward.act("cosign", "two", "doc hosp-c") == "OK"
    ward.later(LIMITS.emergency_cosign_ms)
    assert ward.open("three") == "OK"
    third = ward.case("three")
    assert not third.alone
    assert not third.opens(third.opened_ms)
    assert ward.open("other", "doc hosp-c") == "OK"  # it is this clinician's matter alone
    assert ward.case("other", "doc hosp-c").alone
    assert ward.act("cosign", "three", "doc hosp-d") == "OK"  # never no access
    assert ward.case("three").opens(third.opened_ms + 1)
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    first = ward.case("one").panel[0]  # type: ignore[index]
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.JUSTIFIED) == "OK"
    assert ward.open("four") == "OK"
    assert ward.case("four").alone


def test_a_clinician_with_eight_waiting_cases_opens_no_ninth_alone() -> None:
    ward = Ward()
    for number in range(ALONE_MAX):
        assert ward.open(f"case {number}") == "OK"
    assert ward.open("ninth") == "OK"
    assert not ward.case("ninth").alone
    assert ward.act("cosign", "case 3", "doc hosp-c") == "OK"
    assert ward.open("tenth") == "OK"
    assert ward.case("tenth").alone
    until = ward.case("tenth").cosign_until_ms
    assert ward.clinician("doc hosp-b").waiting[-1] == Waiting(ward.id("tenth"), until)


# ── E-5, E-7: the opener's own failure, and the sanction ─────────────────────


def test_the_opener_justifies_once_and_nobody_else() -> None:
    ward = opened()
    ward.employ("other", "hosp-b", StaffRole.EMERGENCY)
    for by in ("other", "operator hosp-a", "doc hosp-c", "node hosp-b"):
        assert ward.act("justify", "one", by) == "NOT_AUTHORISED"
    assert ward.standing("hosp-b").due[0].count == 1
    assert ward.act("justify", "one", "operator hosp-b") == "OK"  # for a clinician who left
    assert ward.act("justify", "one", "doc hosp-b") == "ALREADY_JUSTIFIED"
    assert ward.standing("hosp-b").due == ()


def test_an_unjustified_case_restricts_the_organisation_until_it_is_reviewed() -> None:
    ward = opened()
    ward.employ("other hosp-b", "hosp-b", StaffRole.EMERGENCY)
    until = ward.case("one").justify_until_ms
    assert until % DAY_MS == 0
    assert 3 * DAY_MS < until - ward.case("one").opened_ms <= 4 * DAY_MS
    ward.later(until - ward.case("one").opened_ms + 1_000)
    assert ward.open("two", "other hosp-b") == "OK"
    assert ward.standing("hosp-b").restricted(until)
    assert not ward.case("two", "other hosp-b").alone
    # Filed too late, it is on file, and lifts nothing.
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    assert ward.standing("hosp-b").restricted(until + 1)
    reviewer = ward.case("one").reviewers(until + 1)[0]
    assert ward.act("review", "one", f"operator {reviewer}", verdict=Verdict.JUSTIFIED) == "OK"
    assert not ward.standing("hosp-b").restricted(until + 1)
    assert ward.standing("hosp-b").at(until + 1).overdue == 0


def test_what_could_not_be_read_needs_no_justification() -> None:
    ward = opened()
    ward.later(LIMITS.emergency_cosign_ms)
    assert ward.open("two") == "OK"
    assert not ward.case("two").alone
    before = ward.standing("hosp-b").due
    assert ward.act("justify", "two", "doc hosp-b") == "NOTHING_READ"
    assert ward.act("review", "two", "operator hosp-c", verdict=Verdict.ABUSE) == "NOTHING_READ"
    assert ward.act("cosign", "two", "doc hosp-c") == "OK"
    day = ward.case("two").justify_until_ms // DAY_MS - 1
    assert sum(d.count for d in ward.standing("hosp-b").due) == sum(d.count for d in before) + 1
    assert day in {d.day for d in ward.standing("hosp-b").due}


def test_after_an_abuse_another_organisation_agrees_before_anything_is_read() -> None:
    ward = opened()
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    reviewer = ward.case("one").panel[0]  # type: ignore[index]
    assert ward.act("review", "one", f"doc {reviewer}", verdict=Verdict.ABUSE) == "OK"
    assert ward.open("two") == "OK"
    assert not ward.case("two").alone
    standing = ward.standing("hosp-b")
    assert standing.abuses == 1
    decided = ward.case("one").decided
    assert decided is not None
    assert standing.sanction_until_ms == decided.time_ms + LIMITS.emergency_sanction_ms
    ward.later(LIMITS.emergency_sanction_ms + 1_000)
    assert ward.open("three") == "OK"
    assert ward.case("three").alone


# ── E-6: the reviewers ───────────────────────────────────────────────────────


def test_reviewers_have_no_part_and_are_drawn_by_a_later_block() -> None:
    ward = Ward()
    assert ward.open("one") == "OK"
    assert ward.case("one").panel is None
    assert ward.act("review", "one", "operator hosp-c", verdict=Verdict.ABUSE) == "NOT_REVIEWER"
    panel = ward.case("one").panel
    assert panel is not None
    assert sorted(panel) == ["hosp-c", "hosp-d"]
    block = ward.chain.executor._header_hash(ward.case("one").opened_height)
    assert block is not None
    parties = Parties("hosp-b", "hosp-a", frozenset())
    assert panel == draw(block, ward.id("one"), ALL, parties)


def test_the_draw_depends_on_the_block_and_on_the_case() -> None:
    members = tuple(factories.member_ids(7))
    parties = Parties("hosp-a", "hosp-b", frozenset({"hosp-c"}))
    drawn = {draw(h(f"block {n}"), h("case"), members, parties) for n in range(50)}
    assert len(drawn) > 10
    assert {first for first, *_ in drawn} == {"hosp-d", "hosp-e", "hosp-f", "hosp-g"}
    assert len({draw(h("block"), h(f"case {n}"), members, parties) for n in range(50)}) > 10


def test_where_all_have_a_part_the_nearest_to_an_outsider_decides() -> None:
    assert draw(h("b"), h("c"), ("x", "y"), Parties("x", "y", frozenset())) == ("y",)
    assert draw(h("b"), h("c"), ("x", "y", "z"), Parties("x", "y", frozenset({"z"}))) == ("y",)
    assert draw(h("b"), h("c"), ("x",), Parties("x", "y", frozenset())) == ()
    many = tuple(f"org-{n}" for n in range(40))
    assert len(draw(h("b"), h("c"), many, Parties("x", "y", frozenset()))) == PANEL_MAX


def test_the_co_signer_does_not_review() -> None:
    ward = opened()
    first = ward.case("one").panel[0]  # type: ignore[index]
    assert ward.act("cosign", "one", f"doc {first}") == "OK"
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    refused = ward.act("review", "one", f"operator {first}", verdict=Verdict.JUSTIFIED)
    assert refused == "NOT_REVIEWER"
    (other,) = set(ward.case("one").panel or ()) - {first}
    assert ward.act("review", "one", f"operator {other}", verdict=Verdict.JUSTIFIED) == "OK"


def test_a_review_begins_with_the_justification_or_its_deadline() -> None:
    ward = opened()
    case = ward.case("one")
    first = case.panel[0]  # type: ignore[index]
    early = ward.act("review", "one", f"operator {first}", verdict=Verdict.JUSTIFIED)
    assert early == "NOT_REVIEWER"
    assert case.reviewers(case.justify_until_ms - 1) == ()
    assert case.reviewers(case.justify_until_ms) == (first,)


def test_a_lapse_passes_the_case_on_and_counts_against_it() -> None:
    ward = opened()
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    first, second = ward.case("one").panel or ()
    abuse = {"verdict": Verdict.ABUSE}
    assert ward.act("review", "one", f"operator {second}", **abuse) == "NOT_REVIEWER"
    ward.later(LIMITS.emergency_review_ms + 1_000)
    assert ward.act("review", "one", "operator hosp-a", **abuse) == "NOT_REVIEWER"
    assert ward.act("review", "one", "operator hosp-b", **abuse) == "NOT_REVIEWER"
    assert ward.act("review", "one", f"operator {second}", **abuse) == "OK"
    assert ward.act("review", "one", f"operator {first}", **abuse) == "ALREADY_DECIDED"
    assert (ward.standing(first).lapses, ward.standing(second).lapses) == (1, 0)
    decided = ward.case("one").decided
    assert decided is not None
    assert (decided.org, decided.lapses) == (second, 1)


def test_who_let_it_lapse_may_still_decide_and_the_lapse_counts() -> None:
    ward = opened()
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    first, _ = ward.case("one").panel or ()
    ward.later(3 * LIMITS.emergency_review_ms)
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.JUSTIFIED) == "OK"
    assert [ward.standing(org).lapses for org in ward.case("one").panel or ()] == [1, 1]


def test_only_clinicians_administration_and_operators_review() -> None:
    ward = opened()
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    first = ward.case("one").panel[0]  # type: ignore[index]
    ward.employ("pharmacist", first, StaffRole.PHARMACIST)
    for by in ("pharmacist", f"node {first}"):
        assert ward.act("review", "one", by, verdict=Verdict.ABUSE) == "NOT_AUTHORISED"
    assert ward.act("review", "one", f"doc {first}", verdict=Verdict.JUSTIFIED) == "OK"


def test_undecided_cases_are_listed_and_leave_the_list_when_decided() -> None:
    ward = Ward()
    names = [f"case {n}" for n in range(4)]
    for name in names:
        assert ward.open(name) == "OK"
        assert ward.act("justify", name, "doc hosp-b") == "OK"

    def listed() -> list[str]:
        answer = ward.ask("undecided", start=NEWEST)
        assert answer["next"] is None
        by_id = {ward.id(name).hex(): name for name in names}
        return [by_id[case["id"]] for case in answer["cases"]]

    assert listed() == ["case 3", "case 2", "case 1", "case 0"]
    for name, left in (
        ("case 2", ["case 3", "case 1", "case 0"]),  # from the middle
        ("case 3", ["case 1", "case 0"]),  # the newest
        ("case 0", ["case 1"]),  # the oldest
        ("case 1", []),
    ):
        first = ward.case(name).panel[0]  # type: ignore[index]
        assert ward.act("review", name, f"operator {first}", verdict=Verdict.JUSTIFIED) == "OK"
        assert listed() == left
    assert ward.open("case 9") == "OK"
    names.append("case 9")
    assert listed() == ["case 9"]


# ── E-8: while nothing could be certified ────────────────────────────────────


def test_a_late_entry_opens_a_case_that_says_so() -> None:
    ward = Ward()
    assert ward.defer("one", "node hosp-c") == "OK"
    case = ward.case("one")
    assert (case.late, case.holders, case.alone) == (True, ("hosp-c",), False)
    assert not case.opens(case.opened_ms)
    assert ward.standing("hosp-b").due[0].count == 1  # it is to be justified like any other
    assert ward.defer("one", "node hosp-d") == "OK"
    assert ward.defer("one", "node hosp-c") == "ALREADY_LOGGED"
    assert ward.case("one").holders == ("hosp-c", "hosp-d")
    assert ward.open("one") == "DUPLICATE_CASE"


def test_a_case_that_was_certified_meanwhile_is_marked_late() -> None:
    ward = opened()
    assert ward.defer("one", "node hosp-c") == "OK"
    case = ward.case("one")
    assert (case.alone, case.late, case.holders) == (True, True, ("hosp-c",))
    assert ward.standing("hosp-b").due == (Due(case.justify_until_ms // DAY_MS - 1, 1),)


def test_a_late_entry_makes_a_case_that_nobody_co_signed_one_to_justify() -> None:
    ward = opened()
    ward.later(LIMITS.emergency_cosign_ms)
    assert ward.open("two") == "OK"
    assert ward.act("justify", "two", "doc hosp-b") == "NOTHING_READ"
    assert ward.defer("two", "node hosp-c") == "OK"
    assert ward.act("justify", "two", "doc hosp-b") == "OK"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"signature": bytes(64)}, "REQUEST_UNFIT"),
        ({"release_key": h("mine")}, "REQUEST_UNFIT"),
        ({"details": h("others")}, "REQUEST_UNFIT"),
        ({"opener": "hosp-c"}, "REQUEST_UNFIT"),
        ({"key": factories.key("operator hosp-b").public_key}, "REQUEST_UNFIT"),
        ({"key": factories.key("mal").public_key}, "REQUEST_UNFIT"),
        ({"org": "hosp-b"}, "REQUEST_UNFIT"),
    ],
)
def test_a_late_entry_carries_the_clinicians_own_words(
    changes: dict[str, object], code: str
) -> None:
    ward = Ward()
    assert ward.defer("one", "node hosp-c", **changes) == code


def test_a_late_entry_comes_from_a_holder_and_from_an_emergency_key() -> None:
    ward = Ward()
    assert ward.run(ward.deposit(("hosp-a", "hosp-b")), by="ada") == "OK"
    assert ward.defer("one", "operator hosp-a") == "NOT_AUTHORISED"
    assert ward.defer("one", "node hosp-c") == "OK"  # of the generation before
    ward.ada = Patient(ward.chain, "bob")
    enter(ward.chain, ward.ada)
    assert ward.run(ward.deposit(("hosp-a", "hosp-b")), by="bob") == "OK"
    assert ward.defer("two", "node hosp-c") == "NO_HOLDER"
    ward.employ("nurse hosp-b", "hosp-b", StaffRole.NURSE)
    assert ward.defer("two", "node hosp-a", doctor="nurse hosp-b") == "REQUEST_UNFIT"


def test_what_was_read_stands_on_record_whatever_forbids_it_by_now() -> None:
    ward = Ward()
    assert ward.run(ward.opt("opt_out"), by="ada") == "OK"
    revoke = ward.chain.op("members", "staff_revoke", handle=h("doc hosp-b"))
    assert ward.run(revoke, by="operator hosp-b") == "OK"
    assert ward.defer("one", "node hosp-c") == "OK"
    trail = ward.ask("cases_of", org="hosp-a", handle=ward.ada.handle.hex(), start=NEWEST)
    assert [(case["late"], case["holders"]) for case in trail["cases"]] == [(True, ["hosp-c"])]


def test_no_late_case_is_hidden_behind_many_others() -> None:
    ward = Ward()
    for number in range(LATE_MAX):
        assert ward.defer(f"case {number}", "node hosp-c") == "OK"
    assert ward.defer("one more", "node hosp-c") == "OK"
    assert ward.case("one more").late
    assert ward.act("justify", "one more", "doc hosp-b") == "OK"
    first = ward.case("one more").panel[0]  # type: ignore[index]
    assert ward.act("review", "one more", f"operator {first}", verdict=Verdict.ABUSE) == "OK"
    found = ward.ask("clinician_of", org="hosp-b", staff=h("doc hosp-b").hex())
    assert len(found["late"]) == LATE_MAX


def test_one_case_stands_for_one_patient_alone() -> None:
    """Else a clinician opens a case of a friend under the nonce that he gave to holders in an
    outage, and what he read then of somebody else could never be entered."""
    ward = Ward()
    bob = Patient(ward.chain, "bob")
    enter(ward.chain, bob)
    same = ward.chain.op(
        "emergency",
        "open",
        org=bob.org,
        handle=bob.handle,
        nonce=h("nonce one"),
        details=h("details"),
    )
    assert ward.run(same, "doc hosp-b") == "OK"
    assert ward.defer("one", "node hosp-c") == "OK"
    case = ward.case("one")
    assert (case.handle, case.late, case.holders) == (ward.ada.handle, True, ("hosp-c",))


def test_a_holder_that_comes_late_makes_no_opener_late() -> None:
    ward = opened()
    ward.later(LIMITS.emergency_cosign_ms + 1)
    assert ward.open("two") == "OK"
    assert not ward.case("two").live
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    ward.later(LIMITS.emergency_justify_ms + 2 * DAY_MS)
    assert ward.defer("two", "node hosp-c") == "OK"
    case = ward.case("two")
    assert case.live
    now_ms = factories.TIME_MS + ward.chain.later_ms + DAY_MS
    assert not case.unjustified(now_ms)
    assert not ward.standing("hosp-b").restricted(now_ms)


def test_who_once_held_shares_is_remembered_through_deposits_and_opting_out() -> None:
    ward = Ward()
    assert ward.run(ward.opt("opt_out"), by="ada") == "OK"
    assert ward.run(ward.opt("opt_in"), by="ada") == "OK"
    for _ in range(2):
        assert ward.run(ward.deposit(("hosp-a", "hosp-b")), by="ada") == "OK"
    found = ward.ask("summary_of", org="hosp-a", handle=ward.ada.handle.hex())
    assert found["former"] == ["hosp-c", "hosp-d"]
    assert ward.defer("one", "node hosp-c") == "OK"


# ── E-9: the patient ─────────────────────────────────────────────────────────


def test_the_patients_word_ends_the_reading_and_begins_the_review() -> None:
    ward = opened()
    assert ward.act("dispute", "one", "mal") == "NOT_AUTHORISED"
    assert ward.act("dispute", "one", "operator hosp-a") == "NOT_AUTHORISED"
    assert ward.act("dispute", "one", "ada") == "OK"
    assert ward.act("dispute", "one", "ada") == "ALREADY_DISPUTED"
    case = ward.case("one")
    assert not case.opens(case.opened_ms + 1)
    first = case.panel[0]  # type: ignore[index]
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.ABUSE) == "OK"


def test_a_delegate_who_may_deny_disputes_too() -> None:
    ward = opened()
    assert ward.run(ward.ada.delegate("phone", "deny"), by="ada") == "OK"
    assert ward.run(ward.ada.delegate("clock", "view"), by="ada") == "OK"
    assert ward.act("dispute", "one", "clock") == "NOT_AUTHORISED"
    assert ward.act("dispute", "one", "phone") == "OK"


def test_a_disputed_verdict_is_drawn_again_without_its_reviewer() -> None:
    ward = opened()
    assert ward.act("justify", "one", "doc hosp-b") == "OK"
    first = ward.case("one").panel[0]  # type: ignore[index]
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.JUSTIFIED) == "OK"
    assert ward.act("dispute", "one", "ada") == "OK"
    ward.pass_block()
    case = ward.case("one")
    assert case.decided is None
    assert case.overruled is not None
    assert case.overruled.org == first
    (other,) = case.panel or ()
    assert other not in (first, "hosp-a", "hosp-b")
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.ABUSE) == "NOT_REVIEWER"
    assert ward.act("review", "one", f"operator {other}", verdict=Verdict.ABUSE) == "OK"
    assert ward.act("dispute", "one", "ada") == "ALREADY_DISPUTED"
    assert ward.standing("hosp-b").abuses == 1
    assert ward.standing("hosp-b").overdue == 0


def test_a_disputed_verdict_on_an_unjustified_case_counts_it_once() -> None:
    ward = opened()
    until = ward.case("one").justify_until_ms
    ward.later(until - ward.case("one").opened_ms + 1_000)
    first = ward.case("one").panel[0]  # type: ignore[index]
    assert ward.act("review", "one", f"operator {first}", verdict=Verdict.JUSTIFIED) == "OK"
    assert ward.act("dispute", "one", "ada") == "OK"
    ward.pass_block()
    (other,) = ward.case("one").panel or ()
    assert ward.act("review", "one", f"operator {other}", verdict=Verdict.JUSTIFIED) == "OK"
    assert ward.standing("hosp-b").at(until).overdue == 0


def test_the_patients_list_of_cases_is_linked_and_complete() -> None:
    ward = Ward()
    for name in ("one", "two", "three"):
        assert ward.open(name) == "OK"
    answer = ward.ask("cases_of", org="hosp-a", handle=ward.ada.handle.hex(), start=NEWEST)
    assert [case["id"] for case in answer["cases"]] == [
        ward.id(name).hex() for name in ("three", "two", "one")
    ]
    assert (answer["count"], answer["next"]) == (3, None)
    rest = ward.ask(
        "cases_of", org="hosp-a", handle=ward.ada.handle.hex(), start=ward.id("two").hex()
    )
    assert [case["id"] for case in rest["cases"]] == [ward.id("two").hex(), ward.id("one").hex()]
    nobody = ward.ask("cases_of", org="hosp-b", handle=ward.ada.handle.hex(), start=NEWEST)
    assert nobody == {"cases": [], "count": 0, "next": None}
    other = ward.ask("cases_of", org="hosp-a", handle=h("x").hex(), start=ward.id("two").hex())
    assert other["cases"] == []


def test_seventy_cases_of_one_patient_come_in_answers_that_follow_one_another() -> None:
    """E-9: whoever asks on reaches the first one."""
    ward, names = Ward(), [f"case {number}" for number in range(70)]
    ward.chain.run(*(ward.opening(name) for name in names), by="doc hosp-b")
    where = {"org": "hosp-a", "handle": ward.ada.handle.hex()}
    found, start, answers = [], NEWEST, 0
    while start is not None:
        answer = ward.ask("cases_of", **where, start=start)
        found += [case["id"] for case in answer["cases"]]
        start, answers = answer["next"], answers + 1
        assert answer["count"] == 70
    assert found == [ward.id(name).hex() for name in reversed(names)]
    assert answers == 2
