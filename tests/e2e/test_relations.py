"""What a patient does with his relations: friends, delegates, terms, cards, templates, paper; by the
commands as users type them, over four real nodes."""

import ast
import asyncio
import inspect
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli import testnet
from cli.ceremony import parameters_with
from cli.home import NodeHome
from cli.keyfiles import signer_of
from cli.session import Session
from cli.wallets import open_wallet
from salus.client import Client
from salus.client_consent import Whose
from salus.codes import Exit
from salus.relation import DAY_MS
from tests.e2e.consortium import PATIENCE, document, error, level, salus
from tests.e2e.shell import until

DOCS = Path(__file__).parent.parent.parent / "docs"
FRIENDS = ("eve", "bob", "cai")  # persons with a seed; where they are patients is theirs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("relations") / "net"
    testnet.create(home, 4, "health-dev", parameters_with(()))
    letters = ("outbox.print_list", "letters.ndjson", "outbox.gather", "0s")
    document("config", "set", *letters, "--home", home / "nodes" / "hosp-a")
    batches = ("records.batch_period", "2s")
    document("config", "set", *batches, "--home", home / "nodes" / "hosp-d")
    try:
        document("testnet", "up", "--home", home)
        for friend in FRIENDS:
            document("patient", "register", friend, "--at", "hosp-d", "--home", home, *PATIENCE)
        yield home
    finally:
        assert salus("testnet", "down", "--home", home).returncode == 0


def said(net: Path, *words: object) -> Any:
    return document(*words, "--home", net, *PATIENCE)


def refused(net: Path, code: int, *words: object) -> str:
    return str(error(code, *words, "--home", net, *PATIENCE)["code"])


def told_everywhere(net: Path) -> None:
    """Whoever types on another machine, or asks another node, has heard of it."""
    level(*(net / "nodes" / f"hosp-{letter}" for letter in "abcd"))


def shown(net: Path, name: str) -> Any:
    (relation,) = said(net, "patient", "show", name)["relations"]
    return relation


def test_friends_guard_a_relation_and_approve_a_recovery_on_another_machine(
    net: Path, tmp_path: Path
) -> None:
    """I-4, I-10: the approving hospital has neither the wallet nor its name."""
    said(net, "patient", "register", "ada", "--at", "hosp-a")
    add = ("patient", "guardian", "add", "ada")
    assert refused(net, Exit.NOT_AUTHORISED, *add, "eve") == "NEEDS_COSIGNATURE"
    first = said(net, *add, "eve", "bob", "cai", "--threshold", 2, "--cosign", "hosp-b")
    assert (len(first["guardians"]), first["threshold"]) == (3, 2)
    alone = ("patient", "guardian", "remove", "ada", "cai", "--cosign", "eve")
    assert refused(net, Exit.NOT_AUTHORISED, *alone) == "NEEDS_COSIGNATURE"
    said(net, *alone, "--cosign", "bob")
    again = said(net, *add, "cai", "--threshold", 2, "--cosign", "eve", "--cosign", "hosp-c")
    assert len(again["guardians"]) == 3
    assert set(again["guardians"]) != set(first["guardians"])  # a key is entered once

    request = tmp_path / "ada.request"
    proposed = said(net, "patient", "recover", "propose", "ada", "--as", "eve", "-o", request)
    assert '"ada"' not in request.read_text()
    row = shown(net, "ada")
    assert row["recovery"] is None
    (proposal,) = row["proposals"]
    assert (proposal["key_is_mine"], proposal["approvals"], proposal["needed"]) == (True, 1, 2)
    second = said(net, "patient", "recover", "propose", "ada", "--as", "hosp-a")["new_key"]
    cancel = ("patient", "recover", "cancel", "ada")
    assert refused(net, Exit.USAGE, *cancel, "--as", "ada") == "USAGE"  # which of the two?
    assert refused(net, Exit.REJECTED, *cancel, "--proposal", "00" * 32) == "NO_RECOVERY"
    assert second != proposed["new_key"]
    # hosp-b's home, alone: it knows the request file and nothing else.
    told_everywhere(net)
    elsewhere = net / "nodes" / "hosp-b"
    by_org = error(Exit.REJECTED, "patient", "recover", "approve", "--request", request,
                   "--home", elsewhere, *PATIENCE)  # fmt: skip
    assert by_org["code"] == "NOT_AUTHORISED"  # there are guardians enough
    said(net, "patient", "guardian", "approve", "--request", request, "--as", "bob")
    row = shown(net, "ada")
    assert row["proposals"] == []
    assert row["recovery"]["new_key"] == proposed["new_key"]
    grant = ("consent", "grant", "--patient", "ada", "--to", "hosp-c", "--until", "9d")
    assert refused(net, Exit.REJECTED, *grant) == "RECOVERY_OPEN"
    done = said(net, *cancel, "--proposal", proposed["new_key"][:12], "--as", "ada")
    assert done["new_key"] == proposed["new_key"]
    assert said(net, *grant)["height"] > 0


def test_a_relation_without_guardians_is_recovered_by_two_hospitals_and_a_new_device(
    net: Path, tmp_path: Path
) -> None:
    """I-4: patient's device, proposer and approver are three homes."""
    old = said(net, "patient", "register", "lost", "--at", "hosp-a")
    request, device = tmp_path / "new.request", tmp_path / "device"
    url = NodeHome(net / "nodes" / "hosp-d").api_url()
    (device / "patients").mkdir(parents=True)
    password = device / "patients" / "password"
    password.write_text("device\n")
    password.chmod(0o600)
    words = ("patient", "request", "ada-new", "--at", "hosp-a", "-o", request)
    there = ("--home", device, "--node", url)
    assert error(Exit.USAGE, *words, *there)["code"] == "USAGE"  # it does not know the handle
    told_everywhere(net)
    document(*words, "--handle", old["handle"], *there)
    homes = {name: ("--home", net / "nodes" / name) for name in ("hosp-a", "hosp-b")}
    propose = ("patient", "recover", "propose", "--request", request)
    document(*propose, *homes["hosp-a"], *PATIENCE)
    told_everywhere(net)
    approve = ("patient", "recover", "approve", "--request", request)
    document(*approve, *homes["hosp-b"], *PATIENCE)
    finish = ("patient", "recover", "finish", "--request", request)
    early = error(Exit.REJECTED, *finish, *homes["hosp-b"], *PATIENCE)
    assert early["code"] == "TOO_EARLY"
    told_everywhere(net)
    own = ("patient", "recover", "finish", "lost", "--as", "lost")
    assert refused(net, Exit.REJECTED, *own) == "TOO_EARLY"  # anybody may, when it is time
    said(net, "patient", "recover", "cancel", "lost")
    broken = tmp_path / "broken.request"
    text = json.loads(request.read_text())
    broken.write_text(json.dumps(text | {"org": "hosp-b"}))
    bad = error(Exit.BAD_DATA, "patient", "recover", "propose", "--request", broken,
                *homes["hosp-a"])  # fmt: skip
    assert bad["code"] == "BAD_KEY_REQUEST"


def test_delegates_have_some_rights_and_give_them_back(net: Path) -> None:
    said(net, "patient", "register", "dan", "--at", "hosp-b")
    said(net, "patient", "delegate", "add", "dan", "--device", 0, "--rights", "revoke,view")
    said(net, "patient", "delegate", "add", "dan", "eve", "--rights", "revoke", "--until", "30d")
    listed = said(net, "patient", "delegate", "list", "dan")["delegates"]
    assert [one["rights"] for one in listed] == [["revoke", "view"], ["revoke"]]
    to = ("--to", "hosp-c", "--until", "9d")
    granted = said(net, "consent", "grant", "--patient", "dan", *to)
    revoke = ("consent", "revoke", granted["consent_id"], "--patient", "dan", "--as")
    assert refused(net, Exit.NOT_AUTHORISED, *revoke, "bob") == "WRONG_KEY"
    assert said(net, *revoke, "eve")["height"] > granted["height"]
    said(net, "patient", "delegate", "remove", "dan", "eve", "--as", "eve")
    said(net, "patient", "delegate", "remove", "dan", listed[0]["key"])
    assert said(net, "patient", "delegate", "list", "dan")["delegates"] == []
    wrong = ("patient", "delegate", "add", "dan", "--device", 1, "--rights", "grant")
    assert refused(net, Exit.REJECTED, *wrong) == "BAD_RIGHTS"


def test_a_patient_takes_over_what_the_hospital_held_and_somebody_else_saw_him(
    net: Path, tmp_path: Path
) -> None:
    """I-6: the claim travels to another hospital as a draft, and comes back co-signed."""
    kid = said(net, "patient", "register", "kid", "--at", "hosp-c", "--custodial")
    row = shown(net, "kid")
    assert (row["custodial"], row["key_is_mine"]) == (True, True)
    taken = ("patient", "claim", "kid", "--to", "kid-own")
    assert refused(net, Exit.NOT_AUTHORISED, *taken) == "NEEDS_COSIGNATURE"
    research = ("consent", "grant", "--patient", "kid", "--to", "hosp-d", "--purpose", "HRESCH",
                "--until", "9d")  # fmt: skip
    assert refused(net, Exit.NOT_AUTHORISED, *research) == "NEEDS_COSIGNATURE"
    assert said(net, *research, "--cosign", "hosp-a")["height"] > 0
    draft = tmp_path / "claim.draft"
    said(net, *taken, "--draft", draft)
    told_everywhere(net)
    own = refused(net, Exit.NOT_AUTHORISED, *taken, "--cosign", "hosp-c")
    assert own == "BAD_COSIGNATURE"
    document("patient", "cosign", draft, "--yes", "--home", net / "nodes" / "hosp-d", *PATIENCE)
    said(net, "patient", "send", draft, "--patient", "kid")
    row = shown(net, "kid-own")
    assert (row["handle"], row["custodial"], row["key_is_mine"]) == (kid["handle"], False, True)
    own_grant = ("consent", "grant", "--patient", "kid-own", "--to", "hosp-c", "--until", "1d")
    assert said(net, *own_grant)["height"] > 0
    assert not shown(net, "kid")["key_is_mine"]


def test_one_name_is_one_patient(net: Path) -> None:
    said(net, "patient", "register", "fay", "--at", "hosp-a")
    twice = ("patient", "register", "fay", "--at", "hosp-b", "--custodial")
    assert refused(net, Exit.BAD_DATA, *twice) == "NAME_TAKEN"
    copied = net / "nodes" / "hosp-b" / "custody"
    copied.mkdir(exist_ok=True)
    (copied / "fay.json").write_bytes((net / "patients" / "fay.json").read_bytes())
    assert refused(net, Exit.BAD_DATA, "patient", "show", "fay") == "NAME_TAKEN"
    (copied / "fay.json").unlink()


def test_terms_are_accepted_by_who_read_them(net: Path, tmp_path: Path) -> None:
    said(net, "patient", "register", "gus", "--at", "hosp-a")
    first, second = tmp_path / "terms-1.txt", tmp_path / "terms-2.txt"
    first.write_text("We keep your records.\n")
    second.write_text("We keep your records for ten years.\n")
    accept = ("patient", "terms", "accept", "gus", "--document")
    assert refused(net, Exit.NOT_FOUND, *accept, first) == "UNKNOWN_TERMS"
    assert said(net, "org", "terms", "publish", first, "--node", "hosp-a")["version"] == 1
    assert said(net, *accept, first)["version"] == 1
    assert said(net, "org", "terms", "publish", second, "--node", "hosp-a")["version"] == 2
    assert refused(net, Exit.REJECTED, *accept, first) == "OLD_TERMS"
    assert shown(net, "gus")["terms"] == {"accepted": 1, "newest": 2}
    said(net, *accept, second)
    assert said(net, "org", "terms", "show", "hosp-a")["version"] == 2


def test_a_template_stays_where_it_is_and_a_changed_one_is_refused(
    net: Path, tmp_path: Path
) -> None:
    """I-8, capability I5: the chain has a salted commitment, and each comparison a number."""
    said(net, "patient", "register", "hal", "--at", "hosp-a")
    said(net, "keys", "new", "reader", "--kind", "device", "--node", "hosp-a")
    thumb = tmp_path / "thumb.iso"
    thumb.write_bytes(b"FMR\x00 minutiae")
    device = ("--device", "reader", "--template", thumb)
    enrolled = said(net, "patient", "enrol", "hal", *device)
    first = said(net, "patient", "match", "hal", *device, "--matched")
    second = said(net, "patient", "match", "hal", *device, "--not-matched")
    assert (first["number"], second["number"]) == (1, 2)
    (kept,) = (net / "nodes" / "hosp-a" / "biometrics").iterdir()
    assert kept.stem == enrolled["template"]
    assert kept.stat().st_mode & 0o077 == 0
    assert b"minutiae" not in kept.read_bytes()
    thumb.write_bytes(b"FMR\x00 minutiaf")
    changed = refused(net, Exit.BAD_DATA, "patient", "match", "hal", *device, "--matched")
    assert changed == "BAD_TEMPLATE"


def test_a_card_finds_its_relation_until_it_is_lost(net: Path, tmp_path: Path) -> None:
    """I-9."""
    ida = said(net, "patient", "register", "ida", "--at", "hosp-b")
    purse = tmp_path / "card.txt"
    issued = said(net, "patient", "card", "issue", "ida", "-o", purse)
    assert "payload" not in issued
    said(net, "tx", "wait", issued["tx_id"], "--node", "hosp-d")  # it may be a block behind
    found = said(net, "patient", "card", "find", purse.read_text(), "--node", "hosp-d")
    assert (found["at"], found["handle"]) == ("hosp-b", ida["handle"])
    ended = said(net, "patient", "card", "end", "ida", 0)
    said(net, "tx", "wait", ended["tx_id"], "--node", "hosp-d")
    lost = ("patient", "card", "find", purse.read_text(), "--node", "hosp-d")
    assert refused(net, Exit.NOT_FOUND, *lost) == "UNKNOWN_CARD"
    assert said(net, "patient", "card", "issue", "ida")["number"] == 1
    mistyped = purse.read_text().replace("A", "B", 1)
    assert refused(net, Exit.BAD_DATA, "patient", "card", "find", mistyped) == "BAD_CARD"


def test_a_lost_wallet_comes_back_from_paper_and_the_chain(net: Path, tmp_path: Path) -> None:
    at_a = said(net, "patient", "register", "jon", "--at", "hosp-a")
    at_c = said(net, "patient", "register", "jon", "--at", "hosp-c")
    said(net, "patient", "rotate-key", "jon", "--at", "hosp-c")
    to = ("--at-org", "hosp-a", "--to", "hosp-b", "--until", "2d")
    before = said(net, "consent", "grant", "--patient", "jon", *to, "--scope", "Observation")
    denied = said(net, "consent", "grant", "--patient", "jon", *to, "--deny", "--purpose", "HRESCH")
    listed = said(net, "consent", "list", "--patient", "jon", "--at-org", "hosp-a")
    assert [one["terms"][0]["effect"] for one in listed["consents"]] == ["deny", "permit"]
    made = said(net, "patient", "backup", "split", "jon", "-o", tmp_path)
    assert len(made["shares"]) == 3
    for file in (net / "patients").glob("jon.*"):
        file.unlink()
    missing = ("patient", "backup", "combine", "jon", made["shares"][1])
    assert refused(net, Exit.BAD_DATA, *missing) == "SHARES_MISSING"
    combined = said(net, *missing, made["shares"][2], "--fingerprint", made["fingerprint"])
    assert combined["fingerprint"] == made["fingerprint"]
    rebuilt = said(net, "patient", "rebuild", "jon")
    assert rebuilt["terms"] == {"regained": 2, "missing": [], "not_asked": []}
    again = said(net, "consent", "list", "--patient", "jon", "--at-org", "hosp-a")
    assert again["consents"] == listed["consents"], "with their terms, as before"
    assert {one["consent_id"] for one in again["consents"]} == {
        before["consent_id"],
        denied["consent_id"],
    }
    assert said(net, "patient", "rebuild", "jon")["terms"]["regained"] == 2
    assert all(one.pop("proved_at") >= denied["height"] for one in rebuilt["relations"])
    assert rebuilt["relations"] == [
        {"at": "hosp-a", "handle": at_a["handle"], "generation": 0},
        {"at": "hosp-c", "handle": at_c["handle"], "generation": 1},
    ]
    assert rebuilt["unproved"] == []
    assert rebuilt["believed"]["no_other_handle_at"] == ["hosp-b", "hosp-d"]
    overwrite = ("patient", "backup", "combine", "jon", *made["shares"])
    assert refused(net, Exit.REFUSES_OVERWRITE, *overwrite) == "REFUSES_OVERWRITE"
    to = ("--at-org", "hosp-c", "--to", "hosp-b", "--until", "2d")
    assert said(net, "consent", "grant", "--patient", "jon", *to)["height"] > 0
    assert said(net, "consent", "revoke", before["consent_id"], "--as", "jon")["height"] > 0
    unknown = ("consent", "revoke", "ab" * 32, "--as", "jon")
    assert refused(net, Exit.NOT_FOUND, *unknown) == "UNKNOWN_PERMIT"


def test_a_patient_hears_of_it_and_sees_that_it_arrived(net: Path) -> None:
    """health.md §4.10: by letter here; what is sent names nobody and nothing medical."""
    said(net, "patient", "register", "kay", "--at", "hosp-a")
    contact = ("patient", "contact", "kay")
    assert refused(net, Exit.UNAVAILABLE, *contact, "--email", "kay@example.org") == "NOT_ENABLED"
    said(net, *contact, "--print", "Kay Example, Main Street 1")
    granted = said(net, "consent", "grant", "--patient", "kay", "--to", "hosp-b", "--until", "9d")

    def delivered() -> bool:
        page = said(net, "patient", "notices", "kay")
        return [(one["kind"], one["delivery"]) for one in page["notices"]] == [
            ("permit_granted", "sent")
        ]

    until("the letter is on the list", delivered)
    letters = net / "nodes" / "hosp-a" / "letters.ndjson"
    (letter,) = map(json.loads, letters.read_text().splitlines())
    assert letter["to"] == "Kay Example, Main Street 1"
    for word in ("kay", granted["consent_id"], "hosp-b", "summary"):
        assert word not in letter["text"]
    said(net, *contact, "--none")
    assert said(net, "patient", "notices", "kay")["carrier"] is None


def test_an_app_grants_checks_and_revokes_through_the_sdk(net: Path) -> None:
    said(net, "patient", "register", "lea", "--at", "hosp-b")

    async def story() -> None:
        wallet = open_wallet(Session(home_path=net), "lea")
        relation = wallet.relation("hosp-b")
        home = NodeHome(net / "nodes" / "hosp-b")
        async with Client(home.api_url(), token=home.token(), timeout_s=60) as client:
            chain_id = (await client.chain()).genesis.chain_id
            client.signer = wallet.keys(chain_id, relation).signing
            mine = Whose("hosp-b", relation.handle)
            asked = ("hosp-c", ("Observation",), "TREAT")
            assert (await client.consent.check(mine, *asked)).decision == "NO_CONSENT"
            given = await client.consent.grant(mine, *asked, time.time_ns() // 10**6 + DAY_MS)
            assert given.committed.height > 0
            assert (await client.consent.check(mine, *asked)).decision == "CONSENT_PERMIT"
            await client.consent.revoke(mine, given.permit)
            assert (await client.consent.check(mine, *asked)).decision == "NO_CONSENT"

    asyncio.run(story())


FINDING = {
    "resourceType": "Bundle",
    "type": "collection",
    "entry": [
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "effectiveDateTime": "2026-02-03",
                "valueString": "72",
            }
        }
    ],
}


def test_every_example_of_the_sdk_page_runs(net: Path, tmp_path: Path) -> None:
    """docs/sdk.md, from top to bottom."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "sdk.md").read_text(), re.DOTALL)
    assert len(blocks) > 10
    names: dict[str, Any] = {
        "GENESIS": document("genesis", "hash", "--home", net)["genesis_hash"],
        "FINDING": json.dumps(FINDING).encode(),
        "FOLDER": tmp_path,
    }
    for letter in "ab":
        home = NodeHome(net / "nodes" / f"hosp-{letter}")
        names[f"URL_{letter.upper()}"] = home.api_url()
        names[f"TOKEN_{letter.upper()}"] = home.token()
        names[f"operator_{letter}"] = signer_of(Session(home_path=home.path), home)

    async def page() -> None:
        for number, block in enumerate(blocks, start=1):
            code = compile(
                block, f"block {number} of sdk.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            )
            outcome = eval(code, names)
            if inspect.iscoroutine(outcome):
                await outcome

    asyncio.run(page())


def test_what_comes_together_is_anchored_by_one_transaction_and_what_cannot_wait_alone(
    net: Path,
) -> None:
    """§4.5: batches at fixed times; one of those who wait sends, all report it."""
    home = NodeHome(net / "nodes" / "hosp-d")

    async def story() -> None:
        operator = signer_of(Session(home_path=home.path), home)
        async with Client(
            home.api_url(), signer=operator, token=home.token(), timeout_s=60
        ) as client:

            async def three() -> bool:
                """Unless the time fell between them."""
                added = [client.record_add(b"note %d" % n, "text/plain") for n in range(3)]
                done = await asyncio.gather(*added)
                ids = {staged.record_id for staged, _ in done}
                assert len(ids) == 3
                shown = [await client.record(one) for one in ids]
                assert {one.versions[0].state for one in shown} == {"anchored"}
                return len({committed.tx_id for _, committed in done}) == 1

            assert any([await three() for _ in range(3)])
            staged, done = await client.record_add(b"at once", "text/plain", now=True)
            (anchored,) = (await client.block(done.height)).receipts[0].events
            assert (anchored.kind, anchored.data["leaves"]) == ("records.anchored", 1)
            assert len(staged.operations) == 1

    asyncio.run(story())


def test_one_person_at_two_hospitals_under_differently_typed_numbers_opens_a_case(
    net: Path, tmp_path: Path
) -> None:
    """I3: the second hospital sees it in its own vault, refuses nobody, and closes it as a theft."""
    said(net, "staff", "add", "amy", "--at", "hosp-b", "--role", "administration")
    number = "urn:oid:2.16.840.1.113883.2.1.4.1|943-476 5919"
    register = ("patient", "register")
    mia = said(net, *register, "mia", "--at", "hosp-a", "--identifier", number)
    assert set(mia) == {"patient", "at", "handle", "tx_id", "height"}
    listed = tmp_path / "numbers"
    listed.write_text("URN:OID:2.16.840.1.113883.2.1.4.1/ | 943.476.5919\n")
    thief = said(net, *register, "thief", "--at", "hosp-b", "--identifier-file", listed)
    case = thief["possible_duplicate"]
    other = said(net, *register, "nia", "--at", "hosp-b", "--identifier", number[:-1] + "8")
    assert "possible_duplicate" not in other

    cases = ("patient", "duplicates")
    (seen,) = said(net, *cases, "list", "--state", "open", "--as", "amy")["items"]
    assert (seen["case_id"], seen["state"], seen["registered"]) == (case, "open", True)
    assert seen["handle"] == thief["handle"]
    assert seen["met"] == [{"org": "hosp-a", "handle": mia["handle"]}]
    assert said(net, *cases, "list", "--at", "hosp-a")["items"] == [], "hosp-a learns nothing"
    words = ("--verdict", "theft", "--note", "the photograph is another one's")
    said(net, *cases, "close", case, *words, "--as", "amy")
    closed = said(net, *cases, "show", case, "--at", "hosp-b")
    assert (closed["state"], [one["state"] for one in closed["steps"]]) == (
        "theft",
        ["open", "theft"],
    )
    # An operator sees the cases, and finds nobody: that is for emergencies.
    find = ("patient", "find", "--identifier", number, "--reason", "curious")
    assert refused(net, Exit.NOT_AUTHORISED, *find, "--as", "hosp-b") == "DESK_REFUSED"
    for name in ("hosp-a", "hosp-b", "hosp-c", "hosp-d"):
        log = (net / "logs" / f"{name}.log").read_text()
        for word in (
            "943476",
            "943-476",
            "943.476",
            "photograph",
            case,
            mia["handle"],
            thief["handle"],
        ):
            assert word not in log


def test_no_name_and_no_handle_stands_in_any_log(net: Path) -> None:
    names = [path.stem for path in (net / "patients").glob("*.json")]
    assert {*FRIENDS} <= {*names}
    shown = [said(net, "patient", "show", name)["relations"] for name in names]
    handles = [one["handle"] for relations in shown for one in relations]
    for node in ("hosp-a", "hosp-b", "hosp-c", "hosp-d"):
        log = (net / "logs" / f"{node}.log").read_text()
        assert "Traceback" not in log
        assert [one for one in (*handles, "kid-own", "Main Street") if one in log] == []
