"""A patient in a browser: enrol this browser, see who may see what, end it with one click."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from cli.home import read_testnet
from tests import factories
from tests.e2e import consortium
from tests.e2e.browser import browser
from tests.e2e.shell import document
from tests.golden.test_page_vectors import derived

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

VISIT = Path(__file__).parents[2] / "cli" / "data" / "visit-1.json"
PATIENCE = ("--timeout", "60")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("page") / "net"
    try:
        # Long enough for somebody to see it, and to stop it.
        consortium.document(
            "testnet", "up", "-n", 4, "--set", "erasure_wait_ms=3600000", "--home", home
        )
        yield home
    finally:
        assert consortium.salus("testnet", "down", "--home", home).returncode == 0


async def said(net: Path, *words: object) -> Any:
    """In a thread, for the browser goes on meanwhile."""
    return await asyncio.to_thread(document, *words, "--home", net, *PATIENCE)


def url(net: Path, name: str) -> str:
    return read_testnet(net).node(name).api


async def test_a_patient_enrols_a_browser_and_ends_a_permission_with_one_click(net: Path) -> None:
    ada = await said(net, "patient", "register", "ada", "--at", "hosp-a")
    granted = await said(
        net, "consent", "grant", "--patient", "ada", "--to", "hosp-b", "--scope",
        "Observation,MedicationRequest", "--purpose", "TREAT", "--until", "90d",
    )  # fmt: skip
    async with browser() as page:
        await enrolled(net, page, "ada", ada["handle"])
        card = page.locator("article.card").filter(has_text="may read")
        text = await card.text_content()
        assert text is not None
        for word in ("test results", "medicines", "treatment", "MedicationRequest, Observation"):
            assert word in text
        await card.get_by_text("What your key signs").click()
        await card.locator("pre").filter(has_text=re.compile("^73616c7573")).wait_for()
        await card.get_by_role("button", name="End this permission").click()
        await page.get_by_text(re.compile(r"Ended, at block \d+")).wait_for()
        listed = await said(net, "consent", "list", "--patient", "ada")
        assert [(one["consent_id"], one["state"]) for one in listed["consents"]] == [
            (granted["consent_id"], "revoked")
        ]
        await page.reload()
        await page.locator("article.card.revoked").wait_for()
        assert await page.get_by_role("button", name="End this permission").count() == 0

        # What the key of the wallet asked to have erased, whoever had it, is stopped with one click.
        kept = await said(net, "record", "add", VISIT, "--patient", "ada")
        asked = await said(
            net, "erasure", "request", "--patient", "ada", "--record", kept["record_id"], "--yes"
        )
        assert asked["stage"] == "waiting"
        await page.reload()
        card = page.locator("article.card.waiting")
        await card.get_by_text("What your key signs").click()
        await card.locator("pre").filter(has_text=re.compile("^73616c7573")).wait_for()
        await card.get_by_role("button", name="Stop this erasure").click()
        await page.get_by_text(re.compile(r"Stopped, at block \d+")).wait_for()
        case = await said(net, "erasure", "show", asked["case_id"], "--at-org", "hosp-a")
        assert case["stage"] == "cancelled"
        await page.reload()
        await page.locator("article.card.cancelled").get_by_text("stopped").wait_for()
        assert await page.get_by_role("button", name="Stop this erasure").count() == 0

        # The key cannot leave, and the cookie is none of a script's business.
        assert await page.evaluate("document.cookie") == ""
        assert await page.evaluate(EXPORTED) == "InvalidAccessError"

        await page.get_by_role("link", name="中文").click()
        await page.get_by_role("heading", name="谁可以看什么").wait_for()
        await page.get_by_role("heading", name="请求删除").wait_for()
        assert await page.evaluate(OVERFLOW) <= 0
        await page.set_viewport_size({"width": 360, "height": 740})
        assert await page.evaluate(OVERFLOW) <= 0, "nothing sticks out on a telephone"
        await page.get_by_role("button", name="退出登录").click()
        again = page.get_by_role("button", name="使用此浏览器的密钥登录")
        await again.wait_for()
        assert await page.get_by_role("heading", name="谁可以看什么").count() == 0
        await again.click()
        await page.get_by_role("heading", name="谁可以看什么").wait_for()
    logs = "".join(path.read_text() for path in (net / "logs").iterdir())
    assert ada["handle"] not in logs
    assert granted["consent_id"] not in logs


async def test_a_patient_opens_an_own_record_in_the_browser_and_it_stands_in_the_trail(
    net: Path, tmp_path: Path
) -> None:
    """Through the gate: a ticket, the keeper, a release that the page opens and checks by itself."""
    bea = await said(net, "patient", "register", "bea", "--at", "hosp-a")
    finding, visit = tmp_path / "finding.txt", VISIT
    finding.write_text("a finding of bea <b>not bold</b>\n")
    for file in (finding, visit):
        await said(net, "record", "add", file, "--patient", "bea")
    asked: list[str] = []
    async with browser() as page:
        page.on("request", lambda request: asked.append(request.url))
        await enrolled(net, page, "bea", bea["handle"])
        await page.get_by_role("button", name="Open text/plain").click()
        await page.get_by_text("Opened, and checked").wait_for()
        assert await page.locator("#opened pre").text_content() == finding.read_text()
        await page.get_by_role("button", name="Open application/fhir+json").click()
        await page.locator("#opened pre").filter(has_text="resourceType").wait_for()
        async with page.expect_download() as saved:
            await page.locator("#opened a").click()
        kept = await (await saved.value).path()
        assert await asyncio.to_thread(kept.read_bytes) == visit.read_bytes()

        # A document that the hospital made of a version is shown as that, if its node's key signed it.
        right, wrong = derived()
        for given, outcome in (
            (right, right["derived"]),
            (right | {"version": wrong["version"]}, "refused"),
        ):
            assert await page.evaluate(PROVED, given | {"chain": factories.CHAIN_ID}) == outcome

        await page.reload()
        rows = page.locator("section[aria-labelledby=looks] tbody tr")
        await rows.nth(1).wait_for()
        text = await rows.first.text_content()
        assert text is not None
        assert "your own request" in text
        assert "allowed" in text
    logs = "".join(path.read_text() for path in (net / "logs").iterdir())
    assert "finding of bea" not in logs
    assert bea["handle"] not in logs
    kept = await said(net, "record", "list", "--node", "hosp-a")
    names = [bea["handle"], *(one["record_id"] for one in kept["items"])]
    assert len(asked) > 20
    assert not [name for name in names for url in asked if name in url]


async def test_staff_and_patient_write_to_each_other_under_the_gate(net: Path) -> None:
    """A message is a record: encrypted, signed by its author, read by a ticket."""
    cai = await said(net, "patient", "register", "cai", "--at", "hosp-a")
    await said(net, "staff", "add", "doctor", "--at", "hosp-a", "--role", "clinician")
    mine = ("--patient", "cai")
    there = ("--patient", cai["handle"], "--at", "hosp-a")
    asked = await said(net, "message", "send", *mine, "--subject", "Friday", "--text",
                       "May I eat before?", "--as", "cai")  # fmt: skip
    assert asked["author"] == "patient"
    listed = await said(net, "message", "list", *there)
    assert [one["record_id"] for one in listed["messages"]] == [asked["record_id"]]
    read = await said(net, "message", "read", asked["record_id"], *there, "--as", "doctor")
    assert (read["by"], read["text"]) == ("the patient", "May I eat before?")
    assert read["sent"].startswith("20")

    answer = await said(net, "message", "send", *there, "--reply-to", asked["record_id"],
                        "--text", "Nothing after midnight.", "--as", "doctor")  # fmt: skip
    listed = await said(net, "message", "list", *mine)
    assert {one["record_id"] for one in listed["messages"]} == {
        asked["record_id"],
        answer["record_id"],
    }
    read = await said(net, "message", "read", answer["record_id"], *mine)
    assert (read["author"], read["by"]) == ("staff", "hosp-a staff, active")
    assert (read["text"], read["reply_to"]) == ("Nothing after midnight.", asked["record_id"])
    async with browser() as page:
        await enrolled(net, page, "cai", cai["handle"])
        rows = page.locator("section[aria-labelledby=looks] tbody tr")
        await rows.nth(1).wait_for()
        assert await rows.count() == 2, "both reads stand in the trail"
        await page.get_by_role(
            "button", name="Open application/vnd.salus.message+json"
        ).first.click()
        await page.locator("#opened pre").filter(has_text="midnight").wait_for()
    logs = "".join(path.read_text() for path in (net / "logs").iterdir())
    assert "midnight" not in logs


async def enrolled(net: Path, page: Page, name: str, handle: str) -> None:
    """The page of a patient at hosp-a, in a browser that is new."""
    await page.goto(f"{url(net, 'hosp-a')}/me")
    await page.get_by_label("Your handle at hosp-a").fill(handle)
    await page.get_by_role("button", name="Make a key in this browser").click()
    command = page.locator("#command")
    await command.filter(has_text="salus patient browser NAME --code ").wait_for()
    shown = await command.text_content()
    assert shown is not None
    entered = await said(net, "patient", "browser", name, "--code", shown.split()[-1])
    assert entered["rights"] == ["deny", "revoke", "view"]
    # It logs in by itself once the chain knows the key.
    await page.get_by_role("heading", name="Who may see what").wait_for()
    assert handle not in page.url


PROVED = """async (given) => {
  const { provedBy } = await import("/static/shown.mjs");
  const { hex, unhex } = await import("/static/codec.mjs");
  const ticket = { chainId: given.chain, custodian: "hosp-a", requestId: unhex(given.request_id) };
  const said = [unhex(given.derived), unhex(given.signature)];
  try { return hex(await provedBy(ticket, unhex(given.version), said, unhex(given.node_key))); }
  catch { return "refused"; }
}"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
EXPORTED = """async () => {
  const opened = await new Promise((resolve) => {
    const request = indexedDB.open("salus", 1);
    request.onsuccess = () => resolve(request.result);
  });
  const own = await new Promise((resolve) => {
    const request = opened.transaction("keys").objectStore("keys").getAll();
    request.onsuccess = () => resolve(request.result[0]);
  });
  try { await crypto.subtle.exportKey("pkcs8", own.pair.privateKey); return "exported"; }
  catch (error) { return error.name; }
}"""
