"""S1–S6: what is signed, encoded, journalled, counted, executed."""

from tests.mutants.mutant import Edit, Mutant, by_test, simulated

MUTANTS: tuple[Mutant, ...] = (
    # -- S1 ---------------------------------------------------------------------------------------
    simulated(
        "S1",
        "a vote does not name its epoch",
        Edit("salus/vote.py", "encode((epoch, int(kind), view,", "encode((0, int(kind), view,"),
    ),
    simulated(
        "S1",
        "a vote does not name its type",
        Edit("salus/vote.py", "encode((epoch, int(kind), view,", "encode((epoch, 0, view,"),
    ),
    by_test(
        "S1",
        "a vote does not name its chain",
        "tests/salus/test_vote.py::test_every_field_makes_another_payload",
        Edit(
            "salus/vote.py",
            "encode((chain_id, genesis_hash, PROTOCOL_VERSION))",
            "encode((genesis_hash, PROTOCOL_VERSION))",
        ),
        why="a second lock: it names the hash of genesis, too, which covers the chain",
    ),
    simulated(
        "S1",
        "a vote does not name its genesis",
        Edit(
            "salus/vote.py",
            "encode((chain_id, genesis_hash, PROTOCOL_VERSION))",
            "encode((chain_id, PROTOCOL_VERSION))",
        ),
        needs="liar: replayer",
    ),
    simulated(
        "S1",
        "a transaction does not name its genesis",
        Edit(
            "salus/transaction.py",
            "            genesis_hash,\n            tx.version,",
            "            tx.version,",
        ),
        needs="liar: bad-proposer",
    ),
    # -- S2 ---------------------------------------------------------------------------------------
    by_test(
        "S2",
        "another encoding of the same value is taken",
        "tests/salus/test_codec.py::test_map_keys_in_another_order_or_twice_are_refused",
        Edit("salus/codec.py", "if _encode(value) != data:", "if False:"),
        why="codec",
    ),
    by_test(
        "S2",
        "another encoding of the same value is taken among several",
        "tests/salus/test_codec.py::test_several_are_decoded_as_each_alone",
        Edit(
            "salus/codec.py",
            "if len(encoded) != header + len(row) or not encoded.endswith(row):",
            "if len(encoded) > header + len(row):",
        ),
        why="codec",
    ),
    by_test(
        "S2",
        "a key that is no point of the main subgroup is taken",
        "tests/salus/test_keys.py::test_small_order_and_non_canonical_keys_are_refused",
        Edit(
            "salus/keys.py",
            "len(public_key) == PUBLIC_KEY_BYTES and crypto_core_ed25519_is_valid_point(public_key)",
            "len(public_key) == PUBLIC_KEY_BYTES",
        ),
        why="cryptography: a run has keyed hashes",
    ),
    simulated(
        "S2",
        "a repeated vote counts again",
        Edit(
            "consensus/normal_case.py",
            "if ballot.has(message) or message.sender in ballot.exposed:",
            "if message.sender in ballot.exposed:",
        ),
        Edit(
            "consensus/votes.py",
            "        if known is not None:\n            return known if known.digest != vote.digest else None",
            "        if known is not None and known.digest != vote.digest:\n            return known",
        ),
        needs="several",
        quick=True,
    ),
    simulated(
        "S2",
        "signatures are not checked",
        Edit(
            "consensus/proofs.py",
            "return self.verifier(key, payload(self.domain, message), message.signature)",
            "return key is not None",
        ),
        needs="liar: flooder",
    ),
    # -- S3 ---------------------------------------------------------------------------------------
    simulated(
        "S3",
        "votes are sent before they are synced",
        Edit("node/runner.py", "self.synced = not effects.persist", "self.synced = True"),
    ),
    simulated(
        "S3",
        "the journal does not sync what it writes",
        Edit(
            "storage/journal.py",
            "            self._file.write(record)\n            self._file.sync()",
            "            self._file.write(record)",
        ),
        needs="crash",
    ),
    simulated(
        "S3",
        "in later views a vote is sent one step before it is synced",
        Edit(
            "consensus/replica.py",
            "        s.out = Effects()\n        if s.halted is None:\n            _EVENTS[type(event)](s, event)\n            _follow(s)\n",
            '        held = s.__dict__.pop("held", [])\n        s.out = Effects()\n        if s.halted is None:\n            _EVENTS[type(event)](s, event)\n            _follow(s)\n            if s.view:\n                s.held, s.out.persist = s.out.persist, held\n',
        ),
        needs="several",
    ),
    simulated(
        "S3",
        "PREPAREs are not journalled",
        Edit(
            "consensus/signing.py",
            '        self._journal(vote_kind, view, sequence, digest, b"", out)\n        return',
            '        if vote_kind is not VoteType.PREPARE:\n            self._journal(vote_kind, view, sequence, digest, b"", out)\n        return',
        ),
        quick=True,
    ),
    simulated(
        "S3",
        "the body is not synced before COMMIT",
        Edit(
            "consensus/normal_case.py",
            "        slot.persisted.append(digest)\n        s.out.persist.append(PersistBody(slot.sequence, digest))",
            "        slot.persisted.append(digest)",
        ),
        needs="power cut",
    ),
    simulated(
        "S3",
        "the prepared certificate is not journalled",
        Edit(
            "consensus/normal_case.py",
            "if s.voter.signed(VoteType.COMMIT, s.view, sequence) is None:",
            "if s.voter.signed(VoteType.COMMIT, s.view, sequence) is not None:",
        ),
        needs="power cut",
    ),
    simulated(
        "S3",
        "the journal is not read at a restart",
        Edit(
            "consensus/restore.py",
            "return [entry for entry in s.config.journal if entry.epoch == s.epoch]",
            "return []",
        ),
        needs="crash",
    ),
    simulated(
        "S3",
        "own VIEW-CHANGE lost at restart",
        Edit(
            "consensus/restore.py",
            "asked = _highest(entries, VoteType.VIEW_CHANGE)",
            "asked = None",
        ),
        Edit(
            "consensus/restore.py",
            "VOTE_KINDS = tuple(int(kind) for kind in VoteType)",
            "VOTE_KINDS = tuple(int(kind) for kind in VoteType if kind is not VoteType.VIEW_CHANGE)",
        ),
        needs="crash",
    ),
    simulated(
        "S3",
        "bodies not held: a backup judges and votes without one",
        Edit(
            "consensus/normal_case.py",
            "if proposal.digest in slot.bodies and not slot.checking:",
            "if (proposal.digest in slot.bodies or s.view > 0) and not slot.checking:",
        ),
    ),
    simulated(
        "S3",
        "bodies not held: a new primary does not fetch those of its choice",
        Edit(
            "consensus/view_change.py",
            "    if not _seek_bodies(s, choice):\n        _announce(s, view_changes, choice)",
            "    _announce(s, view_changes, choice)",
        ),
        Edit(
            "consensus/normal_case.py",
            "    if proposal.digest not in slot.bodies:\n        return",
            "    if proposal.digest not in slot.bodies and s.me != proposal.sender:\n        return",
        ),
    ),
    simulated(
        "S3",
        "nobody answers a FETCH",
        Edit(
            "consensus/normal_case.py",
            "if message.epoch == s.epoch and message.sender < s.n and message.sender != s.me:",
            "if message.sender > s.n:",
        ),
    ),
    # -- S4 ---------------------------------------------------------------------------------------
    simulated(
        "S4",
        "votes right after a wipe",
        Edit(
            "consensus/signing.py",
            "self.active = config.voting and config.me is not None and config.signer is not None",
            "self.active = config.me is not None and config.signer is not None",
        ),
        needs="lost journal",
    ),
    simulated(
        "S4",
        "VIEW-CHANGE during quarantine",
        Edit(
            "consensus/view_change.py",
            "def tick(s: State) -> None:\n    if not s.voter.active:\n        return",
            "def tick(s: State) -> None:\n    if s.me is None:\n        return",
        ),
        Edit(
            "consensus/view_change.py",
            "    assert reason is not None\n    if not s.voter.active:\n        return",
            "    assert reason is not None",
        ),
        Edit(
            "consensus/signing.py",
            "        if not self.active or 0 < sequence <= self.silent_to:",
            "        if (not self.active and kind is not VoteType.VIEW_CHANGE) or 0 < sequence <= self.silent_to:",
        ),
        Edit("consensus/signing.py", "        assert self.active\n", ""),
        needs="lost journal",
    ),
    simulated(
        "S4",
        "the votes of an earlier life are forgotten",
        Edit(
            "consensus/restore.py",
            "            s.voter.recall(entry)\n",
            "            assert entry.digest\n",
        ),
        needs="crash",
    ),
    simulated(
        "S4",
        "a vote of mine that my journal lacks changes nothing",
        Edit(
            "consensus/signing.py",
            "return self.signed(kind, view, sequence) != digest",
            "return False",
        ),
        needs="votes lost unnoticed",
    ),
    simulated(
        "S4",
        "a copied or restored journal is believed",
        Edit(
            "storage/journal.py",
            "elif (mine.device, mine.inode) != (expected.device, expected.inode):",
            "elif mine.device < 0:",
        ),
        Edit(
            "storage/journal.py",
            "elif not may_be_same(mine.born_us, expected.born_us):",
            "elif mine.born_us < 0:",
        ),
        needs="copied journal",
    ),
    simulated(
        "S4",
        "a journal that lacks its newest records is believed",
        Edit(
            "storage/journal.py", "elif mine.records < expected.records:", "elif mine.records < 0:"
        ),
        needs="older journal",
    ),
    simulated(
        "S4",
        "the journal takes two digests in one place",
        Edit("storage/votes.py", "if known != entry.digest:", 'if known == b"":'),
        needs="misfit",
        quick=True,
    ),
    simulated(
        "S4",
        "a birth mark out of a backup is leave to vote",
        Edit(
            "node/standing.py",
            "written.strip() == _place(mark, disk).encode()",
            'written.strip() != b""',
        ),
        needs="first backup",
    ),
    simulated(
        "S4",
        "a new journal votes before the epoch has ended",
        Edit(
            "node/standing.py",
            "return self.journal is not None and epoch >= self.first_epoch",
            "return self.journal is not None or epoch >= self.first_epoch",
        ),
        needs="lost journal",
    ),
    # -- S5 ---------------------------------------------------------------------------------------
    simulated(
        "S5",
        "quorum 2f+1 at n = 5 and 6",
        Edit(
            "salus/validators.py",
            "return (self.n + self.f) // 2 + 1",
            "return 2 * self.f + 1 if self.n in (5, 6) else (self.n + self.f) // 2 + 1",
        ),
        needs="five or six",
    ),
    simulated(
        "S5",
        "the primary's PREPARE counts beside its PRE-PREPARE",
        Edit(
            "consensus/normal_case.py",
            "    if message.sender == s.validators.primary(message.view):\n        return  # Its PRE-PREPARE is its prepare, once (S5).\n",
            "",
        ),
        needs="liar",
    ),
    by_test(
        "S5",
        "a set gives one key two votes",
        "tests/salus/test_certificate.py::test_a_set_gives_no_key_two_votes",
        Edit("salus/validators.py", " or len(set(keys)) != len(keys):", ":"),
        why="a second lock: the contracts give nobody another's key, so it takes two bugs",
    ),
    simulated(
        "S5",
        "COMMITs of different views add up",
        Edit(
            "consensus/normal_case.py",
            "if slot.commits[view].count(digest) < s.quorum or slot.committed == digest:",
            "if sum(b.count(digest) for b in slot.commits.values()) < s.quorum or slot.committed == digest:",
        ),
        needs="several",
    ),
    # -- S6 ---------------------------------------------------------------------------------------
    simulated(
        "S6",
        "anybody's PRE-PREPARE is taken",
        Edit(
            "consensus/normal_case.py",
            "if not _in_time(s, message) or message.sender != s.validators.primary(message.view):",
            "if not _in_time(s, message):",
        ),
        needs="liar: flooder",
    ),
    by_test(
        "S6",
        "what is committed otherwise by now is prepared",
        "tests/consensus/test_normal_case.py::test_what_was_committed_otherwise_meanwhile_is_not_prepared",
        Edit(
            "consensus/normal_case.py",
            "    if slot.committed not in (None, proposal.digest):\n",
            '    if slot.committed == b"":\n',
        ),
        why="met in one of 3,500 seeds: the COMMITs must come between a proposal to me alone and its verdict",
    ),
    simulated(
        "S6",
        "PREPAREs of an older view count in this one",
        Edit(
            "consensus/normal_case.py",
            "    if not _in_time(s, message) or not s.log.votable(message.sequence):\n        return\n    if message.sender",
            "    if message.sender >= s.n or s.is_mine(message) or not s.log.votable(message.sequence):\n        return\n    if message.sender",
        ),
        needs="several",
    ),
    simulated(
        "S6",
        "prepared by one PREPARE fewer after a view change",
        Edit(
            "consensus/normal_case.py",
            "if slot.prepared_view < s.view and slot.prepares.count(proposal.digest) >= s.quorum - 1:",
            "quorum = s.quorum - (s.view > 0 and s.n > 3)\n    if slot.prepared_view < s.view and slot.prepares.count(proposal.digest) >= quorum - 1:",
        ),
        Edit(
            "consensus/normal_case.py",
            "slot.prepared = prepared_certificate(proposal, slot.prepares, s.quorum)",
            "slot.prepared = prepared_certificate(proposal, slot.prepares, quorum)",
        ),
        needs="several",
    ),
    simulated(
        "S6",
        "committed by one COMMIT fewer after a view change",
        Edit(
            "consensus/normal_case.py",
            "if slot.commits[view].count(digest) < s.quorum or slot.committed == digest:",
            "if slot.commits[view].count(digest) < s.quorum - (view > 0 and s.n > 3) or slot.committed == digest:",
        ),
        needs="several",
    ),
    simulated(
        "S6",
        "gap executed",
        Edit(
            "consensus/log.py",
            "        while self._committed(self.committed + 1):\n            self.committed += 1\n        before",
            "        while self._committed(self.committed + 1) or self._committed(self.committed + 2):\n            self.committed += 1\n        before",
        ),
        Edit(
            "consensus/normal_case.py",
            "        slot = log.slots[log.executing + 1]\n        digest = slot.committed\n        assert digest is not None",
            "        slot = log.slot(log.executing + 1)\n        digest = slot.committed or null_digest(slot.sequence)",
        ),
        needs="several",
        quick=True,
    ),
    simulated(
        "S6",
        "executed sequence executed again",
        Edit(
            "consensus/normal_case.py",
            "    if slot.commits[view].count(digest) < s.quorum or slot.committed == digest:\n        return",
            "    if slot.commits[view].count(digest) < s.quorum:\n        return\n    if slot.committed == digest:\n        if view > slot.committed_view and slot.sequence <= s.log.executing:\n            s.deliver(Execute(slot.sequence, digest))\n        return",
        ),
        Edit(
            "consensus/normal_case.py",
            "    if slot.committed == message.digest:\n        return  # Late",
            "    if slot.committed == message.digest and message.view <= slot.committed_view:\n        return  # Late",
        ),
        needs="several",
        quick=True,
    ),
    by_test(
        "S6",
        "a NEW-VIEW that contradicts a commit does not halt",
        "tests/consensus/test_view_change.py::test_another_digest_for_an_executed_sequence_halts_with_evidence",
        Edit(
            "consensus/view_change.py",
            "if known is not None and known.committed not in (None, vote.digest):",
            "if known is None:",
        ),
        why="takes more liars than f: q members prepared another digest",
    ),
)
