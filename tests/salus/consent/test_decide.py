"""The decision: health.md §4.2, said in plain words in docs/consent.md."""

import sys
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from salus.codec import decode, encode
from salus.consent.decide import Consent, Standing, decide
from salus.consent.decision import Decision, Obligation, Reason, Redact, Verdict
from salus.consent.request import Request
from salus.consent.terms import CODES_MAX, RULES_MAX, Code, Effect, Rule, Terms, ascending
from salus.consent.vocabulary import with_broader
from tests.salus.consent.world import (
    ACTORS,
    ASK,
    CATEGORY,
    DENY_ALL,
    LABELS,
    LETTERS,
    NOW,
    PERMIT_ALL,
    RECORDS,
    RESEARCH,
    ROLES,
    SITES,
    TYPES,
    an_exception,
    asked_for,
    consent_of,
    consents,
    numbers,
    permitted,
    requests,
    shown,
    some_terms,
    terms,
    terms_of,
)

PERMIT, DENY = Effect.PERMIT, Effect.DENY
CLINIC, ANN, BOB = ACTORS
CONDITION, OBSERVATION = TYPES
HIV, RESTRICTED = LABELS


def asked(**changes: Any) -> Request:
    return msgspec.structs.replace(ASK, **changes)


def said(*given_consents: Consent, at: int = NOW, **changes: Any) -> tuple[Verdict, Reason]:
    decision = decide(given_consents, asked(**changes), at)
    return decision.verdict, decision.reason


def carrying(*codes: Code) -> Obligation:
    return Obligation(Redact.CARRYING, ascending(codes))


def lacking(*codes: Code) -> Obligation:
    return Obligation(Redact.LACKING, ascending(codes))


# -- one consent, step by step ---------------------------------------------------------------


def test_nothing_is_permitted_by_default() -> None:
    assert decide([], ASK, NOW) == Decision(Verdict.NONE, Reason.NO_CONSENT)
    assert said(consent_of(DENY_ALL)) == (Verdict.DENY, Reason.DENIED)


def test_a_permission_without_conditions_permits_whoever_asks() -> None:
    decision = decide([consent_of(PERMIT_ALL, name="x")], ASK, NOW)
    assert decision == Decision(Verdict.PERMIT, Reason.PERMITTED, (), ("x",))


@pytest.mark.parametrize(
    ("root", "request_", "reason"),
    [
        (PERMIT_ALL, asked(categories=(RESEARCH,)), Reason.OTHER_CATEGORY),
        (Rule(effect=PERMIT, purposes=("HRESCH",)), ASK, Reason.OTHER_PURPOSE),
        (Rule(effect=PERMIT, actors=(BOB,)), ASK, Reason.OTHER_ACTOR),
        (Rule(effect=PERMIT, roles=(ROLES[0],)), ASK, Reason.OTHER_ROLE),
        (Rule(effect=PERMIT, sites=(SITES[0],)), ASK, Reason.OTHER_SITE),
        (
            Rule(effect=PERMIT, classes=(OBSERVATION,)),
            asked(classes=(CONDITION,)),
            Reason.OTHER_CLASS,
        ),
        (Rule(effect=PERMIT, from_ms=NOW + 1), ASK, Reason.NOT_BEGUN),
        (Rule(effect=PERMIT, until_ms=NOW), ASK, Reason.EXPIRED),
        (Rule(effect=DENY, actors=(BOB,)), ASK, Reason.OTHER_ACTOR),
    ],
)
def test_a_consent_that_does_not_concern_the_request_is_none(
    root: Rule, request_: Request, reason: Reason
) -> None:
    decision = decide([consent_of(root)], request_, NOW)
    assert (decision.verdict, decision.reason) == (Verdict.NONE, reason)


def test_the_first_moment_counts_and_the_one_after_the_last_does_not() -> None:
    consent = consent_of(Rule(effect=PERMIT, from_ms=NOW, until_ms=NOW + 10))
    verdicts = [said(consent, at=at)[0] for at in (NOW - 1, NOW, NOW + 9, NOW + 10)]
    assert verdicts == [Verdict.NONE, Verdict.PERMIT, Verdict.PERMIT, Verdict.NONE]


def test_one_of_the_identities_is_enough() -> None:
    consent = consent_of(PERMIT_ALL, Rule(effect=DENY, actors=(BOB,)))
    assert said(consent, actors=(BOB, CLINIC)) == (Verdict.DENY, Reason.EXCEPTED)
    assert said(consent, actors=(ANN, CLINIC))[0] is Verdict.PERMIT


def test_roles_are_those_of_the_moment() -> None:
    consent = consent_of(Rule(effect=PERMIT, roles=(ROLES[0],)))
    assert said(consent, roles=ROLES)[0] is Verdict.PERMIT
    assert said(consent, roles=(ROLES[1],)) == (Verdict.NONE, Reason.OTHER_ROLE)


def test_who_hides_his_place_is_denied_by_place_and_not_permitted_by_it() -> None:
    denial = consent_of(PERMIT_ALL, Rule(effect=DENY, sites=(SITES[0],)))
    assert said(denial, sites=())[0] is Verdict.DENY
    assert said(denial, sites=(SITES[1],))[0] is Verdict.PERMIT
    assert said(consent_of(Rule(effect=PERMIT, sites=(SITES[0],))), sites=())[0] is Verdict.NONE


def test_a_denied_purpose_denies_its_kinds_and_a_permitted_one_does_not_permit_them() -> None:
    denial = consent_of(PERMIT_ALL, Rule(effect=DENY, purposes=("TREAT",)))
    assert said(denial, purpose="ERTREAT")[0] is Verdict.DENY
    assert said(denial, purpose="HRESCH")[0] is Verdict.PERMIT
    assert said(consent_of(Rule(effect=PERMIT, purposes=("TREAT",))), purpose="ETREAT") == (
        Verdict.NONE,
        Reason.OTHER_PURPOSE,
    )


def test_the_kinds_of_a_purpose_are_those_of_the_standard() -> None:
    assert with_broader("BTG") == ("BTG", "ETREAT", "TREAT", "PurposeOfUse")
    assert with_broader("CAREMGT") == ("CAREMGT", "HOPERAT", "PurposeOfUse")
    assert with_broader("unknown") == ("unknown", "PurposeOfUse")


# -- exceptions ------------------------------------------------------------------------------


def test_an_exception_overrides_and_its_own_exception_overrides_it() -> None:
    consent = consent_of(
        PERMIT_ALL,
        Rule(effect=DENY, actors=(CLINIC,)),
        Rule(exception_to=1, effect=PERMIT, actors=(ANN,)),
    )
    assert said(consent, actors=(CLINIC,))[0] is Verdict.DENY
    assert said(consent, actors=(CLINIC, ANN))[0] is Verdict.PERMIT
    assert said(consent, actors=(ANN,))[0] is Verdict.PERMIT


def test_two_exceptions_that_disagree_deny() -> None:
    exceptions_ = (Rule(effect=PERMIT, actors=(CLINIC,)), Rule(effect=DENY, actors=(CLINIC,)))
    for order in (exceptions_, exceptions_[::-1]):
        assert said(consent_of(DENY_ALL, *order))[0] is Verdict.DENY
        assert said(consent_of(PERMIT_ALL, *order))[0] is Verdict.DENY


def test_denied_labels_and_classes_are_redacted() -> None:
    consent = consent_of(
        PERMIT_ALL, Rule(effect=DENY, labels=(HIV,)), Rule(effect=DENY, classes=(OBSERVATION,))
    )
    decision = decide([consent], ASK, NOW)
    assert decision.reason is Reason.PERMITTED_IN_PART
    assert decision.obligations == (carrying(HIV, OBSERVATION),)


def test_only_permitted_labels_and_classes_stay() -> None:
    root = Rule(effect=PERMIT, classes=(OBSERVATION,), labels=(RESTRICTED,))
    decision = decide([consent_of(root)], ASK, NOW)
    assert decision.obligations == (lacking(OBSERVATION), lacking(RESTRICTED))
    consent = consent_of(
        DENY_ALL, Rule(effect=PERMIT, classes=(OBSERVATION,)), Rule(effect=PERMIT, labels=(HIV,))
    )
    assert decide([consent], ASK, NOW).obligations == (lacking(OBSERVATION, HIV),)


def test_a_class_that_is_asked_for_alone_is_decided_and_not_redacted() -> None:
    consent = consent_of(PERMIT_ALL, Rule(effect=DENY, classes=(OBSERVATION,)))
    assert said(consent, classes=(OBSERVATION,)) == (Verdict.DENY, Reason.EXCEPTED)
    other = decide([consent], asked(classes=(CONDITION,)), NOW)
    assert (other.verdict, other.obligations) == (Verdict.PERMIT, ())
    both = decide([consent], asked(classes=TYPES), NOW)
    assert both.obligations == (carrying(OBSERVATION),)


def test_permission_for_nothing_that_is_asked_for_is_a_denial() -> None:
    consent = consent_of(
        PERMIT_ALL,
        Rule(effect=DENY, classes=(OBSERVATION,)),
        Rule(effect=DENY, classes=(CONDITION,)),
    )
    assert said(consent, classes=TYPES) == (Verdict.DENY, Reason.NOTHING_LEFT)


def test_classes_of_other_systems_do_not_exclude_each_other() -> None:
    """An Observation may be a discharge letter, so the denial of letters reaches it."""
    consent = consent_of(PERMIT_ALL, Rule(effect=DENY, classes=(LETTERS[0],)))
    for classes in ((OBSERVATION,), (LETTERS[1],)):
        assert decide([consent], asked(classes=classes), NOW).obligations == (carrying(LETTERS[0]),)


# -- several consents ------------------------------------------------------------------------


def test_the_consent_committed_last_decides() -> None:
    old, new = consent_of(PERMIT_ALL, name="old", at=1), consent_of(DENY_ALL, name="new", at=2)
    for order in ([old, new], [new, old]):
        assert decide(order, ASK, NOW) == Decision(Verdict.DENY, Reason.DENIED, (), ("new",))
    new, old = replace(old, earliest=3, latest=3), new
    assert said(old, new)[0] is Verdict.PERMIT


def test_revoking_the_last_consent_revives_no_older_one() -> None:
    old = consent_of(PERMIT_ALL, name="old", at=1)
    new = replace(consent_of(PERMIT_ALL, name="new", at=2), standing=Standing.ENDED)
    assert decide([old, new], ASK, NOW) == Decision(Verdict.NONE, Reason.REVOKED, (), ("new",))


def test_a_last_consent_that_has_expired_revives_no_older_one() -> None:
    new = consent_of(Rule(effect=PERMIT, until_ms=NOW), at=2)
    assert said(consent_of(PERMIT_ALL, at=1), new) == (Verdict.NONE, Reason.EXPIRED)


def test_a_consent_for_later_leaves_the_one_of_today_in_force() -> None:
    later = consent_of(Rule(effect=DENY, from_ms=NOW + 1), at=2)
    today = consent_of(PERMIT_ALL, at=1)
    assert said(today, later)[0] is Verdict.PERMIT
    assert said(today, later, at=NOW + 1)[0] is Verdict.DENY


def test_what_never_was_a_consent_decides_nothing() -> None:
    draft = replace(consent_of(DENY_ALL, at=2), standing=Standing.VOID)
    assert said(consent_of(PERMIT_ALL, at=1), draft)[0] is Verdict.PERMIT
    assert said(draft) == (Verdict.NONE, Reason.NOT_ACTIVE)


def test_a_consent_for_another_does_not_end_this_one() -> None:
    mine = consent_of(Rule(effect=PERMIT, actors=(CLINIC,)), at=1)
    other = consent_of(Rule(effect=DENY, actors=(BOB,)), at=2)
    assert said(mine, other)[0] is Verdict.PERMIT


@pytest.mark.parametrize(
    ("other", "verdict"),
    [(consent_of(DENY_ALL, name="b", at=1), Verdict.DENY)]
    + [
        (replace(consent_of(PERMIT_ALL, name="b", at=1), standing=standing), verdict)
        for standing, verdict in ((Standing.ENDED, Verdict.NONE), (Standing.VOID, Verdict.PERMIT))
    ],
)
def test_of_two_committed_at_once_the_stricter_counts(other: Consent, verdict: Verdict) -> None:
    mine = consent_of(PERMIT_ALL, name="a", at=1)
    for order in ([mine, other], [other, mine]):
        assert decide(order, ASK, NOW).verdict is verdict


def test_of_two_committed_at_once_that_permit_both_are_obeyed() -> None:
    one = consent_of(Rule(effect=PERMIT, labels=(RESTRICTED,)), name="a", at=1)
    two = consent_of(PERMIT_ALL, Rule(effect=DENY, labels=(HIV,)), name="b", at=1)
    decision = decide([one, two], ASK, NOW)
    assert decision.obligations == (carrying(HIV), lacking(RESTRICTED))
    assert decision.consents == ("a", "b")


def test_who_may_have_been_committed_last_is_heard() -> None:
    """«2019» may be after «2019-11-01», and a consent without a time after everything."""
    dated = consent_of(PERMIT_ALL, at=5)
    for earliest, latest, verdict in ((4, 6, Verdict.DENY), (0, 4, Verdict.PERMIT)):
        vague = replace(consent_of(DENY_ALL), earliest=earliest, latest=latest)
        assert said(dated, vague)[0] is verdict


# -- properties ------------------------------------------------------------------------------


@settings(max_examples=500)
@given(terms, requests)
def test_a_decision_says_what_is_plainly_meant_for_every_record(
    given_terms: Terms, request: Request
) -> None:
    decision = decide([Consent("c", given_terms)], request, NOW)
    if decision.verdict is Verdict.NONE:
        return
    meant = {
        record
        for record in RECORDS
        if asked_for(request, record) and permitted(given_terms, request, record)
    }
    assert shown(decision, request) == meant


@given(consents, requests, numbers)
def test_adding_a_denial_never_widens(
    given_consents: list[Consent], request: Request, number: int
) -> None:
    """As an exception anywhere, or as a consent of its own at any place."""
    random = Random(number)
    before = shown(decide(given_consents, request, NOW), request)
    place = random.randrange(len(given_consents))
    changed = given_consents[place]
    rules = changed.terms.rules
    denial = msgspec.structs.replace(an_exception(random, rules), effect=DENY)
    narrower = msgspec.structs.replace(changed.terms, rules=(*rules, denial))
    with_exception = [*given_consents]
    with_exception[place] = replace(changed, terms=narrower)
    assert shown(decide(with_exception, request, NOW), request) <= before

    root = msgspec.structs.replace(some_terms(random).root, effect=DENY)
    time = random.randint(0, 5)
    consent = Consent("new", terms_of(root), Standing.ACTIVE, time, time)
    assert shown(decide([*given_consents, consent], request, NOW), request) <= before


@given(consents, requests, numbers)
def test_revoking_never_widens(
    given_consents: list[Consent], request: Request, number: int
) -> None:
    before = shown(decide(given_consents, request, NOW), request)
    place = number % len(given_consents)
    if given_consents[place].standing is Standing.VOID:
        return  # what never was one cannot be revoked
    given_consents[place] = replace(given_consents[place], standing=Standing.ENDED)
    after = decide(given_consents, request, NOW)
    assert shown(after, request) <= before


@given(consents, requests, st.randoms(use_true_random=False))
def test_the_order_of_consents_and_exceptions_says_nothing(
    given_consents: list[Consent], request: Request, random: Random
) -> None:
    mixed = [replace(each, terms=shuffled(each.terms, random)) for each in given_consents]
    random.shuffle(mixed)
    assert decide(mixed, request, NOW) == decide(given_consents, request, NOW)


def shuffled(given_terms: Terms, random: Random) -> Terms:
    """The same rules in another order that is allowed: each after the one that it excepts."""
    old = list(given_terms.rules)
    order = [0]
    waiting = set(range(1, len(old)))
    while waiting:
        ready = sorted(i for i in waiting if old[i].exception_to in order)
        order.append(random.choice(ready))
        waiting.discard(order[-1])
    rules = tuple(
        msgspec.structs.replace(old[i], exception_to=order.index(old[i].exception_to))
        for i in order
    )
    return msgspec.structs.replace(given_terms, rules=rules)


@given(consents, requests, st.integers(-(2**60), 2**60))
def test_a_decision_is_total_and_has_one_encoding(
    given_consents: list[Consent], request: Request, at_ms: int
) -> None:
    decision = decide(given_consents, request, at_ms)
    assert decode(encode(decision), Decision) == decision
    assert bool(decision.obligations) is (decision.reason is Reason.PERMITTED_IN_PART)


def steps(count: int) -> int:
    """Calls of Python functions for a consent of so many rules, all of which must be looked at."""
    actors = ascending(Code("urn:x", f"{number:03}") for number in range(CODES_MAX))
    chain = [
        Rule(exception_to=max(0, i - 1) % 7, effect=PERMIT, actors=actors) for i in range(count)
    ]
    consent = Consent("c", Terms(categories=(CATEGORY,), rules=tuple(chain)))
    request = asked(actors=actors[-1:])
    calls = 0

    def count_call(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count_call)
    try:
        decide([consent], request, NOW)
    finally:
        sys.setprofile(None)
    return calls


def test_the_work_grows_with_the_rules_and_no_faster() -> None:
    half, whole = steps(RULES_MAX // 2), steps(RULES_MAX)
    assert half < whole < 2.5 * half
