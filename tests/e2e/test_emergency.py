"""Somebody who cannot be asked: real processes, the commands as a user gives them."""

import asyncio
import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import processes
from salus.client import Client
from salus.client_me import MyClient
from salus.codes import Exit
from salus.forms_public import Oversight
from salus.keys import SigningKey
from salus.keystore import unlock_seed
from tests.e2e.consortium import Consortium, consortium, document, error, salus
from tests.e2e.shell import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE = ("--timeout", "60")
IPS = '{"resourceType":"Bundle","type":"document","note":"allergic to penicillin"}'
ORGS = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")


class World:
    def __init__(self, group: Consortium, root: Path) -> None:
        self.group, self.net, self.root = group, group.net, root
        self.ips = root / "ips.json"
        self.ips.write_text(IPS)
        for org in ORGS:
            self.said("staff", "add", f"doc-{org[-1]}", "--at", org, "--role", "clinician",
                      "--role", "emergency")  # fmt: skip

    def said(self, *words: object) -> Any:
        return document(*words, "--home", self.net, *PATIENCE)

    def refused(self, code: int, *words: object) -> str:
        return str(error(code, *words, "--home", self.net, *PATIENCE)["code"])

    def patient(self, name: str, org: str = "hosp-a") -> Any:
        self.said("patient", "register", name, "--at", org)
        return self.said("emergency", "summary", name, self.ips)

    def open(self, name: str, doctor: str, *more: object) -> Any:
        return self.said("emergency", "open", "--patient", name, "--reason", "unconscious",
                         "--as", doctor, *more)  # fmt: skip

    def reviewers(self, case: Any) -> list[str]:
        """Drawn at the end of the next block, and by this node's clock their time has begun."""
        found: list[str] = []

        def drawn() -> bool:
            nonlocal found
            found = self.said("emergency", "show", case["case_id"])["reviewers"]
            return bool(found)

        until("reviewers are drawn", drawn)
        return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    root = tmp_path_factory.mktemp("emergency")
    with consortium(root) as group:
        yield World(group, root)


def test_a_summary_opens_on_record_is_justified_reviewed_and_disputed(world: World) -> None:
    deposited = world.patient("mona")  # no hex in a log spells it by chance
    assert (deposited["holders"], deposited["threshold"]) == (list(ORGS), 2)
    assert deposited["missing"] == {}
    file = world.root / "seen.json"
    case = world.open("mona", "doc-b", "--place", "ambulance 4", "-o", file)
    assert file.read_text() == IPS
    assert (case["released"], case["late"], case["at"]) == (True, False, "hosp-a")
    assert len(case["holders"]) >= 2
    show = ("emergency", "show", case["case_id"], "--home", world.net)
    until("the own node has the block, too", lambda: salus(*show).returncode == 0)
    opened = world.said("emergency", "show", case["case_id"])["height"]
    assert opened > deposited["height"]
    assert case["height"] in (None, opened)

    shown = world.said("emergency", "show", case["case_id"], "--node", "hosp-a")
    assert shown["state"] == "open"
    assert shown["said"] == {"details": "unconscious; ambulance 4; doc-b"}
    stranger = world.said("emergency", "show", case["case_id"], "--node", "hosp-c")
    assert stranger["said"] == {}  # hosp-c has no part in it

    assert world.refused(Exit.NOT_AUTHORISED, "emergency", "cosign", case["case_id"],
                         "--as", "doc-b") == "SAME_ORGANISATION"  # fmt: skip
    world.said("emergency", "cosign", case["case_id"], "--as", "doc-c")
    assert world.refused(Exit.REJECTED, "emergency", "justify", case["case_id"],
                         "--text", "mine", "--as", "doc-c") == "NOT_AUTHORISED"  # fmt: skip
    world.said("emergency", "justify", case["case_id"], "--text", "no pulse", "--as", "doc-b")
    # hosp-a keeps the records, hosp-b opened, hosp-c co-signed.
    assert world.refused(Exit.NOT_AUTHORISED, "emergency", "review", case["case_id"],
                         "--verdict", "justified", "--as", "hosp-c") == "NOT_REVIEWER"  # fmt: skip
    assert world.reviewers(case) == ["hosp-d"]
    reviewer = world.said("emergency", "show", case["case_id"], "--as", "hosp-d")
    assert reviewer["said"]["justification"] == "no pulse"
    world.said("emergency", "review", case["case_id"], "--verdict", "justified", "--text", "so it was",
               "--as", "doc-d")  # fmt: skip
    world.said("emergency", "dispute", case["case_id"], "--text", "I could speak", "--as", "mona")
    listed = world.said("emergency", "list", "--patient", "mona")
    assert [(one["state"], one["overruled"]) for one in listed["cases"]] == [("disputed", "hosp-d")]
    for org in ORGS:
        log = world.group.log(org).read_text()
        for word in ("mona", "ambulance", "pulse", "penicillin", listed["cases"][0]["handle"]):
            assert word not in log


def test_after_an_abuse_a_colleague_elsewhere_agrees_before_anything_is_read(world: World) -> None:
    world.patient("bea", "hosp-a")
    case = world.open("bea", "doc-c")
    assert json.loads(case["summary"])["note"] == "allergic to penicillin"
    world.said("emergency", "justify", case["case_id"], "--text", "curious", "--as", "doc-c")
    (first,) = world.reviewers(case)
    world.said("emergency", "review", case["case_id"], "--verdict", "abuse", "--as", first)
    second = world.open("bea", "doc-c")
    assert (second["released"], second["reason"]) == (False, "COSIGN_FIRST")
    world.said("emergency", "cosign", second["case_id"], "--as", "doc-d")
    fetched = world.said("emergency", "fetch", second["case_id"], "--as", "doc-c")
    assert fetched["summary"] == IPS


def test_who_opts_out_is_left_alone_and_who_deposited_nothing_has_a_case_only(
    world: World,
) -> None:
    def kept(org: str) -> int:
        return len(list((world.net / "nodes" / org).rglob("vault/records/53*.rec")))

    before = {org: kept(org) for org in ORGS}
    world.patient("cai", "hosp-b")
    assert {org: kept(org) for org in ORGS} == {org: before[org] + 1 for org in ORGS}
    world.said("emergency", "opt-out", "cai")
    assert world.refused(Exit.REJECTED, "emergency", "open", "--patient", "cai", "--reason",
                         "unconscious", "--as", "doc-a") == "OPTED_OUT"  # fmt: skip
    world.said("emergency", "opt-in", "cai")
    world.said("patient", "register", "dora", "--at", "hosp-d")
    case = world.open("dora", "doc-a")
    assert (case["released"], case["reason"]) == (False, "NO_SUMMARY")
    until("holders destroyed it", lambda: all(kept(org) <= before[org] for org in ORGS))


def test_a_card_or_a_number_finds_her_and_a_hospitals_key_needs_a_second_word(world: World) -> None:
    world.patient("fay", "hosp-d")
    card = world.said("patient", "card", "issue", "fay")["payload"]
    found = world.said("emergency", "open", "--card", card, "--reason", "unidentified",
                       "--as", "doc-a")  # fmt: skip
    assert (found["released"], found["at"], found["summary"]) == (True, "hosp-d", IPS)
    # Without a card, by a number; the doctor's hospital keeps who looked.
    number = "urn:oid:1.2.36|2951 4455"
    world.said("patient", "register", "gil", "--at", "hosp-d", "--identifier", number)
    world.said("emergency", "summary", "gil", world.ips)
    by_number = ("emergency", "open", "--identifier", "urn:oid:1.2.36|29514455", "--reason",
                 "unidentified")  # fmt: skip
    found = world.said(*by_number, "--as", "doc-a")
    assert (found["released"], found["at"], found["summary"]) == (True, "hosp-d", IPS)
    assert world.refused(Exit.NOT_AUTHORISED, *by_number, "--as", "hosp-a") == "DESK_REFUSED"
    searches = world.said("patient", "searches", "--at", "hosp-a")["items"]
    assert [(one["reason"], [met["org"] for met in one["found"]]) for one in searches] == [
        ("unidentified", ["hosp-d"])
    ]
    assert world.said("patient", "searches", "--at", "hosp-d")["items"] == []
    world.said("patient", "register", "kid", "--at", "hosp-c", "--custodial")
    deposit = ("emergency", "summary", "kid", world.ips)
    assert world.refused(Exit.NOT_AUTHORISED, *deposit) == "NEEDS_COSIGNATURE"
    world.said(*deposit, "--cosign", "hosp-a", "--holders", "hosp-a,hosp-b", "--threshold", "2")
    assert world.open("kid", "doc-d")["holders"] == ["hosp-a", "hosp-b"]


def test_half_of_the_nodes_are_down_and_the_summary_opens_and_is_entered_late(
    world: World,
) -> None:
    """E-8: 2 of 4 down, no quorum; the chain resumes; the entry stands in the patient's trail."""
    world.patient("eve", "hosp-a")
    before = world.said("emergency", "list", "--patient", "eve", "--node", "hosp-b")
    assert before["cases"] == []
    assert before["summary"]["holders"] == list(ORGS)
    assert before["summary"]["gone"] == []
    world.group.stop("hosp-a", "hosp-d")  # her own hospital is one of them
    file = world.root / "late.json"
    case = world.open("eve", "doc-b", "-o", file)
    assert file.read_text() == IPS
    assert (case["released"], case["late"], case["height"]) == (True, True, None)
    assert case["holders"] == ["hosp-b", "hosp-c"]
    world.group.start("hosp-a")
    world.group.start("hosp-d")
    for org in ("hosp-a", "hosp-d"):
        world.group.until(org, "back", ready=True)

    def entered() -> bool:
        done = salus("emergency", "list", "--patient", "eve", "--node", "hosp-a", "--json",
                     "--home", world.net)  # fmt: skip
        cases = json.loads(done.stdout).get("cases", []) if done.returncode == 0 else []
        return bool(cases) and cases[0]["holders_late"] == ["hosp-b", "hosp-c"]

    until("the late entries stand", entered, within_s=120)
    (one,) = world.said("emergency", "list", "--patient", "eve", "--node", "hosp-a")["cases"]
    assert (one["case_id"], one["late"], one["opener"]) == (case["case_id"], True, "hosp-b")
    # And from then on as ever.
    again = world.open("eve", "doc-d")
    assert (again["released"], again["late"]) == (True, False)


def test_an_authority_sees_every_open_case_and_the_public_only_numbers(world: World) -> None:
    """L6, L7, R6: a regulator joins as an observer; directory and cases are everybody's."""
    world.patient("gia")
    group, case = world.group, world.open("gia", "doc-d")
    (known,) = world.said("emergency", "list", "--patient", "gia")["cases"]
    home = group.new_home("authority", "--role", "regulator", "--observer")
    group.start("authority")
    for org in ORGS:
        document("peer", "add", home.join, *group.at(org))
        processes.send(group.homes[org].path, signal.SIGHUP)
    asked = document("gov", "propose", "add-member", "--member-file", home.join,
                     *group.at("hosp-a"), *PATIENCE)  # fmt: skip
    number = asked["proposal"]["number"]
    group.vote(number, "hosp-b", "hosp-c", **{"member-file": home.join})
    group.in_force(number, "hosp-a")
    group.until("authority", "has all blocks", ready=True, member="authority")

    own = json.loads(page(api(group, "authority"), "/v1/oversight"))
    assert own["exact"]
    assert case["case_id"] in [one["case_id"] for one in own["open_cases"]]
    at_a = json.loads(page(api(group, "hosp-a"), "/v1/oversight"))
    assert (at_a["exact"], at_a["open_cases"]) == (False, [])
    emergencies = {one["organisation"]: one["emergencies"] for one in own["items"]}
    assert emergencies["hosp-d"] >= 1
    shown = [one["emergencies"] for one in at_a["items"]]
    assert all(count is None or count >= 10 for count in shown)
    # By its key, at a hospital's node too; a hospital's key opens no more than anybody sees.
    assert asyncio.run(overseen(group, "authority")).exact
    assert not asyncio.run(overseen(group, "hosp-b")).exact

    public = api(group, "hosp-b")
    offer = ("org", "offer", "--service", "emergency", "--site", "156-110101", "--reach", "page")
    document(*offer, *group.at("hosp-a"), *PATIENCE)
    group.level("hosp-a", "hosp-b")
    offers = {
        one["id"]: one["offer"] for one in document("org", "list", *group.at("hosp-b"))["items"]
    }
    assert (offers["hosp-a"]["sites"], offers["authority"]) == (["156-110101"], None)
    listed = json.loads(page(public, "/v1/directory"))["items"]
    assert {(one["id"], *one["roles"]) for one in listed} == {
        *((org, "hospital") for org in ORGS),
        ("authority", "regulator"),
    }
    assert "authority" in page(public, "/directory")
    told = {language: page(public, f"/cases?lang={language}") for language in ("en", "zh")}
    assert "<h2>You are unconscious at night</h2>" in told["en"]
    assert "<h2>夜间您失去意识</h2>" in told["zh"]
    for text in (*told.values(), page(public, "/oversight"), page(public, "/directory")):
        assert known["handle"] not in text
        assert case["case_id"] not in text


def api(group: Consortium, name: str) -> str:
    return group.homes[name].api_url()


def page(url: str, path: str) -> str:
    with urllib.request.urlopen(url + path, timeout=60) as answer:
        text: str = answer.read().decode()
    return text


async def overseen(group: Consortium, name: str) -> Oversight:
    """What the session of this member's operator key is shown at hosp-a's node."""
    keys = group.homes[name].keys
    seed = unlock_seed(keys / "operator.json", (keys / "password").read_text().strip())
    async with Client(api(group, "hosp-a")) as client:
        session = await MyClient.log_in(client, SigningKey.from_seed(seed), None)
        return await session.oversight()
