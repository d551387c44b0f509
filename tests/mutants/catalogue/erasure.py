"""Of docs/decisions/0015-erasure.md: X-1 … X-7, X-9; and T-6, G-5: a trail that is whole, openings that
lead to their tickets."""

from tests.mutants.mutant import Edit, Mutant, by_test

_CASES = "tests/contracts/test_erasure.py::"
_ERASING = "tests/node/test_erasures.py::"
_DESK = "tests/node/test_audit_desk.py::"
_GATE = "tests/node/test_gate.py::"
_TRAIL = "tests/salus/test_trail.py::"
_EXPORT = "tests/node/test_audit_export.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "X-1",
        "a hospital's key alone has a record erased",
        _CASES + "test_where_the_hospital_holds_the_key_somebody_else_signs_too",
        Edit(
            "contracts/erasure.py",
            "        if patient.custodial or cosigned:\n",
            "        if cosigned:\n",
        ),
    ),
    by_test(
        "X-1",
        "a thief's key erases while a recovery is open",
        _CASES + "test_nothing_is_erased_while_a_recovery_is_open",
        Edit(
            "contracts/erasure.py",
            "        if patient.frozen or (cosigned and patient.contested(ctx.time_ms)):",
            "        if ctx.time_ms < 0:  # never",
        ),
    ),
    by_test(
        "X-9",
        "what one key asks for begins at once",
        _CASES + "test_what_one_key_asks_for_waits_and_nobody_says_before_that_it_is_gone",
        Edit(
            "contracts/erasure.py",
            "        stage=Stage.WAITING if alone else Stage.BEGUN,\n",
            "        stage=Stage.BEGUN,\n",
        ),
        quick=True,
    ),
    by_test(
        "X-9",
        "a second voice burns what others want to recover",
        _CASES + "test_a_second_voice_burns_nothing_while_a_cancelled_recovery_counts",
        Edit("contracts/erasure.py", "cosigned and patient.contested(ctx.time_ms)", "False"),
    ),
    by_test(
        "X-9",
        "it begins before its time",
        _CASES + "test_what_one_key_asks_for_waits_and_nobody_says_before_that_it_is_gone",
        Edit(
            "contracts/erasure.py",
            "    if ctx.time_ms < case.due_ms:",
            "    if ctx.time_ms < case.time_ms:",
        ),
    ),
    by_test(
        "X-9",
        "what a thief asked for begins after the recovery",
        _CASES + "test_what_a_key_asked_for_that_was_replaced_since_never_begins",
        Edit(
            "contracts/erasure.py",
            "        if patient.owner_at(ctx.time_ms) != case.asker:",
            "        if not case.asker:",
        ),
    ),
    by_test(
        "X-9",
        "what a regulator's replaced key asked for begins",
        _CASES + "test_what_a_regulators_stolen_key_asked_for_ends_with_that_key",
        Edit(
            "contracts/erasure.py",
            "    elif ctx.ask(operator_of, case.asker) is None:",
            "    elif not case.asker:",
        ),
    ),
    by_test(
        "X-9",
        "the custodian's node burns what its operator said is retained",
        _ERASING + "test_what_the_operator_said_is_retained_goes_by_his_word_alone",
        Edit(
            "node/erasures.py",
            "        if own.reply is not Reply.RETAINED:\n",
            "        if own.reply is not Reply.ERASED:\n",
        ),
    ),
    by_test(
        "X-11",
        "who agreed before he said that a law keeps it has agreed for ever",
        _ERASING + "test_who_agreed_and_then_said_that_a_law_keeps_it_has_to_agree_anew",
        Edit(
            "node/erasures.py",
            "        return agreed is not None and agreed >= own.height\n",
            "        return agreed is not None\n",
        ),
    ),
    by_test(
        "X-11",
        "a restart forgets what the operator agreed to",
        _ERASING + "test_what_the_operator_agreed_to_is_known_after_a_restart",
        Edit(
            "node/erasure_openings.py",
            "                self._held[case] = _held(self.read(case))\n",
            "                self._held[case] = _held(self.read(case))._replace(agreed_height=None)\n",
        ),
    ),
    by_test(
        "X-10",
        "an opening goes while its request may still come",
        _ERASING + "test_an_opening_whose_request_can_no_longer_come_goes",
        Edit(
            "node/erasure_openings.py",
            " and height > held.until_height\n",
            " and height >= held.until_height\n",
        ),
    ),
    by_test(
        "X-9",
        "a thief cancels the recovery and his erasure begins",
        _CASES + "test_a_thief_who_cancels_the_recovery_does_not_get_his_erasure_by_it",
        Edit(
            "salus/relation.py",
            "        return self.frozen or time_ms < self.cancelled_until_ms\n",
            "        return self.frozen\n",
        ),
    ),
    by_test(
        "X-9",
        "guardians cannot stop an erasure",
        _CASES + "test_owner_and_guardians_stop_what_waits",
        Edit("contracts/erasure.py", " or ctx.sender in patient.guardians\n", "\n"),
    ),
    by_test(
        "X-9",
        "the custodian erases by its own clock",
        _ERASING
        + "test_what_one_key_asked_for_is_erased_when_its_time_is_over_and_the_chain_has_said_so",
        Edit(
            "node/erasures.py",
            "                elif found.stage is Stage.WAITING:\n",
            "                elif found.stage is Stage.WAITING and not self._due_ms:\n",
        ),
    ),
    by_test(
        "X-9",
        "what was stopped is erased all the same",
        _ERASING + "test_what_was_stopped_is_never_erased_and_its_opening_goes",
        Edit(
            "node/erasures.py",
            "                elif found.stage is Stage.CANCELLED:\n"
            "                    await self._drop(case)\n"
            "                elif found",
            "                elif found",
        ),
    ),
    by_test(
        "X-7",
        "a ticket's file comes back after its records were erased",
        _GATE + "test_an_erasure_while_a_document_is_cut_leaves_no_inner_decision",
        Edit(
            "storage/vault.py",
            "            if known and not self",
            "            if not known and not self",
        ),
    ),
    by_test(
        "X-2",
        "erased is what the custodian was told, not what was certified",
        _ERASING + "test_a_request_that_names_something_else_erases_nothing",
        Edit(
            "node/erasures.py",
            "        return (wanted.handle, records) == (found.handle, found.records)",
            "        return wanted.handle == found.handle or not records",
        ),
    ),
    by_test(
        "X-3",
        "who had a permitted ticket is not asked",
        _CASES + "test_whoever_had_a_permitted_ticket_is_asked_and_nobody_else",
        Edit(
            "contracts/access.py",
            "    if outcome.permitted and args.purpose is not Purpose.PATIENT_REQUEST:",
            "    if outcome.permitted and args.purpose is Purpose.RESEARCH:",
        ),
    ),
    by_test(
        "X-3",
        "a reader between request and erasure is forgotten",
        _CASES + "test_a_reader_that_comes_before_the_custodian_has_erased_is_asked_too",
        Edit("contracts/erasure.py", "    if not case.closed:\n", "    if case.answered:\n"),
    ),
    by_test(
        "X-4",
        "an operator says that the custodian's vault is erased",
        _CASES + "test_only_the_custodians_node_says_that_it_has_erased",
        Edit(
            "contracts/erasure.py",
            "    if (args.reply is Reply.ERASED) != (ctx.capacity is Capacity.NODE):",
            "    if args.reply is Reply.RETAINED and ctx.capacity is Capacity.NODE:",
        ),
    ),
    by_test(
        "X-5",
        "a case does not name the one before it",
        _CASES + "test_cases_of_a_handle_name_the_one_before",
        Edit(
            "contracts/erasure.py",
            "        before=None if head is None else head.newest,\n        newest=args.org,",
            "        before=None,\n        newest=args.org,",
        ),
    ),
    by_test(
        "X-6",
        "the receipt is sent and nothing was erased",
        _ERASING + "test_what_is_certified_is_erased_and_the_chain_hears_of_it",
        Edit(
            "node/erasures.py",
            "            await self.records.erase(wanted.records, case, partial(self._leftovers, wanted))\n",
            "",
        ),
    ),
    by_test(
        "X-6",
        "documents are deleted and their keys live on",
        _ERASING + "test_files_from_before_and_the_keys_of_today_open_nothing",
        Edit("storage/vault.py", "        self._keys.destroy_older()\n", ""),
        quick=True,
    ),
    by_test(
        "X-6",
        "a transfer under way goes on after the erasure",
        _DESK + "test_a_transfer_under_way_ends_with_the_erasure",
        Edit(
            "node/gate.py", "        if self.records.erased(live.ask):", "        if live is None:"
        ),
    ),
    by_test(
        "X-7",
        "what a ticket says of an erased record stays in the vault",
        _DESK + "test_of_a_ticket_stays_who_read_and_nothing_of_what",
        Edit("node/records.py", "            names.append(name)\n", ""),
    ),
    by_test(
        "T-6",
        "a trail that ends too early passes for whole",
        _TRAIL + "test_what_is_left_out_is_seen",
        Edit(
            "salus/state_file.py",
            '            raise VerificationError("the file leaves out a value that belongs to it")',
            "            return None",
        ),
    ),
    by_test(
        "T-6",
        "files of a trail that do not follow one another pass for whole",
        _TRAIL + "test_a_long_trail_comes_in_files_that_follow_one_another",
        Edit("salus/trail.py", "newest.start is None and follow and", "newest.start is None and"),
    ),
    by_test(
        "G-5",
        "a custodian tells another story than its ticket",
        _DESK + "test_a_custodian_that_tells_another_story_is_seen",
        Edit(
            "salus/looks.py",
            "    if weighing_commitment(inner.decision_salt, weighing) != ticket.decision:",
            "    if not inner.decision_salt:",
        ),
    ),
    by_test(
        "G-5",
        "a permit that was left out of the weighing is not missed",
        _DESK + "test_a_custodian_that_tells_another_story_is_seen",
        Edit(
            "salus/consent/weighing.py",
            "        return list(weighing.docket.permits) == stood\n",
            "        return all(one in stood for one in weighing.docket.permits)\n",
        ),
    ),
    by_test(
        "G-5",
        "anybody gets the openings of a ticket",
        _DESK + "test_who_may_see_a_trail_in_full",
        Edit(
            "node/audit_desk.py",
            "        self._require_right(ask.handle, ask.key, now_ms)\n",
            "",
        ),
        quick=True,
    ),
    by_test(
        "G-5",
        "an export is taken for what its proofs lead to",
        _EXPORT + "test_what_does_not_follow_is_refused",
        Edit(
            "salus/audit_check.py",
            "    if render(manifest.format, manifest.chain_id, entries) != export:",
            "    if not export:",
        ),
    ),
)
