"""Whose a record is: in its private file, in no operation, and never another patient's."""

import json
from pathlib import Path
from typing import Any

import pytest

from node.openings import Openings
from node.record_files import RecordFile
from node.record_subject import classes_in
from node.records import RecordService, Submission
from salus.codec import encode
from salus.consent.terms import Code, Effect, Rule, Terms, encode_terms, terms_commitment
from salus.consent.weigh import Opened
from salus.errors import BadMessage, SalusError
from salus.parameters import Parameters
from storage.errors import VaultDamaged
from tests import factories
from tests.contracts.lab import Lab
from tests.contracts.patients import Patient
from tests.ledger import Ledger
from tests.memory import held_bytes
from tests.node.test_records import TEXT, TYPE, commit, make_service

FHIR = "application/fhir+json"
SALT = b"\x07" * 32
TERMS = Terms(categories=(Code("s", "c"),), rules=(Rule(effect=Effect.PERMIT),))


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


def entered(ledger: Ledger, name: str) -> Patient:
    """Registered at hosp-a."""
    patient = Patient(Lab(ledger.genesis), name)
    (receipt,) = ledger.block(factories.transaction(ledger.genesis, patient.register()))
    assert receipt.code == "OK"
    return patient


def stored(service: RecordService, record_id: str) -> RecordFile:
    found = service.files.find(record_id)
    assert found is not None
    return found


async def test_a_patients_record_says_so_in_the_vault_and_nowhere_else(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    staged = await service.stage(TEXT, TYPE, handle=ada.handle)
    form = service.show(staged.record_id)
    assert form is not None
    assert (form.handle, form.classes) == (ada.handle.hex(), ("documents",))
    assert all(ada.handle.hex() not in operation.args for operation in staged.operations)
    commit(ledger, staged)

    again = make_service(ledger, tmp_path)
    observation = b'{"resourceType":"Observation","status":"final","code":{"text":"x"}}'
    amended = await again.stage(observation, FHIR, staged.record_id)
    form = again.show(amended.record_id)
    assert form is not None
    assert (form.handle, form.classes) == (ada.handle.hex(), ("documents", "results"))


async def test_a_record_never_becomes_another_patients(ledger: Ledger, tmp_path: Path) -> None:
    service = make_service(ledger, tmp_path)
    ada, bea = entered(ledger, "ada"), entered(ledger, "bea")
    first = await service.stage(TEXT, TYPE, handle=ada.handle)
    commit(ledger, first)
    documents = list(service.vault.documents())
    with pytest.raises(BadMessage) as caught:
        await service.stage(b"other\n", TYPE, first.record_id, handle=bea.handle)
    assert caught.value.code == "OTHER_PATIENT"
    assert list(service.vault.documents()) == documents
    with pytest.raises(SalusError) as unknown:
        await service.stage(TEXT, TYPE, handle=factories.seed("nobody"))
    assert unknown.value.code == "UNKNOWN_RELATION"
    # A record that was nobody's may become somebody's with its next version.
    nobodys = await service.stage(TEXT, TYPE)
    commit(ledger, nobodys)
    claimed = await service.stage(b"other\n", TYPE, nobodys.record_id, handle=bea.handle)
    assert stored(service, claimed.record_id).subject is not None


async def test_a_patients_records_are_found_newest_first_also_after_a_restart(
    ledger: Ledger, tmp_path: Path
) -> None:
    service = make_service(ledger, tmp_path)
    ada, bea = entered(ledger, "ada"), entered(ledger, "bea")
    first = await service.stage(TEXT, TYPE, handle=ada.handle)
    commit(ledger, first)
    await service.stage(b"of another\n", TYPE, handle=bea.handle)
    await service.stage(b"of nobody\n", TYPE)
    second = await service.stage(b"later\n", TYPE, handle=ada.handle)
    await service.stage(b"new version\n", TYPE, first.record_id)
    wanted = [second.record_id, first.record_id]
    for one in (service, make_service(ledger, tmp_path)):
        found = [form.record_id for form in one.of_handle(ada.handle)]
        assert sorted(found) == sorted(wanted)
        assert found == wanted or len({stored(one, name).created_ms for name in found}) == 1
    assert service.of_handle(factories.seed("nobody")) == ()


async def test_a_batch_may_hold_records_of_several_patients(ledger: Ledger, tmp_path: Path) -> None:
    service = make_service(ledger, tmp_path)
    handles = [entered(ledger, name).handle for name in ("ada", "bea")]
    staged = await service.stage_batch(
        [Submission(TEXT, TYPE, handle=handle) for handle in (*handles, None)]
    )
    subjects = [stored(service, one.record_id).subject for one in staged]
    assert [one and one.handle for one in subjects] == [*handles, None]


@pytest.mark.parametrize(
    ("document", "classes"),
    [
        ({"resourceType": "Observation"}, ["results"]),
        (
            {
                "resourceType": "Bundle",
                "entry": [
                    {"resource": {"resourceType": "Patient"}},
                    {"resource": {"resourceType": "Condition"}},
                ],
            },
            ["conditions", "summary"],
        ),
        (
            {"resourceType": "Composition", "contained": [{"resourceType": "Medication"}]},
            ["medications", "summary"],
        ),
        ({"resourceType": "Account"}, ["other"]),
    ],
)
def test_the_classes_of_a_document_are_those_of_all_that_stands_in_it(
    document: dict[str, Any], classes: list[str]
) -> None:
    raw = json.dumps(document).encode()
    assert [one.value for one in classes_in(raw, FHIR)] == classes
    lines = raw + b'\n{"resourceType":"Procedure"}\n'
    with_line = sorted({*classes, "documents"})
    assert [one.value for one in classes_in(lines, "application/fhir+ndjson")] == with_line
    assert [one.value for one in classes_in(raw, "text/plain")] == ["documents"]
    assert [one.value for one in classes_in(b'{"resourceType":"Bundle"}', FHIR)] == ["other"]
    assert [one.value for one in classes_in(b"{}", "application/json")] == ["documents"]


# -- openings --------------------------------------------------------------------------------


async def test_an_opening_is_found_by_the_commitment_of_a_permit(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    openings = Openings(service.vault, ledger.state, "hosp-a")
    commitment = await openings.keep(ada.handle, SALT, encode_terms(TERMS))
    assert commitment == terms_commitment(SALT, TERMS)
    assert await openings.keep(ada.handle, SALT, encode_terms(TERMS)) == commitment
    again = make_service(ledger, tmp_path)
    assert again.list(None, 10) == ((), None)  # it is no record
    kept = Openings(again.vault, ledger.state, "hosp-a")
    assert kept.opened(ada.handle, commitment) == Opened(SALT, TERMS)
    assert kept.opened(ada.handle, bytes(32)) is None
    assert kept.opened(bytes(32), commitment) is None


async def test_openings_are_of_a_relation_of_this_organisation_and_in_order(
    ledger: Ledger, tmp_path: Path
) -> None:
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    for org, handle, terms, code in (
        ("hosp-b", ada.handle, encode_terms(TERMS), "UNKNOWN_RELATION"),
        ("hosp-a", bytes(32), encode_terms(TERMS), "UNKNOWN_RELATION"),
        ("hosp-a", ada.handle, encode_terms(TERMS)[:-1], "NOT_CANONICAL"),
        ("hosp-a", ada.handle, encode(Terms(categories=(), rules=TERMS.rules)), "BAD_TERMS"),
    ):
        with pytest.raises(SalusError) as caught:
            await Openings(service.vault, ledger.state, org).keep(handle, SALT, terms)
        assert caught.value.code == code
    assert list(service.vault.records()) == []


async def test_an_opening_moved_under_another_name_is_damage_and_no_terms(
    ledger: Ledger, tmp_path: Path
) -> None:
    service = make_service(ledger, tmp_path)
    ada, bea = entered(ledger, "ada"), entered(ledger, "bea")
    openings = Openings(service.vault, ledger.state, "hosp-a")
    commitment = await openings.keep(ada.handle, SALT, encode_terms(TERMS))
    (hers,) = service.vault.records()
    await openings.keep(bea.handle, SALT, encode_terms(TERMS))
    (his,) = set(service.vault.records()) - {hers}
    content = service.vault.record(hers)
    assert content is not None
    service.vault.put_record(his, content)
    with pytest.raises(VaultDamaged):
        openings.opened(bea.handle, commitment)
    assert openings.opened(ada.handle, commitment) == Opened(SALT, TERMS)


async def test_openings_that_say_a_lot_do_not_fill_the_memory(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patient makes as many as he likes, of 16 kB, that take nineteen times as much when they are
    weighed; by number alone the gate would remember a gigabyte of them."""
    monkeypatch.setattr("node.openings.KNOWN_BYTES_MAX", 2**16, raising=False)
    service, ada = make_service(ledger, tmp_path), entered(ledger, "ada")
    codes = tuple(Code("u", f"{number:02d}") for number in range(64))
    denial = Rule(effect=Effect.DENY, actors=codes, roles=codes, sites=codes, classes=codes)
    terms = Terms(categories=TERMS.categories, rules=(*TERMS.rules, *(denial,) * 10))
    openings = Openings(service.vault, ledger.state, "hosp-a")
    salts = [bytes([number]) * 32 for number in range(24)]
    made = [await openings.keep(ada.handle, salt, encode_terms(terms)) for salt in salts]

    def weighed() -> Openings:
        openings = Openings(service.vault, ledger.state, "hosp-a")
        for commitment in made:
            found = openings.opened(ada.handle, commitment)
            assert found is not None
            for rule in found.terms.rules:
                _ = rule.actor_set, rule.class_set, rule.class_systems
        return openings

    assert held_bytes(weighed, 2_000_000) <= 2_000_000
