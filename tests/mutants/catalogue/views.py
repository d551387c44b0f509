"""S7–S11: what a view change says, proves, chooses and keeps."""

from tests.mutants.mutant import Edit, Mutant, simulated

MUTANTS: tuple[Mutant, ...] = (
    # -- S7 ---------------------------------------------------------------------------------------
    simulated(
        "S7",
        "no prepared certificate in VIEW-CHANGE",
        Edit(
            "consensus/view_change.py",
            "if sequence > log.low and slot.prepared is not None",
            "if sequence < 0 and slot.prepared is not None",
        ),
        needs="several",
    ),
    simulated(
        "S7",
        "votes on after its own VIEW-CHANGE",
        Edit(
            "consensus/normal_case.py",
            "if proposal is None or s.in_view_change or not s.log.votable(slot.sequence):",
            "if proposal is None or not s.log.votable(slot.sequence):",
        ),
        Edit(
            "consensus/normal_case.py",
            "        return\n    if s.in_view_change:\n        return\n    slot",
            "        return\n    slot",
        ),
        needs="several",
    ),
    simulated(
        "S7",
        "the journal keeps the oldest prepared certificate",
        Edit(
            "storage/votes.py",
            "        if entry.payload and (entry.kind in _OF_A_VIEW",
            "        if entry.kind == JOURNAL_PREPARED and _place(entry) in self._spendable:\n            return\n        if entry.payload and (entry.kind in _OF_A_VIEW",
        ),
        needs="crash",
    ),
    # -- S8 ---------------------------------------------------------------------------------------
    simulated(
        "S8",
        "unchecked certificate: the signatures of what was prepared",
        Edit(
            "consensus/proofs.py",
            "            self._check_prepared_signatures(prepared)",
            "            assert prepared",
        ),
        needs="liar: forged-view-change",
    ),
    simulated(
        "S8",
        "unchecked certificate: the form of what was prepared",
        Edit(
            "consensus/proofs.py",
            "            self._check_prepared_form(prepared)",
            "            assert prepared",
        ),
        needs="liar: forged-view-change",
    ),
    simulated(
        "S8",
        "unchecked certificate: the low watermark",
        Edit(
            "consensus/proofs.py",
            "            check_signatures(view_change.low, self.validators, self.domain, self.verifier)",
            "            assert view_change.low.signatures",
        ),
        needs="liar: stale-certificate",
    ),
    # Seen in a run only by who has not entered a view and is shown its NEW-VIEW by the liar that
    # led it, who by then has prepared something there (scenes.py).
    simulated(
        "S8",
        "prepared in a view that is not older",
        Edit(
            "consensus/proofs.py",
            "_require(vote.view < view_change.view,",
            "_require(vote.view >= 0,",
        ),
        needs="liar: backdating",
    ),
    simulated(
        "S8",
        "one member's PREPARE counts twice in a certificate",
        Edit(
            "consensus/proofs.py",
            '_require(indexes == sorted(set(indexes)), "PREPAREs',
            '_require(indexes == sorted(indexes), "PREPAREs',
        ),
        needs="liar: forged-view-change",
    ),
    # -- S9 ---------------------------------------------------------------------------------------
    simulated(
        "S9",
        "NEW-VIEW taken on trust",
        Edit(
            "consensus/proofs.py",
            '        _require(made == choice.digests, "not the choice that its VIEW-CHANGEs force")',
            "        choice = Choice(choice.low, choice.certificate, made)",
        ),
        needs="liar: lying-new-view",
    ),
    simulated(
        "S9",
        "VIEW-CHANGEs inside a NEW-VIEW taken on trust",
        Edit(
            "consensus/proofs.py",
            "            if known.get(view_change.sender) != view_change:",
            "            if view_change.sender < 0:",
        ),
        needs="liar: lying-new-view",
    ),
    simulated(
        "S9",
        "PRE-PREPAREs inside a NEW-VIEW taken on trust",
        Edit(
            "consensus/proofs.py",
            '            _require(self.signed(pre_prepare), "a PRE-PREPARE\'s signature is not valid")',
            "            assert pre_prepare",
        ),
        needs="liar: lying-new-view",
    ),
    simulated(
        "S9",
        "a NEW-VIEW of fewer than q VIEW-CHANGEs",
        Edit(
            "consensus/proofs.py",
            '_require(len(senders) == self.validators.quorum, "q VIEW-CHANGEs',
            '_require(len(senders) >= self.validators.weak, "q VIEW-CHANGEs',
        ),
        Edit(
            "consensus/view_change.py",
            "    if len(candidates) < s.quorum or s.me not in candidates:",
            "    if len(candidates) < s.weak or s.me not in candidates:",
        ),
        Edit(
            "consensus/view_change.py",
            "        if len(chosen) < s.quorum and _passes(s, index):",
            "        if len(chosen) < s.weak and _passes(s, index):",
        ),
        Edit(
            "consensus/view_change.py",
            "    if len(chosen) < s.quorum:\n        return",
            "    if len(chosen) < s.weak:\n        return",
        ),
        needs="several",
    ),
    simulated(
        "S9",
        "the lowest view is chosen",
        Edit(
            "consensus/proofs.py",
            '                best[vote.sequence] = max(\n                    best.get(vote.sequence, (-1, b"")), (vote.view, vote.digest)\n                )',
            "                mine = (vote.view, vote.digest)\n                best[vote.sequence] = min(best.get(vote.sequence, mine), mine)",
        ),
        needs="several",
    ),
    simulated(
        "S9",
        "the lowest watermark of the q is taken",
        Edit(
            "consensus/proofs.py",
            "surest = max(view_changes, key=",
            "surest = min(view_changes, key=",
        ),
        needs="several",
    ),
    simulated(
        "S9",
        "gaps are not filled",
        Edit(
            "consensus/proofs.py",
            "        for sequence in range(low + 1, max(best, default=low) + 1)\n",
            "        for sequence in range(low + 1, max(best, default=low) + 1)\n        if sequence in best\n",
        ),
        needs="several",
    ),
    # -- S10 --------------------------------------------------------------------------------------
    simulated(
        "S10",
        "low watermark of NEW-VIEW ignored",
        Edit("consensus/view_change.py", "    log.adopt(choice.low, choice.certificate)\n", ""),
        Edit(
            "consensus/view_change.py",
            "    log.proposed = log.low\n",
            "    log.proposed = log.low\n    assert choice.low >= 0\n",
        ),
        needs="several",
    ),
    simulated(
        "S10",
        "the next VIEW-CHANGE proves only its own height",
        Edit(
            "consensus/view_change.py",
            "        if sequence > log.low and slot.prepared is not None",
            "        if sequence > log.certified and slot.prepared is not None",
        ),
        Edit(
            "consensus/view_change.py",
            "unsigned = ViewChange(s.epoch, view, log.low_certificate,",
            "unsigned = ViewChange(s.epoch, view, log.certificate,",
        ),
        needs="several",
    ),
    # -- S11 --------------------------------------------------------------------------------------
    simulated(
        "S11",
        "block time is the proposal's, even if it runs backwards",
        Edit(
            "node/executor.py",
            "            max(parent.time_ms, body.time_ms),",
            "            body.time_ms,",
        ),
    ),
    simulated(
        "S11",
        "Null is not bound to its sequence",
        Edit(
            "salus/block.py",
            "return encode(Proposal(BLOCK_VERSION, sequence, None, 0, 0, ()))",
            "return encode(Proposal(BLOCK_VERSION, 0, None, 0, 0, ()))",
        ),
    ),
    simulated(
        "S11",
        "a new view fills with Null what was prepared",
        Edit(
            "consensus/proofs.py",
            "(sequence, best[sequence][1] if sequence in best else null_digest(sequence))",
            "(sequence, best[sequence][1] if sequence == max(best) else null_digest(sequence))",
        ),
        needs="several",
    ),
)
