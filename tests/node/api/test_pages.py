"""Pages: in both languages, escaped, under one strict policy, and readable without a script."""

import re
from collections.abc import Mapping
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contracts.consent import PermitAnswer
from contracts.members import MemberStatus
from node.api.mine import NEWEST
from node.api.public import COUNTED
from node.api.routes import ROUTES
from node.contacts import CarrierName, Delivery
from node.web.static_files import FILES
from node.web.words import WORDS
from salus.consent.terms import Code, encode_terms, terms_commitment
from salus.emergency import Verdict
from salus.genesis import Role
from salus.granting import Grantee, say
from salus.keys import SigningKey
from salus.permit import Purpose, Reason, RecordClass
from salus.relation import Right
from salus.wire_json import to_json
from tests.node.api.conftest import Browser
from tests.node.api.patient import BROWSER, HANDLE, OWNER, PatientNode, login
from tests.node.api.test_me import CASE, IDS, SALT, node, permit  # noqa: F401 - the fixture

WEB = Path(__file__).parents[3] / "node" / "web"
PAGES = sorted(route.path for route in ROUTES if "text/html" in route.answers.values())


class Page(HTMLParser):
    """What a policy without inline anything forbids, and what a screen reader needs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            raise AssertionError("inline script or style")

    def check(self) -> None:
        ids = [attrs["id"] for _, attrs in self.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        labelled = {attrs.get("for") for tag, attrs in self.tags if tag == "label"}
        for tag, attrs in self.tags:
            assert not [name for name in attrs if name.startswith("on") or name == "style"]
            assert not (attrs.get("href") or attrs.get("src") or "/").startswith(("http", "//"))
            if tag == "input":
                assert attrs["id"] in labelled
        headings = [int(tag[1]) for tag, _ in self.tags if re.fullmatch(r"h[1-6]", tag)]
        assert headings[0] == 1
        assert all(b <= a + 1 for a, b in pairwise(headings))


async def shown(client: Browser, path: str, **headers: str) -> str:
    async with client.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        text = await response.text()
    Page(text).check()
    return text


async def log_in(client: Browser, key: SigningKey) -> None:
    body = login(key, f"http://127.0.0.1:{client.port}", cookie=True)
    async with client.post("/v1/session", json=body) as response:
        assert response.status == 201


@pytest.mark.parametrize("path", PAGES)
async def test_every_page_is_well_formed_in_both_languages(client: Browser, path: str) -> None:
    english, chinese = [await shown(client, f"{path}?lang={lang}") for lang in ("en", "zh")]
    assert 'lang="en"' in english
    assert 'lang="zh-Hans"' in chinese
    assert english != chinese
    asked = await shown(client, path, **{"Accept-Language": "zh-CN,en;q=0.5"})
    assert 'lang="zh-Hans"' in asked


async def test_without_a_session_the_page_says_nothing_of_anybody(client: Browser) -> None:
    text = await shown(client, "/me")
    assert "Make a key in this browser" in text
    assert "Who may see what" not in text


async def test_a_patient_reads_permits_trail_and_records_without_a_script(
    node: PatientNode,  # noqa: F811
    client: Browser,
) -> None:
    await log_in(client, BROWSER)
    text = await shown(client, "/me")
    for said in ("Hospital may read", "in force", "no permission", "nobody confirmed", "4 more"):
        assert said in text, said
    assert text.count("End this permission") == 2, "the one in force and the one to come"
    chinese = await shown(client, "/me?lang=zh")
    assert "可以阅读" in chinese
    assert "no permission" not in chinese


async def test_a_permit_for_one_place_says_so_and_names_no_part_of_the_staff(
    node: PatientNode,  # noqa: F811
    client: Browser,
) -> None:
    ward = Code("urn:example:wards", "3-north")
    there = say(Grantee("hosp-b"), ("Observation",), Purpose.TREATMENT, 0, 10**15, sites=(ward,))
    said = permit(0, reach=there.reach, terms=terms_commitment(SALT, there.terms))
    found = to_json(PermitAnswer("hosp-b", Purpose.TREATMENT, said, None))
    node.contracts.answers["consent", "newest"] = lambda _: {"newest": IDS[0].hex(), "count": 1}
    node.contracts.answers["consent", "permit"] = lambda _: found
    assert node.openings is not None
    await node.openings.keep(HANDLE, SALT, encode_terms(there.terms))
    await log_in(client, BROWSER)
    text = await shown(client, "/me")
    assert "only from 3-north (urn:example:wards)" in text
    assert "some of the staff" not in text


@pytest.mark.parametrize("scopes", [(), ("Observation",)])
async def test_a_permit_without_conditions_is_shown_too(
    node: PatientNode,  # noqa: F811
    client: Browser,
    scopes: tuple[str, ...],
) -> None:
    """Conditions that are empty are left out of a rule's form, and the page asked for them."""
    everywhere = say(Grantee("hosp-b"), scopes, Purpose.TREATMENT, 0, 10**15)
    said = permit(0, reach=everywhere.reach, terms=terms_commitment(SALT, everywhere.terms))
    found = to_json(PermitAnswer("hosp-b", Purpose.TREATMENT, said, None))
    node.contracts.answers["consent", "newest"] = lambda _: {"newest": IDS[0].hex(), "count": 1}
    node.contracts.answers["consent", "permit"] = lambda _: found
    assert node.openings is not None
    await node.openings.keep(HANDLE, SALT, encode_terms(everywhere.terms))
    await log_in(client, BROWSER)
    text = await shown(client, "/me")
    assert "only from" not in text
    assert (scopes[0] if scopes else "everything") in text


async def test_an_emergency_stands_on_the_page_with_what_became_of_it(
    node: PatientNode,  # noqa: F811
    client: Browser,
) -> None:
    node.contracts.answers["erasure", "newest"] = lambda _: None
    node.contracts.answers["emergency", "cases_of"] = lambda _: {
        "cases": [to_json(CASE)],
        "count": 1,
        "next": None,
    }
    await log_in(client, BROWSER)
    text = await shown(client, "/me")
    for said in ("Opened in an emergency", "logged late", "not co-signed", "hosp-b, hosp-d"):
        assert said in text, said
    assert "紧急开启" in await shown(client, "/me?lang=zh")


async def test_older_emergencies_are_one_page_further(
    node: PatientNode,  # noqa: F811
    client: Browser,
) -> None:
    asked: list[str] = []

    def cases_of(arguments: Mapping[str, Any]) -> Any:
        asked.append(arguments["start"])
        more = CASE.id.hex() if len(asked) == 1 else None
        return {"cases": [to_json(CASE)], "count": 51, "next": more}

    node.contracts.answers["emergency", "cases_of"] = cases_of
    await log_in(client, BROWSER)
    (link,) = re.findall(r'href="(/me[^"]*emergencies=[^"]*)"', await shown(client, "/me"))
    assert CASE.id.hex() not in link, "nothing identifying stands in a path"
    text = await shown(client, unescape(link).partition("#")[0])
    assert "emergencies=" not in text
    assert asked == [NEWEST, CASE.id.hex()]


async def test_names_are_escaped(node: PatientNode, client: Browser) -> None:  # noqa: F811
    node.contracts.member_name = '<script>alert(1)</script> & "x"'
    await log_in(client, OWNER)
    text = await shown(client, "/me")
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


async def test_what_is_static_is_ours_and_asked_for_by_its_hash(client: Browser) -> None:
    for name in FILES:
        async with client.get(f"/static/{name}") as response:
            assert response.status == 200
            tag = response.headers["ETag"]
        async with client.get(f"/static/{name}", headers={"If-None-Match": tag}) as response:
            assert response.status == 304
    async with client.get("/static/other.mjs") as response:
        assert response.status == 404
    async with client.get("/static/..%2fpages.py") as response:
        assert response.status in (400, 404)


def test_every_word_of_the_templates_is_in_the_table_and_every_enum_has_one() -> None:
    used = set()
    for path in (WEB / "templates").iterdir():
        used |= set(re.findall(r"""\bt\("([a-z_.]+)["] *[,)]""", path.read_text()))
    for kind, prefix in ((Purpose, "purpose"), (RecordClass, "class"), (Right, "right")):
        used |= {f"{prefix}.{one.value}" for one in kind}
    used |= {f"reason.{one.value}" for one in Reason}
    used |= {f"role.{one.value}" for one in Role} | {f"oversight.{one}" for one in COUNTED}
    used |= {f"member.{one.value}" for one in MemberStatus}
    used |= {f"carrier.{one.value}" for one in CarrierName}
    used |= {f"delivery.{one.value}" for one in Delivery}
    used |= {f"verdict.{one.value}" for one in Verdict}
    assert used <= set(WORDS)


def test_no_word_lacks_a_translation_or_loses_what_is_filled_in() -> None:
    for key, (english, chinese) in WORDS.items():
        assert english, key
        assert chinese, key
        assert set(re.findall(r"{\w+}", english)) == set(re.findall(r"{\w+}", chinese)), key
        assert key == "language" or re.search(r"[\u4e00-\u9fff]", chinese), key
