"""Outer permit and inner terms together (rules C-4 … C-6 of decision 0010)."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.consent.decision import Verdict
from salus.consent.terms import Code, Effect, Rule, Terms, terms_commitment
from salus.consent.vocabulary import CONFIDENTIALITY
from salus.consent.weigh import Opened, Weighed, citable, consents_of, weigh, weigh_own
from salus.errors import BadMessage
from salus.granting import CATEGORY, Grantee, Said, question_of, say
from salus.permit import Docket, Permit, Purpose, Reach, Reason, RecordClass
from salus.permit import Effect as Outer
from salus.permit import decide as decide_outer
from salus.relation import DAY_MS

TODAY = 20_000
NOW_MS = TODAY * DAY_MS + 3_600_000
STAFF, OTHER = "ab" * 32, "cd" * 32
SALT = b"s" * 32
RESULTS = (RecordClass.RESULTS,)


def said(
    *scopes: str, to: str = "hosp-b", deny: bool = False, from_ms: int = 0, days: int = 90
) -> Said:
    until_ms = NOW_MS + days * DAY_MS
    return say(Grantee.parse(to), scopes, Purpose.TREATMENT, from_ms, until_ms, deny=deny)


def docket(*grants: Said, ended: Sequence[int] = ()) -> tuple[Docket, dict[bytes, Opened]]:
    permits, openings = [], {}
    for number, one in enumerate(grants):
        permit_id = bytes([number]) * 32
        effect = Outer.DENY if one.terms.root.effect is Effect.DENY else Outer.PERMIT
        permits.append(
            Permit(
                permit_id,
                effect,
                one.reach,
                one.classes,
                one.from_day,
                one.until_day,
                terms_commitment(SALT, one.terms),
                number + 1,
                9 if number in ended else None,
            )
        )
        openings[permit_id] = Opened(SALT, one.terms)
    return Docket(tuple(permits)), openings


def asked(
    found: tuple[Docket, dict[bytes, Opened]],
    *classes: RecordClass,
    actor: str = f"hosp-b/{STAFF}",
    now_ms: int = NOW_MS,
    own: bool = False,
) -> Weighed:
    question = question_of(Grantee.parse(actor), classes, Purpose.TREATMENT)
    if own:
        return weigh_own(*found, classes, question, now_ms)
    cited = citable(found[0], classes, now_ms // DAY_MS)
    return weigh(*found, cited, classes, question, now_ms)


def test_what_was_granted_is_permitted_whole() -> None:
    found = asked(docket(said("results")), *RESULTS)
    assert found.outcome == (True, Reason.PERMIT)
    assert found.decision.verdict is Verdict.PERMIT
    assert found.decision.obligations == ()


def test_a_part_of_a_class_is_permitted_with_what_must_be_withheld() -> None:
    found = asked(docket(said("Observation")), *RESULTS)
    assert found.outcome.permitted
    assert [code.code for one in found.decision.obligations for code in one.codes] == [
        "Observation"
    ]


def test_terms_for_another_doctor_deny_what_the_chain_would_permit() -> None:
    found = asked(docket(said("results", to=f"hosp-b/{OTHER}")), *RESULTS)
    assert found.outcome == (False, Reason.TERMS)
    assert found.decision.verdict is Verdict.NONE


def test_terms_never_widen_what_the_chain_denies() -> None:
    found = asked(docket(said("results")), RecordClass.CONDITIONS)
    assert found.outcome == (False, Reason.NO_PERMIT)
    assert found.decision.verdict is not Verdict.PERMIT
    revoked = asked(docket(said("results"), ended=[0]), *RESULTS)
    assert not revoked.outcome.permitted
    assert revoked.decision.verdict is not Verdict.PERMIT


def test_a_missing_opening_is_no_permission() -> None:
    found, openings = docket(said("results"), said("Specimen", deny=True))
    del openings[bytes([1]) * 32]
    with pytest.raises(BadMessage) as refused:
        asked((found, openings), *RESULTS)
    assert refused.value.code == "OPENING_MISSING"


def test_other_terms_than_those_committed_to_are_missing() -> None:
    found, openings = docket(said("Specimen"))
    openings[bytes(32)] = Opened(SALT, said("results").terms)
    with pytest.raises(BadMessage):
        asked((found, openings), *RESULTS)


def test_a_permit_past_its_days_permits_nothing_whatever_its_terms_say() -> None:
    found, openings = docket(said("results", days=1))
    assert asked((found, openings), *RESULTS).outcome.permitted
    late = asked((found, openings), *RESULTS, now_ms=(TODAY + 3) * DAY_MS)
    assert late.decision.verdict is not Verdict.PERMIT


def test_a_permit_of_tomorrow_takes_no_place_today() -> None:
    """Its terms alone would say that they hold already."""
    first, later = said("results"), said("Observation")
    found, openings = docket(first, later)
    tomorrow = found.permits[1]
    permits = (
        found.permits[0],
        Permit(
            tomorrow.id, tomorrow.effect, Reach.PART, tomorrow.classes, TODAY + 1,
            tomorrow.until_day, tomorrow.terms, 2, None,
        ),
    )  # fmt: skip
    now = asked((Docket(permits), openings), *RESULTS)
    assert now.outcome.permitted
    assert now.decision.obligations == ()


def test_a_denial_whose_terms_permit_widens_nothing() -> None:
    """A delegate may deny and not permit; what the terms of his denial say nobody saw."""
    narrow, wide = said("Observation"), said("results")
    found, openings = docket(narrow, wide)
    permits = (
        found.permits[0],
        msgspec.structs.replace(found.permits[1], effect=Outer.DENY, reach=Reach.PART),
    )
    assert decide_outer(Docket(permits), permits[0].id, RESULTS, TODAY).permitted
    weighed = asked((Docket(permits), openings), *RESULTS)
    assert weighed.outcome == (False, Reason.TERMS)
    assert weighed.decision.verdict is Verdict.DENY


def test_the_newest_permit_that_holds_is_cited() -> None:
    found, _ = docket(said("results"), said("results"), said("conditions"))
    assert citable(found, RESULTS, TODAY) == bytes([1]) * 32
    assert citable(found, (RecordClass.SUMMARY,), TODAY) is None


# -- the custodian's own staff --------------------------------------------------------------------


def test_own_staff_need_no_permit() -> None:
    found = asked(docket(), *RESULTS, own=True)
    assert found.outcome == (True, Reason.OWN_CARE)
    assert found.decision.verdict is Verdict.PERMIT


def test_own_staff_are_not_narrowed_by_what_is_permitted_besides() -> None:
    found = asked(docket(said("Observation")), *RESULTS, own=True)
    assert found.decision.obligations == ()


def test_a_denial_for_one_of_the_own_staff_denies_him_alone() -> None:
    denied = docket(said("results", to=f"hosp-b/{OTHER}", deny=True))
    assert asked(denied, *RESULTS, own=True).outcome.permitted
    other = asked(denied, *RESULTS, own=True, actor=f"hosp-b/{OTHER}")
    assert other.outcome == (False, Reason.TERMS)


def test_own_staff_meet_every_denial_not_only_the_last() -> None:
    """A later one that has ended must not silence an earlier one in force."""
    grants = (
        said("results", to=f"hosp-b/{STAFF}", deny=True),
        said("results", to=f"hosp-b/{STAFF}", deny=True),
    )
    assert not asked(docket(*grants, ended=[1]), *RESULTS, own=True).outcome.permitted
    assert asked(docket(*grants, ended=[0, 1]), *RESULTS, own=True).outcome.permitted


def test_a_denial_of_the_whole_organisation_stands_for_its_own_staff_too() -> None:
    found = asked(docket(said("results", deny=True)), *RESULTS, own=True)
    assert found.outcome == (False, Reason.LATER_DENY)
    assert found.decision.verdict is Verdict.DENY


def test_what_own_staff_may_not_see_is_withheld() -> None:
    label = (Code(CONFIDENTIALITY, "R"),)
    terms = Terms(
        categories=(CATEGORY,),
        rules=(
            Rule(effect=Effect.DENY, purposes=("TREAT",)),
            Rule(effect=Effect.PERMIT, labels=label),
        ),
    )
    found, _ = docket(said("results", to=f"hosp-b/{STAFF}", deny=True))
    permit = found.permits[0]
    changed = Permit(
        permit.id, permit.effect, permit.reach, permit.classes, permit.from_day, permit.until_day,
        terms_commitment(SALT, terms), 1, None,
    )  # fmt: skip
    weighed = asked((Docket((changed,)), {permit.id: Opened(SALT, terms)}), *RESULTS, own=True)
    assert weighed.outcome.permitted
    assert [one.codes for one in weighed.decision.obligations] == [label]


# -- for all dockets ------------------------------------------------------------------------------

SCOPES = st.sampled_from(("Observation", "Specimen", "results", "conditions", "Condition"))
GRANTS = st.builds(
    lambda scopes, to, deny, from_day, days: said(
        *sorted(set(scopes)),
        to=to,
        deny=deny,
        from_ms=NOW_MS + from_day * DAY_MS,
        days=from_day + days,
    ),
    st.lists(SCOPES, min_size=1, max_size=3),
    st.sampled_from(("hosp-b", f"hosp-b/{STAFF}", f"hosp-b/{OTHER}")),
    st.booleans(),
    st.integers(-3, 2),
    st.integers(1, 4),
)


@given(st.lists(GRANTS, max_size=6), st.sets(st.integers(0, 5)), st.booleans())
def test_nothing_is_permitted_that_the_chain_alone_denies(
    grants: list[Said], ended: set[int], both: bool
) -> None:
    classes = (RecordClass.CONDITIONS, *RESULTS) if both else RESULTS
    found, openings = docket(*grants, ended=sorted(ended))
    for permit in (None, *(one.id for one in found.permits)):
        question = question_of(Grantee.parse(f"hosp-b/{STAFF}"), classes, Purpose.TREATMENT)
        weighed = weigh(found, openings, permit, classes, question, NOW_MS)
        outer = decide_outer(found, permit, classes, TODAY)
        assert weighed.outcome.permitted <= outer.permitted
        assert weighed.outcome.permitted == (weighed.decision.verdict is Verdict.PERMIT)
    assert len(consents_of(found, openings, NOW_MS)) <= len(found.permits)
