"""`client.consent`: what it sends is what the contract reads, in the order that the custodian needs."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from contracts.consent import GrantArgs, RevokeArgs, consent
from salus.client_consent import ConsentClient, Whose
from salus.client_erasures import ErasuresClient
from salus.client_errors import ClientError
from salus.client_http import Answer
from salus.codec import decode
from salus.consent.terms import decode_terms, terms_commitment
from salus.errors import BadMessage
from salus.forms_me import CheckAnswer
from salus.grant_notice import SEALED_NOTICE_BYTES
from salus.keys import box_public_key
from salus.permit import Effect, Purpose, Reach, RecordClass
from salus.transaction import Operation
from tests import factories
from tests.contracts.lab import h
from tests.salus.consent.test_fhir import actor
from tests.salus.consent.test_fhir import consent as resource_of

MINE = Whose("hosp-a", h("handle"))
DOCTOR = ("hosp-b", "d0" * 32)
FAR_MS = 4_000_000_000_000


@dataclass
class Node:
    """As much of a client as the file uses; what is asked of it, in order."""

    said: list[tuple[str, Any]] = field(default_factory=list)

    async def chain(self) -> Any:
        return SimpleNamespace(genesis=SimpleNamespace(chain_id=factories.CHAIN_ID))

    async def query(self, contract: str, name: str, **arguments: Any) -> Any:
        if name == "list_members":
            states = {"hosp-a": "active", "hosp-b": "active", "hosp-c": "suspended"}
            return {"members": [{"id": one, "status": state} for one, state in states.items()]}
        if name == "staff":
            return {} if (arguments["org"], arguments["handle"]) == DOCTOR else None
        key = box_public_key(factories.seed("box")).hex()
        return {"box_key": key} if arguments["id"] == "hosp-b" else None

    async def keep_opening(self, handle: str, salt: str, terms: str) -> str:
        self.said.append(("opening", (handle, salt, terms)))
        return ""

    async def at_home(self, method: str, path: str, body: bytes) -> Answer:
        """The first URL alone; the calls that any node may answer are none of this class."""
        self.said.append((f"{method} {path}", json.loads(body)))
        form = CheckAnswer(
            decision="NO_CONSENT", reason="", outer="", obligations=(), consents=(), height=1
        )
        return Answer(200, {}, msgspec.json.encode(form), "")

    async def build(self, operations: list[Operation]) -> list[Operation]:
        return operations

    async def commit(self, operations: list[Operation]) -> str:
        self.said += [(operation.method, operation) for operation in operations]
        return "committed"


def client(node: Node) -> ConsentClient:
    return ConsentClient(node)  # type: ignore[arg-type]


async def test_a_grant_is_what_the_contract_reads_and_the_custodian_hears_it_first() -> None:
    node = Node()
    given = await client(node).grant(MINE, "hosp-b", ("Observation",), "TREAT", FAR_MS)
    (first, opening), (second, operation) = node.said
    assert (first, second) == ("opening", "grant")
    assert opening == (MINE.handle.hex(), given.salt.hex(), given.terms.hex())
    args = decode(operation.args, GrantArgs)
    assert (args.org, args.handle, args.permit, args.grantee) == (
        "hosp-a",
        MINE.handle,
        given.permit,
        "hosp-b",
    )
    assert (args.effect, args.reach, args.purpose) == (
        Effect.PERMIT,
        Reach.ORGANISATION,
        Purpose.TREATMENT,
    )
    assert args.classes == (RecordClass.RESULTS,)
    assert args.terms == terms_commitment(given.salt, decode_terms(given.terms))
    assert (len(args.opening), args.cosigner) == (SEALED_NOTICE_BYTES, None)
    assert (operation.contract, operation.version) == ("consent", consent.version)


async def test_what_is_asked_of_a_patients_consent_goes_to_the_custodians_node_alone() -> None:
    """Handle, reader and classes together are the patient's secret, also when that node is slow."""
    node = Node()
    found = await client(node).check(MINE, "hosp-b", ("Observation",), "TREAT")
    assert found.decision == "NO_CONSENT"
    ((route, asked),) = node.said
    assert (route, asked["handle"]) == ("POST /v1/consents/check", MINE.handle.hex())


async def test_a_case_is_carried_out_at_ones_own_node_alone() -> None:
    node = Node()
    await ErasuresClient(node).carry_out(bytes(32))  # type: ignore[arg-type]
    assert node.said == [("POST /v1/erasures/carry-out", {"case": bytes(32).hex()})]


async def test_a_denial_tells_the_denied_nothing() -> None:
    node = Node()
    await client(node).grant(MINE, "hosp-b", ("summary",), "TREAT", FAR_MS, deny=True)
    args = decode(node.said[1][1].args, GrantArgs)
    assert (args.effect, args.opening) == (Effect.DENY, b"")


async def test_a_revocation_is_what_the_contract_reads() -> None:
    node = Node()
    await client(node).revoke(MINE, h("permit"))
    ((_, operation),) = node.said
    expected = RevokeArgs("hosp-a", MINE.handle, h("permit"), None, None)
    assert decode(operation.args, RevokeArgs) == expected


async def test_nothing_is_sent_of_what_is_meant_wrongly() -> None:
    node = Node()
    for words, code in (
        (("hosp-b", ("Everything!",), "TREAT", FAR_MS), "BAD_SCOPE"),
        (("hosp-b", ("summary",), "PLEASURE", FAR_MS), "BAD_PURPOSE"),
        (("hosp-b", ("summary",), "TREAT", 1), "BAD_PERIOD"),
        (("/", ("summary",), "TREAT", FAR_MS), "BAD_GRANTEE"),
    ):
        with pytest.raises(BadMessage) as caught:
            await client(node).grant(MINE, *words)
        assert caught.value.code == code
    with pytest.raises(ClientError) as unknown:
        await client(node).grant(MINE, "hosp-x", ("summary",), "TREAT", FAR_MS)
    assert unknown.value.code == "UNKNOWN_GRANTEE"
    assert node.said == []


async def test_a_fhir_consent_becomes_grants_that_the_contract_reads() -> None:
    """To members that are active, the custodian's denials first, each after its terms."""
    node = Node()
    resource = json.dumps(
        resource_of({"type": "permit", "provision": [{"type": "deny", "actor": [actor()]}]})
    ).encode()
    plan = await client(node).plan_fhir(MINE, resource, [], [("Organization/1", "hosp-a")])
    assert {one.grantee for one in plan.permits} == {"hosp-a", "hosp-b"}
    assert node.said == []
    granted = await client(node).import_fhir(MINE, plan)
    assert len(granted) == len(plan.permits)
    openings = [what for kind, what in node.said if kind == "opening"]
    grants = [decode(what.args, GrantArgs) for kind, what in node.said if kind == "grant"]
    assert [kind for kind, _ in node.said] == ["opening"] * len(openings) + ["grant"] * len(grants)
    effects = [args.effect for args in grants]
    assert effects == sorted(effects)  # deny, permit
    for args, (_, salt, terms), one in zip(grants, openings, granted, strict=True):
        assert args.permit == one.permit
        opened = decode_terms(bytes.fromhex(terms))
        assert args.terms == terms_commitment(bytes.fromhex(salt), opened)
        assert len(args.opening) == (0 if args.effect is Effect.DENY else SEALED_NOTICE_BYTES)


@pytest.mark.parametrize(
    ("target", "code"),
    [
        (f"hosp-b/{'d0' * 32}", None),
        (f"hosp-b/{'d1' * 32}", "UNKNOWN_STAFF"),  # mistyped
        (f"hosp-a/{'d0' * 32}", "UNKNOWN_STAFF"),  # of another house
        (f"hosp-c/{'d0' * 32}", "UNKNOWN_GRANTEE"),  # suspended
    ],
)
async def test_a_map_names_staff_that_the_chain_knows_at_this_organisation(
    target: str, code: str | None
) -> None:
    """A denial of a mistyped handle would deny nobody, and he who is meant reads on."""
    denied = {"type": "deny", "actor": [actor("Practitioner/1")]}
    resource = json.dumps(resource_of({"type": "permit", "provision": [denied]})).encode()
    entries = [("Organization/9", "hosp-a"), ("Practitioner/1", target)]
    node = Node()
    if code is None:
        assert (await client(node).plan_fhir(MINE, resource, [], entries)).permits
        return
    with pytest.raises(BadMessage) as caught:
        await client(node).plan_fhir(MINE, resource, [], entries)
    assert caught.value.code == code
    if code == "UNKNOWN_STAFF":
        assert "entry 2" in caught.value.message
