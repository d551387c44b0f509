"""C-5 of docs/decisions/0010-patient.md: inner terms narrow and never widen (docs/consent.md)."""

from tests.mutants.mutant import Edit, Mutant, by_test

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
)
