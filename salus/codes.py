"""The one registry of code words: the same word in receipts, CLI, API, SDK and docs/errors.md.

Law of the file: a word is an interface. It is never reused for another meaning; its row says
what is wrong, why or what to do next, whether the same bytes may succeed later, and which HTTP
status and exit code it has. A test holds that every word used in the source stands here.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from salus import care_codes, code_table


class Exit(IntEnum):
    """Exit codes of the CLI (interfaces.md §3; sysexits where it fits)."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    REJECTED = 3
    PENDING = 4
    NOT_FOUND = 5
    UNREACHABLE = 6
    NOT_AUTHORISED = 7
    NOT_READY = 8
    BAD_DATA = 65
    UNAVAILABLE = 69
    BUG = 70
    REFUSES_OVERWRITE = 73
    IO = 74
    RETRY = 75
    CONFIG = 78
    INTERRUPTED = 130


class Family(StrEnum):
    REQUEST = "request"  # the HTTP request, whatever it asks for
    TRANSACTION = "transaction"  # refused at admission: never entered a block
    RECEIPT = "receipt"  # refused by a contract: certified, with a receipt
    CARE = "care"  # refused by a contract, too: patients' relations, consents, tickets
    PROOF = "proof"
    DOCUMENT = "document"
    PEER = "peer"
    KEY = "key"
    CONFIG = "config"
    STORE = "store"
    NODE = "node"
    CLI = "cli"  # the command line itself


@dataclass(frozen=True, slots=True)
class Code:
    word: str
    family: Family
    title: str  # what is wrong, one line
    hint: str  # why, or the next step
    status: int  # HTTP
    exit_code: Exit
    retryable: bool = False  # may the very same request succeed later, unchanged?


_ROWS: tuple[Code, ...] = tuple(
    Code(word, family, title, hint, status, Exit(exit_code), retryable)
    for family in Family
    for table in (code_table, care_codes)
    for word, status, exit_code, retryable, title, hint in getattr(table, family.name, ())
)

CODES: dict[str, Code] = {code.word: code for code in _ROWS}
assert len(CODES) == len(_ROWS), "a word has one meaning"

# What a word of another (newer) node is treated as: an error nobody should retry blindly.
_UNREGISTERED = Code(
    "UNREGISTERED", Family.NODE, "An error that this version does not know",
    "Update this software; the detail is the node's.", 500, Exit.BUG,
)  # fmt: skip


def lookup(word: str) -> Code:
    """The row of a word; a generic one for words of other versions."""
    return CODES.get(word, _UNREGISTERED)


def reference() -> str:
    """docs/errors.md, generated: one section per family, one entry per word."""
    lines = [
        "# Errors",
        "",
        "One word, one meaning: the same in receipts, the API (`code` of a problem), the SDK and",
        "the CLI. *Retry* says whether the very same request may succeed later. Generated from",
        "`salus/codes.py`.",
    ]
    for family in Family:
        rows = sorted((row for row in _ROWS if row.family is family), key=lambda row: row.word)
        if not rows:
            continue
        lines += ["", f"## {family.value.capitalize()}", ""]
        lines += [
            "| word | what | why, next step | HTTP | exit | retry |",
            "|---|---|---|---|---|---|",
        ]
        lines += [
            f"| `{row.word}` | {row.title} | {row.hint} | {row.status} | {int(row.exit_code)} | "
            f"{'yes' if row.retryable else 'no'} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"
