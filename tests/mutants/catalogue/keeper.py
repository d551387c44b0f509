"""Of docs/decisions/0010-patient.md, K-1 … K-5: what the keeper believes, holds and gives away."""

from tests.mutants.mutant import Edit, Mutant, by_test

_KEEPER = "tests/node/test_keeper.py::"
_BACKUP = "tests/node/test_keeper_backup.py::"
_EPOCHS = "tests/node/test_keeper_epochs.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "K-3",
        "the keeper believes a quorum that was voted out",
        _EPOCHS + "test_a_quorum_that_was_voted_out_opens_nothing_with_a_block_of_its_own",
        Edit("node/keeper.py", "        self._epochs.accept(bundle)\n", ""),
    ),
    by_test(
        "K-3",
        "a block of after the end of its epoch is believed",
        _EPOCHS + "test_a_quorum_that_was_voted_out_opens_nothing_with_a_block_of_its_own",
        Edit(
            "node/keeper_epochs.py",
            "        if header.height > end.height or header.time_ms > end.time_ms:",
            "        if header.height > end.height:",
        ),
    ),
    by_test(
        "K-3",
        "what was learned of epochs is forgotten with the process",
        _EPOCHS + "test_a_quorum_that_was_voted_out_opens_nothing_with_a_block_of_its_own",
        Edit("node/keeper_epochs.py", "        self._write(kept)\n", ""),
    ),
    by_test(
        "K-3",
        "two questions at once bring an older memory back",
        _EPOCHS + "test_a_question_that_hangs_does_not_bring_an_older_memory_back",
        Edit(
            "node/keeper_epochs.py",
            "        with self._one:\n            self._accept(bundle)\n",
            "        self._accept(bundle)\n",
        ),
    ),
    by_test(
        "K-3",
        "another history than the one that was seen is believed",
        _EPOCHS + "test_another_end_of_an_epoch_than_the_one_seen_is_not_believed",
        Edit(
            "node/keeper_epochs.py",
            "bundle.epochs[end.epoch].header.hash() != end.hash",
            "bundle.epochs[end.epoch].header.epoch != end.epoch",
        ),
    ),
    by_test(
        "K-4",
        "the keeper takes the gate's word for the patient's terms",
        _KEEPER + "test_what_the_patients_terms_do_not_permit_stays_shut_whatever_the_gate_claims",
        Edit("node/keeper_weighing.py", "    if not follows:\n", "    if decision is None:\n"),
    ),
    by_test(
        "K-5",
        "a restore writes over another keeper",
        _BACKUP + "test_no_keeper_and_no_copy_is_written_over",
        Edit(
            "node/keeper_backup.py",
            "    refuse_if_made(folder)\n    saved = read(copy)\n",
            "    (folder / KEY).unlink(missing_ok=True)\n    saved = read(copy)\n",
        ),
    ),
    by_test(
        "K-5",
        "a restored keeper has forgotten which epoch it knew",
        _BACKUP + "test_a_restored_keeper_is_the_one_that_was_copied",
        Edit(
            "node/keeper_backup.py",
            "    if saved.epochs is not None and not (folder / EPOCHS).exists():",
            "    if saved.epochs is not None and (folder / EPOCHS).exists():",
        ),
    ),
    by_test(
        "K-4",
        "the gate leaves a denial out of what it weighs",
        _KEEPER + "test_a_permit_that_the_gate_leaves_out_or_changes_opens_nothing",
        Edit("node/keeper_weighing.py", " or not same_docket(weighing, docket):\n", ":\n"),
    ),
    by_test(
        "K-4",
        "the gate adds a permit of its own behind a denial",
        _KEEPER + "test_a_permit_that_the_gate_adds_or_moves_behind_a_denial_opens_nothing",
        Edit(
            "salus/consent/weighing.py",
            "        return list(weighing.docket.permits) == stood\n",
            "        pass\n",
        ),
    ),
    by_test(
        "K-4",
        "the gate weighs the block before a denial",
        _KEEPER + "test_a_permit_that_the_gate_leaves_out_or_changes_opens_nothing",
        Edit(
            "node/keeper_weighing.py",
            "    if any(at > weighing.height for at in said):\n",
            "    if any(at > height for at in said):\n",
        ),
    ),
    by_test(
        "K-4",
        "the docket is proved of a block before the ticket's",
        _KEEPER + "test_the_docket_is_proved_of_the_tickets_block_or_a_later_one",
        Edit("node/keeper.py", "        if proved.height < height:\n", "        if not height:\n"),
    ),
    by_test(
        "K-4",
        "the gate chooses the moment of its decision",
        _KEEPER + "test_a_gate_weighs_at_the_time_of_its_tickets_block",
        Edit(
            "salus/consent/weighing.py",
            "    return abs(weighing.at_ms - time_ms) <= MOMENT_APART_MAX_MS",
            "    return weighing.at_ms - time_ms <= MOMENT_APART_MAX_MS",
        ),
    ),
)
