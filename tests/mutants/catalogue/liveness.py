"""L17–L24: timers, the view synchroniser, helping, clocks, evidence, divergence."""

from tests.mutants.mutant import Edit, Mutant, by_test, simulated

MUTANTS: tuple[Mutant, ...] = (
    # -- L17 --------------------------------------------------------------------------------------
    simulated(
        "L17",
        "an idle chain changes its view",
        Edit(
            "consensus/view_change.py",
            "    return s.pending or log.proposed > log.settled or log.epoch_end > 0",
            "    return True",
        ),
        quick=True,
    ),
    simulated(
        "L17",
        "the progress timer never runs",
        Edit(
            "consensus/view_change.py",
            "    return s.pending or log.proposed > log.settled or log.epoch_end > 0",
            "    return False",
        ),
    ),
    simulated(
        "L17",
        "a commit does not reset the progress timer",
        Edit(
            "consensus/state.py",
            "        self.progress_left = self.config.progress_ticks << self.doublings\n\n    def slot_for_vote",
            "\n    def slot_for_vote",
        ),
    ),
    simulated(
        "L17",
        "what came earlier counts as unfair",
        Edit(
            "node/mempool.py",
            "return since - entry.before > self.parameters.pool_transactions_max",
            "return since > self.parameters.pool_transactions_max // 2",
        ),
        needs="burst",
    ),
    by_test(
        "L17",
        "the timers run below the floor of the journal",
        "tests/consensus/test_restore.py::test_no_timer_runs_out_below_the_floor",
        Edit(
            "consensus/view_change.py",
            " > log.committed or s.below_floor:\n        return False",
            " > log.committed:\n        return False",
        ),
        Edit(
            "consensus/view_change.py",
            "    if s.view_change_left is None or s.below_floor:",
            "    if s.view_change_left is None:",
        ),
        why="not met in 5,000 seeds: who is below its floor seldom enters a view that gives nothing",
    ),
    by_test(
        "L17",
        "the primary's own clients go before what other nodes have taken",
        "tests/node/test_admission.py"
        "::test_clients_of_the_primary_do_not_keep_out_what_other_nodes_have_taken",
        Edit(
            "node/turns.py",
            "source = min(self._waiting, key=self._start)",
            "source = next(iter(self._waiting))",
        ),
        why="the simulator checks signatures at once, so nothing ever waits for it",
    ),
    by_test(
        "L17",
        "a new primary waits for what the old one was sent",
        "tests/node/test_gossip.py::test_it_gets_megabytes_at_once_and_asks_for_the_rest",
        Edit(
            "node/gossip_rules.py",
            "            tracked.rounds = 0\n            delay_ms",
            "            continue\n            delay_ms",
        ),
        why="the simulator's nodes owe their clients less than fits at once",
    ),
    by_test(
        "L17",
        "slow blocks put announcements off for as long as they take",
        "tests/node/test_gossip.py"
        "::test_a_slow_block_is_forgotten_and_no_wait_is_longer_than_so_much",
        Edit(
            "node/gossip_rules.py",
            "took_ms = min(self._usual_ms_max, now_ms - entered_ms)",
            "took_ms = now_ms - entered_ms",
        ),
        why="the simulator's clients send to several nodes when one is slow",
    ),
    by_test(
        "L17",
        "what no block can hold yet puts announcements off",
        "tests/node/test_gossip.py::test_what_no_block_can_hold_yet_explains_no_delay",
        Edit(
            "node/gossip_rules.py",
            "self._pool.owed - entering - QUEUE_MIN",
            "len(self._tracked) - QUEUE_MIN",
        ),
        why="the simulator's pools are smaller than what counts as a queue",
    ),
    by_test(
        "L17",
        "a node that stops keeps what was to go to the primary with others",
        "tests/node/test_node.py::test_a_node_that_stops_leaves_what_it_has_taken_to_the_others",
        Edit("node/node.py", "        self.gossip.leave()\n", ""),
        why="the simulator's nodes do not stop, they crash",
    ),
    # -- L18 --------------------------------------------------------------------------------------
    simulated(
        "L18",
        "the timer of a view that q members have not reached runs",
        Edit(
            "consensus/view_change.py",
            "    if s.in_view_change and s.view_change_left is None and s.quorum_view >= s.wish:",
            "    if s.in_view_change and s.view_change_left is None:",
        ),
        needs="several",
    ),
    simulated(
        "L18",
        "uncapped timer",
        Edit(
            "consensus/view_change.py",
            "s.doublings = min(s.doublings + 1, s.parameters.timeout_doublings_max)",
            "s.doublings = s.doublings + 1",
        ),
    ),
    simulated(
        "L18",
        "non-growing timer",
        Edit(
            "consensus/view_change.py",
            "s.doublings = min(s.doublings + 1, s.parameters.timeout_doublings_max)",
            "s.doublings = 0",
        ),
    ),
    simulated(
        "L18",
        "a wish runs ahead of what q members have reached",
        Edit(
            "consensus/view_change.py",
            "    if not s.in_view_change and s.view < 1 + s.quorum_view:\n        _ask_for(s, s.view + 1, reason)",
            "    _ask_for(s, s.wish + 1, reason)",
        ),
        Edit(
            "consensus/view_change.py",
            "    if s.in_view_change:\n        _tick_view_change(s)\n    elif work_pending(s):",
            "    if s.in_view_change:\n        _tick_view_change(s)\n    if work_pending(s):",
        ),
        needs="several",
    ),
    simulated(
        "L18",
        "a commit does not halve the timer",
        Edit(
            "consensus/state.py",
            "self.doublings = max(0, self.doublings - 1)",
            "self.doublings = max(0, self.doublings)",
        ),
    ),
    # -- L19 --------------------------------------------------------------------------------------
    simulated(
        "L19",
        "exact-view timer",
        Edit(
            "consensus/state.py",
            "return sorted(self.reached, reverse=True)[self.quorum - 1]",
            "return self.wish if self.reached.count(self.wish) >= self.quorum else 0",
        ),
        needs="several",
    ),
    simulated(
        "L19",
        "f+1 rule moved by one node",
        Edit(
            "consensus/view_change.py",
            "joined = wishes[s.weak - 1] if len(wishes) >= s.weak else 0",
            "joined = max(wishes, default=0)",
        ),
        needs="liar: inflated-view",
    ),
    simulated(
        "L19",
        "nobody joins the others",
        Edit(
            "consensus/view_change.py",
            "        if joined > s.wish:",
            "        if joined > s.wish + 1_000_000:",
        ),
        needs="several",
        quick=True,
    ),
    simulated(
        "L19",
        "a member's newest wish counts, not its highest",
        Edit(
            "consensus/state.py",
            "        if view > self.reached[sender]:",
            "        if view != self.reached[sender]:",
        ),
        needs="several",
    ),
    simulated(
        "L19",
        "what f+1 asked for below the floor is never joined",
        Edit("consensus/view_change.py", "s.views_moved = s.below_floor", "s.views_moved = False"),
        needs="older state",
    ),
    # -- L20 --------------------------------------------------------------------------------------
    simulated(
        "L20",
        "nothing is said again",
        Edit(
            "consensus/status.py",
            "    if _unsettled(s) and standstill:",
            "    if s.tick < 0 and standstill:",
        ),
    ),
    simulated(
        "L20",
        "CHECKPOINTs are not said again",
        Edit(
            "consensus/status.py",
            "    for height in range(s.log.certified + 1, s.log.executed + 1):",
            "    for height in range(s.log.certified + 1, s.log.certified + 1):",
        ),
        needs="several",
    ),
    simulated(
        "L20",
        "nobody is answered",
        Edit("consensus/status.py", "    _answer(s, message)\n", ""),
        needs="several",
    ),
    simulated(
        "L20",
        "whoever is behind fetches no blocks",
        Edit(
            "consensus/status.py",
            "    if target > s.log.certified == s.catch_up_certified:",
            "    if target < s.log.certified == s.catch_up_certified:",
        ),
        Edit(
            "consensus/status.py",
            "    if lag > 0 and (stands_still",
            "    if lag < 0 and (stands_still",
        ),
        needs="several",
    ),
    simulated(
        "L20",
        "the NEW-VIEW is not shown to whoever lacks it",
        Edit(
            "consensus/status.py",
            "    if message.view < s.view and message.wish <= s.view:",
            "    if message.view < s.view and message.wish < 0:",
        ),
        needs="several",
    ),
    simulated(
        "L20",
        "only my own COMMIT is shown of a proof",
        Edit(
            "consensus/status.py",
            "            if sender != peer:\n",
            "            if sender != peer and sender == s.me:\n",
        ),
        needs="several",
    ),
    simulated(
        "L20",
        "a replica inside a view change takes no COMMITs",
        Edit(
            "consensus/normal_case.py",
            "    if not s.log.provable(message.sequence):\n        return",
            "    if not s.log.provable(message.sequence) or s.in_view_change:\n        return",
        ),
        needs="several",
    ),
    # -- L21 --------------------------------------------------------------------------------------
    simulated(
        "L21",
        "re-proposal clock check",
        Edit(
            "consensus/normal_case.py",
            "    slot.pre_prepare, slot.first = message, first\n",
            "    slot.pre_prepare, slot.first = message, True\n",
        ),
        needs="several",
    ),
    simulated(
        "L21",
        "re-proposal refused for its time",
        Edit("node/judge.py", "        if request.first:\n", "        if request.sequence:\n"),
        needs="several",
    ),
    simulated(
        "L21",
        "a first proposal may have any time",
        Edit(
            "node/judge.py",
            "            elif drift_ms > self.epoch().parameters.clock_drift_max_ms:",
            "            elif drift_ms < 0:",
        ),
        needs="several",
    ),
    simulated(
        "L21",
        "whoever is off the clock complains",
        Edit(
            "consensus/normal_case.py",
            "    if slot.verdict is Verdict.INVALID:\n",
            "    if slot.verdict is not Verdict.VALID:\n",
        ),
        needs="several",
    ),
    # -- L22 --------------------------------------------------------------------------------------
    simulated(
        "L22",
        "the complaint about a censoring primary is not heard",
        Edit(
            "consensus/replica.py",
            '    s.complain("the mempool says that the primary starves a transaction")  # L17, L22',
            "    assert s.tick >= 0",
        ),
        needs="liar: censor",
    ),
    simulated(
        "L22",
        "each epoch begins with the same primary",
        Edit(
            "salus/validators.py",
            "return (self.epoch + view) % len(self.validators)",
            "return view % len(self.validators)",
        ),
    ),
    simulated(
        "L22",
        "the primary owes what waits for this node's disk",
        Edit(
            "node/mempool.py",
            "            for tx_id in self._sequences[decided]:\n"
            "                self._owed.pop(tx_id, None)\n",
            "            pass\n",
        ),
        # Told again with each tick, for what was judged late or let go of: both, or neither.
        Edit(
            "node/mempool.py",
            "            if sequence <= self._committed:\n"
            "                self._owed.pop(tx_id, None)  # judged late\n",
            "",
        ),
        needs="disk hangs",
    ),
    simulated(
        "L22",
        "nobody complains about a primary that passes one over",
        Edit(
            "node/mempool.py",
            "        for tx_id, entry in self._forwarded.items():\n            if tx_id in self._waiting:\n                since",
            "        for tx_id, entry in self._forwarded.items():\n            if tx_id not in self._pool:\n                since",
        ),
        needs="liar: censor",
    ),
    # -- L23 --------------------------------------------------------------------------------------
    simulated(
        "L23",
        "evidence dropped",
        Edit(
            "consensus/state.py",
            "        self.deliver(Evidence(second.sender, first, second))",
            "        assert second.sender >= 0",
        ),
        needs="liar",
    ),
    simulated(
        "L23",
        "an equivocating primary keeps its view",
        Edit(
            "consensus/normal_case.py",
            '            s.complain("the primary proposed two digests for one sequence")  # L23\n',
            "",
        ),
        needs="liar: equivocator",
    ),
    simulated(
        "L23",
        "a repeated VIEW-CHANGE is held against its sender",
        Edit(
            "consensus/view_change.py",
            "        twice = known.view == message.view and known != message",
            "        twice = known.view >= message.view",
        ),
        needs="several",
    ),
    # -- L24 --------------------------------------------------------------------------------------
    simulated(
        "L24",
        "one different header halts",
        Edit(
            "consensus/checkpoint.py",
            "        if mine is not None and digest != mine and ballot.count(digest) >= s.weak:",
            "        if mine is not None and digest != mine:",
        ),
        needs="liar: wrong-header",
        quick=True,
    ),
    simulated(
        "L24",
        "f+1 different headers do not halt",
        Edit(
            "consensus/checkpoint.py",
            "        if mine is not None and digest != mine and ballot.count(digest) >= s.weak:",
            "        if mine is not None and digest != mine and ballot.count(digest) > s.n:",
        ),
        needs="liar: diverged",
    ),
    simulated(
        "L24",
        "a halted replica goes on signing",
        Edit(
            "consensus/state.py",
            "            self.halted = Halt(reason, height)\n            self.voter.active = False\n",
            "            self.halted = Halt(reason, height)\n",
        ),
        needs="liar: diverged",
    ),
    simulated(  # More than f compute wrongly (schism.py): what is asked for is a clear stop.
        "L24",
        "a height that cannot reach q headers changes views",
        Edit(
            "consensus/view_change.py",
            "    if s.split_height > log.certified or log.settled >= log.high:",
            "    if log.settled >= log.high:",
        ),
        needs="schism",
    ),
    simulated(
        "L24",
        "a full log changes views",
        Edit(
            "consensus/view_change.py",
            "    if s.split_height > log.certified or log.settled >= log.high:",
            "    if s.split_height > log.certified:",
        ),
        needs="no CHECKPOINTs",
    ),
)
