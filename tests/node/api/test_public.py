"""The public tier: who takes part, and numbers from ten on; the rest is a regulator's."""

from typing import Any

import msgspec
import pytest

from contracts.access import DECIDED, DENIALS
from contracts.emergency import OPENED
from contracts.emergency_review import DISPUTED, JUSTIFIED, REVIEWED
from contracts.erasure import ANSWERED, REQUESTED
from contracts.framework import EventKind
from node.api.tally_events import BLOCKS_AT_ONCE_MAX, EventTally
from salus.block import OK, Event, Receipt
from salus.emergency import Verdict
from salus.permit import Purpose
from tests import factories
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeNode
from tests.node.api.patient import STAFF, PatientNode, login

CASE, OTHER, HANDLE = (factories.seed(name) for name in ("case", "other case", "handle"))


def happened(node: FakeNode, *events: Event) -> None:
    """The next block's first receipt has these events."""
    tx = factories.transaction(node.genesis)
    receipt = Receipt(tx.id, 0, OK, {}, events)
    node.chain.add(tx, receipts=[receipt])


def decided(requester: str, permitted: bool) -> Event:
    return DECIDED(
        org="hosp-a",
        handle=HANDLE,
        requester=requester,
        purpose=Purpose.TREATMENT.value,
        permitted=permitted,
        reason="PERMIT",
    )


def about(kind: EventKind, org: str, case: bytes, **more: Any) -> Event:
    """As the contract makes it: a fact that it does not declare is a mistake here."""
    handle = {"handle": HANDLE} if "handle" in kind.fields else {}
    event = kind(org=org, case=case, **handle, **more)
    assert event.data.keys() <= kind.fields.keys()
    return event


EVENTS = (
    DENIALS(org="hosp-a", handle=HANDLE, requester="hosp-b", count=40),
    about(OPENED, "hosp-a", CASE, opener="hosp-c", alone=False, late=True),
    about(OPENED, "hosp-a", OTHER, opener="hosp-c", alone=True, late=False),
    about(JUSTIFIED, "hosp-a", CASE, in_time=False),
    about(JUSTIFIED, "hosp-a", OTHER, in_time=True),
    about(DISPUTED, "hosp-a", CASE),
    about(REVIEWED, "hosp-a", CASE, by="hosp-b", verdict=Verdict.ABUSE.value, lapses=0),
    about(REVIEWED, "hosp-a", OTHER, by="hosp-b", verdict=Verdict.JUSTIFIED.value, lapses=0),
    about(REQUESTED, "hosp-b", CASE, basis="owner", holders=2),
    about(REQUESTED, "hosp-b", OTHER, basis="owner", holders=1),
    about(ANSWERED, "hosp-b", CASE, holder="hosp-b", reply="erased", open=1),
    about(ANSWERED, "hosp-b", OTHER, holder="hosp-b", reply="erased", open=0),
)


async def get(client: Browser, path: str, token: str = "") -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def test_the_directory_names_organisations_and_nobody_else(client: Browser) -> None:
    found = await get(client, "/v1/directory")
    assert [one["id"] for one in found["items"]] == ["hosp-a", "hosp-b", "hosp-c", "hosp-d"]
    assert found["items"][0]["operator"].startswith("sal1")


async def test_the_directory_says_what_an_organisation_says_that_it_offers(client: Browser) -> None:
    """R6, §4.15: services and places in codes; who said nothing is not filled in."""
    found = {one["id"]: one["offer"] for one in (await get(client, "/v1/directory"))["items"]}
    assert found["hosp-a"] is None
    assert found["hosp-b"] == {
        "services": ["emergency"],
        "sites": ["156-110101"],
        "surfaces": ["fhir", "page"],
        "height": 1,
    }
    for language, words in (("en", "emergency care"), ("zh", "急诊")):
        async with client.get(f"/directory?lang={language}") as response:
            page = await response.text()
        assert words in page
        assert "156-110101" in page


@pytest.fixture
def node() -> PatientNode:
    node = PatientNode()
    happened(node, *[decided("hosp-b", True)] * 12, *[decided("hosp-b", False)] * 3)
    happened(node, *EVENTS)
    return node


def rows(found: Any) -> dict[str, Any]:
    return {one["organisation"]: one for one in found["items"]}


async def test_everybody_sees_numbers_from_ten_on(client: Browser) -> None:
    found = await get(client, "/v1/oversight")
    assert (found["exact"], found["open_cases"], found["counted_height"]) == (False, [], 2)
    one = rows(found)["hosp-b"]
    assert (one["reads"], one["denials"]) == (12, 43)
    numbers = {name: value for name, value in one.items() if name not in ("organisation", "name")}
    assert [name for name, value in numbers.items() if value is not None] == ["reads", "denials"]


async def test_a_regulator_sees_all_of_it(node: PatientNode, client: Browser) -> None:
    body = login(STAFF, f"http://127.0.0.1:{client.port}", handle=None)
    async with client.post("/v1/session", json=body) as response:
        token = (await response.json())["token"]
    assert not (await get(client, "/v1/oversight", token))["exact"], "a hospital's key"
    node.contracts.roles = ["regulator"]
    found = await get(client, "/v1/oversight", token)
    assert found["exact"]
    of_c, of_b = rows(found)["hosp-c"], rows(found)["hosp-b"]
    names = ("emergencies", "emergencies_late", "justified_late", "disputed", "abuse")
    assert [of_c[name] for name in names] == [2, 1, 1, 1, 1]
    assert [of_b[name] for name in ("erasures", "erasures_open")] == [2, 1]
    assert rows(found)["hosp-d"]["reads"] == 0


async def test_a_regulators_own_node_is_a_regulators(
    client: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    regulators = [
        msgspec.structs.replace(one, roles=("regulator",)) for one in factories.genesis().members
    ]
    monkeypatch.setattr("tests.node.api.fakes.MEMBERS", regulators)
    assert (await get(client, "/v1/oversight"))["exact"]


async def test_counting_goes_on_where_it_stopped() -> None:
    node = FakeNode()
    tally = EventTally(node)
    for _ in range(3):
        happened(node, decided("hosp-b", True))
        await tally.advance()
    assert (tally.height, tally.counts["hosp-b", "reads"]) == (3, 3)
    node.height = lambda: 3 + 2 * BLOCKS_AT_ONCE_MAX  # type: ignore[method-assign]
    node.block = lambda height: None  # type: ignore[method-assign]
    await tally.advance()
    assert tally.height == 3 + BLOCKS_AT_ONCE_MAX, "one request does not count for ever"
