"""The public cases of FHIR Consents, on the chain: imported, granted, and weighed as a gate does."""

from typing import Any

import msgspec
import pytest

from salus.acts import permits
from salus.consent.decision import Verdict, to_json
from salus.consent.instant import parse_instant
from salus.consent.terms import Effect, decode_terms
from salus.consent.weigh import Opened, citable, weigh
from salus.granting import Grantee, question, question_of, say
from salus.importing import Plan, Planned, plan_fhir
from salus.permit import EMPTY, Docket, Purpose, RecordClass, docket_key
from salus.relation import DAY_MS, Whose
from salus.scope import classes_of
from tests import factories
from tests.contracts.lab import Lab
from tests.contracts.patients import Patient, enter
from tests.salus import data

CASES = "fhir-consent-decisions"
FROZEN_MS = parse_instant(
    "2024-01-01T00:00:00Z"
)  # inside of the periods of all but the expired one
BOB, NURSE = "b0" * 32, "c0" * 32
# Who the actors of the public files are here.
MAP = (("Organization/54", "hosp-b"), ("Practitioner/001", f"hosp-b/{BOB}"))
# By the identifiers that the cases ask with.
ASKING = {
    "2.16.840.1.113883.20.5": Grantee("hosp-b", NURSE),
    "5555": Grantee("hosp-b", BOB),
    "test-value": Grantee("hosp-c", NURSE),  # of whom the files say nothing
}
ALL = tuple(one.value for one in RecordClass)


def cases() -> list[dict[str, Any]]:
    found = data.load(f"{CASES}/decisions.json")
    assert isinstance(found, list)
    return found


def planned(file: str) -> Plan:
    folder = data.path(CASES)
    names = ("org-good-health.json", "practitioner-dr-bob.json")
    parties = [(folder / name).read_bytes() for name in names]
    content = (folder / "consents" / file).read_bytes()
    members = [f"hosp-{letter}" for letter in "abcd"]
    return plan_fhir(content, parties, "hosp-a", members, MAP, FROZEN_MS)


class World:
    """A patient of hosp-a with a Consent that was imported."""

    def __init__(self, plan: Plan) -> None:
        self.chain = Lab()
        self.chain.later_ms = FROZEN_MS - factories.TIME_MS
        self.ada = Patient(self.chain)
        enter(self.chain, self.ada)
        whose = Whose("hosp-a", self.ada.handle)
        made = [permits.planned(whose, one, lambda _: bytes(512)) for one in plan.permits]
        if made:
            codes = self.chain.codes(*(one.act.operation for one in made), by="ada")
            assert codes == ["OK"] * len(made)
        openings = [one.opening for one in made]
        self.whose, self.permits = whose, tuple(one.permit for one in openings)
        self.openings = {one.permit: Opened(one.salt, decode_terms(one.terms)) for one in openings}

    def weighed(self, who: Grantee, scopes: tuple[str, ...], word: str = "TREAT") -> Any:
        """As the gate weighs, by the docket that stands on the chain."""
        asked = question(who, scopes, Purpose.TREATMENT)
        asked = msgspec.structs.replace(asked, purpose=word)
        classes = classes_of(scopes)
        docket = self.docket(who.org)
        cited = citable(docket, classes, FROZEN_MS // DAY_MS)
        return weigh(docket, self.openings, cited, classes, asked, FROZEN_MS)

    def docket(self, grantee: str) -> Docket:
        key = docket_key("hosp-a", self.ada.handle, grantee, Purpose.TREATMENT)
        found = self.chain.value(key, Docket) or EMPTY
        assert isinstance(found, Docket)
        return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["name"])
def test_every_public_case_comes_out_of_the_chain_as_expected(case: dict[str, Any]) -> None:
    """All eight, none excepted. The one that asks for emergency treatment asks a question that no
    gate is asked (an emergency is a case, decision 0014); the function answers it all the same."""
    query = case["query"]
    (actor,) = query["actor"]
    scopes = tuple(one["code"] for one in query.get("class", ())) or ALL
    world = World(planned(case["consent"]))
    weighed = world.weighed(ASKING[actor["value"]], scopes, query["purposeOfUse"])
    answer = to_json(weighed.decision)
    assert answer["decision"] == case["decision"]
    if case["obligations"] is not None:
        assert answer["obligations"] == case["obligations"]
    assert weighed.outcome.permitted == (case["decision"] == "CONSENT_PERMIT")


def test_a_gate_that_asks_for_a_whole_class_withholds_the_denied_type() -> None:
    """A gate knows coarse classes only: medications are permitted, MedicationStatements withheld."""
    world = World(planned("consent-boris-deny-restricted-content-class-only.json"))
    docket, classes = world.docket("hosp-b"), (RecordClass.MEDICATIONS,)
    asked = question_of(Grantee("hosp-b", NURSE), classes, Purpose.TREATMENT)
    cited = citable(docket, classes, FROZEN_MS // DAY_MS)
    found = weigh(docket, world.openings, cited, classes, asked, FROZEN_MS)
    assert found.outcome.permitted
    (obligation,) = found.decision.obligations
    assert [code.code for code in obligation.codes] == ["MedicationStatement"]


@pytest.mark.parametrize("name", ["inactive", "research", "expired"])
def test_what_is_not_in_force_puts_nothing_on_the_chain(name: str) -> None:
    plan = planned(f"consent-boris-{name}.json")
    assert (plan.permits, plan.in_force) == ((), False)


def test_an_older_permit_that_was_wider_gives_way() -> None:
    """What stands before the import is silent where the Consent speaks."""
    before = Plan("before", True, wide_permits(), ())
    after = planned("consent-boris-optin.json")
    doctor = Grantee("hosp-b", NURSE)
    assert World(before).weighed(doctor, ALL).outcome.permitted
    both = World(Plan("both", True, before.permits + after.permits, ()))
    assert not both.weighed(doctor, ALL).outcome.permitted
    assert both.weighed(doctor, ALL).decision.verdict is Verdict.DENY


def wide_permits() -> tuple[Planned, ...]:
    wide = say(Grantee("hosp-b"), ALL, Purpose.TREATMENT, FROZEN_MS, FROZEN_MS + 9 * DAY_MS)
    return (Planned("hosp-b", Purpose.TREATMENT, Effect.PERMIT, wide),)


def test_a_revoked_consent_permits_nothing_any_more() -> None:
    world = World(planned("consent-boris-provision-array.json"))
    doctor = Grantee("hosp-b", NURSE)
    assert world.weighed(doctor, ALL).outcome.permitted
    ends = [permits.revoke(world.whose, permit).operation for permit in world.permits]
    assert world.chain.codes(*ends, by="ada") == ["OK"] * len(ends)
    after = world.weighed(doctor, ALL)
    assert not after.outcome.permitted
    assert after.decision.verdict is Verdict.NONE
