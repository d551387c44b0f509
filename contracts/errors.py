"""What can go wrong in a contract, and the code words that the framework itself answers with.

    Refused            the contract says no: a receipt with its code, nothing else changed
    BadDeclaration     a contract that must not exist: raised at import, never at run time
    StoreFailed        the disk under the contract failed: never a receipt (see below)

Whatever else leaves a contract is a fault of the contract (rule S16).
"""

from typing import Any

from salus import block
from salus.block import Fact
from salus.hashing import HASH_BYTES

# Codes of the framework; each contract declares its own. Meaning and next step: salus/codes.py.
BAD_OPERATION = "BAD_OPERATION"
UNKNOWN_CONTRACT = "UNKNOWN_CONTRACT"
UNKNOWN_METHOD = "UNKNOWN_METHOD"
WRONG_VERSION = "WRONG_VERSION"
BAD_ARGUMENTS = "BAD_ARGUMENTS"
NOT_AUTHORISED = "NOT_AUTHORISED"
LIMIT_STATE = "LIMIT_STATE"
ROLLED_BACK = "ROLLED_BACK"
DUPLICATE = block.DUPLICATE
CONTRACT_FAULT = "CONTRACT_FAULT"
UNKNOWN_QUERY = "UNKNOWN_QUERY"

FRAMEWORK_CODES = {
    BAD_OPERATION: "The operation is not {contract, method, version, args} in canonical form.",
    UNKNOWN_CONTRACT: "No contract of this name is active in this epoch.",
    UNKNOWN_METHOD: "The contract's active version has no method of this name.",
    WRONG_VERSION: "Another version of the contract is active; fact `active` names it.",
    BAD_ARGUMENTS: "The arguments are not the canonical form of the method's fields.",
    NOT_AUTHORISED: "The sender's key may not call this method, or not for this organisation.",
    LIMIT_STATE: "The transaction touched more keys, or wrote more bytes, than one may.",
    ROLLED_BACK: "Another operation of this all-or-nothing transaction failed; fact `operation`.",
    DUPLICATE: "This very transaction was executed before; its first receipts stand.",
    CONTRACT_FAULT: "The contract itself failed; the operation changed nothing.",
}


class Refused(Exception):
    """The contract refuses, with a code it declared and facts that may be published.

    Facts: integers, booleans, 32-byte hashes and single words; anything else is a fault.
    """

    def __init__(self, code: str, **facts: Fact | bytes) -> None:
        super().__init__(code)
        self.code, self.facts = code, plain(facts)


def plain(facts: dict[str, Any]) -> dict[str, Fact]:
    """As receipts and events carry them: hashes as lowercase hex; None is left out. In place: the
    keywords of a call are nobody else's."""
    for name, fact in facts.items():
        if isinstance(fact, bytes):
            if len(fact) != HASH_BYTES:
                raise ValueError("bytes in facts are hashes and ids of 32")
            facts[name] = fact.hex()
    if None in facts.values():
        return {name: fact for name, fact in facts.items() if fact is not None}
    return facts


class LimitState(Refused):
    """A cap of `Parameters` on what one transaction may do to state."""

    def __init__(self, limit: str, most: int) -> None:
        super().__init__(LIMIT_STATE, limit=limit, most=most)


class BadDeclaration(TypeError):
    """The contract breaks a rule of publication or of the framework."""


class StoreFailed(BaseException):
    """The store below failed to read. Not an `Exception`, on purpose: the outcome of a contract
    must not depend on one node's disk, so nothing may turn this into a receipt."""
