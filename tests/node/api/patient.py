"""A node with one relation and one member's staff behind the seam, for sessions and what they open."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from contracts.catalogue import registry
from salus.keys import SigningKey
from salus.login import Login
from salus.relation import Delegate, RelationEntry, Right
from salus.wire_json import from_json, to_json
from tests import factories
from tests.node.api.fakes import FakeContracts, FakeNode

DECLARED = {one.name: one for one in registry().contracts.values()}  # each as it is whole
HANDLE = factories.seed("handle")
OWNER = SigningKey.from_seed(factories.seed("owner"))
BROWSER = SigningKey.from_seed(factories.seed("browser"))
VIEWER = SigningKey.from_seed(factories.seed("viewer"))
STAFF = SigningKey.from_seed(factories.seed("staff"))
NODE_KEY = SigningKey.from_seed(factories.seed("a node's key"))
STRANGER = SigningKey.from_seed(factories.seed("stranger"))
DAY = time.time_ns() // 86_400_000_000_000


def entry(*delegates: Delegate) -> RelationEntry:
    return RelationEntry(
        owner_key=OWNER.public_key,
        box_key=bytes(32),
        custodial=False,
        guardians=(),
        threshold=0,
        delegates=delegates,
        rotation=None,
        recovery=None,
        proposals=(),
        cancelled_until_ms=0,
        generation=0,
        terms_version=0,
        since_height=1,
    )


FULL = Delegate(BROWSER.public_key, (Right.DENY, Right.REVOKE, Right.VIEW), DAY + 30)
VIEW = Delegate(VIEWER.public_key, (Right.VIEW,), DAY + 30)


class PatientContracts(FakeContracts):
    """Answers out of tables that a test may change between two requests."""

    def __init__(self) -> None:
        self.relation: RelationEntry | None = entry(FULL, VIEW)
        self.staff_until_ms = 2**50
        self.member_status = "active"
        self.roles = ["hospital"]
        self.member_name = "Hospital"
        self.answers: dict[tuple[str, str], Callable[[Mapping[str, Any]], Any]] = {}

    def query(self, contract: str, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any]:
        if contract in DECLARED:  # asked as the real contract would have it
            from_json(DECLARED[contract].queries[name].args, dict(arguments))
        match (contract, name):
            case ("identity", "relation_of"):
                known = arguments["org"] == "hosp-a" and arguments["handle"] == HANDLE.hex()
                found = self.relation if known else None
                return 1, None if found is None else to_json(found)
            case ("members", "key"):
                return 1, self._key(bytes.fromhex(arguments["public_key"]))
            case ("members", "member"):
                return 1, self._member(arguments["id"])
            case _ if (contract, name) in self.answers:
                return 1, self.answers[contract, name](arguments)
        return super().query(contract, name, arguments)

    def _key(self, key: bytes) -> Any:
        if key not in (STAFF.public_key, NODE_KEY.public_key):
            return None
        staff = key == STAFF.public_key
        return {
            "member": "hosp-b",
            "capacity": "staff" if staff else "node",
            "staff": "ab" * 32 if staff else None,
            "status": "active",
            "from_ms": 0 if staff else None,
            "until_ms": self.staff_until_ms if staff else None,
        }

    def _member(self, member: str) -> Any:
        return {
            "id": member,
            "name": self.member_name,
            "roles": self.roles,
            "validator": True,
            "node_key": "00" * 32,
            "operator_key": "00" * 32,
            "box_key": "00" * 32,
            "status": self.member_status,
            "since_height": 0,
            "returns": False,
        }


class PatientNode(FakeNode):
    def __init__(self) -> None:
        super().__init__()
        self.contracts: PatientContracts = PatientContracts()


def login(
    key: SigningKey,
    origin: str,
    *,
    handle: bytes | None = HANDLE,
    cookie: bool = False,
    **other: Any,
) -> dict[str, Any]:
    """The body of a login; `other` replaces fields of what is signed."""
    fields: dict[str, Any] = {
        "chain_id": factories.CHAIN_ID,
        "node": "hosp-a",
        "origin": origin,
        "handle": handle,
        "key": key.public_key,
        "nonce": factories.seed(f"nonce {time.perf_counter_ns()}")[:16],
        "expires_ms": time.time_ns() // 1_000_000 + 60_000,
    }
    signed = Login(**(fields | other))
    body = {
        "key": signed.key.hex(),
        "origin": signed.origin,
        "nonce": signed.nonce.hex(),
        "expires_ms": signed.expires_ms,
        "signature": key.sign(signed.payload()).hex(),
        "cookie": cookie,
    }
    return body if signed.handle is None else body | {"handle": signed.handle.hex()}
