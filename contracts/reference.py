"""Writes the reference pages of the contracts from their declarations.

docs/contracts/NAME.md for developers, docs/on-chain-fields.md for whoever must judge what is
published. Tests hold both pages; nobody edits them.
"""

from collections.abc import Iterable

from contracts import fields
from contracts.errors import FRAMEWORK_CODES
from contracts.fields import Publication
from contracts.framework import Contract, Method, Query
from salus import wire_json

_GENERATED = "Generated from the declarations in `contracts/`; do not edit."


def contract_page(contract: Contract) -> str:
    """docs/contracts/NAME.md"""
    lines = [f"# {contract.name}, version {contract.version}", "", contract.doc, "", _GENERATED, ""]
    for method in contract.methods.values():
        lines += _method(method)
    if contract.events:
        lines += ["## Events", "", "| event | when | facts |", "|---|---|---|"]
        for event in contract.events.values():
            facts = "; ".join(f"`{name}`: {doc}" for name, doc in event.fields.items())
            lines.append(f"| `{event.name}` | {event.doc} | {facts} |")
        lines.append("")
    if contract.queries:
        lines += ["## Queries", ""]
        for query in contract.queries.values():
            lines += _query(query)
    lines += ["## Refusals", "", "| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {meaning} |" for code, meaning in sorted(contract.refusals.items())]
    lines += [
        "",
        "Every method may also answer with the codes of the framework (docs/contracts.md).",
    ]
    return "\n".join(lines) + "\n"


def _method(method: Method) -> list[str]:
    lines = [f"## {method.contract}.{method.name}", "", method.doc, ""]
    senders = ", ".join(capacity.value for capacity in method.senders) or "any key"
    roles = ", ".join(sorted(role.value for role in method.roles))
    lines += [f"Sent by: {senders}" + (f" of a {roles}." if roles else ".") + "  "]
    lines += [f"`salus tx {method.contract} {method.name}`", ""]
    if not method.fields:
        return [*lines, "No fields.", ""]
    lines += ["| field | type | published | what it is |", "|---|---|---|---|"]
    for field in method.fields:
        kind = wire_json.words(field.shape)
        lines.append(f"| `{field.name}` | {kind} | {field.publication} | {field.doc} |")
    return [*lines, ""]


def _query(query: Query) -> list[str]:
    asked = [f"`{f.name}`: {wire_json.words(f.type)}" for f in fields.struct_fields(query.args)]
    given = [f"`{f.name}`: {wire_json.words(f.type)}" for f in fields.struct_fields(query.result)]
    null = " — or null if there is none" if query.nullable else ""
    return [
        f"### {query.contract}.{query.name}",
        "",
        query.doc,
        "",
        "- Asked: " + ("; ".join(asked) or "nothing"),
        "- Answered: " + "; ".join(given) + null,
        "",
    ]


def on_chain_fields(contracts: Iterable[Contract]) -> str:
    """docs/on-chain-fields.md"""
    lines = [
        "# What stands on the chain",
        "",
        "Everything in a transaction is published to all present and future members, refused and",
        "pending ones included. This page lists every field of every operation. *public*: readable",
        "by every member, for ever. *committed*: a salted hash; its opening travels off chain.",
        "*sealed*: ciphertext that every member holds and those with the key can read.",
        "",
        "The envelope of a transaction publishes the sender's key, a random nonce, the heights it",
        "is valid for and the number of its operations. Receipts publish codes and the facts listed",
        "at each contract's events and refusals: numbers, single words and 32-byte hashes.",
        "",
        _GENERATED,
        "",
        "| field | published | type | what it is |",
        "|---|---|---|---|",
    ]
    for contract in contracts:
        for method in contract.methods.values():
            for field in method.fields:
                name = f"{contract.name}.{method.name}.{field.name}"
                said = f"**{field.publication}**"
                if field.publication is not Publication.PUBLIC:
                    said = field.publication.value
                lines.append(
                    f"| `{name}` | {said} | {wire_json.words(field.shape)} | {field.doc} |"
                )
    lines += ["", "## Events", "", "| event | facts |", "|---|---|"]
    for contract in contracts:
        for event in contract.events.values():
            facts = "; ".join(f"`{name}`: {doc}" for name, doc in event.fields.items())
            lines.append(f"| `{event.name}` | {facts} |")
    return "\n".join(lines) + "\n"


def framework_codes() -> str:
    """The table of codes in docs/contracts.md."""
    rows = [f"| `{code}` | {meaning} |" for code, meaning in FRAMEWORK_CODES.items()]
    return "\n".join(["| code | meaning |", "|---|---|", *rows]) + "\n"
