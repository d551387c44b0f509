"""Of docs/decisions/0014-emergency.md: who opens a summary, until when, who decides, and what is read
without a quorum."""

from tests.mutants.mutant import Edit, Mutant, by_test

_CONTRACT = "tests/contracts/test_emergency.py::"
_HOLDER = "tests/node/test_emergency_holder.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "E-1",
        "any staff key opens a case",
        _CONTRACT + "test_a_case_is_opened_by_the_role_emergency_alone",
        Edit(
            "contracts/emergency.py",
            "    if StaffRole.EMERGENCY not in identity.staff_roles:\n",
            "    if not identity.staff_roles:\n",
        ),
        quick=True,
    ),
    by_test(
        "E-2",
        "as few shares open a summary as there may be liars",
        _CONTRACT + "test_the_threshold_is_more_than_the_liars_that_the_consortium_bears",
        Edit(
            "contracts/emergency_summary.py",
            "    if not ctx.validators.weak <= args.threshold",
            "    if not ctx.validators.f <= args.threshold",
        ),
    ),
    by_test(
        "E-3",
        "the patient's word ends nothing",
        _HOLDER + "test_the_time_the_patients_word_and_opting_out_end_it",
        Edit(
            "salus/emergency.py",
            "        if self.disputed_ms is not None or self.decided is not None:\n            return False\n",
            "        if self.decided is not None:\n            return False\n",
        ),
    ),
    by_test(
        "E-3",
        "a share is given without a certified case",
        _HOLDER + "test_without_a_certified_case_nothing_is_given",
        Edit(
            "node/emergency_holder.py",
            "        if not self._silent(request):\n",
            "        if self._silent(request):\n",
        ),
        quick=True,
    ),
    by_test(
        "E-4",
        "a colleague of the same house agrees",
        _CONTRACT + "test_a_case_opens_for_an_hour_and_co_signed_for_a_day",
        Edit(
            "contracts/emergency.py",
            "    if identity.member == case.opener:\n",
            "    if identity.staff == case.staff and identity.member != case.opener:\n",
        ),
    ),
    by_test(
        "E-4",
        "an uncosigned case holds its clinician back from nothing",
        _CONTRACT + "test_uncosigned_a_clinician_opens_nothing_alone_until_it_is_reviewed",
        Edit(
            "salus/emergency.py",
            "        over = any(now_ms >= one.until_ms for one in self.waiting)\n",
            "        over = False\n",
        ),
    ),
    by_test(
        "E-5",
        "a late justification lifts what its lateness brought",
        _CONTRACT + "test_an_unjustified_case_restricts_the_organisation_until_it_is_reviewed",
        Edit(
            "contracts/emergency_review.py", "    if in_time:\n", "    if not in_time or in_time:\n"
        ),
    ),
    by_test(
        "E-6",
        "the custodian reviews though there is somebody without a part",
        _CONTRACT + "test_reviewers_have_no_part_and_are_drawn_by_a_later_block",
        Edit(
            "salus/emergency.py",
            "    involved = {parties.opener, parties.custodian, *parties.others}\n",
            "    involved = {parties.opener, *parties.others}\n",
        ),
    ),
    by_test(
        "E-6",
        "a lapse counts against nobody",
        _CONTRACT + "test_a_lapse_passes_the_case_on_and_counts_against_it",
        Edit(
            "contracts/emergency_review.py",
            "lapses=counted.lapses + 1",
            "lapses=counted.lapses",
        ),
    ),
    by_test(
        "E-7",
        "abuse has no consequence",
        _CONTRACT + "test_after_an_abuse_another_organisation_agrees_before_anything_is_read",
        Edit(
            "contracts/emergency_review.py",
            "    if args.verdict is Verdict.ABUSE:\n",
            "    if args.verdict is not Verdict.ABUSE and False:\n",
        ),
    ),
    by_test(
        "E-8",
        "a share is given before the journal is on disk",
        _HOLDER + "test_nothing_is_given_before_the_journal_is_on_disk",
        Edit(
            "node/late_entries.py",
            "        await asyncio.to_thread(self._vault.put_record, name, encode(entry))\n"
            "        self.owed[ask.request.case] = entry\n",
            "        self.owed[ask.request.case] = entry\n"
            "        await asyncio.to_thread(self._vault.put_record, name, encode(entry))\n",
        ),
    ),
    by_test(
        "E-8",
        "after an outage shares are given before what is owed is entered",
        _HOLDER + "test_after_the_outage_entries_come_before_anything_else",
        Edit(
            "node/emergency_holder.py",
            "            if self.late.owes:\n",
            "            if self.late.owed and not self.late.owes:\n",
        ),
    ),
    by_test(
        "E-8",
        "one block more or less is no sign of life",
        _HOLDER + "test_a_moment_less_of_silence_or_one_block_gives_nothing",
        Edit(
            "node/emergency_holder.py",
            "        if watched is None or watched.height != height or self.behind():\n",
            "        if watched is None or self.behind():\n",
        ),
    ),
    by_test(
        "E-8",
        "a nonce that was used for one patient reads of another unrecorded",
        _CONTRACT + "test_one_case_stands_for_one_patient_alone",
        Edit(
            "salus/emergency.py",
            "    return _hash_case(encode((*patient, opener, staff, nonce)))\n",
            "    return _hash_case(encode((opener, staff, nonce)))\n",
        ),
    ),
    by_test(
        "E-8",
        "an idle chain that has refused the case is an outage",
        _HOLDER + "test_an_opening_that_no_block_may_hold_yet_is_no_silence",
        Edit(
            "node/emergency_holder.py",
            "earliest(tx, self.parameters()) > self.waiters.height + 1:\n",
            "earliest(tx, self.parameters()) < 0:\n",
        ),
    ),
    by_test(
        "E-9",
        "whose verdict is disputed decides again",
        _CONTRACT + "test_a_disputed_verdict_is_drawn_again_without_its_reviewer",
        Edit(
            "contracts/emergency_review.py",
            "            others = (case.cosign and case.cosign.org, case.overruled and case.overruled.org)\n",
            "            others = (case.cosign and case.cosign.org,)\n",
        ),
    ),
    by_test(
        "E-9",
        "cases beyond those of one file are never shown",
        "tests/salus/test_trail.py::test_seventy_emergencies_and_erasures_of_one_handle_make_a_whole_trail",
        Edit(
            "salus/trail.py",
            "ends = Start(ticket, case, erased)",
            "ends = Start(ticket, None, None)",
        ),
    ),
)
