"""B25–B29: caps, queues, trees, parameters, small sets."""

from tests.mutants.mutant import Edit, Mutant, by_test, simulated

MUTANTS: tuple[Mutant, ...] = (
    # -- B25 --------------------------------------------------------------------------------------
    by_test(
        "B25",
        "unbounded future buffer",
        "tests/consensus/test_votes.py::"
        "test_future_votes_evict_the_farthest_future_of_the_same_sender",
        Edit(
            "consensus/votes.py",
            "        if len(kept) >= self.votes_max:\n            del kept[max(kept)]\n",
            "",
        ),
        Edit(
            "consensus/votes.py",
            "(len(kept) < self.votes_max or key < max(kept))",
            "len(kept) >= 0",
        ),
    ),
    by_test(
        "B25",
        "the nearest future is evicted first",
        "tests/consensus/test_votes.py::"
        "test_future_votes_evict_the_farthest_future_of_the_same_sender",
        Edit(
            "consensus/votes.py",
            "            del kept[max(kept)]",
            "            del kept[min(kept)]",
        ),
    ),
    by_test(
        "B25",
        "clients are taken in however little is committed",
        "tests/node/test_node.py::"
        "test_a_node_that_sees_nothing_committed_soon_turns_its_clients_away_and_not_itself",
        Edit("node/admission.py", "full = room is not None and len(fresh) >= room", "full = False"),
    ),
    by_test(
        "B25",
        "an array without room is parsed before it is refused",
        "tests/node/test_node.py::test_an_array_for_which_there_is_no_room_costs_next_to_nothing",
        Edit(
            "node/facade.py",
            "if not room and self._admission.is_news(transactions):",
            "if not room and not transactions:",
        ),
    ),
    by_test(
        "B25",
        "an array without room is refused although some of it waits here",
        "tests/node/test_node.py::test_an_array_for_which_there_is_no_room_costs_next_to_nothing",
        Edit("node/admission.py", "if self.mempool.knows_any(raws):", "if not raws:"),
    ),
    by_test(
        "B25",
        "an array without room is refused although blocks have taken it",
        "tests/node/test_node.py::test_without_room_an_array_sent_again_is_told_what_became_of_it",
        Edit(
            "node/admission.py",
            "        except BadMessage:\n            return False\n        return True",
            "        except BadMessage:\n            pass\n        return True",
        ),
    ),
    by_test(
        "B25",
        "what is taken and not served does not count",
        "tests/node/test_drain.py::test_an_idle_node_takes_a_burst_and_no_more",
        Edit("node/drain.py", "int(rate * BACKLOG_S)) - taken)", "int(rate * BACKLOG_S)))"),
    ),
    simulated(
        "B25",
        "CHECKPOINTs far above the window are kept",
        Edit(
            "consensus/checkpoint.py",
            "    if not log.near(height) or message.view != 0:",
            "    if height <= log.certified or message.view != 0:",
        ),
        needs="liar: flooder",
    ),
    simulated(
        "B25",
        "COMMITs far above the window make slots",
        Edit(
            "consensus/normal_case.py",
            "    if not s.log.provable(message.sequence):\n",
            "    if message.sequence <= s.log.certified:\n",
        ),
        needs="liar: flooder",
    ),
    by_test(
        "B25",
        "a message larger than a true one is read",
        "tests/consensus/test_view_change.py::test_a_message_larger_than_a_true_one_is_refused_unread",
        Edit(
            "consensus/view_change.py",
            "    if s.proofs.fits(message):",
            "    if s.proofs is not None:",
        ),
    ),
    by_test(
        "B25",
        "NEW-VIEWs are examined as often as they come",
        "tests/consensus/test_view_change.py::"
        "test_false_new_views_are_examined_once_a_tick_and_once_a_view",
        Edit(
            "consensus/view_change.py",
            "    if s.new_view_tick[message.sender] == s.tick or not s.verified(message):",
            "    if not s.verified(message):",
        ),
    ),
    by_test(
        "B25",
        "a false signature is not reported",
        "tests/consensus/test_normal_case.py::"
        "test_a_false_signature_is_reported_for_scoring_and_changes_nothing",
        Edit(
            "consensus/state.py",
            '            self.reject(f"{type(message).__name__}: the signature is not valid")\n',
            "",
        ),
    ),
    by_test(
        "B25",
        "bodies of one slot without a cap",
        "tests/consensus/test_normal_case.py::test_a_flood_of_digests_for_one_slot_stays_within_its_cap",
        Edit(
            "consensus/log.py",
            "        if len(self.bodies) >= BODIES_PER_SLOT_MAX:",
            "        if len(self.bodies) < 0:",
        ),
    ),
    by_test(
        "B25",
        "a body that is voted on makes room for others",
        "tests/node/test_bodies.py::test_what_the_core_counts_on_is_never_pushed_out",
        Edit(
            "node/bodies.py",
            "sorted((k for k in self._raw if not self.pinned(*k)), reverse=True)",
            "sorted(self._raw, reverse=True)",
        ),
    ),
    by_test(
        "B25",
        "one organisation fills the pool",
        "tests/node/test_mempool.py::test_one_organisation_cannot_fill_the_pool",
        Edit(
            "node/quotas.py",
            "        return self._held.get(group, 0) >= most",
            "        return self._held.get(group, 0) < 0",
        ),
    ),
    by_test(
        "B25",
        "what is valid later fills the pool",
        "tests/node/test_mempool.py::test_what_is_valid_later_cannot_keep_out_what_is_valid_now",
        Edit("node/later.py", "LATER_SHARE = 2", "LATER_SHARE = 1"),
    ),
    by_test(
        "B25",
        "the memory of verified bytes has no bound",
        "tests/node/test_mempool.py::test_the_memory_of_verified_bytes_is_bounded",
        Edit(
            "node/verified.py",
            "        while len(self._extras) > EXTRAS_MAX or self._extras_bytes > EXTRAS_BYTES_MAX:",
            "        while self._extras_bytes < 0:",
        ),
    ),
    # -- B26 --------------------------------------------------------------------------------------
    by_test(
        "B26",
        "slices do not shrink while votes wait",
        "tests/node/test_verify.py::test_slices_shrink_at_once_and_grow_slowly",
        Edit(
            "node/verify.py",
            "            self.slice_size = max(SLICE_MIN, self.slice_size // 2)",
            "            self.slice_size = max(SLICE_MIN, self.slice_size)",
        ),
    ),
    by_test(
        "B26",
        "a proposal queues behind the clients",
        "tests/node/test_verify.py::test_without_threads_a_large_proposal_queues_behind_no_client",
        Edit(
            "node/verify.py",
            "place = self._urgent_place if urgent else self._places",
            "place = self._places",
        ),
    ),
    by_test(
        "B26",
        "a broken answer of a process that checks signatures is believed",
        "tests/node/test_verify_workers.py::test_a_broken_answer_is_not_believed",
        Edit(
            "node/verify_workers.py",
            "            if (number, count) != (question.number, question.signatures):",
            "            if count > question.signatures:",
        ),
    ),
    by_test(
        "B26",
        "a byte of a process that is no verdict refuses a transaction",
        "tests/node/test_verify_workers.py::test_a_broken_answer_is_not_believed",
        Edit(
            "node/verify_workers.py",
            '            if verdicts.strip(b"\\x00\\x01"):',
            "            if not verdicts:",
        ),
    ),
    by_test(
        "B26",
        "what a lost process has not answered is refused",
        "tests/node/test_verify_workers.py::test_a_worker_that_dies_costs_nobody_his_transaction",
        Edit(
            "node/verify.py",
            "        if checked is None:\n            loop = asyncio",
            "        if checked is None:\n            return [False] * len(part)\n            loop = asyncio",
        ),
    ),
    by_test(
        "B26",
        "who leaves makes room for more in the pipe",
        "tests/node/test_verify_workers.py::test_who_leaves_does_not_make_room_for_more_while_his_slices_are_in_the_pipe",
        Edit(
            "node/verify.py",
            "        return await asyncio.shield(work)",
            "        return await work",
        ),
    ),
    by_test(
        "B26",
        "votes wait in the queue of transactions",
        "tests/node/net/test_frames.py::test_consensus_has_the_first_class_and_documents_the_last",
        Edit(
            "node/net/frames.py",
            "    Kind.CONSENSUS: QueueClass.CONSENSUS,",
            "    Kind.CONSENSUS: QueueClass.GOSSIP,",
        ),
    ),
    # -- B27 --------------------------------------------------------------------------------------
    by_test(
        "B27",
        "leaves and nodes share a domain",
        "tests/salus/test_merkle.py::test_a_node_is_no_leaf",
        Edit(
            "salus/merkle.py",
            'return sha256(b"\\0" + data).digest()',
            'return sha256(b"\\1" + data).digest()',
        ),
        quick=True,
    ),
    by_test(
        "B27",
        "an odd node is duplicated",
        "tests/salus/test_merkle.py::test_an_odd_node_is_never_duplicated",
        Edit(
            "salus/merkle.py",
            "        above.append(level[-1])",
            "        above.append(node_hash(level[-1], level[-1]))",
        ),
    ),
    by_test(
        "B27",
        "a path longer than its tree is taken",
        "tests/salus/test_merkle.py::test_any_change_of_an_inclusion_proof_is_refused",
        Edit(
            "salus/merkle.py",
            '            raise VerificationError("inclusion proof: too long for this tree size")',
            "            break",
        ),
    ),
    # -- B28 --------------------------------------------------------------------------------------
    by_test(
        "B28",
        "proposals in flight without a bound",
        "tests/consensus/test_normal_case.py::"
        "test_the_primary_keeps_so_many_proposals_in_flight_only",
        Edit(
            "consensus/normal_case.py",
            "    if sequence > log.settled + s.parameters.in_flight_proposals_max or not log.votable(sequence):",
            "    if not log.votable(sequence):",
        ),
    ),
    simulated(
        "B28",
        "execution runs ahead of certified without a bound",
        Edit(
            "consensus/normal_case.py",
            "    while log.executing < min(log.committed, log.certified + s.parameters.execute_ahead_max):",
            "    while log.executing < log.committed:",
        ),
    ),
    by_test(
        "B28",
        "the pool takes more than its parameter says",
        "tests/node/test_mempool.py::test_the_pool_is_bounded_by_number",
        Edit(
            "node/mempool.py",
            "full = len(self._pool) >= self.parameters.pool_transactions_max",
            "full = len(self._pool) < 0",
        ),
    ),
    # -- B29 --------------------------------------------------------------------------------------
    by_test(
        "B29",
        "three validators are said to tolerate a fault",
        "tests/salus/test_certificate.py::test_thresholds",
        Edit(
            "salus/validators.py", "        return (self.n - 1) // 3", "        return self.n // 3"
        ),
    ),
    by_test(
        "B29",
        "status hides that no fault is tolerated",
        "tests/consensus/test_snapshot.py::test_fewer_than_four_tolerate_nothing",
        Edit(
            "consensus/snapshot.py",
            "        f=s.validators.f,",
            "        f=max(1, s.validators.f),",
        ),
    ),
)
