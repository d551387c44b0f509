"""Of docs/decisions/0010-patient.md: C-5, inner terms narrow and never widen; G-3, what obligations
name is withheld (docs/consent.md)."""

from tests.mutants.mutant import Edit, Mutant, by_test

_REDACT = "tests/salus/consent/test_redact.py::"
_DECIDE = "tests/salus/consent/test_decide.py::"
_IMPORT = "tests/salus/test_importing.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "C-5",
        "an older consent is heard beside the last",
        _DECIDE + "test_the_consent_committed_last_decides",
        Edit("salus/consent/decide.py", "if c.latest >= newest]", "if c.latest >= 0]"),
    ),
    by_test(
        "C-5",
        "a revoked consent gives way to the one before it",
        _DECIDE + "test_revoking_the_last_consent_revives_no_older_one",
        Edit(
            "salus/consent/decide.py",
            "    if consent.standing is Standing.VOID:",
            "    if consent.standing is not Standing.ACTIVE:",
        ),
        quick=True,
    ),
    by_test(
        "C-5",
        "of two exceptions that disagree the first one counts",
        _DECIDE + "test_two_exceptions_that_disagree_deny",
        Edit(
            "salus/consent/decide.py",
            "                above.keep += own.keep\n",
            "                above.keep += own.keep\n                above.denied = False\n",
        ),
    ),
    by_test(
        "C-5",
        "a denied class that is asked for among others is shown",
        _DECIDE + "test_a_class_that_is_asked_for_alone_is_decided_and_not_redacted",
        Edit(
            "salus/consent/decide.py",
            "    if not asked.isdisjoint(named):\n        return _PART\n",
            "",
        ),
    ),
    by_test(
        "C-5",
        "a denied purpose leaves out its kinds",
        _DECIDE + "test_a_denied_purpose_denies_its_kinds_and_a_permitted_one_does_not_permit_them",
        Edit(
            "salus/consent/decide.py",
            "    return any(purpose in rule.purposes for purpose in with_broader(request.purpose))",
            "    return False",
        ),
    ),
    by_test(
        "C-5",
        "an actor of whom nothing is known is left out of the denial",
        "tests/salus/consent/test_fhir.py::test_an_actor_of_whom_nothing_is_known_is_refused",
        Edit("salus/consent/parties.py", "        if not found:\n", "        if found is None:\n"),
    ),
    by_test(
        "G-3",
        "a Composition that tells of what is withheld is shown",
        _REDACT + "test_what_tells_of_a_withheld_resource_is_withheld_too",
        Edit(
            "salus/consent/redact.py",
            'TELLERS = frozenset(("Composition", "List", "DocumentManifest", "Bundle"))',
            'TELLERS = frozenset(("List", "DocumentManifest", "Bundle"))',
        ),
    ),
    by_test(
        "G-3",
        "what is very restricted is shown where restricted is denied",
        _REDACT
        + "test_a_denied_level_denies_the_higher_ones_and_a_permitted_one_permits_the_lower",
        Edit("salus/consent/carried.py", "each >= least", "each == least"),
    ),
    by_test(
        "G-3",
        "what nobody can read is shown under obligations",
        _REDACT + "test_what_cannot_be_judged_is_withheld",
        Edit(
            "salus/consent/carried.py",
            "        if not self.itself:\n            return False\n",
            "        if not self.itself:\n            return not self.anywhere\n",
        ),
    ),
    by_test(
        "C-5",
        "a denial whose terms permit widens an older permit",
        "tests/salus/consent/test_weigh.py::test_a_denial_whose_terms_permit_widens_nothing",
        Edit(
            "salus/consent/weigh.py",
            "        permit.effect is Effect.DENY and consent.name in decision.consents\n",
            "        False and consent.name in decision.consents\n",
        ),
    ),
    by_test(
        "C-5",
        "an imported denial of somebody unknown denies nobody",
        _IMPORT + "test_a_denial_of_somebody_unknown_is_refused",
        Edit(
            "salus/consent/actor_map.py",
            "        if effect is Effect.DENY:\n",
            "        if False:\n",
        ),
    ),
    by_test(
        "C-5",
        "a denial goes with the permission to somebody unknown that it is nested in",
        _IMPORT + "test_a_denial_within_a_permission_to_somebody_unknown_is_not_lost",
        Edit(
            "salus/consent/fhir.py",
            "self.rules[index].effect is effect is Effect.PERMIT and _has(",
            "False and _has(",
        ),
    ),
    by_test(
        "C-5",
        "what is excepted from a denial is permitted as widely as the denial is read",
        _IMPORT
        + "test_what_is_excepted_from_a_denial_that_is_read_more_widely_is_not_permitted_more_widely",
        Edit(
            "salus/consent/fhir.py",
            "            if _has(form, Effect.PERMIT):\n",
            "            if False:\n",
        ),
    ),
    by_test(
        "C-5",
        "an actor who is nobody here becomes everybody",
        _IMPORT + "test_who_is_nobody_here_and_has_no_identifier_does_not_become_everybody",
        Edit(
            "salus/consent/actor_map.py",
            "            return foreign or [NOBODY], None\n",
            "            return foreign, None\n",
        ),
    ),
    by_test(
        "C-5",
        "an imported permission to one doctor is one to his house",
        _IMPORT + "test_a_map_that_cannot_be_is_refused",
        Edit(
            "salus/consent/actor_map.py",
            "        if actor.kind is not None and (",
            "        if False and (",
        ),
    ),
    by_test(
        "C-5",
        "what a Consent denies the custodian's own staff is a permit for them",
        _IMPORT + "test_own_staff_are_denied_what_the_consent_denies_them",
        Edit(
            "salus/importing.py",
            "            if org == custodian and purpose in OWN_PURPOSES:\n",
            "            if False:\n",
        ),
    ),
    by_test(
        "G-19",
        "the place of a request is not weighed",
        "tests/node/test_gate.py::test_a_permit_for_a_place_opens_from_there_alone",
        Edit("node/scales.py", "reader.roles, request.site\n", "reader.roles, None\n"),
    ),
    by_test(
        "G-19",
        "a reader's node passes on any place",
        "tests/node/test_reader_desk.py"
        "::test_a_reader_says_only_such_places_as_his_node_vouches_for",
        Edit(
            "node/reader_desk.py",
            "        if site is not None and site not in self._sites:\n",
            "        if False:\n",
        ),
    ),
    by_test(
        "G-19",
        "a place that was weighed and not asked from is not seen",
        "tests/node/test_audit_desk.py"
        "::test_a_request_that_was_weighed_as_if_it_came_from_elsewhere_is_seen",
        Edit(
            "salus/looks.py",
            "        if asked is not None and asked.sites !=",
            "        if False and asked.sites !=",
        ),
    ),
)
