"""Of docs/decisions/0010-patient.md: I-4, recovery; I-6, what a hospital's key may not do alone; I-10,
guardians."""

from tests.mutants.mutant import Edit, Mutant, by_test

_IDENTITY = "tests/contracts/test_identity.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "I-4",
        "one guardian freezes a relation by proposing",
        _IDENTITY + "test_one_guardian_freezes_nothing",
        Edit(
            "salus/relation.py",
            "        return self.recovery is not None\n",
            "        return self.recovery is not None or bool(self.proposals)\n",
        ),
        quick=True,
    ),
    by_test(
        "I-4",
        "the owner's time runs before enough approved",
        _IDENTITY + "test_guardians_recover_a_relation_after_the_wait",
        Edit(
            "contracts/recovery.py",
            "        recovery=replace(proposal, ready_ms=ready_ms),\n",
            "        recovery=proposal,\n",
        ),
    ),
    by_test(
        "I-4",
        "the old key cancels again and again",
        _IDENTITY + "test_the_old_key_cancels_once_and_a_second_recovery_needs_one_more",
        Edit(
            "contracts/recovery.py",
            "    if not proposal.cancellable or ctx.time_ms < relation.cancelled_until_ms:\n",
            "    if relation.owner_key == b'':\n",
        ),
    ),
    by_test(
        "I-4",
        "a thief who rotates cancels once more",
        _IDENTITY + "test_a_cancellation_is_forgotten_after_two_waits_and_not_with_a_rotation",
        Edit(
            "salus/relation.py",
            "            rotation=None,\n            generation=",
            "            rotation=None,\n            cancelled_until_ms=0,\n            generation=",
        ),
    ),
    by_test(
        "I-4",
        "a proposal takes the place of another one's",
        _IDENTITY + "test_nobodys_proposal_stands_in_another_ones_way",
        Edit("contracts/recovery.py", "if one.proposer != proposer]", "if one.proposer == b'']"),
    ),
    by_test(
        "I-4",
        "after a cancellation as few approve as before",
        _IDENTITY + "test_a_single_guardian_cannot_take_a_relation_from_its_owner",
        Edit(
            "contracts/recovery.py",
            "    needed = max(relation.threshold, 1) + cancelled\n",
            "    needed = max(relation.threshold, 1)\n",
        ),
    ),
    by_test(
        "I-4",
        "any hospital proposes keys for any relation",
        _IDENTITY + "test_without_guardians_the_hospital_proposes_and_another_one_approves",
        Edit(
            "contracts/recovery.py",
            "not (ctx.member == org or relation.custodial)",
            "ctx.member is None",
        ),
    ),
    by_test(
        "I-6",
        "a hospital claims for itself",
        _IDENTITY + "test_a_hospital_claims_nothing_for_itself",
        Edit(
            "contracts/rotation.py",
            '    check_cosignature(ctx, identity, "claim", relation.guardians, args)\n',
            "",
        ),
        quick=True,
    ),
    by_test(
        "I-6",
        "a hospital removes the patient's phone alone",
        _IDENTITY + "test_a_hospitals_key_grants_treatment_to_others_and_no_more",
        Edit(
            "contracts/identity.py",
            "    if relation.custodial and ctx.sender != args.key:\n",
            "    if relation.custodial and ctx.sender == args.key:\n",
        ),
    ),
    by_test(
        "I-6",
        "terms that the hospital accepted bind the patient's own key",
        _IDENTITY + "test_what_the_hospitals_key_accepted_the_patients_own_key_accepts_anew",
        Edit(
            "contracts/rotation.py",
            "        terms_version=0 if relation.custodial else relation.terms_version,\n",
            "        terms_version=relation.terms_version,\n",
        ),
    ),
    by_test(
        "I-10",
        "the owner's key and one friend replace all guardians",
        _IDENTITY + "test_a_stolen_key_cannot_remove_the_guardians",
        Edit(
            "contracts/cosign.py",
            "    if not enough and (not guardians or len(guardians) < relation.threshold):\n",
            "    if not enough and not guardians:\n",
        ),
    ),
)
