"""The pages that are generated from the declarations say what the code does.

`pytest tests/contracts --rewrite` writes them.
"""

import ast
from pathlib import Path

import pytest

from contracts.catalogue import registry
from contracts.framework import Contract
from contracts.reference import contract_page, framework_codes, on_chain_fields

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
CONTRACTS = list(registry().contracts.values())
SOURCES = {  # of more files than one
    "consent": ("consent", "cosign"),
    "emergency": ("emergency", "emergency_review", "emergency_summary", "cosign"),
    "erasure": ("erasure", "cosign"),
    "governance": ("governance", "changes", "proposals"),
    "members": ("members", "offers"),
    "identity": ("identity", "rotation", "recovery", "enrolment", "cosign"),
}
GUIDE = DOCS / "contracts.md"
BEGIN, END = "<!-- generated: framework codes -->\n", "<!-- end -->"


def held(path: Path, text: str, rewrite: bool) -> None:
    if rewrite:
        path.write_text(text)
    assert path.read_text() == text, "run: pytest tests/contracts --rewrite"


def test_the_list_of_published_fields_is_current(rewrite: bool) -> None:
    """health.md §4.0: docs/on-chain-fields.md."""
    held(DOCS / "on-chain-fields.md", on_chain_fields(CONTRACTS), rewrite)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: f"{c.name}-{c.version}")
def test_the_reference_page_is_current(contract: Contract, rewrite: bool) -> None:
    held(DOCS / "contracts" / f"{contract.name}.md", contract_page(contract), rewrite)


def test_the_frameworks_codes_in_the_guide_are_current(rewrite: bool) -> None:
    before, rest = GUIDE.read_text().split(BEGIN)
    _, after = rest.split(END)
    held(GUIDE, before + BEGIN + framework_codes() + END + after, rewrite)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda c: f"{c.name}-{c.version}")
def test_every_refusal_is_declared_and_every_declared_one_is_used(contract: Contract) -> None:
    """An undeclared code would be a fault on the chain; an unused one a lie in the docs."""
    names = SOURCES.get(contract.name, (contract.name,))
    sources = [(ROOT / "contracts" / f"{name}.py").read_text() for name in names]
    raised = {
        call.args[0].value
        for source in sources
        for call in ast.walk(ast.parse(source))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Refused"
        and isinstance(call.args[0], ast.Constant)
    }
    assert raised == set(contract.refusals)
