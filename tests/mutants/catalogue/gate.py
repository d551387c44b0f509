"""Of docs/decisions/0010-patient.md: G-1 … G-4, T-3, T-4, C-5, C-6 at the custodian's gate; and of 0013."""

from tests.mutants.mutant import Edit, Mutant, by_test

_LIARS = "tests/node/test_gate_liars.py::"
_GATE = "tests/node/test_gate.py::"
_KEEPER = "tests/node/test_keeper.py::"
_DENIALS = "tests/node/test_denials.py::"
_RATES = "tests/node/test_ticket_rates.py::"
_CLIENT = "tests/node/test_reading_client.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "G-1",
        "nobody looks at the signature of a request",
        _LIARS + "test_a_forged_signature",
        Edit(
            "node/readers.py",
            "    if not verify(request.key, request.payload(), ask.signature):",
            "    if not request.key:",
        ),
        quick=True,
    ),
    by_test(
        "G-1",
        "a member brings requests of another one's staff",
        _LIARS + "test_staff_of_another_member_brought_by_this_one",
        Edit("node/readers.py", " or found.member != member:", ":"),
    ),
    by_test(
        "G-1",
        "any key of a member reads, not its staff's alone",
        _LIARS + "test_a_key_of_no_staff",
        Edit("node/readers.py", " or found.capacity is not Capacity.STAFF", ""),
    ),
    by_test(
        "G-1",
        "a record of another patient goes with the permitted ones",
        _LIARS + "test_another_patients_record_in_the_set",
        Edit(
            "node/gate_records.py",
            "        if (found.handle, private.commitment) != (handle, asked.commitment):",
            "        if private.commitment != asked.commitment:",
        ),
        # The keeper would refuse; the gate must not get so far.
    ),
    by_test(
        "G-2",
        "what was denied is released",
        _LIARS + "test_a_revoke_in_the_tickets_own_block_wins",
        Edit(
            "node/gate.py",
            "            if not outcome.permitted:\n",
            "            if not judged.outcome.permitted:\n",
        ),
        quick=True,
    ),
    by_test(
        "G-2",
        "the gate's own word is taken for the chain's",
        _LIARS + "test_a_revoke_in_the_tickets_own_block_wins",
        Edit(
            "node/gate.py",
            "            outcome = _outcome(receipt)\n",
            "            outcome = judged.outcome\n",
        ),
    ),
    by_test(
        "G-2",
        "the keeper opens what a denied ticket names",
        _KEEPER + "test_a_denied_ticket_opens_nothing",
        Edit(
            "node/keeper.py",
            '        if decided[0].get("permitted") is not True:',
            '        if decided[0].get("permitted") is None:',
        ),
    ),
    by_test(
        "G-2",
        "the keeper opens versions that the ticket does not name",
        _KEEPER + "test_other_versions_than_those_of_the_ticket_stay_shut",
        Edit(
            "node/keeper.py",
            "        if records_commitment(request.salt, versions) != args.records:",
            "        if not versions:",
        ),
    ),
    by_test(
        "G-3",
        "what the obligations name is shown",
        _GATE + "test_parts_that_the_terms_do_not_permit_are_withheld_and_the_others_are_proved",
        Edit(
            "node/gate.py",
            "self.opener.opened(file, kept, Wanted(decision.obligations))",
            "self.opener.opened(file, kept, Wanted(()))",
        ),
        quick=True,
    ),
    by_test(
        "G-4",
        "every denial gets a ticket, however many",
        _DENIALS + "test_the_chain_gets_five_tickets_and_one_number",
        Edit(
            "node/denials.py",
            "sum(now_s < at_s + WINDOW_S for at_s in pair.tickets_s)",
            "sum(now_s < at_s for at_s in pair.tickets_s)",
        ),
    ),
    by_test(
        "G-4",
        "whoever is unknown is in the book of denials",
        _DENIALS + "test_whoever_is_unknown_is_in_no_book",
        Edit(
            "node/gate.py",
            "        request = ask.request\n        self._check_request(member, ask)\n",
            "        request = ask.request\n        self._check_request(member, ask)\n"
            "        self.book.without_ticket(member, request.handle, self.clock())\n",
        ),
    ),
    by_test(
        "G-16",
        "a handle here is believed without its owner's word",
        "tests/node/test_permit_inbox.py::"
        "test_a_handle_here_that_its_owner_has_not_signed_names_nobody",
        Edit(
            "node/permit_inbox.py",
            "        if not self._proved(notice, notice.here.handle):",
            "        if not notice.here.handle:",
        ),
    ),
    by_test(
        "C-5",
        "the gate claims a permit that it has not weighed",
        _LIARS + "test_a_grant_in_the_tickets_own_block_is_not_weighed_and_permits_nothing",
        Edit(
            "node/gate.py",
            "                narrowed=not judged.outcome.permitted,\n",
            "                narrowed=judged.outcome.reason is Reason.TERMS,\n",
        ),
    ),
    by_test(
        "C-5",
        "an opening that is missing is passed over",
        _LIARS + "test_an_opening_that_nobody_has_shown_denies",
        Edit(
            "salus/consent/weigh.py",
            "            raise BadMessage(\n"
            '                f"nobody here knows what permit {permit.id.hex()} says", code="OPENING_MISSING"\n'
            "            )\n",
            "            continue\n",
        ),
    ),
    by_test(
        "C-6",
        "a later denial that has ended silences one in force",
        "tests/salus/consent/test_weigh.py::test_own_staff_meet_every_denial_not_only_the_last",
        Edit(
            "salus/consent/weigh.py",
            "        decide([consent], question, now_ms)\n"
            "        for permit, consent in consents_of(docket, openings, now_ms)\n"
            "        if permit.effect is Effect.DENY\n",
            "        decide([c for p, c in consents_of(docket, openings, now_ms) if p.effect is Effect.DENY], question, now_ms)\n",
        ),
    ),
    by_test(
        "T-3",
        "a request that comes again takes the place of what opens its ticket",
        _LIARS + "test_a_request_that_comes_again",
        Edit(
            "node/gate.py",
            "        self.files.require_new(ask.request.request_id)\n",
            "",
        ),
    ),
    by_test(
        "T-4",
        "a transfer goes on after the permit was revoked",
        _GATE + "test_a_revoked_permit_ends_a_transfer_one_block_later",
        Edit(
            "node/gate.py",
            "        if now is None or not _same(now, live):\n",
            "        if now is None:\n",
        ),
        quick=True,
    ),
    by_test(
        "T-4",
        "permits once read are remembered, whatever the chain says since",
        _GATE + "test_a_revoked_permit_ends_a_transfer_one_block_later",
        Edit(
            "node/scales.py",
            "self.openings = state, org, openings",
            "self.openings = state, org, openings; self._seen = {}",
        ),
        Edit(
            "node/scales.py",
            "decode_known(stored, Docket)",
            "self._seen.setdefault(key, decode_known(stored, Docket))",
        ),
    ),
    by_test(
        "T-4",
        "a reader once identified is remembered, whatever the chain says since",
        _GATE + "test_whatever_ends_the_right_ends_the_transfer",
        Edit(
            "node/scales.py",
            "self.openings = state, org, openings",
            "self.openings = state, org, openings; self._seen = {}",
        ),
        Edit(
            "node/scales.py",
            "return reader_of(self._read, member, request, relation, now_ms)",
            "return self._seen.setdefault(request.key, None) or self._seen.update({request.key:"
            " reader_of(self._read, member, request, relation, now_ms)}) or self._seen[request.key]",
        ),
    ),
    by_test(
        "T-4",
        "a ticket lives as long as the node",
        _GATE + "test_a_ticket_lives_five_minutes_by_the_clock",
        Edit(
            "node/live_tickets.py",
            "        return None if live is None or live.until_s <= self.clock() else live",
            "        return live",
        ),
    ),
    by_test(
        "T-4",
        "chunks go to whoever names the request",
        _LIARS + "test_chunks_by_another_member_than_the_one_who_asked",
        Edit(
            "node/gate.py",
            "        if live is None or live.member != member:",
            "        if live is None:",
        ),
    ),
    by_test(
        "G-5",
        "what opens a ticket is written after the ticket is sent",
        _GATE + "test_what_opens_a_ticket_is_on_disk_before_the_ticket_is_sent",
        Edit(
            "node/gate.py",
            "                await self.files.put(file)\n                height, receipt = await self.sender.certified(tx)\n",
            "                height, receipt = await self.sender.certified(tx)\n                await self.files.put(file)\n",
        ),
    ),
    by_test(
        "G-6",
        "without a quorum bytes go on leaving",
        _GATE + "test_without_a_quorum_nothing_leaves",
        Edit(
            "node/gate.py",
            "        self.ready()\n        try:\n            with self._our_fault():\n                sealed =",
            "        try:\n            with self._our_fault():\n                sealed =",
        ),
    ),
    by_test(
        "G-13",
        "denials that come together do not count each other",
        _DENIALS + "test_requests_that_come_together_get_no_more_tickets_either",
        Edit("node/denials.py", "recent + self._deciding[requester, handle] >=", "recent >="),
    ),
    by_test(
        "G-17",
        "what is contained in what is contained stays",
        "tests/salus/consent/test_redact.py::test_what_is_contained_hides_nothing_deeper",
        Edit("salus/consent/derivative.py", "around, whole=True)", "around)"),
        quick=True,
    ),
    by_test(
        "G-10",
        "the custodian's word for how much is withheld is taken",
        _CLIENT + "test_a_part_that_is_missing_is_not_kept_quiet",
        Edit("salus/read_result.py", "if disclosure.withheld != part.withheld:", "if False:"),
    ),
    by_test(
        "T-1",
        "a ticket with another reason than the reader gave is taken",
        _CLIENT + "test_another_reason_than_the_reader_gave_is_noticed",
        Edit(
            "salus/ticket_proof.py",
            "args.records, args.care) != opened:",
            "args.records) != opened[:2]:",
        ),
    ),
    by_test(
        "G-6",
        "one patient takes all open tickets of his hospital",
        "tests/node/test_live_tickets.py::test_one_reader_keeps_nobody_else_of_his_hospital_out",
        Edit("node/live_tickets.py", "(reader, LIVE_OF_READER_MAX,", "(reader, LIVE_MAX,"),
    ),
    by_test(
        "G-20",
        "one liar sets the clock of a gate",
        "tests/node/test_clock_watch.py::test_the_median_of_a_quorum_says_it",
        Edit(
            "node/clock_watch.py",
            "lower, upper = readings[(len(readings) - 1) // 2], readings[len(readings) // 2]",
            "lower, upper = readings[-1], readings[0]",
        ),
    ),
    by_test(
        "G-20",
        "a node whose clock is behind is ready, and its tickets open nothing",
        "tests/node/test_clock_watch.py::test_what_is_wrong_with_it_is_said_with_its_owner",
        Edit("node/clock_watch.py", "if -ahead_ms > BEHIND_MAX_MS:", "if -ahead_ms > 10**15:"),
    ),
    by_test(
        "G-20",
        "a gate weighs by a clock that is ahead",
        "tests/node/test_vitals.py"
        "::test_a_clock_that_is_off_is_said_and_the_gate_goes_by_the_others",
        Edit(
            "node/care.py",
            "now_ms() - facade.clock_ahead_ms(),",
            "now_ms() - 0 * facade.clock_ahead_ms(),",
        ),
    ),
    by_test(
        "G-18",
        "a member costs the ledger as many tickets as it likes",
        _RATES + "test_beyond_the_rate_nothing_is_written_or_sent_and_the_request_may_come_again",
        Edit(
            "node/gate.py",
            "            self.rates.take(member, request.key, request.handle if own else None)\n",
            "",
        ),
    ),
    by_test(
        "G-18",
        "one person's script uses up what colleagues need",
        _RATES + "test_one_persons_script_leaves_tickets_to_the_colleagues",
        Edit(
            "node/ticket_rates.py",
            "(one, PERSON_TICKETS_PER_S, PERSON_TICKETS_AT_ONCE_MAX),",
            "(one, MEMBER_TICKETS_PER_S, MEMBER_TICKETS_AT_ONCE_MAX),",
        ),
    ),
    by_test(
        "G-18",
        "patients with scripts use up what the hospital's staff need",
        _RATES + "test_patients_who_look_at_their_own_records_leave_the_staff_their_tickets",
        Edit("node/gate.py", "request.handle if own else None)", "None)"),
    ),
    by_test(
        "G-18",
        "an emergency waits for the rate of tickets",
        "tests/node/test_gate_node.py::test_emergencies_are_heard_from_a_member_whose_tickets_are_used_up",
        Edit(
            "node/care.py",
            "        calls.serve(Topic.SUMMARY, self.emergencies.serve)\n",
            """        async def summary(member: str, payload: bytes) -> bytes:
            self.gate.rates.take(member, payload[:32])
            return await self.emergencies.serve(member, payload)

        calls.serve(Topic.SUMMARY, summary)
""",
        ),
    ),
)
