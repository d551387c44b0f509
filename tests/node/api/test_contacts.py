"""How a patient is told: contacts come in bodies, and only to their patient or custodian go out again."""

from node.contacts import CarrierName, Contact
from node.notices import Language
from tests.node.api.conftest import Browser
from tests.node.api.fakes import FakeNode, FakeOutbox

HANDLE_HEX = "5a" * 32
BODY = {
    "handle": HANDLE_HEX,
    "carrier": "email",
    "address": "ada@example.org",
    "language": "zh",
}


async def test_a_contact_is_kept_and_its_messages_are_shown(
    node: FakeNode, client: Browser
) -> None:
    async with client.post("/v1/contacts", json=BODY) as response:
        assert response.status == 204
    assert isinstance(node.outbox, FakeOutbox)
    kept = Contact(CarrierName.EMAIL, "ada@example.org", Language.ZH)
    assert node.outbox.contacts == {bytes.fromhex(HANDLE_HEX): kept}
    asked = {"handle": HANDLE_HEX}
    async with client.post("/v1/contacts/notices", json=asked) as response:
        page = await response.json()
    assert (page["carrier"], page["language"]) == ("email", "zh")
    (notice,) = page["notices"]
    assert (notice["kind"], notice["count"], notice["delivery"]) == ("read", 3, "sent")
    assert "hosp-a" in notice["text"]
    gone = BODY | {"carrier": None, "address": None}
    async with client.post("/v1/contacts", json=gone) as response:
        assert response.status == 204
    async with client.post("/v1/contacts/notices", json=asked) as response:
        empty = {"carrier": None, "address": None, "language": None, "notices": []}
        assert await response.json() == empty


async def test_what_is_no_contact(node: FakeNode, client: Browser) -> None:
    for changes, code in (
        ({"handle": "5a"}, "BAD_REQUEST"),
        ({"carrier": "pigeon"}, "BAD_REQUEST"),
        ({"carrier": None}, "BAD_CONTACT"),
        ({"address": None}, "BAD_CONTACT"),
        ({"address": "nowhere"}, "BAD_CONTACT"),
        ({"address": "x" * 257}, "BAD_REQUEST"),
        ({"language": "tlh"}, "BAD_REQUEST"),
        ({"name": "ada"}, "BAD_REQUEST"),
    ):
        async with client.post("/v1/contacts", json=BODY | changes) as response:
            assert (await response.json(content_type=None))["code"] == code, changes
    node.outbox = None
    async with client.post("/v1/contacts", json=BODY) as response:
        assert (await response.json(content_type=None))["code"] == "NOT_ENABLED"
