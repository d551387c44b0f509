"""Of docs/decisions/0017-identity-tags.md: what a tag is made of, who may ask a desk, and what is kept."""

from tests.mutants.mutant import Edit, Mutant, by_test

_DESK = "tests/node/test_identity_desk.py::"
_TAG = "tests/salus/test_identity_tag.py::"

MUTANTS: tuple[Mutant, ...] = (
    by_test(
        "D-1",
        "another pepper than the one that genesis names is used",
        _DESK + "test_without_the_pepper_of_genesis_nobody_is_looked_for",
        Edit(
            "salus/pepper.py",
            "    if file.commitment != wanted.hex():\n",
            "    if len(file.commitment) != len(wanted.hex()):\n",
        ),
    ),
    by_test(
        "D-2",
        "a copy serves under any member's name",
        "tests/salus/test_pepper.py::test_a_copy_under_another_members_name_opens_for_nobody",
        Edit(
            "salus/pepper.py",
            "    return _COPY + encode((chain_id, named, member))\n",
            "    return _COPY + encode((chain_id, named))\n",
        ),
        quick=True,
    ),
    by_test(
        "D-3",
        "a tag without the organisation",
        _DESK + "test_two_hospitals_have_two_tags_of_one_number",
        Edit(
            "salus/identity_tag.py",
            "    return _hash_tag(root + encoded)\n",
            "    return _hash_tag(root)\n",
        ),
    ),
    by_test(
        "D-3",
        "a second relation at one hospital is entered with the tag of the first",
        _DESK + "test_two_relations_of_one_person_here_share_no_value_on_the_chain",
        Edit("node/identity_desk.py", "if first is None or first.handle == handle", "if root"),
    ),
    by_test(
        "D-3",
        "an identifier is hashed without the pepper",
        "tests/privacy/test_attack.py::test_no_public_value_is_an_unsalted_hash_of_what_is_known",
        Edit(
            "node/identity_desk.py",
            "                tag = identity_tag(root, Relation(self._chain_id, org))\n",
            "                tag = root\n",
        ),
        Edit(
            "node/identity_desk.py",
            "        tag = identity_tag(root, Relation(self._chain_id, self.org))\n",
            "        tag = root\n",
        ),
        Edit(
            "salus/identity_tag.py",
            '        return PepperRun(hmac.digest(self.pepper, message, "sha256"))\n',
            "        return PepperRun(_hash_tag(encode((identifier.system, identifier.value))))\n",
        ),
    ),
    by_test(
        "D-4",
        "an identifier is taken as it was typed",
        _DESK + "test_a_person_known_at_another_hospital_opens_a_case_here",
        Edit(
            "node/identity_desk.py",
            "(normalise(one.system, one.value) for one in identifiers)",
            "(Identifier(one.system, one.value) for one in identifiers)",
        ),
        Edit(
            "node/identity_desk.py",
            "import TAG_BYTES, identity_tag, normalise\n",
            "import TAG_BYTES, Identifier, identity_tag\n",
        ),
    ),
    by_test(
        "D-4",
        "only one's own hospital is looked at",
        _DESK + "test_a_person_known_at_another_hospital_opens_a_case_here",
        Edit(
            "node/identity_desk.py",
            "            for org in orgs:\n",
            "            for org in (self.org,):\n",
        ),
    ),
    by_test(
        "D-5",
        "whom a settled registration meets later is told to nobody",
        _DESK + "test_what_was_settled_is_told_no_more_until_somebody_else_is_met",
        Edit(
            "node/duplicate_cases.py",
            "        if together == before:\n",
            "        if before or not together:\n",
        ),
    ),
    by_test(
        "D-6",
        "a case with a full history keeps somebody from being registered",
        _DESK + "test_a_case_has_an_end",
        Edit("node/duplicate_cases.py", "found.steps[: STEPS_MAX - 1]", "found.steps"),
        quick=True,
    ),
    by_test(
        "D-7",
        "a search is answered before it is kept",
        _DESK + "test_an_emergency_finds_the_handles_and_leaves_a_search",
        Edit(
            "node/identity_desk.py",
            "            self._cases.searched(\n",
            "            Search and (\n",
        ),
    ),
    by_test(
        "D-7",
        "a search that finds nobody is free",
        _DESK + "test_an_emergency_finds_the_handles_and_leaves_a_search",
        Edit(
            "node/identity_desk.py",
            "            found = tuple(sorted(set(self._met(roots))))\n",
            "            found = tuple(sorted(set(self._met(roots))))\n"
            "            if not found:\n"
            '                raise SalusError("no organisation knows it", code="NOBODY_FOUND")\n',
        ),
    ),
    by_test(
        "D-7",
        "searches are not counted",
        _DESK + "test_a_key_finds_so_many_an_hour_and_a_new_start_forgets_none",
        Edit(
            "node/identity_desk.py",
            "            if len(before) >= SEARCHES_PER_HOUR_MAX:\n",
            "            if len(before) > CHECKS_PER_HOUR_MAX:\n",
        ),
    ),
    by_test(
        "D-8",
        "a number stands in a log",
        "tests/privacy/test_attack.py::test_nothing_of_the_patients_stands_in_the_logs",
        Edit(
            "node/identity_desk.py",
            "        scheme = self._keep.scheme()\n",
            "        scheme = self._keep.scheme()\n"
            "        print([one.value for one in identifiers], flush=True)\n",
        ),
    ),
    by_test(
        "D-8",
        "the pepper stands in a log",
        "tests/privacy/test_attack.py::test_the_pepper_stands_nowhere_as_it_is",
        Edit(
            "node/identity_desk.py",
            "        scheme = self._keep.scheme()\n",
            "        scheme = self._keep.scheme()\n        print(scheme.pepper.hex(), flush=True)\n",
        ),
    ),
    by_test(
        "D-8",
        "the `repr` of an ask shows the number",
        _DESK + "test_no_identifier_stands_in_what_is_shown_of_an_ask",
        Edit(
            "salus/desk_asks.py",
            '        return "Typed(…)"\n',
            '        return f"Typed({self.system}|{self.value})"\n',
        ),
        quick=True,
    ),
    by_test(
        "D-9",
        "another hospital's administration asks",
        _DESK + "test_each_ask_is_of_the_roles_that_it_needs",
        Edit(
            "node/identity_desk.py",
            "        if who is None or who.member != self.org:\n",
            "        if who is None:\n",
        ),
    ),
    by_test(
        "D-9",
        "whoever copied an ask is answered too",
        _DESK + "test_an_ask_is_answered_once_also_after_a_restart",
        Edit(
            "node/seen_asks.py",
            '            self._add(name, until_ms, b"")\n',
            '            self._add(b"", until_ms, name)\n',
        ),
    ),
    by_test(
        "D-9",
        "an operator finds people",
        _DESK + "test_each_ask_is_of_the_roles_that_it_needs",
        Edit("node/identity_desk.py", "_FINDERS, operator=False)", "_FINDERS, operator=True)"),
        Edit(
            "node/identity_desk.py",
            '        assert who.staff is not None, "a role is of staff"\n',
            "",
        ),
        Edit(
            "node/identity_desk.py",
            "ask.key, who.staff, ask.reason",
            "ask.key, ask.key, ask.reason",
        ),
    ),
    by_test(
        "D-9",
        "an ask serves as another kind of ask",
        _DESK + "test_an_ask_is_fresh_for_this_desk_and_signed_by_its_key",
        Edit(
            "salus/desk_asks.py",
            "    if not verify(ask.key, _DOMAINS[kind] + outer.ask, outer.signature):\n",
            "    if not any(verify(ask.key, one + outer.ask, outer.signature)"
            ' for one in (b"", *_DOMAINS.values())):\n',
        ),
    ),
)
