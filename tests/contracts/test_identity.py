"""Relations, keys, guardians, recovery, enrolment (rules I-1 … I-10 of decision 0010)."""

import msgspec
import pytest

from contracts.enrolment import Card
from contracts.identity import KeyUse, TagEntry
from salus import relation as forms
from salus.answers import Terms
from salus.biometric import Enrolment
from salus.keys import box_public_key
from salus.parameters import Parameters
from salus.patient_keys import card_key
from salus.relation import DAY_MS
from tests import factories
from tests.contracts.lab import Lab, h, parameters, possession_of
from tests.contracts.patients import TODAY, Patient, enter

WAIT_MS = Parameters().rotation_wait_ms
RECOVERY_MS = Parameters().recovery_wait_ms


def guarded() -> tuple[Lab, Patient]:
    chain = Lab()
    ada = Patient(chain, guardians=("eve", "bob", "cai"), threshold=2)
    enter(chain, ada)
    return chain, ada


# -- registration ----------------------------------------------------------------------------


def test_a_relation_stands_under_its_organisation_and_handle() -> None:
    chain, ada = guarded()
    assert ada.entry.owner_key == ada.owner.public_key
    assert (ada.entry.threshold, ada.entry.since_height, ada.entry.custodial) == (2, 1, False)
    assert chain.codes(ada.register()) == ["DUPLICATE_HANDLE"]


def test_nobody_can_occupy_another_organisations_handle() -> None:
    """Who sees a waiting registration gains nothing by registering the handle himself first."""
    chain = Lab()
    ada, thief = Patient(chain), Patient(chain, "mal", "hosp-b")
    thief.handle = ada.handle
    assert chain.codes(thief.register(), by="operator hosp-b") == ["OK"]
    assert chain.codes(ada.register()) == ["OK"]


def test_the_owner_key_signs_every_word_of_its_registration() -> None:
    """I-1: a copied registration, with anything exchanged, is not the owner's any more."""
    chain = Lab()
    ada = Patient(chain)
    other = box_public_key(factories.seed("other box"))
    for changes in (
        {"handle": h("another")},
        {"box_key": other},
        {"custodial": True},
        {"tag": h("another tag")},
        {"guardians": (factories.key("mal").public_key,), "threshold": 1},
    ):
        assert chain.codes(ada.register(**changes)) == ["NO_POSSESSION"]
    assert chain.codes(ada.register(), by="operator hosp-b") == ["NO_POSSESSION"]
    assert chain.codes(ada.register()) == ["OK"]


def test_a_key_belongs_to_one_relation_for_ever() -> None:
    chain, ada = guarded()
    again = Patient(chain, "ada", "hosp-b")
    assert chain.codes(again.register(), by="operator hosp-b") == ["KEY_IN_USE"]
    operator = Patient(chain, "operator hosp-c")
    assert chain.codes(operator.register()) == ["KEY_IN_USE"]
    guardian = Patient(chain, "dan", guardians=("eve",))
    assert chain.codes(guardian.register()) == ["KEY_IN_USE"]  # it would join the two
    boxed = Patient(chain, "fay")
    assert chain.codes(boxed.register(box_key=ada.entry.box_key)) == ["NO_POSSESSION"]
    assert isinstance(chain.value(b"identity/key/" + ada.owner.public_key, KeyUse), KeyUse)


@pytest.mark.parametrize("roles", [("administration",), ("gateway",), ("clinician", "nurse")])
def test_staff_of_the_office_may_register(roles: tuple[str, ...]) -> None:
    chain = Lab()
    register = chain.op(
        "members",
        "staff_register",
        org="hosp-a",
        handle=h("clerk"),
        key=factories.key("clerk").public_key,
        roles=roles,
        qualification=h("q"),
        from_ms=0,
        until_ms=factories.TIME_MS * 2,
        possession=possession_of("clerk", "hosp-a", h("clerk")),
    )
    assert chain.codes(register) == ["OK"]
    expected = ["NOT_AUTHORISED"] if "nurse" in roles else ["OK"]
    assert chain.codes(Patient(chain).register(), by="clerk") == expected


def test_a_stranger_registers_nobody() -> None:
    chain = Lab()
    assert chain.codes(Patient(chain).register(), by="ada") == ["NOT_AUTHORISED"]
    assert chain.codes(Patient(chain).register(), by="node hosp-a") == ["NOT_AUTHORISED"]


def test_a_tag_in_use_is_no_refusal_and_changes_nothing() -> None:
    """I-2: nobody is refused care for a double entry, and the first relation keeps the tag."""
    chain, ada = guarded()
    twin = Patient(chain, "ada again")
    tag = h("tag ada hosp-a")
    twin.name, owner = "ada", twin.owner  # the same identifier at the same hospital
    twin.handle, twin.owner = h("second handle"), owner
    operation = twin.register(box_key=box_public_key(factories.seed("twin box")))
    assert chain.codes(operation) == ["NO_POSSESSION"]  # the signature covers the box key
    twin.name = "ada again"
    assert chain.codes(twin.register()) == ["OK"]
    assert chain.value(b"identity/tag/hosp-a/" + tag, TagEntry) == TagEntry(ada.handle)


@pytest.mark.parametrize(
    ("names", "threshold"), [((), 1), (("bob",), 0), (("bob",), 2), (("bob", "cai"), 3)]
)
def test_guardians_fit_their_threshold(names: tuple[str, ...], threshold: int) -> None:
    chain = Lab()
    ada = Patient(chain, guardians=names, threshold=threshold)
    assert chain.codes(ada.register()) == ["BAD_GUARDIANS"]


# -- rotation --------------------------------------------------------------------------------


def test_a_rotated_key_is_in_force_after_the_wait_and_the_old_one_opens_nothing() -> None:
    chain, ada = guarded()
    assert chain.codes(ada.rotate("ada 2"), by="ada") == ["OK"]
    (receipt,) = chain.run(ada.rotate("ada 3"), by="ada")
    assert receipt.code == "ROTATION_WAITS"
    assert chain.codes(ada.delegate("phone", "view"), by="ada 2") == ["NOT_AUTHORISED"]
    chain.later_ms = WAIT_MS
    assert chain.codes(ada.delegate("phone", "view"), by="ada") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.delegate("phone", "view"), by="ada 2") == ["OK"]
    assert ada.entry.owner_key == factories.key("ada 2").public_key
    assert (ada.entry.rotation, ada.entry.generation) == (None, 1)
    assert ada.entry.box_key == box_public_key(factories.seed("box ada 2"))
    assert chain.codes(ada.rotate("ada 3"), by="ada 2") == ["OK"]


def test_only_the_new_key_itself_can_be_named() -> None:
    chain, ada = guarded()
    stolen = ada.rotate("ada 2", possession=ada.possession(factories.key("ada 2"), "delegate"))
    assert chain.codes(stolen, by="ada") == ["NO_POSSESSION"]
    boxed = ada.rotate("ada 2", new_box_key=box_public_key(factories.seed("mal")))
    assert chain.codes(boxed, by="ada") == ["NO_POSSESSION"]
    assert chain.codes(ada.rotate("ada 2"), by="bob") == ["NOT_AUTHORISED"]


def test_guardians_veto_a_rotation_by_their_threshold() -> None:
    chain, ada = guarded()
    assert chain.codes(ada.act("veto"), by="eve") == ["NO_ROTATION"]
    chain.run(ada.rotate("thief"), by="ada")
    assert chain.codes(ada.act("veto"), by="eve") == ["OK"]
    assert chain.codes(ada.act("veto"), by="eve") == ["ALREADY_APPROVED"]
    assert chain.codes(ada.act("veto"), by="mal") == ["NOT_AUTHORISED"]
    assert ada.entry.rotation is not None
    assert chain.codes(ada.act("veto"), by="bob") == ["OK"]
    assert ada.entry.rotation is None
    chain.later_ms = WAIT_MS
    assert chain.codes(ada.delegate("phone", "view"), by="thief") == ["NOT_AUTHORISED"]


def test_a_veto_comes_too_late_once_the_key_is_in_force() -> None:
    chain, ada = guarded()
    chain.run(ada.rotate("ada 2"), by="ada")
    chain.run(ada.act("veto"), by="eve")
    chain.later_ms = WAIT_MS
    assert chain.codes(ada.act("veto"), by="bob") == ["NO_ROTATION"]
    assert chain.codes(ada.delegate("phone", "view"), by="ada 2") == ["OK"]


# -- recovery --------------------------------------------------------------------------------


def test_guardians_recover_a_relation_after_the_wait() -> None:
    chain, ada = guarded()
    chain.run(ada.delegate("phone", "view"), by="ada")
    assert chain.codes(ada.recover("ada 2"), by="mal") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.recover("ada 2"), by="eve") == ["OK"]
    assert chain.codes(ada.act("recover_approve"), by="eve") == ["ALREADY_APPROVED"]
    assert chain.codes(ada.act("recover_finish"), by="mal") == ["TOO_FEW_APPROVALS"]
    assert chain.codes(ada.act("recover_approve"), by="mal") == ["NOT_AUTHORISED"]
    chain.later_ms = RECOVERY_MS - 10_000
    assert chain.codes(ada.act("recover_approve"), by="bob") == ["OK"]
    assert chain.codes(ada.act("recover_approve"), by="cai") == ["ALREADY_APPROVED"]
    chain.later_ms = 2 * RECOVERY_MS - 20_000  # the wait begins when enough approved
    assert chain.codes(ada.act("recover_finish"), by="mal") == ["TOO_EARLY"]
    chain.later_ms = 2 * RECOVERY_MS
    assert chain.codes(ada.act("recover_finish"), by="mal") == ["OK"]
    entry = ada.entry
    assert entry.owner_key == factories.key("ada 2").public_key
    assert entry.box_key == box_public_key(factories.seed("box ada 2"))
    assert (entry.delegates, entry.recovery, entry.rotation) == ((), None, None)
    assert chain.codes(ada.act("recover_finish"), by="mal") == ["NO_RECOVERY"]
    assert chain.codes(ada.delegate("old", "view"), by="ada") == ["NOT_AUTHORISED"]


def test_a_recovery_freezes_rotation_and_grants_but_never_revocation() -> None:
    chain, ada = guarded()
    chain.run(ada.grant("p"), by="ada")
    chain.run(ada.rotate("thief"), by="ada")
    assert chain.codes(ada.recover("ada 2"), by="eve") == ["OK"]
    assert chain.codes(ada.act("recover_approve"), by="bob") == ["OK"]
    assert ada.entry.rotation is None  # it may be the thief's
    assert chain.codes(ada.rotate("ada 3"), by="ada") == ["RECOVERY_OPEN"]
    assert chain.codes(ada.grant("q"), by="ada") == ["RECOVERY_OPEN"]
    assert chain.codes(ada.delegate("phone", "view"), by="ada") == ["RECOVERY_OPEN"]
    assert chain.codes(ada.revoke("p"), by="ada") == ["OK"]


def test_the_old_key_cancels_once_and_a_second_recovery_needs_one_more() -> None:
    chain, ada = guarded()
    chain.run(ada.recover("ada 2"), by="eve")
    chain.run(ada.act("recover_approve"), by="bob")
    assert chain.codes(ada.act("recover_cancel"), by="mal") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["OK"]
    chain.run(ada.recover("ada 3"), by="eve")
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["NOT_CANCELLABLE"]
    chain.run(ada.act("recover_approve"), by="bob")
    (receipt,) = chain.run(ada.act("recover_finish"), by="eve")
    assert (receipt.code, receipt.facts) == ("TOO_FEW_APPROVALS", {"approvals": 2, "needed": 3})
    assert chain.codes(ada.grant("p"), by="ada") == ["OK"]
    chain.run(ada.act("recover_approve"), by="cai")
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["NOT_CANCELLABLE"]
    chain.later_ms = RECOVERY_MS
    assert chain.codes(ada.act("recover_finish"), by="eve") == ["OK"]
    assert ada.entry.cancelled_until_ms == 0


def test_a_cancellation_is_forgotten_after_two_waits_and_not_with_a_rotation() -> None:
    """I-4: a thief who cancels years before blocks nothing, and by rotating he gains no second
    say: the friends have two waits to propose again."""
    chain, ada = guarded()
    chain.run(ada.recover("ada 2"), by="eve")
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["OK"]
    chain.run(ada.rotate("thief"), by="ada")
    chain.later_ms = WAIT_MS
    chain.run(ada.recover("ada 3"), by="eve")
    assert [one.needed for one in ada.entry.proposals] == [3]
    assert chain.codes(ada.act("recover_cancel"), by="thief") == ["NOT_CANCELLABLE"]
    chain.later_ms = 2 * RECOVERY_MS + 10_000
    chain.run(ada.recover("ada 4"), by="eve")
    (proposal,) = ada.entry.proposals
    assert (proposal.needed, proposal.cancellable) == (2, True)
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_cancel"), by="thief") == ["OK"]


def test_what_was_approved_without_a_say_stays_so_when_the_cancellation_is_forgotten() -> None:
    chain, ada = guarded()
    chain.run(ada.recover("ada 2"), by="eve")
    chain.run(ada.act("recover_cancel"), by="ada")
    chain.later_ms = 2 * RECOVERY_MS - 10_000
    chain.run(ada.recover("ada 3"), by="eve")
    for name in ("bob", "cai"):
        chain.run(ada.act("recover_approve"), by=name)
    chain.later_ms = 2 * RECOVERY_MS + 10_000
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["NOT_CANCELLABLE"]


def test_one_guardian_freezes_nothing() -> None:
    """I-4: the freeze begins with the approval that makes them enough. A proposal that did not
    reach that in time is over."""
    chain, ada = guarded()
    chain.run(ada.rotate("ada 2"), by="ada")
    chain.run(ada.recover("x"), by="eve")
    assert chain.codes(ada.grant("p"), by="ada") == ["OK"]
    assert ada.entry.rotation is not None
    assert chain.codes(ada.delegate("phone", "view"), by="ada") == ["OK"]
    chain.later_ms = RECOVERY_MS
    assert chain.codes(ada.act("recover_approve"), by="bob") == ["NO_RECOVERY"]
    assert chain.codes(ada.act("recover_finish"), by="bob") == ["NO_RECOVERY"]
    assert chain.codes(ada.recover("y"), by="eve") == ["OK"]
    assert [one.ready_ms > RECOVERY_MS for one in ada.entry.proposals] == [True]


def test_nobodys_proposal_stands_in_another_ones_way() -> None:
    """I-4: each proposer has one; the first that has its approvals is the recovery."""
    chain, ada = guarded()
    assert chain.codes(ada.recover("mal 1"), by="cai") == ["OK"]
    assert chain.codes(ada.recover("ada 2"), by="eve") == ["OK"]
    assert chain.codes(ada.recover("mal 2"), by="cai") == ["OK"]  # in the place of his first
    assert len(ada.entry.proposals) == 2
    assert chain.codes(ada.act("recover_approve", "mal 1"), by="bob") == ["NO_RECOVERY"]
    assert chain.codes(ada.act("recover_approve", "ada 2"), by="bob") == ["OK"]
    assert ada.entry.proposals == ()
    assert chain.codes(ada.recover("mal 3"), by="cai") == ["RECOVERY_OPEN"]
    assert chain.codes(ada.act("recover_approve", "mal 2"), by="cai") == ["NO_RECOVERY"]
    chain.later_ms = RECOVERY_MS
    assert chain.codes(ada.act("recover_finish"), by="mal") == ["OK"]
    assert ada.entry.owner_key == factories.key("ada 2").public_key


def test_without_guardians_the_hospital_proposes_and_another_one_approves() -> None:
    chain = Lab()
    ada = Patient(chain)
    enter(chain, ada)
    assert chain.codes(ada.recover("ada 2"), by="operator hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.recover("ada 2")) == ["OK"]
    assert chain.codes(ada.act("recover_approve")) == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_approve"), by="node hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-b") == ["OK"]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-b") == ["ALREADY_APPROVED"]
    chain.later_ms = RECOVERY_MS
    assert chain.codes(ada.act("recover_finish")) == ["OK"]


def test_whoever_sends_a_recovery_cannot_exchange_the_box_key() -> None:
    """What is sealed to the patient would be sealed to the hospital."""
    chain, ada = guarded()
    operation = ada.recover("ada 2")
    method = chain.executor.active.method("identity", "recover_propose")
    mine = box_public_key(factories.seed("mal"))
    other = msgspec.structs.replace(method.decode(operation.args), new_box_key=mine)
    assert chain.codes(method.operation(other), by="eve") == ["NO_POSSESSION"]
    assert chain.codes(operation, by="eve") == ["OK"]


def test_an_approval_is_of_one_key_and_no_other() -> None:
    """I-4: a thief cancels, his friend proposes another key, and bob's approval is on its way."""
    chain, ada = guarded()
    chain.run(ada.recover("ada 2"), by="eve")
    assert chain.codes(ada.act("recover_approve", "mal 2"), by="bob") == ["NO_RECOVERY"]
    approval = ada.act("recover_approve")
    chain.run(ada.act("recover_cancel"), by="ada")
    chain.run(ada.recover("mal 2"), by="cai")
    assert chain.codes(approval, by="bob") == ["NO_RECOVERY"]
    assert [one.approvals for one in ada.entry.proposals] == [(factories.key("cai").public_key,)]
    assert chain.codes(ada.act("recover_cancel", "ada 2"), by="ada") == ["NO_RECOVERY"]


def test_a_veto_is_of_one_key_and_no_other() -> None:
    chain, ada = guarded()
    chain.run(ada.rotate("ada 2"), by="ada")
    assert chain.codes(ada.act("veto", "ada 3"), by="eve") == ["NO_ROTATION"]


def test_a_single_guardian_cannot_take_a_relation_from_its_owner() -> None:
    """I-4: after the owner objected it takes another organisation too."""
    chain = Lab()
    ada = Patient(chain, guardians=("eve",))
    enter(chain, ada)
    chain.run(ada.recover("mal"), by="eve")
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["OK"]
    chain.run(ada.recover("mal 2"), by="eve")
    (receipt,) = chain.run(ada.act("recover_finish"), by="eve")
    assert (receipt.code, receipt.facts) == ("TOO_FEW_APPROVALS", {"approvals": 1, "needed": 2})
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-a") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-b") == ["OK"]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-c") == ["NOT_AUTHORISED"]
    chain.later_ms = RECOVERY_MS
    assert chain.codes(ada.act("recover_finish"), by="eve") == ["OK"]


# -- guardians and custody -------------------------------------------------------------------


def test_a_stolen_key_cannot_remove_the_guardians() -> None:
    """I-10: as many co-sign this very change as could take the relation over: with the key and one
    guardian alone a thief would have all of it for ever."""
    chain, ada = guarded()
    for few in ((), ("eve",), ("operator hosp-b",)):
        alone = ada.guard(threshold=0, by=few)
        assert chain.codes(alone, by="ada") == ["NEEDS_COSIGNATURE"]
    for stranger in ("operator hosp-a", "mal"):
        own = ada.guard(threshold=0, by=("eve", stranger))
        assert chain.codes(own, by="ada") == ["BAD_COSIGNATURE"]
    signed = ada.guard("dan", threshold=1, by=("eve", "bob"))
    assert chain.codes(signed, by="bob") == ["NOT_AUTHORISED"]
    assert chain.codes(signed, by="ada") == ["OK"]
    assert ada.entry.guardians == (factories.key("dan").public_key,)
    (receipt,) = chain.run(signed, by="ada")  # a co-signature fits one generation
    assert (receipt.code, receipt.facts) == ("STALE_GENERATION", {"generation": 1})
    two = ada.guard(threshold=0, by=("operator hosp-b", "operator hosp-c"))
    assert chain.codes(two, by="ada") == ["OK"]  # all guardians may be lost
    assert chain.codes(ada.guard("gus", threshold=1), by="ada") == ["NEEDS_COSIGNATURE"]
    first = ada.guard("gus", threshold=1, by="operator hosp-b")
    assert chain.codes(first, by="ada") == ["OK"]


def test_a_stolen_key_names_no_first_guardians() -> None:
    """I-10: they would be the thief's, and only they could approve a recovery from him."""
    chain = Lab()
    ada = Patient(chain)
    enter(chain, ada)
    chain.run(ada.recover("ada 2"))
    chain.run(ada.act("recover_cancel"), by="ada")  # by the thief
    again = ada.guard(threshold=0)  # would let him cancel once more
    assert chain.codes(again, by="ada") == ["NEEDS_COSIGNATURE"]
    assert chain.codes(ada.guard("mal", threshold=1), by="ada") == ["NEEDS_COSIGNATURE"]
    assert ada.entry.guardians == ()
    assert ada.entry.cancelled_until_ms > 0


def test_a_cosignature_covers_every_word() -> None:
    chain, ada = guarded()
    signed = ada.guard("dan", threshold=1, by=("eve", "operator hosp-b"))
    method = chain.executor.active.method("identity", "set_guardians")
    args = method.decode(signed.args)
    other = msgspec.structs.replace(args, guardians=(factories.key("mal").public_key,))
    assert chain.codes(method.operation(other), by="ada") == ["BAD_COSIGNATURE"]


def test_a_hospitals_key_grants_treatment_to_others_and_no_more() -> None:
    """I-6; wider needs a second party that is neither custodian nor grantee."""
    chain = Lab()
    ada = Patient(chain, custodial=True)
    enter(chain, ada)
    assert chain.codes(ada.grant("a"), by="ada") == ["OK"]
    assert chain.codes(ada.grant("b", "hosp-a"), by="ada") == ["NEEDS_COSIGNATURE"]
    research = {"purpose": "research"}
    assert chain.codes(ada.grant("c", **research), by="ada") == ["NEEDS_COSIGNATURE"]
    for friend, code in (("hosp-a", "BAD_COSIGNATURE"), ("hosp-b", "BAD_COSIGNATURE")):
        operation = ada.grant("c", by=f"operator {friend}", **research)
        assert chain.codes(operation, by="ada") == [code]
    assert chain.codes(ada.grant("c", by="operator hosp-c", **research), by="ada") == ["OK"]
    assert chain.codes(ada.delegate("phone", "view"), by="ada") == ["NEEDS_COSIGNATURE"]
    phone = ada.delegate("phone", "view", by="operator hosp-b")
    assert chain.codes(phone, by="ada") == ["OK"]
    assert chain.codes(ada.undelegate("phone"), by="ada") == ["NEEDS_COSIGNATURE"]
    by_itself = ada.undelegate("phone", by="operator hosp-a")
    assert chain.codes(by_itself, by="ada") == ["BAD_COSIGNATURE"]
    assert chain.codes(ada.undelegate("phone"), by="phone") == ["OK"]


def test_a_hospitals_key_ends_no_denial_and_takes_the_place_of_none_alone() -> None:
    """C-2, I-6: either would let more be read than the patient said."""
    chain = Lab()
    ada = Patient(chain, custodial=True)
    enter(chain, ada)
    chain.run(ada.grant("d", effect="deny"), by="ada")
    assert chain.codes(ada.revoke("d"), by="ada") == ["NEEDS_COSIGNATURE"]
    for friend in ("hosp-a", "hosp-b"):
        own = ada.revoke("d", by=f"operator {friend}")
        assert chain.codes(own, by="ada") == ["BAD_COSIGNATURE"]
    assert chain.codes(ada.grant("p"), by="ada") == ["NEEDS_COSIGNATURE"]
    assert chain.codes(ada.grant("q", classes=("summary",)), by="ada") == ["OK"]
    assert chain.codes(ada.revoke("d", by="operator hosp-c"), by="ada") == ["OK"]
    assert chain.codes(ada.grant("p"), by="ada") == ["OK"]


def test_a_hospital_registers_no_guardians_of_its_own_choice() -> None:
    """I-6: they would co-sign what its key may not do alone."""
    chain = Lab()
    ada = Patient(chain, custodial=True, guardians=("mal",))
    assert chain.codes(ada.register()) == ["NEEDS_COSIGNATURE"]


def test_a_guardian_signs_that_it_is_one() -> None:
    """Nobody uses up a key that is not his: neither as guardian nor, unsigned, as box key."""
    chain = Lab()
    mal = Patient(chain, "mal", guardians=("ada",))
    for words in ((), (bytes(64),), (mal.possession(factories.key("mal"), "guardian"),)):
        code = "NO_POSSESSION" if words else "BAD_GUARDIANS"
        assert chain.codes(mal.register(possessions=words)) == [code]
    mal.guardians, mal.guardian_names, mal.threshold = (), (), 0
    ada = Patient(chain, "ada")
    chain_id, box = factories.CHAIN_ID, ada.owner.public_key
    payload = forms.registration(
        chain_id, "hosp-a", mal.handle, mal.owner.public_key, box, False, (), 0, h("tag mal hosp-a")
    )
    copied = mal.register(box_key=box, owner_signature=mal.owner.sign(payload))
    assert chain.codes(copied) == ["OK"]
    assert chain.codes(ada.register()) == ["OK"]


def test_the_patient_claims_a_custodial_relation_at_once() -> None:
    chain = Lab()
    ada = Patient(chain, custodial=True)
    enter(chain, ada)
    seen = "operator hosp-b"
    assert chain.codes(ada.claim("own", by=seen), by="mal") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.claim("own", by=seen), by="ada") == ["OK"]
    assert (ada.entry.custodial, ada.entry.owner_key) == (False, factories.key("own").public_key)
    assert chain.codes(ada.claim("again", by=seen), by="own") == ["NOT_CUSTODIAL"]
    assert chain.codes(ada.grant("self", "hosp-a"), by="own") == ["OK"]


def test_a_hospital_claims_nothing_for_itself() -> None:
    """I-6: with a second key of its own it would shed every bound of the first."""
    chain = Lab()
    ada = Patient(chain, custodial=True)
    enter(chain, ada)
    assert chain.codes(ada.claim("second"), by="ada") == ["NEEDS_COSIGNATURE"]
    own = ada.claim("second", by="operator hosp-a")
    assert chain.codes(own, by="ada") == ["BAD_COSIGNATURE"]
    (receipt,) = chain.run(ada.claim("own", by="operator hosp-c"), by="ada")
    assert receipt.code == "OK"


def test_against_a_hospital_that_keeps_the_key_others_propose_and_approve() -> None:
    """I-4, I-6: another one proposes and a third approves; the hospital objects once."""
    chain = Lab()
    ada = Patient(chain, custodial=True)
    enter(chain, ada)
    assert chain.codes(ada.recover("x"), by="node hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.recover("own"), by="operator hosp-b") == ["OK"]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-b") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-c") == ["OK"]
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["OK"]
    assert chain.codes(ada.recover("own 2"), by="operator hosp-b") == ["OK"]
    for name in ("hosp-c", "hosp-d"):
        assert chain.codes(ada.act("recover_approve"), by=f"operator {name}") == ["OK"]
    chain.later_ms = RECOVERY_MS
    assert chain.codes(ada.act("recover_finish"), by="ada") == ["OK"]
    assert (ada.entry.custodial, ada.entry.terms_version) == (False, 0)


def test_where_organisations_are_few_all_that_there_are_approve() -> None:
    """I-4: one more than can be would be never."""
    chain = Lab(factories.genesis(2, parameters=parameters()))
    ada = Patient(chain)
    enter(chain, ada)
    chain.run(ada.recover("ada 2"))
    chain.run(ada.act("recover_cancel"), by="ada")
    chain.run(ada.recover("ada 3"))
    assert [one.needed for one in ada.entry.proposals] == [1]
    assert chain.codes(ada.act("recover_approve"), by="operator hosp-b") == ["OK"]
    assert ada.entry.frozen


def test_alone_with_one_organisation_guardians_take_nothing_that_the_owner_defends() -> None:
    """I-4: there is nobody to ask besides; so nobody takes it, for two waits."""
    chain = Lab(factories.genesis(1, parameters=parameters()))
    ada = Patient(chain, guardians=("eve",))
    enter(chain, ada)
    chain.run(ada.recover("mal"), by="eve")
    assert chain.codes(ada.act("recover_cancel"), by="ada") == ["OK"]
    chain.run(ada.recover("mal 2"), by="eve")
    assert (ada.entry.frozen, [one.needed for one in ada.entry.proposals]) == (False, [2])


def test_what_the_hospitals_key_accepted_the_patients_own_key_accepts_anew() -> None:
    """I-7: terms are the patient's word, and here they were the hospital's."""
    chain = Lab()
    ada = Patient(chain, custodial=True)
    enter(chain, ada)
    chain.run(chain.op("identity", "publish_terms", version=1, document=h("terms")))
    accept = chain.op("identity", "accept_terms", org="hosp-a", handle=ada.handle, version=1)
    (receipt,) = chain.run(accept, by="ada")
    assert receipt.events[0].data["custodial"] is True
    assert ada.entry.terms_version == 1
    chain.run(ada.enrol())
    entry = chain.value(b"identity/biometric/hosp-a/" + h("left thumb"), Enrolment)
    assert isinstance(entry, Enrolment)
    assert entry.custodial
    chain.run(ada.claim("own", by="operator hosp-b"), by="ada")
    assert ada.entry.terms_version == 0


# -- delegates -------------------------------------------------------------------------------


def test_a_delegate_has_its_rights_until_its_day() -> None:
    chain, ada = guarded()
    browser = ada.delegate("browser", "deny", "revoke", until_day=TODAY + 1)
    assert chain.codes(browser, by="browser") == ["NOT_AUTHORISED"]
    assert chain.codes(browser, by="ada") == ["OK"]
    chain.run(ada.grant("p"), by="ada")
    chain.run(ada.grant("q"), by="ada")
    assert chain.codes(ada.grant("r"), by="browser") == ["NOT_AUTHORISED"]
    assert chain.codes(ada.grant("d", effect="deny"), by="browser") == ["OK"]
    assert chain.codes(ada.revoke("p"), by="browser") == ["OK"]
    assert chain.codes(ada.revoke("d"), by="browser") == ["NOT_AUTHORISED"]  # it would widen
    chain.later_ms = 2 * DAY_MS
    assert chain.codes(ada.revoke("q"), by="browser") == ["NOT_AUTHORISED"]


def test_delegates_are_bounded_and_removed_at_once() -> None:
    chain, ada = guarded()
    for number in range(8):
        assert chain.codes(ada.delegate(f"d{number}", "view"), by="ada") == ["OK"]
    assert chain.codes(ada.delegate("d8", "view"), by="ada") == ["TOO_MANY_DELEGATES"]
    remove = ada.undelegate("d3")
    assert chain.codes(remove, by="d4") == ["NOT_AUTHORISED"]
    assert chain.codes(remove, by="d3") == ["OK"]
    assert chain.codes(remove, by="ada") == ["UNKNOWN_DELEGATE"]
    assert chain.codes(ada.delegate("d3", "view"), by="ada") == ["KEY_IN_USE"]
    assert chain.codes(ada.delegate("d8", "view", "deny"), by="ada") == ["BAD_RIGHTS"]
    past = ada.delegate("d8", "view", until_day=TODAY - 1)
    assert chain.codes(past, by="ada") == ["BAD_PERIOD"]


# -- terms, biometrics, cards ----------------------------------------------------------------


def test_the_newest_terms_are_accepted() -> None:
    chain, ada = guarded()

    def accept(version: int) -> list[str]:
        operation = chain.op(
            "identity", "accept_terms", org="hosp-a", handle=ada.handle, version=version
        )
        return chain.codes(operation, by="ada")

    assert accept(1) == ["UNKNOWN_TERMS"]
    publish = [
        chain.op("identity", "publish_terms", version=v, document=h(f"terms {v}")) for v in (1, 2)
    ]
    assert chain.codes(publish[1]) == ["BAD_VERSION"]
    assert chain.codes(publish[0]) == ["OK"]
    assert accept(1) == ["OK"]
    assert chain.codes(publish[1]) == ["OK"]
    assert accept(1) == ["OLD_TERMS"]
    assert accept(2) == ["OK"]
    assert ada.entry.terms_version == 2
    assert chain.value(b"identity/terms/hosp-a", Terms) == Terms(2, h("terms 2"), 6)


def test_a_template_is_enrolled_by_its_owner_and_compared_by_its_device() -> None:
    chain, ada = guarded()
    assert chain.codes(ada.enrol(), by="operator hosp-b") == ["UNKNOWN_RELATION"]
    assert chain.codes(ada.enrol()) == ["OK"]
    assert chain.codes(ada.enrol()) == ["DUPLICATE_TEMPLATE"]
    ada.owner = factories.key("mal")
    assert chain.codes(ada.enrol("right thumb")) == ["NO_POSSESSION"]
    assert chain.codes(ada.compare(True, device="other")) == ["NO_POSSESSION"]
    assert chain.codes(ada.compare(True, "right thumb")) == ["UNKNOWN_TEMPLATE"]
    assert chain.codes(ada.compare(False)) == ["OK"]
    assert chain.codes(ada.compare(False)) == ["BAD_NUMBER"]  # sent once more
    assert chain.codes(ada.compare(True)) == ["BAD_NUMBER"]
    assert chain.codes(ada.compare(True, number=2)) == ["OK"]
    entry = chain.value(b"identity/biometric/hosp-a/" + h("left thumb"), Enrolment)
    assert isinstance(entry, Enrolment)
    assert (entry.compared, entry.matched) == (2, 1)
    withdraw = chain.op("identity", "withdraw_biometric", org="hosp-a", template=h("left thumb"))
    assert chain.codes(withdraw, by="mal") == ["NOT_AUTHORISED"]
    assert chain.codes(withdraw, by="ada") == ["OK"]
    assert chain.codes(ada.compare(True, number=3)) == ["TEMPLATE_ENDED"]


def test_a_card_finds_the_relation_until_it_is_ended() -> None:
    chain, ada = guarded()
    key = card_key(factories.seed("card"))
    card = key.public_key
    fields = {"org": "hosp-a", "handle": ada.handle, "card": card}
    issue = chain.op("identity", "issue_card", **fields, possession=ada.possession(key, "card"))
    end = chain.op("identity", "end_card", **fields)
    assert chain.codes(issue, by="eve") == ["NOT_AUTHORISED"]
    assert chain.codes(issue, by="ada") == ["OK"]
    assert chain.codes(issue, by="ada") == ["DUPLICATE_CARD"]
    assert chain.value(b"identity/card/" + card, Card) == Card("hosp-a", ada.handle, 3, False)
    bob = Patient(chain, "bobby")
    enter(chain, bob)
    foreign = chain.op("identity", "end_card", org="hosp-a", handle=bob.handle, card=card)
    assert chain.codes(foreign, by="bobby") == ["UNKNOWN_CARD"]
    assert chain.codes(end, by="eve") == ["NOT_AUTHORISED"]
    assert chain.codes(end) == ["OK"]  # the hospital, when somebody calls
    query = chain.executor.active.query
    assert query(chain.executor.read, "identity", "card", {"card": card.hex()}) is None
    assert chain.codes(end) == ["UNKNOWN_CARD"]
    assert chain.codes(issue, by="ada") == ["DUPLICATE_CARD"]  # lost is lost


def test_a_waiting_card_cannot_be_entered_for_somebody_else() -> None:
    """I-9: it would find the thief, and a clinician would treat by the wrong records."""
    chain, ada = guarded()
    key = card_key(factories.seed("card"))
    mal = Patient(chain, "mal")
    enter(chain, mal)
    fields = {"card": key.public_key, "possession": ada.possession(key, "card")}
    copied = chain.op("identity", "issue_card", org="hosp-a", handle=mal.handle, **fields)
    assert chain.codes(copied, by="mal") == ["NO_POSSESSION"]
    own = chain.op("identity", "issue_card", org="hosp-a", handle=ada.handle, **fields)
    assert chain.codes(own, by="ada") == ["OK"]
