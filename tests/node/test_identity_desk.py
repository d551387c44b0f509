"""A hospital's desk (decision 0017): tags for a registration, private cases, finding a person; by whom,
how often, and what is kept."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.members import StaffRegisterArgs
from node.duplicate_cases import STEPS_MAX, DuplicateCases
from node.identity_desk import HOUR_MS, SEARCHES_PER_HOUR_MAX, IdentityDesk
from node.pepper import PEPPER_FILE, PepperKeep
from node.seen_asks import SeenAsks
from salus import pepper
from salus.codec import decode, encode
from salus.desk_asks import (
    ASK_AHEAD_MS_MAX,
    CasesAsk,
    CaseState,
    CheckAsk,
    CloseAsk,
    DeskAsk,
    FindAsk,
    SearchesAsk,
    Signed,
    Typed,
    case_id,
    signed,
)
from salus.desk_json import CheckAnswer
from salus.errors import SalusError
from salus.genesis import NO_PEPPER, Genesis
from salus.keys import SigningKey, box_public_key
from salus.staff import StaffRole
from storage.errors import VaultDamaged
from storage.vault import Vault
from tests import factories
from tests.contracts.lab import Lab, h, possession_of
from tests.contracts.patients import Patient

ORG = "hosp-a"
NUMBER = Typed("urn:oid:2.16.840.1.113883.2.1.4.1", "943-476 5919")
SAME_NUMBER = Typed(" URN:OID:2.16.840.1.113883.2.1.4.1/", "943.476.５９１９")
OTHER_NUMBER = Typed(NUMBER.system, "943-476 5918")
PASSPORT = Typed("http://hl7.org/fhir/sid/passport-USA", "A1234567")


def pepper_file(home: Path, member: str = ORG, secret: bytes = factories.seed("pepper")) -> None:
    box = {member: box_public_key(factories.seed(f"box {member}"))}
    text = pepper.write(pepper.sealed(secret, factories.CHAIN_ID, box))
    (home / PEPPER_FILE).write_text(text)


class House:
    """hosp-a's desk over a chain with four hospitals."""

    def __init__(self, home: Path) -> None:
        self.home, self.chain = home, Lab()
        self.now_ms = factories.TIME_MS + 1_000
        self.vault = Vault.open(str(home / "vault"), factories.seed("vault lock"))
        pepper_file(home)
        self.desk = self.opened()

    def opened(self, genesis: Genesis | None = None, org: str = ORG) -> IdentityDesk:
        """As after a new start."""
        founding = genesis or self.chain.genesis
        keep = PepperKeep(self.home, founding, org, factories.seed(f"box {org}"))
        state, chain_id = self.chain.store, factories.CHAIN_ID
        asks = SeenAsks(self.home / "asks")
        return IdentityDesk(self.vault, state, org, chain_id, keep, lambda: self.now_ms, asks)

    def staff(self, name: str, *roles: StaffRole, org: str = ORG) -> None:
        handle = h(f"staff {name}")
        args = StaffRegisterArgs(
            org, handle, factories.key(name).public_key, tuple(sorted(roles)), h("licence"), 0,
            2**53 - 1, possession_of(name, org, handle),
        )  # fmt: skip
        operation = self.chain.op("members", "staff_register", args)
        assert self.chain.codes(operation, by=f"operator {org}") == ["OK"]

    def body(self, kind: type[DeskAsk], by: str, *fields: Any, **changes: Any) -> bytes:
        key = factories.key(by)
        common = {
            "chain_id": factories.CHAIN_ID,
            "org": ORG,
            "key": key.public_key,
            "expires_ms": self.now_ms + 60_000,
            "nonce": os.urandom(16),
        } | changes
        return signed(kind(*common.values(), *fields), key)

    async def check(
        self, patient: Patient, *typed: Typed, by: str = "operator hosp-a"
    ) -> CheckAnswer:
        return await self.desk.check(self.body(CheckAsk, by, patient.handle, typed))

    async def register(self, name: str, *typed: Typed) -> tuple[Patient, CheckAnswer]:
        """At hosp-a, as the command does it: checked, then sent with the first tag."""
        patient = Patient(self.chain, name)
        answer = await self.check(patient, *typed)
        assert self.chain.codes(patient.register(with_tag=bytes.fromhex(answer.tags[0]))) == ["OK"]
        return patient, answer

    async def elsewhere(self, name: str, typed: Typed, org: str = "hosp-b") -> Patient:
        """At another hospital, by its own desk."""
        (self.home / org).mkdir(exist_ok=True)
        pepper_file(self.home / org, org)
        keep = PepperKeep(self.home / org, self.chain.genesis, org, factories.seed(f"box {org}"))
        vault = Vault.open(str(self.home / org / "vault"), factories.seed("vault lock"))
        state, chain_id = self.chain.store, factories.CHAIN_ID
        asks = SeenAsks(self.home / org / "asks")
        desk = IdentityDesk(vault, state, org, chain_id, keep, lambda: self.now_ms, asks)
        patient = Patient(self.chain, name, org)
        operator = f"operator {org}"
        answer = await desk.check(self.body(CheckAsk, operator, patient.handle, (typed,), org=org))
        tag = bytes.fromhex(answer.tags[0])
        assert self.chain.codes(patient.register(with_tag=tag), by=operator) == ["OK"]
        return patient


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def refused(asked: Any) -> str:
    with pytest.raises(SalusError) as caught:
        await asked
    return caught.value.code


# -- registering ---------------------------------------------------------------------------------


async def test_a_person_known_at_another_hospital_opens_a_case_here(house: House) -> None:
    """D-4: typed differently, it is the same number; and nothing goes on the chain but the tag."""
    there = await house.elsewhere("ada at b", NUMBER)
    before = house.chain.dump().keys()
    here, answer = await house.register("ada", SAME_NUMBER)
    assert answer.possible_duplicate == case_id(ORG, here.handle).hex()
    cases = await house.desk.cases(house.body(CasesAsk, "operator hosp-a", None, None))
    (case,) = cases.items
    assert (case.handle, case.state, case.registered) == (here.handle.hex(), "open", True)
    assert [(one.org, one.handle) for one in case.met] == [("hosp-b", there.handle.hex())]
    new = house.chain.dump().keys() - before
    assert not [key for key in new if b"case" in key or b"duplicate" in key]


async def test_one_digit_makes_another_person(house: House) -> None:
    await house.elsewhere("ada at b", NUMBER)
    _, answer = await house.register("bob", OTHER_NUMBER)
    assert answer.possible_duplicate is None
    body = house.body(CasesAsk, "operator hosp-a", None, None)
    assert (await house.desk.cases(body)).items == ()


async def test_a_person_known_here_opens_a_case_and_the_first_relation_keeps_the_tag(
    house: House,
) -> None:
    first, _ = await house.register("ada", NUMBER)
    second, answer = await house.register("ada again", SAME_NUMBER)
    assert answer.possible_duplicate == case_id(ORG, second.handle).hex()
    body = house.body(CasesAsk, "operator hosp-a", bytes.fromhex(answer.possible_duplicate), None)
    (case,) = (await house.desk.cases(body)).items
    assert [(one.org, one.handle) for one in case.met] == [(ORG, first.handle.hex())]
    assert (await house.check(first, NUMBER)).possible_duplicate is None, "it does not meet itself"


async def test_two_relations_of_one_person_here_share_no_value_on_the_chain(house: House) -> None:
    """The chain finds the first by its tag; the same beside the second would only link the two."""
    first, answer = await house.register("ada", NUMBER)
    assert (await house.check(first, NUMBER)).tags == answer.tags, "asked again, it is the same"
    second, again = await house.register("ada again", SAME_NUMBER)
    assert again.possible_duplicate is not None
    assert len(again.tags[0]) == len(answer.tags[0])
    assert again.tags != answer.tags
    assert (await house.check(second, NUMBER)).tags != again.tags, (
        "random bytes, as without a number"
    )


async def test_two_hospitals_have_two_tags_of_one_number(house: House) -> None:
    there = await house.elsewhere("ada at b", NUMBER)
    _, answer = await house.register("ada", NUMBER)
    found = house.chain.dump()
    assert b"identity/tag/hosp-a/" + bytes.fromhex(answer.tags[0]) in found
    assert b"identity/tag/hosp-b/" + bytes.fromhex(answer.tags[0]) not in found
    (theirs,) = (key for key in found if key.startswith(b"identity/tag/hosp-b/"))
    assert theirs[-32:] != bytes.fromhex(answer.tags[0])
    assert there.handle in found[theirs]


async def test_who_registers_at_the_same_moment_is_met_by_the_second_check(house: House) -> None:
    """D-4: neither is on the chain when both look first."""
    here, answer = await house.register("ada", NUMBER)
    assert answer.possible_duplicate is None
    await house.elsewhere("ada at b", NUMBER)
    again = await house.check(here, NUMBER)
    assert again.possible_duplicate == case_id(ORG, here.handle).hex()
    assert (await house.check(here, NUMBER)).possible_duplicate == again.possible_duplicate
    body = house.body(CasesAsk, "operator hosp-a", None, None)
    assert len((await house.desk.cases(body)).items) == 1, "asked twice, there is one case"


async def test_each_of_several_identifiers_is_looked_up(house: House) -> None:
    await house.elsewhere("ada at b", PASSPORT)
    _, answer = await house.register("ada", NUMBER, PASSPORT)
    assert len(answer.tags) == 2
    assert answer.possible_duplicate is not None


# -- cases ---------------------------------------------------------------------------------------


async def test_a_case_keeps_what_was_said_of_it_and_by_whom(house: House) -> None:
    house.staff("amy", StaffRole.ADMINISTRATION)
    await house.elsewhere("ada at b", NUMBER)
    _, answer = await house.register("ada", NUMBER)
    assert answer.possible_duplicate is not None
    case = bytes.fromhex(answer.possible_duplicate)
    house.now_ms += 60_000
    said = await house.desk.close(
        house.body(CloseAsk, "amy", case, CaseState.THEFT, "two passports at the desk")
    )
    assert said.state == "theft"
    house.desk = house.opened()
    (found,) = (await house.desk.cases(house.body(CasesAsk, "amy", case, None))).items
    assert [(one.state, one.note) for one in found.steps] == [
        ("open", ""),
        ("theft", "two passports at the desk"),
    ]
    assert [one.staff for one in found.steps] == [None, h("staff amy").hex()]
    for state, count in ((CaseState.THEFT, 1), (CaseState.OPEN, 0)):
        listed = await house.desk.cases(house.body(CasesAsk, "amy", None, state))
        assert len(listed.items) == count


@pytest.mark.parametrize(
    ("state", "told"),
    [(CaseState.DIFFERENT_PERSONS, False), (CaseState.SAME_PERSON, False), (CaseState.THEFT, True)],
)
async def test_what_was_settled_is_told_no_more_until_somebody_else_is_met(
    house: House, state: CaseState, told: bool
) -> None:
    await house.elsewhere("ada at b", NUMBER)
    here, answer = await house.register("ada", NUMBER)
    case = case_id(ORG, here.handle)
    await house.desk.close(house.body(CloseAsk, "operator hosp-a", case, state, ""))
    assert ((await house.check(here, NUMBER)).possible_duplicate is not None) == told
    await house.elsewhere("ada at c", NUMBER, "hosp-c")
    assert (await house.check(here, NUMBER)).possible_duplicate == answer.possible_duplicate
    (found,) = (await house.desk.cases(house.body(CasesAsk, "operator hosp-a", case, None))).items
    assert found.state == "open"
    assert [one.org for one in found.met] == ["hosp-b", "hosp-c"]


async def test_a_case_has_an_end(house: House) -> None:
    await house.elsewhere("ada at b", NUMBER)
    here, _ = await house.register("ada", NUMBER)
    case = case_id(ORG, here.handle)

    def close() -> Any:
        return house.desk.close(house.body(CloseAsk, "operator hosp-a", case, CaseState.OPEN, ""))

    for _ in range(STEPS_MAX - 1):
        await close()
    assert await refused(close()) == "TOO_LARGE"
    await house.elsewhere("ada at c", NUMBER, "hosp-c")
    met = await house.check(here, NUMBER)
    assert met.possible_duplicate == case.hex(), "D-6: nobody is refused for a full history"
    unknown = house.body(CloseAsk, "operator hosp-a", h("no case"), CaseState.OPEN, "")
    assert await refused(house.desk.close(unknown)) == "UNKNOWN_CASE"
    shown = house.body(CasesAsk, "operator hosp-a", h("no case"), None)
    assert await refused(house.desk.cases(shown)) == "UNKNOWN_CASE"


async def test_a_case_under_another_ones_name_is_seen(house: House) -> None:
    await house.elsewhere("ada at b", NUMBER)
    here, _ = await house.register("ada", NUMBER)
    stored = house.vault.record(b"D" + case_id(ORG, here.handle))
    assert stored is not None
    house.vault.put_record(b"D" + h("other"), stored)
    with pytest.raises(VaultDamaged):
        DuplicateCases(house.vault, ORG, factories.seed).case(h("other"))


# -- finding -------------------------------------------------------------------------------------


async def test_an_emergency_finds_the_handles_and_leaves_a_search(house: House) -> None:
    """D-7: kept before it is answered, without the number."""
    house.staff("eve", StaffRole.CLINICIAN, StaffRole.EMERGENCY)
    there = await house.elsewhere("ada at b", NUMBER)
    here, _ = await house.register("ada", NUMBER)
    found = await house.desk.find(house.body(FindAsk, "eve", "unconscious", (SAME_NUMBER,)))
    assert [(one.org, one.handle) for one in found.found] == [
        (ORG, here.handle.hex()),
        ("hosp-b", there.handle.hex()),
    ]
    nobody = house.body(FindAsk, "eve", "unconscious", (OTHER_NUMBER,))
    assert await refused(house.desk.find(nobody)) == "NOBODY_FOUND"
    house.desk = house.opened()
    listed = (await house.desk.searches(house.body(SearchesAsk, "operator hosp-a", None))).items
    kept = [(one.reason, one.staff, len(one.found)) for one in listed]
    assert sorted(kept, key=lambda one: one[2]) == [
        ("unconscious", h("staff eve").hex(), 0),
        ("unconscious", h("staff eve").hex(), 2),
    ]


async def test_searches_of_any_age_are_listed_page_by_page(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three of them in one millisecond: a page ends at a search, not at a time."""
    monkeypatch.setattr("node.identity_desk.SEARCHES_PER_ANSWER_MAX", 2)
    house.staff("eve", StaffRole.EMERGENCY)
    await house.elsewhere("ada at b", NUMBER)
    for number, later_ms in enumerate((0, 1, 0, 0, 1)):
        house.now_ms += later_ms
        await house.desk.find(house.body(FindAsk, "eve", f"reason {number}", (NUMBER,)))
    pages, before = [], None
    while not pages or before is not None:
        answer = await house.desk.searches(house.body(SearchesAsk, "operator hosp-a", before))
        pages.append([one.reason for one in answer.items])
        before = None if answer.next is None else bytes.fromhex(answer.next)
        # Between two pages somebody looks again: that moves no place.
        await house.desk.find(house.body(FindAsk, "eve", "meanwhile", (NUMBER,)))
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {one for page in pages for one in page} == {f"reason {number}" for number in range(5)}
    assert (pages[0][0], pages[2][0]) == ("reason 4", "reason 0")
    behind_all = house.body(SearchesAsk, "operator hosp-a", bytes(16))
    assert (await house.desk.searches(behind_all)).items == ()


async def test_a_key_finds_so_many_an_hour_and_a_new_start_forgets_none(house: House) -> None:
    house.staff("eve", StaffRole.EMERGENCY)
    house.staff("eli", StaffRole.EMERGENCY)
    await house.elsewhere("ada at b", NUMBER)

    async def find(by: str) -> str:
        body = house.body(FindAsk, by, "unconscious", (NUMBER,))
        try:
            await house.desk.find(body)
        except SalusError as error:
            return f"{error.code} {error.facts['retry_after_s']}"
        return "OK"

    for _ in range(SEARCHES_PER_HOUR_MAX):
        assert await find("eve") == "OK"
        house.now_ms += 1_000
    house.desk = house.opened()
    assert await find("eve") == f"TOO_MANY_SEARCHES {HOUR_MS // 1_000 - SEARCHES_PER_HOUR_MAX}"
    assert await find("eli") == "OK"
    house.now_ms += HOUR_MS - 1_000 * SEARCHES_PER_HOUR_MAX
    assert await find("eve") == "OK", "the first is an hour old"


async def test_a_clock_that_was_ahead_keeps_nobody_from_finding_or_registering(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was counted in a day that has not come is of no hour that is over."""
    monkeypatch.setattr("node.identity_desk.SEARCHES_PER_HOUR_MAX", 2)
    monkeypatch.setattr("node.identity_desk.CHECKS_PER_HOUR_MAX", 2)
    house.staff("eve", StaffRole.EMERGENCY)
    there = await house.elsewhere("ada at b", NUMBER)
    people = [Patient(house.chain, f"number {number}") for number in range(3)]
    house.now_ms += 24 * HOUR_MS
    for patient in people[:2]:
        await house.desk.find(house.body(FindAsk, "eve", "unconscious", (NUMBER,)))
        await house.check(patient, NUMBER)
    refusals = [
        await refused(house.desk.find(house.body(FindAsk, "eve", "unconscious", (NUMBER,)))),
        await refused(house.check(people[2], NUMBER)),
    ]
    assert refusals == ["TOO_MANY_SEARCHES"] * 2
    house.now_ms -= 24 * HOUR_MS
    found = await house.desk.find(house.body(FindAsk, "eve", "unconscious", (NUMBER,)))
    assert found.found[0].handle == there.handle.hex()
    assert (await house.check(people[2], NUMBER)).tags


async def test_a_key_checks_so_many_an_hour(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.identity_desk.CHECKS_PER_HOUR_MAX", 8)
    house.staff("amy", StaffRole.ADMINISTRATION)
    people = [Patient(house.chain, f"number {number}") for number in range(9)]
    for patient in people[:8]:
        await house.check(patient, NUMBER)
        assert await house.check(patient, NUMBER), "asked again after registering, it is free"
    assert await house.check(people[3], NUMBER), "also if another desk with this key asked since"
    assert await refused(house.check(people[8], NUMBER)) == "TOO_MANY_SEARCHES"
    assert await refused(house.check(people[7], OTHER_NUMBER)) == "TOO_MANY_SEARCHES"
    assert (await house.check(people[8], NUMBER, by="amy")).tags, "of another key"
    house.now_ms += HOUR_MS
    assert (await house.check(people[8], NUMBER)).tags


# -- who may -------------------------------------------------------------------------------------

_H = h("handle")
ASKS: dict[str, Callable[[IdentityDesk], Any]] = {
    "check": lambda desk: desk.check,
    "find": lambda desk: desk.find,
    "cases": lambda desk: desk.cases,
    "close": lambda desk: desk.close,
    "searches": lambda desk: desk.searches,
}
FIELDS: dict[str, tuple[type[DeskAsk], tuple[Any, ...]]] = {
    "check": (CheckAsk, (_H, (NUMBER,))),
    "find": (FindAsk, ("unconscious", (NUMBER,))),
    "cases": (CasesAsk, (None, None)),
    "close": (CloseAsk, (_H, CaseState.OPEN, "")),
    "searches": (SearchesAsk, (None,)),
}
# Who gets past the door; what a case that is not there, or nobody found, says comes after it.
ADMITTED = {
    "operator hosp-a": {"check", "cases", "close", "searches"},
    "amy": {"check", "cases", "close", "searches"},  # administration
    "gus": {"check"},  # gateway
    "eve": {"find"},  # emergency
    "cli": set[str](),  # clinician
    "bea": set[str](),  # administration and emergency, of hosp-b
    "operator hosp-b": set[str](),
    "node hosp-a": set[str](),
    "stranger": set[str](),
}


@pytest.mark.parametrize("what", ASKS)
async def test_each_ask_is_of_the_roles_that_it_needs(house: House, what: str) -> None:
    house.staff("amy", StaffRole.ADMINISTRATION)
    house.staff("gus", StaffRole.GATEWAY)
    house.staff("eve", StaffRole.EMERGENCY)
    house.staff("cli", StaffRole.CLINICIAN)
    house.staff("bea", StaffRole.ADMINISTRATION, StaffRole.EMERGENCY, org="hosp-b")
    kind, fields = FIELDS[what]
    admitted = set()
    for who in ADMITTED:
        try:
            await ASKS[what](house.desk)(house.body(kind, who, *fields))
            code = "OK"
        except SalusError as error:
            code = error.code
        assert code in ("OK", "DESK_REFUSED", "UNKNOWN_CASE", "NOBODY_FOUND")
        if code != "DESK_REFUSED":
            admitted.add(who)
    assert admitted == {who for who, may in ADMITTED.items() if what in may}


@pytest.mark.parametrize("what", ASKS)
async def test_an_ask_is_fresh_for_this_desk_and_signed_by_its_key(house: House, what: str) -> None:
    house.staff("amy", StaffRole.ADMINISTRATION, StaffRole.EMERGENCY)
    kind, fields = FIELDS[what]
    ask = ASKS[what](house.desk)
    for changes, code in (
        ({"chain_id": "other-chain"}, "DESK_REFUSED"),
        ({"org": "hosp-b"}, "DESK_REFUSED"),
        ({"expires_ms": house.now_ms}, "DESK_LATE"),
        ({"expires_ms": house.now_ms + ASK_AHEAD_MS_MAX + 1}, "DESK_LATE"),
    ):
        assert await refused(ask(house.body(kind, "amy", *fields, **changes))) == code, changes
    body = decode(house.body(kind, "amy", *fields), Signed)
    forged = encode(Signed(body.ask, factories.key("bob").sign(body.ask)))
    assert await refused(ask(forged)) == "DESK_REFUSED"
    undomained = encode(Signed(body.ask, factories.key("amy").sign(body.ask)))
    assert await refused(ask(undomained)) == "DESK_REFUSED"
    other = CasesAsk if what == "searches" else SearchesAsk
    extra = (None, None) if what == "searches" else (None,)
    swapped = house.body(other, "amy", *extra)
    assert await refused(ask(swapped)) == "NOT_CANONICAL", "signed for another kind of ask"


async def test_an_ask_is_answered_once_also_after_a_restart(house: House) -> None:
    """Who copied it on its way would be told what the desk was told, as if he were the desk."""
    house.staff("emma", StaffRole.EMERGENCY)
    there = await house.elsewhere("ada at b", NUMBER)
    find = house.body(FindAsk, "emma", "unconscious", (NUMBER,))
    listing = house.body(CasesAsk, "operator hosp-a", None, None)
    assert (await house.desk.find(find)).found[0].handle == there.handle.hex()
    await house.desk.cases(listing)
    for desk in (house.desk, house.opened()):
        assert await refused(desk.find(find)) == "DESK_LATE"
        assert await refused(desk.cases(listing)) == "DESK_LATE"
    searches = await house.desk.searches(house.body(SearchesAsk, "operator hosp-a", None))
    assert len(searches.items) == 1, "it is no search of hers"


async def test_an_ask_that_expires_while_it_is_looked_at_is_not_answered_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgotten at the very moment, it could be sent again in the millisecond before."""
    house.staff("emma", StaffRole.EMERGENCY)
    await house.elsewhere("ada at b", NUMBER)
    find = house.body(FindAsk, "emma", "unconscious", (NUMBER,))
    await house.desk.find(find)
    expires_ms = house.now_ms + 60_000
    times = itertools.chain([expires_ms - 1], itertools.repeat(expires_ms))
    monkeypatch.setattr(house.desk, "_now_ms", lambda: next(times))
    assert await refused(house.desk.find(find)) == "DESK_LATE"


async def test_what_is_no_identifier_is_refused_and_not_repeated(house: House) -> None:
    ada = Patient(house.chain, "ada")
    with pytest.raises(SalusError) as caught:
        await house.check(ada, Typed("urn:x", "- . -"))
    assert caught.value.code == "BAD_IDENTIFIER"
    assert "urn:x" not in caught.value.message


def test_no_identifier_stands_in_what_is_shown_of_an_ask() -> None:
    """D-8: a traceback or a log line would show the `repr`."""
    key = SigningKey.from_seed(factories.seed("amy"))
    for kind, fields in FIELDS.values():
        ask = kind("test-chain", ORG, key.public_key, 1, bytes(16), *fields)
        assert NUMBER.value not in repr(ask)
        assert NUMBER.system not in repr(ask)


# -- the pepper ----------------------------------------------------------------------------------


async def test_without_the_pepper_of_genesis_nobody_is_looked_for(house: House) -> None:
    ada, path = Patient(house.chain, "ada"), house.home / PEPPER_FILE
    path.unlink()
    house.desk = house.opened()
    assert await refused(house.check(ada, NUMBER)) == "NO_PEPPER"
    pepper_file(house.home, secret=factories.seed("another pepper"))
    assert await refused(house.check(ada, NUMBER)) == "WRONG_PEPPER"
    pepper_file(house.home, "hosp-b")
    assert await refused(house.check(ada, NUMBER)) == "WRONG_PEPPER"
    path.write_text("{}")
    assert await refused(house.check(ada, NUMBER)) == "BAD_PEPPER_FILE"
    pepper_file(house.home)
    assert (await house.check(ada, NUMBER)).tags, "given later, it needs no new start"


async def test_a_network_that_was_founded_without_a_pepper_has_no_tags(house: House) -> None:
    from msgspec.structs import replace

    founding = replace(house.chain.genesis, pepper_commitment=NO_PEPPER)
    house.desk = house.opened(founding)
    assert await refused(house.check(Patient(house.chain, "ada"), NUMBER)) == "NO_PEPPER"
