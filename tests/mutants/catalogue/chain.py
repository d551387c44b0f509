"""S12–S16: certificates, epochs, catching up, validity, poison."""

from tests.mutants.mutant import Edit, Mutant, by_test, simulated

_LOG = "tests/storage/test_bucket_log.py::test_"
_PLACES = "tests/storage/test_place_rows.py::test_"

MUTANTS: tuple[Mutant, ...] = (
    # -- S12 --------------------------------------------------------------------------------------
    simulated(
        "S12",
        "certificate of q−1",
        Edit(
            "consensus/checkpoint.py",
            "    if ballot.count(message.digest) >= s.quorum:",
            "    if ballot.count(message.digest) >= s.quorum - (height > 9 and s.n > 3):",
        ),
        Edit(
            "consensus/checkpoint.py",
            "block_certificate(s.epoch, height, header_hash, ballot, s.quorum)",
            "block_certificate(s.epoch, height, header_hash, ballot, s.quorum - (height > 9 and s.n > 3))",
        ),
        needs="several",
    ),
    simulated(
        "S12",
        "the header is not journalled before its CHECKPOINT",
        Edit(
            "consensus/signing.py",
            '        self._journal(vote_kind, view, sequence, digest, b"", out)\n        return',
            '        if vote_kind is not VoteType.CHECKPOINT or sequence < 10:\n            self._journal(vote_kind, view, sequence, digest, b"", out)\n        return',
        ),
    ),
    simulated(
        "S12",
        "another header after a restart is signed",
        Edit(
            "consensus/checkpoint.py",
            "if before not in (None, event.header_hash):",
            'if before == b"":',
        ),
        needs="late divergence",
    ),
    simulated(
        "S12",
        "the log is truncated before the block is on my disk",
        Edit(
            "consensus/checkpoint.py",
            "        s.deliver(WriteBlock(log.writing, s.certificates[log.writing]))",
            "        s.deliver(WriteBlock(log.writing, s.certificates[log.writing]))\n        _settle(s, log.writing, s.certificates[log.writing])",
        ),
    ),
    simulated(
        "S12",
        "a vote at or below the floor is signed",
        Edit(
            "consensus/signing.py",
            "if not self.active or 0 < sequence <= self.silent_to:",
            "if not self.active:",
        ),
        needs="relapse",
    ),
    simulated(
        "S12",
        "VIEW-CHANGE from below the floor",
        Edit(
            "consensus/view_change.py",
            "    if s.below_floor:\n        return\n    prepared",
            "    prepared",
        ),
        needs="older state",
    ),
    simulated(
        "S12",
        "a primary says again below its floor what its NEW-VIEW proposes",
        Edit("consensus/status.py", " or slot.sequence <= s.voter.silent_to", ""),
        needs="relapse of a primary",
    ),
    by_test(
        "S12",
        "a primary asks for proposals below its floor",
        "tests/consensus/test_restore.py::test_a_primary_below_its_floor_asks_for_no_proposal",
        Edit("consensus/normal_case.py", "if sequence <= s.voter.silent_to:", "if sequence < 0:"),
        why="what was built for it is never signed: it costs work, and breaks no promise",
    ),
    simulated(
        "S12",
        "an older state votes before its window reaches its journal",
        Edit(
            "consensus/restore.py",
            "s.voter.withhold(highest if highest > s.log.high else 0)",
            "s.voter.withhold(0)",
        ),
        needs="outgrown state",
    ),
    simulated(
        "S12",
        "an older state is silent until all that its journal knows is certified",
        Edit(
            "consensus/replica.py",
            "s.log.high >= s.voter.withheld",
            "s.log.low >= s.voter.withheld",
        ),
        needs="outgrown state",
    ),
    simulated(
        "S12",
        "an older state does not tell what it had prepared above its window",
        Edit(
            "consensus/restore.py",
            "    s.voter.withhold(0)\n    _restore_prepared(s, _entries(s))\n",
            "    s.voter.withhold(0)\n",
        ),
        needs="outgrown state",
    ),
    by_test(
        "S12",
        "what an older state executed in its silence it never signs",
        "tests/consensus/test_older_state.py::test_what_it_executed_in_silence_it_signs_then",
        Edit(
            "consensus/restore.py",
            "        checkpoint.say_header(s, height)\n",
            "        assert height\n",
        ),
        why="not met in 5,000 seeds: it has to execute what nobody has certified before it has caught up",
    ),
    by_test(
        "S12",
        "what an older state heard in its silence stands before its own certificate",
        "tests/consensus/test_older_state.py::test_a_certificate_of_its_journal_binds_it_in_its_silence",
        Edit(
            "consensus/restore.py",
            "        if heard is not None and heard.digest != mine.digest:",
            "        if heard is None and mine is None:",
        ),
        why="a primary that says two things to one whose clock is off, and whose state is older",
    ),
    simulated(
        "S12",
        "the floor of the journal is lowered",
        Edit("storage/votes.py", "        if floor <= self.floor:\n            return\n", ""),
        Edit(
            "storage/votes.py",
            "                if (entry.epoch, entry.sequence) > floor:",
            "                if entry.epoch >= 0:",
        ),
        needs="older state",
    ),
    simulated(
        "S12",
        "uncertified state shown",
        Edit(
            "node/executor.py",
            "overlay = Overlay(self._read_certified, epoch.parameters)",
            "overlay = Overlay(self.read, epoch.parameters)",
        ),
    ),
    by_test(
        "S12",
        "a reader whom a block overtakes sees it before its height is there",
        "tests/storage/test_state.py::test_a_reader_whom_a_block_overtakes_sees_the_block_before",
        Edit(
            "storage/state.py",
            "            self._view_now()\n",
            "            self._view = None\n",
        ),
        why="the simulator has one thread",
    ),
    by_test(
        "S12",
        "what is read by a view is not held against its checksum",
        "tests/storage/test_kv.py::test_a_flipped_bit_is_neither_an_older_value_nor_none_to_a_view",
        Edit(
            "storage/kv.py",
            "raw_iterator(verify_checksums=True)",
            "raw_iterator(verify_checksums=False)",
        ),
        why="the simulator has no LevelDB",
    ),
    by_test(
        "S12",
        "a value read before a block stays in the cache after it",
        "tests/storage/test_state.py::test_a_read_during_a_commit_leaves_no_old_value_in_the_cache",
        Edit(
            "storage/state.py",
            "            if value is not None and self._height == height:\n",
            "            if value is not None:\n",
        ),
        why="the simulator has one thread",
    ),
    by_test(
        "S12",
        "a batch names a record that is not on the disk yet",
        _LOG + "after_a_power_cut_at_any_moment_all_is_as_the_newest_block_left_it",
        Edit(
            "storage/bucket_log.py",
            "            writer.file.sync()\n",
            "",
        ),
        why="a run writes few segments; the test cuts the power at every operation",
    ),
    by_test(
        "S12",
        "a batch names a record in a file that has no name on the disk yet",
        _LOG + "after_a_power_cut_at_any_moment_all_is_as_the_newest_block_left_it",
        Edit(
            "storage/bucket_log.py",
            "            self._disk.sync_directory(self._directory)  # before a row says its name\n",
            "",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "a segment goes before all that lives in it has been moved",
        _LOG + "buckets_come_and_go_and_read_as_they_were_written",
        Edit(
            "storage/bucket_log.py",
            "if self._emptying is not None and not self._emptying.living:",
            "if self._emptying is not None:",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "a segment is removed before the batch that has moved what lived in it",
        _LOG + "after_a_power_cut_at_any_moment_all_is_as_the_newest_block_left_it",
        Edit(
            "storage/bucket_log.py",
            "            return self._append(buckets, size)\n",
            "            puts = self._append(buckets, size)\n"
            "            if self._emptying is not None and puts:\n"
            "                self._disk.remove(self._path(self._emptying.number))\n"
            "            return puts\n",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "what is moved overwrites what the block writes",
        _LOG + "buckets_come_and_go_and_read_as_they_were_written",
        Edit(
            "storage/bucket_log.py",
            "if lies_in == self._emptying.number and index not in buckets:",
            "if lies_in == self._emptying.number:",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "a bucket is read where it lies after the next block",
        "tests/storage/test_state.py::test_a_reader_whom_a_block_overtakes_sees_the_block_before",
        Edit(
            "storage/bucket_log.py",
            "            return self._append(buckets, size)\n",
            "            puts = self._append(buckets, size)\n            self._take(self._next)\n"
            "            return puts\n",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "what lay in rows is forgotten when a larger block comes",
        _LOG + "buckets_come_and_go_and_read_as_they_were_written",
        Edit(
            "storage/bucket_log.py",
            "chain(buckets.items(), rows.items(), moved)",
            "chain(buckets.items(), moved)",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "a bucket that moves into a row is still named in the log",
        _LOG + "what_a_small_block_writes_lies_in_rows_until_a_larger_one_takes_it_along",
        Edit(
            "storage/bucket_log.py",
            "for index in buckets if index < known and places[index]}",
            "for index in buckets if False}",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "after a batch of unknown outcome the next one is written",
        _LOG + "after_a_batch_that_failed_nothing_is_written_before_a_restart",
        Edit("storage/bucket_log.py", "if self._closed or unsure:", "if self._closed:"),
        why="likewise",
    ),
    by_test(
        "S12",
        "a record of a bucket is not held against its checksum",
        _LOG + "a_flipped_bit_is_no_bucket",
        Edit(
            "storage/bucket_log.py",
            "crc32(content, index).to_bytes(CRC_BYTES) != record[:CRC_BYTES]",
            "False",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "a row of places goes before all of it has been said again",
        _PLACES + "a_restart_finds_what_the_last_block_left",
        Edit(
            "storage/place_rows.py",
            "self._needed, self._began, self._again = self._began, self._next, 0",
            "self._needed, self._began, self._again = self._next, self._next, 0",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "where a bucket lay counts more than where the block has put it",
        _PLACES + "a_restart_finds_what_the_last_block_left",
        Edit(
            "storage/place_rows.py",
            "        buckets.extend(new)\n"
            "        places.extend([place for place, _ in new.values()])\n"
            "        lengths.extend([length for _, length in new.values()])\n",
            '        buckets = array("I", new) + buckets\n'
            '        places = array("Q", [place for place, _ in new.values()]) + places\n'
            '        lengths = array("I", [length for _, length in new.values()]) + lengths\n',
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "a place is left out of the round",
        _PLACES + "a_restart_finds_what_the_last_block_left",
        Edit(
            "storage/place_rows.py",
            "        self._again = high\n",
            "        self._again = min(high + 1, len(places))\n",
        ),
        why="likewise",
    ),
    by_test(
        "S12",
        "after a restart a round ends before all places have been said",
        _PLACES + "a_restart_finds_what_the_last_block_left",
        Edit(
            "storage/place_rows.py",
            "        self._began = min(before, default=self._next)\n",
            "        self._began = self._next\n",
        ),
        why="likewise",
    ),
    # -- S13 --------------------------------------------------------------------------------------
    simulated(
        "S13",
        "the epoch runs past its end",
        Edit(
            "consensus/log.py",
            "return self.low < sequence <= self.low + self.window and not (0 < self.epoch_end < sequence)",
            "return self.low < sequence <= self.low + self.window",
        ),
        Edit(
            "consensus/log.py",
            "return self.near(sequence) and not 0 < self.epoch_end < sequence",
            "return self.near(sequence)",
        ),
        quick=True,
    ),
    simulated(
        "S13",
        "votes of another epoch count",
        Edit(
            "consensus/replica.py",
            "    if message.epoch != s.epoch:",
            "    if message.epoch != s.epoch and isinstance(message, Status):",
        ),
    ),
    simulated(
        "S13",
        "the primary does not fill up an ending epoch",
        Edit("consensus/normal_case.py", "    fill = log.epoch_end > 0\n", "    fill = False\n"),
    ),
    simulated(
        "S13",
        "a scheduled end is no pending work",
        Edit(
            "consensus/view_change.py",
            "return s.pending or log.proposed > log.settled or log.epoch_end > 0",
            "return s.pending or log.proposed > log.settled",
        ),
        needs="ambush",
    ),
    simulated(
        "S13",
        "who is suspended keeps its vote",
        Edit(
            "contracts/member_acts.py",
            "            validator=entry.validator and status is MemberStatus.ACTIVE,",
            "            validator=entry.validator and status is not MemberStatus.REMOVED,",
        ),
        needs="suspension",
    ),
    simulated(
        "S13",
        "a key that was replaced still opens everything",
        Edit(
            "contracts/members.py",
            "        if sender != in_force(member, standing.capacity):",
            '        if sender == b"":',
        ),
        needs="operator key",
    ),
    simulated(
        "S13",
        "nobody answers a STATUS of an old epoch",
        Edit(
            "consensus/status.py",
            "if message.sender < VALIDATORS_MAX and known != s.tick:",
            "if message.sender > VALIDATORS_MAX and known != s.tick:",
        ),
    ),
    by_test(
        "S13",
        "set of the wrong epoch: a header of another set is certified",
        "tests/salus/test_certificate.py::test_the_header_must_name_the_set_that_signed",
        Edit(
            "salus/certificate.py",
            "    if header.validators_hash != validators.hash() or header.epoch != validators.epoch:",
            "    if header.version < 0:",
        ),
        why="takes q liars: who signs a header signs the set that it names",
    ),
    by_test(
        "S13",
        "set of the wrong epoch: a step may skip an epoch",
        "tests/salus/test_certificate.py::test_no_epoch_is_left_out",
        Edit(
            "salus/certificate.py",
            "if step.next_validators.epoch != current.epoch + 1:",
            "if step.next_validators.epoch < 0:",
        ),
        why="takes q liars: the header names the next set, with its epoch, by hash",
    ),
    # Each of the three alone is held by the other two.
    simulated(
        "S13",
        "set of the wrong epoch: none of three locks holds",
        Edit(
            "salus/certificate.py",
            "    if header.validators_hash != validators.hash() or header.epoch != validators.epoch:",
            "    if header.version < 0:",
        ),
        Edit(
            "salus/certificate.py",
            "    if certificate.epoch != validators.epoch:",
            "    if certificate.epoch < 0:",
        ),
        Edit(
            "salus/certificate.py",
            "if step.next_validators.epoch != current.epoch + 1:",
            "if step.next_validators.epoch < 0:",
        ),
    ),
    simulated(
        "S13",
        "an epoch ends at h + L + 1",
        Edit(
            "node/executor.py",
            "return height + epoch.parameters.watermark_window",
            "return height + epoch.parameters.watermark_window + 1",
        ),
    ),
    # -- S14 --------------------------------------------------------------------------------------
    simulated(
        "S14",
        "one word for a height is believed",
        Edit(
            "consensus/state.py",
            "return sorted(self.claimed, reverse=True)[self.weak - 1]",
            "return max(self.claimed)",
        ),
        needs="liar: lying-status",
    ),
    simulated(
        "S14",
        "a certified header may hand over to any set",
        Edit(
            "salus/certificate.py",
            "if step.next_validators.hash() != step.header.next_validators_hash:",
            "if step.header.version < 0:",
        ),
    ),
    simulated(
        "S14",
        "a certificate of fewer than a quorum is taken",
        Edit(
            "salus/certificate.py",
            "    if len(indexes) < validators.quorum:",
            "    if len(indexes) < validators.weak:",
        ),
        needs="liar: false-blocks",
    ),
    simulated(
        "S14",
        "a certificate of another height is taken for a block",
        Edit(
            "salus/certificate.py",
            "    if certificate.height != header.height or certificate.header_hash != header.hash():",
            "    if header.version < 0:",
        ),
        needs="liar: false-blocks",
    ),
    # -- S15 --------------------------------------------------------------------------------------
    simulated(
        "S15",
        "any proposal is valid",
        Edit(
            "consensus/normal_case.py",
            "    slot.verdict = event.verdict\n    if event.verdict is not Verdict.INVALID:\n",
            "    slot.verdict = Verdict.VALID\n    if event.verdict is not None:\n",
        ),
        needs="liar: bad-proposer",
    ),
    simulated(
        "S15",
        "a transaction may stand twice in a proposal",
        Edit(
            "salus/block.py",
            "    if len({tx.id for tx in transactions}) < len(transactions):",
            "    if len(transactions) < 0:",
        ),
        needs="liar: bad-proposer",
    ),
    simulated(
        "S15",
        "an expired transaction is valid",
        Edit("salus/transaction.py", "    if sequence > tx.expiry_height:", "    if sequence < 0:"),
        needs="untimely",
    ),
    simulated(
        "S15",
        "the expiry window has no end",
        Edit(
            "salus/transaction.py",
            "    if tx.expiry_height - sequence > parameters.expiry_window_blocks:",
            "    if parameters.expiry_window_blocks < 0:",
        ),
        needs="untimely",
    ),
    simulated(
        "S15",
        "a verdict depends on what was verified before",
        Edit(
            "salus/block.py",
            "            check_size(tx, parameters)\n",
            "            pass\n",
        ),
        needs="lower limit",
    ),
    simulated(
        "S15",
        "duplicate executed across views",
        Edit(
            "node/executor.py",
            "        return self._uncertified.ran(tx_id) or self.reader.find_transaction(tx_id) is not None",
            "        return self.reader.find_transaction(tx_id) is not None",
        ),
        quick=True,
    ),
    simulated(
        "S15",
        "what expires soon is forgotten too early",
        Edit(
            "node/replay.py",
            "first = (height + 1) // HEIGHTS_PER_BUCKET",
            "first = (height + HEIGHTS_PER_BUCKET) // HEIGHTS_PER_BUCKET",
        ),
    ),
    # -- S16 --------------------------------------------------------------------------------------
    simulated(
        "S16",
        "a contract's exception ends the node",
        Edit(
            "contracts/runtime.py",
            "            return self._fault(context, method, error), False\n        if seat",
            "            raise error\n        if seat",
        ),
    ),
    simulated(
        "S16",
        "what a failed operation wrote stays",
        Edit(
            "contracts/runtime.py",
            "            overlay.rollback(mark)\n            if not tx",
            "            if not tx",
        ),
    ),
    simulated(
        "S16",
        "the depth of the caller decides an outcome",
        Edit(
            "contracts/runtime.py",
            "    sys.setrecursionlimit(depth + CONTRACT_FRAMES_MAX)",
            "    sys.setrecursionlimit(max(depth + 50, CONTRACT_FRAMES_MAX))",
        ),
        needs="several",
    ),
    simulated(
        "S16",
        "a failing disk becomes a receipt",
        Edit(
            "contracts/runtime.py",
            "except (KeyboardInterrupt, SystemExit, MemoryError, StoreFailed):\n            # Somebody",
            "except (KeyboardInterrupt, SystemExit, MemoryError):\n            # Somebody",
        ),
        needs="contract's bit",
    ),
)
