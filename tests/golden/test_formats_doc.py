"""docs/formats.md names every struct with its fields, in order: a page that can fail."""

import re
from pathlib import Path

import pytest

from consensus import messages
from node import duplicate_cases, ticket_files
from salus import (
    block,
    browser_code,
    certificate,
    desk_asks,
    disclosure,
    document,
    emergency,
    emergency_forms,
    emergency_share,
    epoch,
    erasure,
    genesis,
    grant_notice,
    join,
    login,
    looks,
    offer,
    parameters,
    patient_keys,
    permit,
    proof,
    reading,
    record,
    relation,
    release,
    rotation,
    sealed_key,
    state_file,
    statemap,
    ticket,
    transaction,
    validators,
    vote,
    wallet,
)
from salus.codec import Wire
from salus.consent import decision, weighing

DOCS = Path(__file__).parents[2] / "docs"
PAGE = "".join((DOCS / name).read_text("utf-8") for name in ("formats.md", "formats-care.md"))
MODULES = (
    block,
    browser_code,
    certificate,
    decision,
    desk_asks,
    disclosure,
    document,
    emergency,
    emergency_forms,
    emergency_share,
    epoch,
    erasure,
    genesis,
    grant_notice,
    join,
    login,
    looks,
    messages,
    offer,
    parameters,
    patient_keys,
    permit,
    proof,
    reading,
    record,
    release,
    relation,
    rotation,
    sealed_key,
    state_file,
    statemap,
    ticket,
    transaction,
    duplicate_cases,
    ticket_files,
    validators,
    vote,
    wallet,
    weighing,
)
STRUCTS = {
    name: kind
    for module in MODULES
    for name, kind in vars(module).items()
    if isinstance(kind, type) and issubclass(kind, Wire) and kind is not Wire
}
# Structs that the page writes out inside a formula, by their fields.
INLINE = {"Structure", "Context"}


def grammar() -> dict[str, list[str]]:
    found = {}
    for match in re.finditer(r"^(\w+) += \[([^\]]*)\]", PAGE, re.MULTILINE):
        found[match[1]] = [field.strip() for field in match[2].split(",")]
    return found


@pytest.mark.parametrize("name", sorted(STRUCTS))
def test_the_page_has_the_fields_of_each_struct(name: str) -> None:
    kind = STRUCTS[name]
    fields = list(kind.__struct_fields__)
    if name in INLINE:
        assert f"[{', '.join(fields)}]" in PAGE
        return
    tag = kind.__struct_config__.tag
    assert grammar()[name] == ([str(tag)] if tag is not None else []) + fields


def test_the_page_names_no_struct_that_does_not_exist() -> None:
    assert set(grammar()) <= set(STRUCTS)


def test_the_pages_name_every_domain() -> None:
    root = Path(__file__).parents[2]
    pages = "".join(page.read_text("utf-8") for page in sorted(root.glob("docs/formats*.md")))
    used = {
        match
        for folder in ("salus", "consensus")
        for path in sorted((root / folder).glob("*.py"))
        for match in re.findall(r'(?:hasher|domain)\("([a-z-]+)"\)', path.read_text("utf-8"))
    }
    assert len(used) > 15
    for kind in sorted(used):
        assert f'H("{kind}"' in pages or f'"salus/v1/{kind}"' in pages, kind


def test_constants_on_the_page_are_those_of_the_code() -> None:
    assert proof.MAGIC == b"SALUSPROOF1\n"
    for text in (
        f"at most {proof.PROOF_BYTES_MAX // 2**20} MiB",
        f"EpochStep{{0,{proof.EPOCHS_MAX}}}",
        f"Header{{0,{proof.LINKS_MAX}}}",
        f"paths of at most {proof.PATH_MAX} nodes",
        f"2^k ≤ {record.BATCH_LEAVES_MAX}",
        *(f"{kind.name.replace('_', '-')} {int(kind)}" for kind in vote.VoteType),
        f"{vote.JOURNAL_PREPARED} PREPARED",
        f"{vote.JOURNAL_FLOOR} FLOOR",
        f"{vote.JOURNAL_NEW_VIEW} NEW-VIEW",
    ):
        assert text.lower() in PAGE.lower(), text
