"""Of docs/decisions/0010-patient.md: K-1 and K-2, documents that the node itself cannot open, and the
keeper that can."""

from tests.mutants.mutant import Edit, Mutant, by_test

_SEALS = "tests/node/test_record_seals.py::"
_STREAMS = "tests/node/test_record_streams.py::"
_VAULT = "tests/storage/test_vault_sealed.py::"
_KEEPER = "tests/node/test_keeper.py::"
_EPOCHS = "tests/node/test_keeper_epochs.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "K-1",
        "the node keeps the key of a patient's document for itself",
        _SEALS + "test_with_all_keys_of_the_node_no_byte_of_the_document_is_had",
        Edit(
            "node/records.py",
            "        entry = self.vault.put([content], seal)",
            "        entry = self.vault.put([content], None)",
        ),
        quick=True,
    ),
    by_test(
        "K-1",
        "a patient's document leaves without a ticket",
        _SEALS + "test_neither_document_nor_proof_leaves_without_a_ticket",
        Edit(
            "node/record_reader.py",
            "        if file.subject is not None:\n            raise",
            "        if file.subject is not None and number == 0:\n            raise",
        ),
    ),
    by_test(
        "K-1",
        "an older version is asked for under the classes of a later one",
        _SEALS + "test_each_version_keeps_the_classes_that_it_was_sealed_with",
        Edit(
            "node/record_reader.py",
            "file.subject.handle, private.classes, key)",
            "file.subject.handle, file.subject.classes, key)",
        ),
    ),
    by_test(
        "K-1",
        "versions of before the patient was known stay open",
        _SEALS + "test_a_record_that_becomes_a_patients_is_sealed_whole",
        Edit(
            "node/record_anchors.py",
            "            if file.subject is not None:\n                # Versions",
            "            if file.subject is None:\n                # Versions",
        ),
    ),
    by_test(
        "K-1",
        "a key that was handed over is still had from its old file",
        _SEALS + "test_what_was_stored_before_the_keeper_is_handed_over_at_the_next_start",
        Edit(
            "node/record_seals.py", "            self._vault.erase(())", "            assert count"
        ),
    ),
    by_test(
        "K-1",
        "an erasure loses the sealed keys of the others",
        _VAULT + "test_erasing_keeps_the_sealed_keys_of_others_whenever_the_power_goes",
        Edit(
            "storage/vault.py",
            "end = WRAP_BYTES if kind == RECORDS else len(data)",
            "end = WRAP_BYTES",
        ),
    ),
    by_test(
        "K-1",
        "older software erases in a vault with sealed keys",
        _VAULT + "test_a_vault_of_version_1_is_read_and_from_then_on_refused_by_older_software",
        Edit("storage/vault_keys.py", "        keys._stamp()\n", ""),
    ),
    by_test(
        "K-1",
        "half a document keeps its place in the vault",
        _STREAMS + "test_half_a_document_leaves_nothing",
        Edit(
            "node/record_streams.py",
            "                deposit.abandon()\n                raise",
            "                raise",
        ),
    ),
    by_test(
        "K-2",
        "a signature that was seen passes for another block",
        _EPOCHS + "test_a_signature_is_verified_once_and_a_false_one_never_passes",
        Edit(
            "node/keeper.py",
            "sha256(public_key + signature + payload)",
            "sha256(public_key + signature)",
        ),
    ),
    by_test(
        "K-2",
        "a second making gives the keeper another genesis",
        _KEEPER + "test_a_second_making_changes_nothing_of_what_a_keeper_believes",
        Edit("node/keeper_process.py", "    if (folder / KEY).exists():", "    if not folder:"),
    ),
    by_test(
        "K-2",
        "the keeper believes what a group may write",
        _KEEPER + "test_what_others_may_write_is_not_believed",
        Edit("node/keeper_process.py", "status.st_mode & 0o022", "status.st_mode & 0o002"),
        quick=True,
    ),
    by_test(
        "K-2",
        "anybody may ask the keeper",
        _KEEPER + "test_a_question_over_the_socket",
        Edit("node/keeper_socket.py", "os.umask(0o177)", "os.umask(0)"),
    ),
)
