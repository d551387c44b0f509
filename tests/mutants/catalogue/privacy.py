"""R-0, the publication rule of docs/privacy.md: nothing of a patient leaves the vault readable or guessable. The
judge is the attack on a house of real processes."""

from tests.mutants.mutant import Edit, Mutant, by_test

_ATTACK = "tests/privacy/test_attack.py::"
_FOUND = _ATTACK + "test_nothing_of_the_patients_stands_in_the_"
_GUESSED = _ATTACK + "test_no_public_value_is_an_unsalted_hash_of_what_is_known"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "R-0",
        "a reason is committed to without its salt",
        _GUESSED,
        Edit(
            "salus/document.py",
            "_hash_reason(salt + reason.encode())",
            "_hash_reason(reason.encode())",
        ),
    ),
    by_test(
        "R-0",
        "the parts of a document are hashed without their salts",
        _GUESSED,
        Edit(
            "salus/document.py",
            "_hash_part(salt + content)",
            "_hash_part(content)",
        ),
    ),
    by_test(
        "R-0",
        "a label stands on the chain where its commitment should",
        _FOUND + "databases",
        Edit(
            "salus/document.py",
            "_hash_reason(salt + reason.encode())",
            "reason.encode()[:32].ljust(32)",
        ),
    ),
    by_test(
        "R-0",
        "the log says what is withdrawn and why",
        _FOUND + "logs",
        Edit(
            "node/records.py",
            "            number = file.versions.index(base)\n",
            "            number = file.versions.index(base)\n"
            '            print("withdrawn:", reason, flush=True)\n',
        ),
    ),
)
