"""Operations that others co-sign, and the file in which they travel there and back (rule I-6 of
decision 0010).

The draft shows every argument in words, so that who co-signs sees what he says.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import CliError
from contracts.catalogue import registry
from contracts.framework import Method
from salus import files
from salus.acts.act import VERSION, Act
from salus.errors import BadMessage
from salus.keys import Signer
from salus.relation import Whose
from salus.wire_json import from_json, to_json

DRAFT_BYTES_MAX = 64 * 1024  # an operation has 4 kB; hex and names double it


@dataclass(frozen=True)
class Draft:
    """An operation of a relation, with the co-signatures that it has so far."""

    chain_id: str
    act: Act

    @property
    def whose(self) -> Whose:
        return Whose(self.act.args["org"], self.act.args["handle"])

    @property
    def document(self) -> dict[str, Any]:
        """As the file says it."""
        return {
            "chain_id": self.chain_id,
            "contract": self.act.contract,
            "method": self.act.method,
            "version": VERSION,
            "args": to_json(dict(self.act.args)),
        }


def cosign(unsigned: Draft, signer: Signer) -> Draft:
    """With one co-signature more, or in the place of the only one that there can be. Raises `CliError`
    (BAD_DRAFT) if there are more than the operation takes."""
    signed = Draft(unsigned.chain_id, unsigned.act.cosigned(unsigned.chain_id, signer))
    return parse(json.dumps(signed.document).encode())


def write(path: Path, unsigned: Draft) -> None:
    files.replace(path, (json.dumps(unsigned.document, indent=1) + "\n").encode())


def read(path: Path) -> Draft:
    """Raises `CliError` (BAD_DRAFT)."""
    with path.open("rb") as stream:
        return parse(stream.read(DRAFT_BYTES_MAX + 1))


def parse(raw: bytes) -> Draft:
    """As `read`."""
    try:
        document = json.loads(raw) if len(raw) <= DRAFT_BYTES_MAX else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or set(document) != _FIELDS:
        raise _bad("it has other fields than a draft")
    chain_id, name, version = (document[key] for key in ("chain_id", "contract", "version"))
    method = _method(name, version, document["method"])
    if not isinstance(chain_id, str) or method is None:
        raise _bad("this software knows no such operation that is co-signed")
    try:
        args = from_json(method.args, document["args"])
    except BadMessage as error:
        raise _bad(error.message) from None
    named = {field.name: getattr(args, field.name) for field in method.fields}
    if "cosigners" in named and len(named["cosigners"]) != len(named["cosignatures"]):
        raise _bad("each co-signer has one signature")
    return Draft(chain_id, Act(name, method.name, named))


_FIELDS = {"chain_id", "contract", "method", "version", "args"}


def _method(contract: object, version: object, method: object) -> Method | None:
    """One that takes co-signatures of a relation's friends."""
    if not (isinstance(contract, str) and type(version) is int and isinstance(method, str)):
        return None
    known = registry().contracts.get((contract, version)) if version == VERSION else None
    found = None if known is None else known.methods.get(method)
    names = set() if found is None else {field.name for field in found.fields}
    takes = {"org", "handle", "cosigner"} <= names or {"org", "handle", "cosigners"} <= names
    return found if takes else None


def _bad(why: str) -> CliError:
    return CliError("BAD_DRAFT", f"no draft to co-sign: {why}")
