"""Of docs/decisions/0010-patient.md: C-5, inner terms narrow and never widen; G-3, what obligations
name is withheld (docs/consent.md)."""

from tests.mutants.mutant import Edit, Mutant, by_test

_REDACT = "tests/salus/consent/test_redact.py::"
_DECIDE = "tests/salus/consent/test_decide.py::"

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
            "    return _Reach.PART if _meet(classes, asked) else _Reach.NOTHING",
            "    return _Reach.NOTHING",
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
)
