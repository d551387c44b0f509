"""Of docs/decisions/0016-pages.md: who opens a session, what it may do, what is shown to whom."""

from tests.mutants.mutant import Edit, Mutant, by_test

_SESSIONS = "tests/node/api/test_sessions.py::"
_EVENTS = "tests/node/api/test_events.py::"
_ME = "tests/node/api/test_me.py::"
_OUTBOX = "tests/node/test_outbox.py::"
_READ = "tests/node/api/test_me_access.py::"
_PUBLIC = "tests/node/api/test_public.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "P-1",
        "a login for another origin is taken",
        _SESSIONS + "test_a_login_serves_at_one_place_and_time",
        Edit(
            "node/api/sessions.py", "        if login.origin not in origins:", "        if False:"
        ),
        quick=True,
    ),
    by_test(
        "P-1",
        "a login is taken twice",
        _SESSIONS + "test_a_login_is_used_once",
        Edit(
            "node/api/sessions.py", "        if not fresh:", "        if not fresh and not login:"
        ),
    ),
    by_test(
        "P-1",
        "a node's key logs in",
        _SESSIONS + "test_who_is_not_in_force_gets_no_session",
        Edit(
            "node/api/sessions.py",
            "        if answer.capacity is Capacity.NODE:",
            "        if False:",
        ),
    ),
    by_test(
        "P-2",
        "a session outlives the delegate's rights",
        _SESSIONS + "test_a_session_ends_with_the_standing_of_its_key",
        Edit(
            "node/api/sessions.py",
            "        return _Standing(frozenset(rights)) if rights else None",
            "        return _Standing(frozenset(rights))",
        ),
    ),
    by_test(
        "P-2",
        "a stream of events outlives its session",
        _EVENTS + "test_a_stream_of_events_ends_with_its_session",
        Edit(
            "node/api/events.py",
            "session_left_s(HEARTBEAT_S))) is not None:\n        call.require_session()",
            "session_left_s(HEARTBEAT_S))) is not None:",
        ),
    ),
    by_test(
        "P-2",
        "a WebSocket outlives its session",
        _EVENTS + "test_a_websocket_ends_with_its_session",
        Edit(
            "node/api/events.py",
            "                    self._call.require_session()\n                    for event",
            "                    for event",
        ),
    ),
    by_test(
        "P-3",
        "a cookie changes something without naming its origin",
        _SESSIONS + "test_a_cookie_no_script_can_read_and_no_token_beside_it",
        Edit(
            "node/api/guard.py",
            "        if session is not None and session.by_cookie and bare:",
            "        if False:",
        ),
    ),
    by_test(
        "P-4",
        "a patient's session opens what is for members",
        _SESSIONS + "test_members_sessions_open_what_members_may_read_and_no_more",
        Edit(
            "node/api/guard.py",
            "            case Access.MEMBER if session is not None and session.member is not None:",
            "            case Access.MEMBER if session is not None:",
        ),
    ),
    by_test(
        "P-5",
        "another session's cursor is taken",
        _ME + "test_another_ones_ticket_is_shown_to_nobody",
        Edit(
            "node/api/sessions.py",
            "    alias = AESSIV(_hash_alias(token.encode()))",
            '    alias = AESSIV(_hash_alias(b"one"))',
        ),
    ),
    by_test(
        "P-11",
        "the contact before hears nothing of its change",
        _OUTBOX + "test_the_contact_before_is_told_that_it_was_changed",
        Edit(
            "node/outbox.py",
            "    if same or sum(one.waits for one in told) >= FAREWELLS_MAX:",
            "    if True:",
        ),
    ),
    by_test(
        "P-11",
        "a flood of changes pushes out what the first contact is told",
        _OUTBOX + "test_no_flood_of_changes_or_news_pushes_out_what_the_first_contact_is_told",
        Edit(
            "node/outbox.py",
            "    if same or sum(one.waits for one in told) >= FAREWELLS_MAX:",
            "    if same:",
        ),
    ),
    by_test(
        "P-13",
        "a relation is taken that only the node speaks of",
        "tests/cli/test_rebuilding.py::test_a_relation_that_the_node_invents_is_not_taken",
        Edit(
            "cli/rebuilding.py",
            "            if stands is not None or place == own:\n",
            "            if True:\n",
        ),
    ),
    by_test(
        "P-13",
        "a node's word drives the numbers of keys beyond what a rebuild finds again",
        "tests/cli/test_rebuilding.py"
        "::test_a_node_that_invents_keys_does_not_lock_the_owner_out_at_the_next_rebuild",
        Edit(
            "cli/rebuilding.py",
            "max(stands, min(told, stands + GENERATIONS_GAP - 1))",
            "max(stands, told)",
        ),
    ),
    by_test(
        "P-13",
        "whatever terms the custodian shows are taken",
        "tests/salus/test_regain.py::test_what_does_not_is_missing",
        Edit(
            "salus/regain.py",
            "if len(salt) != SALT_BYTES or terms_commitment(salt, decode_terms(terms)) != permit.terms:",
            "if len(salt) != SALT_BYTES or not decode_terms(terms):",
        ),
    ),
    by_test(
        "P-13",
        "a list of permits goes on in a state from before a revocation",
        "tests/salus/test_regain.py::test_a_longer_list_comes_in_files_none_of_an_older_state",
        Edit("salus/permit_list.py", "and after.height >= before.height", "and after.height > 0"),
    ),
    by_test(
        "P-12",
        "messages to one host are sent all at once",
        _OUTBOX + "test_a_destination_that_takes_its_time_delays_no_other_and_not_the_chain",
        Edit("node/outbox.py", "if busy[where] < SENDS_PER_DESTINATION_MAX:", "if True:"),
    ),
    by_test(
        "P-7",
        "a revocation at another relation is passed on",
        _ME + "test_a_revocation_of_this_key_is_passed_on_and_nothing_else",
        Edit(
            "node/api/me.py",
            "        if (args.org, args.handle) != (mine.org, mine.handle):",
            "        if False:",
        ),
        quick=True,
    ),
    by_test(
        "P-8",
        "a session fetches another patient's chunks",
        _READ + "test_chunks_and_receipts_are_of_own_tickets_alone",
        Edit(
            "node/api/mine.py",
            "        if ticket is None or ticket.handle != self.handle:",
            "        if ticket is None:",
        ),
    ),
    by_test(
        "P-9",
        "small numbers are shown to everybody",
        _PUBLIC + "test_everybody_sees_numbers_from_ten_on",
        Edit(
            "node/api/public.py",
            "if exact or number >= CELL_MIN else",
            "if exact or number >= 1 else",
        ),
    ),
)
