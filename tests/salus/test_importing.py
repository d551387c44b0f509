"""What becomes of an imported Consent: permits that say what it says, and never more."""

import json
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salus.consent.actor_map import NOBODY, ActorMap
from salus.consent.decide import Consent, Standing, decide
from salus.consent.decision import Redact, Verdict
from salus.consent.fhir_export import to_fhir
from salus.consent.request import Request
from salus.consent.terms import Code, Effect, Rule, Terms, ascending, terms_commitment
from salus.consent.vocabulary import CONFIDENTIALITY, RESOURCE_TYPES
from salus.consent.weigh import Opened, Weighed, citable, weigh, weigh_own
from salus.errors import BadMessage
from salus.granting import CATEGORY, ORGANISATION, STAFF, Grantee, question_of, say
from salus.importing import Plan, Planned, _silence_escapes, plan, plan_fhir
from salus.permit import EMPTY, Docket, Permit, Purpose, Reach, RecordClass
from salus.permit import Effect as Outer
from salus.relation import DAY_MS
from salus.scope import PURPOSES, types_of
from tests.salus.consent import world
from tests.salus.consent.test_fhir import TYPES, actor, consent, party

MEMBERS = ("hosp-a", "hosp-b", "hosp-c")
ANN, BOB = "aa" * 32, "bb" * 32
EMPLOYERS = {ANN: "hosp-b", BOB: "hosp-c"}
NOW_MS = world.NOW
SALT = b"s" * 32
RESULTS = (RecordClass.RESULTS,)
CLINIC = party("Organization", Code("urn:test", "clinic"))
DOCTOR = party("Practitioner", Code("urn:test", "bob"))
MAP = (("Organization/1", "hosp-b"), ("Practitioner/1", f"hosp-c/{BOB}"))


def planned(terms: Terms, standing: Standing = Standing.ACTIVE, custodian: str = "hosp-a") -> Plan:
    return plan(Consent("c1", terms, standing), custodian, MEMBERS, EMPLOYERS, NOW_MS)


def imported(provision: dict[str, Any] | None, *entries: tuple[str, str], **fields: Any) -> Plan:
    resource = json.dumps(consent(provision, **fields)).encode()
    parties = [json.dumps(one).encode() for one in (CLINIC, DOCTOR)]
    return plan_fhir(resource, parties, "hosp-a", MEMBERS, entries or MAP, NOW_MS)


def refused(provision: dict[str, Any], *entries: tuple[str, str], **fields: Any) -> str:
    with pytest.raises(BadMessage) as caught:
        imported(provision, *entries, **fields)
    return caught.value.code


def at(found: Plan, org: str, purpose: Purpose = Purpose.TREATMENT) -> Planned | None:
    named = [one for one in found.permits if (one.grantee, one.purpose) == (org, purpose)]
    assert len(named) <= 1
    return named[0] if named else None


def terms_of(root: Rule, *exceptions: Rule) -> Terms:
    return Terms(categories=(CATEGORY,), rules=(root, *exceptions))


def org(name: str) -> tuple[Code, ...]:
    return (Code(ORGANISATION, name),)


PERMIT, DENY = Rule(effect=Effect.PERMIT), Rule(effect=Effect.DENY)


# -- which permits there are -----------------------------------------------------------------


def test_whom_it_names_gets_a_permit_for_what_it_names() -> None:
    found = imported(
        {
            "type": "permit",
            "actor": [actor()],
            "purpose": [{"system": world_system(), "code": "TREAT"}],
            "class": [{"system": TYPES, "code": "Observation"}],
        }
    )
    (only,) = found.permits
    assert (only.grantee, only.purpose, only.effect) == ("hosp-b", Purpose.TREATMENT, Effect.PERMIT)
    assert (only.said.reach, only.said.classes) == (Reach.ORGANISATION, RESULTS)
    assert found.notes == ()


def world_system() -> str:
    return "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def test_whoever_names_nobody_speaks_to_all_members_for_all_purposes() -> None:
    found = planned(terms_of(PERMIT))
    others = {(one.grantee, one.purpose) for one in found.permits}
    assert len(others) == len(found.permits)
    # The custodian's own staff need none for treatment and operations.
    assert len(others) == len(MEMBERS) * 5 - 2
    assert ("hosp-a", Purpose.TREATMENT) not in others


def test_a_denied_organisation_gets_a_denial_and_no_permit() -> None:
    found = planned(terms_of(PERMIT, Rule(effect=Effect.DENY, actors=org("hosp-b"))))
    denied, other = at(found, "hosp-b"), at(found, "hosp-c")
    assert denied is not None
    assert other is not None
    assert (denied.effect, denied.said.reach) == (Effect.DENY, Reach.ORGANISATION)
    assert other.effect is Effect.PERMIT
    # What breaks off has denied first.
    effects = [one.effect for one in found.permits]
    assert effects == sorted(effects, key=lambda one: one is Effect.PERMIT)


def test_an_exception_for_one_doctor_leaves_the_house_a_permit_with_terms() -> None:
    found = planned(terms_of(PERMIT, Rule(effect=Effect.DENY, actors=(Code(STAFF, ANN),))))
    house = at(found, "hosp-b")
    assert house is not None
    assert (house.effect, house.said.reach) == (Effect.PERMIT, Reach.ORGANISATION)
    assert not weighed(house, ANN).outcome.permitted
    assert weighed(house, "cc" * 32).outcome.permitted


def test_a_doctor_who_alone_is_permitted_is_permitted_as_a_part_of_his_house() -> None:
    found = planned(terms_of(Rule(effect=Effect.PERMIT, actors=(Code(STAFF, ANN),))))
    assert {one.grantee for one in found.permits} == {"hosp-b"}
    house = at(found, "hosp-b")
    assert house is not None
    assert house.said.reach is Reach.PART
    assert weighed(house, ANN).outcome.permitted
    assert not weighed(house, "cc" * 32).outcome.permitted


def test_what_is_denied_but_for_an_exception_gets_the_smallest_box() -> None:
    observations = (Code(RESOURCE_TYPES, "Observation"),)
    found = planned(
        terms_of(DENY, Rule(effect=Effect.PERMIT, actors=org("hosp-b"), classes=observations))
    )
    house, other = at(found, "hosp-b"), at(found, "hosp-c")
    assert house is not None
    assert other is not None
    assert (house.effect, house.said.classes) == (Effect.PERMIT, RESULTS)
    assert (other.effect, other.said.reach) == (Effect.DENY, Reach.ORGANISATION)
    (obligation,) = weighed(house, ANN).decision.obligations
    assert (obligation.redact, obligation.codes) == (Redact.LACKING, observations)


@pytest.mark.parametrize(
    "rule",
    [
        Rule(effect=Effect.DENY, actors=org("hosp-b"), from_ms=NOW_MS + 1),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), until_ms=NOW_MS + 1),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), purposes=("HPAYMT",)),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), roles=(world.ROLES[0],)),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), sites=(world.SITES[0],)),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), labels=(world.LABELS[0],)),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), codes=(world.FINDINGS[0],)),
        Rule(effect=Effect.DENY, actors=org("hosp-b"), classes=(world.TYPES[0],)),
        Rule(effect=Effect.DENY, actors=(Code(STAFF, ANN),)),
    ],
)
def test_only_a_plain_denial_is_one_for_the_chain(rule: Rule) -> None:
    """Anything finer is the terms' to decide: else more would be denied than the Consent says."""
    house = at(planned(terms_of(PERMIT, rule)), "hosp-b")
    assert house is not None
    assert house.effect is Effect.PERMIT


def test_a_denial_with_an_exception_below_is_no_plain_one() -> None:
    back = Rule(effect=Effect.PERMIT, exception_to=1, actors=(Code(STAFF, ANN),))
    found = planned(terms_of(PERMIT, Rule(effect=Effect.DENY, actors=org("hosp-b")), back))
    house = at(found, "hosp-b")
    assert house is not None
    assert house.effect is Effect.PERMIT
    assert weighed(house, ANN).outcome.permitted
    assert not weighed(house, "cc" * 32).outcome.permitted


def test_the_custodians_own_staff_hear_what_is_denied_and_nothing_else() -> None:
    """Rule C-6: they need no permit, so what a permission leaves out is no denial."""
    observations = (Code(RESOURCE_TYPES, "Observation"),)
    restricted = (Code(CONFIDENTIALITY, "R"),)
    found = planned(
        terms_of(
            Rule(effect=Effect.PERMIT, classes=observations),
            Rule(effect=Effect.DENY, labels=restricted),
            Rule(effect=Effect.DENY, actors=(Code(STAFF, ANN),)),
        ),
        custodian="hosp-b",
    )
    own, paid = at(found, "hosp-b"), at(found, "hosp-b", Purpose.PAYMENT)
    assert own is not None
    assert paid is not None
    assert (own.effect, own.said.reach) == (Effect.DENY, Reach.PART)
    assert not weighed(own, ANN, own=True).outcome.permitted
    other = weighed(own, "cc" * 32, own=True)
    assert other.outcome.permitted
    assert [one.codes for one in other.decision.obligations] == [restricted]
    # For what they need a permit for they get one, and all of its terms.
    assert paid.effect is Effect.PERMIT
    assert paid.said.classes == RESULTS


@pytest.mark.parametrize(
    ("standing", "until_ms"),
    [(Standing.ENDED, NOW_MS + 1), (Standing.VOID, NOW_MS + 1), (Standing.ACTIVE, NOW_MS)],
)
def test_what_is_not_in_force_grants_nothing(standing: Standing, until_ms: int) -> None:
    found = planned(terms_of(Rule(effect=Effect.PERMIT, until_ms=until_ms)), standing)
    assert (found.permits, found.in_force) == ((), False)
    assert len(found.notes) == 1


def test_days_that_are_over_stay_off_the_chain() -> None:
    began = NOW_MS - 900 * DAY_MS
    (one, *_) = planned(terms_of(Rule(effect=Effect.PERMIT, from_ms=began))).permits
    assert one.said.from_day == NOW_MS // DAY_MS
    assert one.said.terms.root.from_ms == began


def test_another_category_is_refused_for_no_gate_asks_for_it() -> None:
    other = Terms(categories=(world.RESEARCH,), rules=(DENY,))
    with pytest.raises(BadMessage) as caught:
        planned(other)
    assert caught.value.code == "CONSENT_UNSUPPORTED"


def test_what_nobody_asks_for_is_said() -> None:
    found = planned(terms_of(Rule(effect=Effect.PERMIT, purposes=("ETREAT", "HMARKT", "TREAT"))))
    assert [note.split(":")[0] for note in found.notes] == ["rule 0", "rule 0"]
    assert {one.purpose for one in found.permits} == {Purpose.TREATMENT}


# -- who is who ------------------------------------------------------------------------------


def test_a_denial_of_somebody_unknown_is_refused() -> None:
    denied = {"type": "permit", "provision": [{"type": "deny", "actor": [actor()]}]}
    assert refused(denied, ("Organization/2", "hosp-b")) == "UNMAPPED_ACTOR"
    assert at(imported(denied, ("Organization/1", "-")), "hosp-b").effect is Effect.PERMIT  # type: ignore[union-attr]


def test_a_permission_to_somebody_unknown_permits_nobody_and_says_so() -> None:
    found = imported({"type": "permit", "actor": [actor()]}, ("Organization/2", "hosp-b"))
    assert found.permits == ()
    assert "provision.actor[0]: nobody here" in found.notes[0]


def test_a_denial_within_a_permission_to_somebody_unknown_is_not_lost() -> None:
    """Everybody may read, he too, but he no Observations: without his name he would read them."""
    observations = {"type": "deny", "class": [{"system": TYPES, "code": "Observation"}]}
    his = {"type": "permit", "actor": [actor()], "provision": [observations]}
    asked = {"type": "permit", "provision": [his]}
    assert refused(asked, ("Organization/2", "hosp-b")) == "UNMAPPED_ACTOR"
    deeper = {"type": "permit", "provision": [his | {"provision": [his | {"type": "permit"}]}]}
    assert refused(deeper, ("Organization/2", "hosp-b")) == "UNMAPPED_ACTOR"
    # Where nobody else is permitted either, he loses what he was permitted, and no more.
    found = imported({"type": "deny", "provision": [his]}, ("Organization/2", "hosp-b"))
    assert not any(one.effect is Effect.PERMIT for one in found.permits)


@pytest.mark.parametrize(
    ("action", "code"), [("use", "CONSENT_UNSUPPORTED"), ("collect", None), (None, None)]
)
def test_a_denial_within_a_permission_of_another_way_of_reading_is_not_lost(
    action: str | None, code: str | None
) -> None:
    """The permission says nothing that a gate could grant; what is excepted from it would go with it."""
    system = "http://terminology.hl7.org/CodeSystem/consentaction"
    observations = {"type": "deny", "class": [{"system": TYPES, "code": "Observation"}]}
    his = {"type": "permit", "actor": [actor()], "provision": [observations]}
    if action is not None:
        his["action"] = [{"coding": [{"system": system, "code": action}]}]
    asked = {"type": "permit", "provision": [his]}
    if code is not None:
        assert refused(asked) == code
        assert imported({"type": "deny", "provision": [his]}).permits
    else:
        assert imported(asked).permits


def test_what_is_excepted_from_a_denial_that_is_read_more_widely_is_not_permitted_more_widely() -> (
    None
):
    """Only restricted Observations are excepted; read as a denial of all that is restricted, the
    exception would permit all that is restricted."""
    both = {
        "type": "deny",
        "class": [{"system": TYPES, "code": "Observation"}],
        "securityLabel": [{"system": CONFIDENTIALITY, "code": "R"}],
    }
    assert not any(
        one.effect is Effect.PERMIT
        for one in imported({"type": "deny", "provision": [both]}).permits
    )
    back = {"type": "permit", "actor": [actor()]}
    excepted = {"type": "deny", "provision": [both | {"provision": [back]}]}
    assert refused(excepted) == "CONSENT_UNSUPPORTED"


def test_who_is_nobody_here_and_has_no_identifier_does_not_become_everybody() -> None:
    nameless = [actor("Organization/7")]
    found = imported({"type": "permit", "actor": nameless}, ("Organization/7", "-"))
    assert found.permits == ()
    codes, _ = ActorMap.of(MEMBERS, [("x", "-")]).codes(_actor("x", None), Effect.DENY, "here")
    assert codes == [NOBODY]


def _actor(reference: str, kind: str | None, *identifiers: Code) -> Any:
    from salus.consent.actor_map import Actor

    return Actor(reference, kind, identifiers)


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (("Practitioner/1", "hosp-c"), "BAD_MAP"),  # a doctor is not his whole house
        (("Organization/1", f"hosp-b/{ANN}"), "BAD_MAP"),
        (("Organization/1", "hosp-z"), "UNKNOWN_GRANTEE"),
        (("Organization/1", "hosp-b/x"), "BAD_GRANTEE"),
    ],
)
def test_a_map_that_cannot_be_is_refused(entry: tuple[str, str], code: str) -> None:
    named = [actor(), actor("Practitioner/1", "PRCP")]
    assert refused({"type": "permit", "actor": named}, entry) == code


def test_one_key_is_not_both_somebody_and_nobody_nor_one_doctor_in_two_houses() -> None:
    for entries in (
        [("x", "hosp-b"), ("x", "-")],
        [("x", f"hosp-b/{ANN}"), ("y", f"hosp-c/{ANN}")],
    ):
        with pytest.raises(BadMessage) as caught:
            ActorMap.of(MEMBERS, entries)
        assert caught.value.code == "BAD_MAP"


def test_a_team_is_several_members_of_staff_and_an_identifier_is_a_key_too() -> None:
    found = imported(
        {"type": "permit", "actor": [actor("Practitioner/1")]},
        ("urn:test|bob", f"hosp-b/{ANN}"),
        ("urn:test|bob", f"hosp-c/{BOB}"),
    )
    assert {one.grantee for one in found.permits} == {"hosp-b", "hosp-c"}
    assert all(one.said.reach is Reach.PART for one in found.permits)


def test_what_the_map_says_counts_more_than_an_identifier_of_ours() -> None:
    """Else both would be meant, and more permitted than the map says."""
    made = ActorMap.of(MEMBERS, [("Organization/1", "hosp-b")])
    codes, _ = made.codes(_actor("Organization/1", None, *org("hosp-c")), Effect.PERMIT, "here")
    assert codes == list(org("hosp-b"))


# -- nothing more, and as much as a box can hold ---------------------------------------------

_KNOWN = {
    world.ACTORS[0]: Code(ORGANISATION, "hosp-b"),
    world.ACTORS[1]: Code(STAFF, ANN),
    world.ACTORS[2]: Code(STAFF, BOB),
    world.CATEGORY: CATEGORY,
}


def ours(terms: Terms) -> Terms:
    """Terms of the small world with its people as members and staff."""

    def known(codes: tuple[Code, ...]) -> tuple[Code, ...]:
        return ascending(_KNOWN.get(code, code) for code in codes)

    rules = (msgspec.structs.replace(rule, actors=known(rule.actors)) for rule in terms.rules)
    return Terms(categories=known(terms.categories), rules=tuple(rules))


def docket(found: Planned | None) -> tuple[Docket, dict[bytes, Opened]]:
    if found is None:
        return EMPTY, {}
    said = found.said
    permit = Permit(
        bytes(32), Outer(found.effect.value), said.reach, said.classes, said.from_day,
        said.until_day, terms_commitment(SALT, said.terms), 1, None,
    )  # fmt: skip
    return Docket((permit,)), {permit.id: Opened(SALT, said.terms)}


def weighed(
    found: Planned | None,
    staff: str,
    classes: tuple[RecordClass, ...] = RESULTS,
    *,
    own: bool = False,
    question: Request | None = None,
) -> Weighed:
    house = "hosp-b" if found is None else found.grantee
    asked = question or question_of(Grantee(house, staff), classes, Purpose.TREATMENT)
    where, openings = docket(found)
    if own:
        return weigh_own(where, openings, classes, asked, NOW_MS)
    cited = citable(where, classes, NOW_MS // DAY_MS)
    return weigh(where, openings, cited, classes, asked, NOW_MS)


@given(world.numbers, st.sampled_from(("hosp-b", "hosp-c")))
def test_the_gate_permits_just_what_the_consent_permits(number: int, house: str) -> None:
    random = Random(number)
    terms = ours(world.some_terms(random))
    if CATEGORY not in terms.categories:
        return
    if _silence_escapes(terms):
        return  # refused: see below
    found = planned(terms)
    word = random.choice(("TREAT", "HRESCH"))
    kind = random.choice(tuple(RecordClass))
    asked = question_of(
        Grantee(house, random.choice((ANN, BOB, "cc" * 32))), (kind,), PURPOSES[word]
    )
    asked = msgspec.structs.replace(
        asked,
        roles=world.some(random, world.ROLES),
        sites=world.some(random, world.SITES),
    )
    if house != EMPLOYERS.get(asked.actors[-1].code, house):
        return  # nobody has a handle of another house
    plain = decide([Consent("c", terms)], asked, NOW_MS)
    gate = weighed(at(found, house, PURPOSES[word]), "", (kind,), question=asked)
    if gate.outcome.permitted:
        assert plain.verdict is Verdict.PERMIT
        assert gate.decision.obligations == plain.obligations
    elif plain.verdict is Verdict.PERMIT:
        # A box has no room for what would all be withheld.
        types = set(types_of((kind.value,))) if kind is not RecordClass.OTHER else set()
        kept = [one for one in plain.obligations if one.redact is Redact.LACKING]
        assert any(
            all(c.system == RESOURCE_TYPES and c.code not in types for c in one.codes)
            for one in kept
        )
    assert gate.decision.verdict is not Verdict.NONE or plain.verdict is not Verdict.DENY


@given(world.numbers)
def test_own_staff_are_denied_what_the_consent_denies_them(number: int) -> None:
    random = Random(number)
    terms = ours(world.some_terms(random))
    if CATEGORY not in terms.categories:
        return
    if _silence_escapes(terms):
        return  # refused: see below
    found = planned(terms, custodian="hosp-b")
    kind = random.choice(tuple(RecordClass))
    asked = question_of(
        Grantee("hosp-b", random.choice((ANN, "cc" * 32))), (kind,), Purpose.TREATMENT
    )
    plain = decide([Consent("c", terms)], asked, NOW_MS)
    gate = weighed(at(found, "hosp-b"), "", (kind,), own=True, question=asked)
    if plain.verdict is Verdict.DENY and plain.reason.value != "nothing_left":
        assert not gate.outcome.permitted
    if gate.outcome.permitted and plain.verdict is Verdict.PERMIT:
        denied = {one for one in plain.obligations if one.redact is Redact.CARRYING}
        assert denied <= set(gate.decision.obligations)


def test_a_denial_that_silence_about_the_place_would_escape_is_refused() -> None:
    """G-19: who reads says from where, or nothing. From north Observations are denied; saying nothing, the
    permission by place would not hold, and nor would what is denied within it."""
    north = Rule(effect=Effect.PERMIT, sites=(world.SITES[0],))
    inner = Rule(effect=Effect.DENY, exception_to=1, classes=(Code(RESOURCE_TYPES, "Observation"),))
    everyone = Rule(effect=Effect.PERMIT)
    refused = Terms(categories=(CATEGORY,), rules=(everyone, north, inner))
    with pytest.raises(BadMessage) as caught:
        planned(refused)
    assert caught.value.code == "CONSENT_UNSUPPORTED"
    # One by place itself holds for whoever says nothing, and a denial beside the permission does too.
    beside = msgspec.structs.replace(inner, exception_to=0)
    by_place = Rule(effect=Effect.DENY, sites=(world.SITES[0],))
    assert planned(Terms(categories=(CATEGORY,), rules=(everyone, north, beside, by_place)))


SCOPES = st.sets(st.sampled_from(("Observation", "Specimen", "results", "conditions")), min_size=1)


@given(
    SCOPES,
    st.sampled_from(("hosp-b", f"hosp-b/{ANN}", "hosp-c")),
    st.sampled_from(sorted(set(PURPOSES) - {"PATRQT"})),
    st.booleans(),
    st.integers(1, 900 * DAY_MS),
)
def test_a_grant_that_was_exported_and_imported_is_the_same_grant(
    scopes: set[str], to: str, word: str, deny: bool, length_ms: int
) -> None:
    purpose = PURPOSES[word]
    granted = say(
        Grantee.parse(to), tuple(sorted(scopes)), purpose, NOW_MS, NOW_MS + length_ms, deny=deny
    )
    resource = to_fhir("c1", granted.terms, Standing.ACTIVE, NOW_MS)
    entries = [(f"{STAFF}|{ANN}", f"hosp-b/{ANN}")]
    found = plan_fhir(json.dumps(resource).encode(), [], "hosp-a", MEMBERS, entries, NOW_MS)
    effect = Effect.DENY if deny else Effect.PERMIT
    assert found.permits == (Planned(to.split("/")[0], purpose, effect, granted),)
    assert found.notes == ()
