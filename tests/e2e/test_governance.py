"""Hospitals join, leave, change keys and limits: real processes, by the commands of docs/operating.md.

Rules S4, S13, S14, decision 0006. The chain is idle but for what the votes themselves need.
"""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import processes
from cli.keyfiles import write_secret
from salus.codes import Exit
from tests.e2e.consortium import DATA, PATIENCE, Consortium, consortium, document, error, salus

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FOUNDERS = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the caller's own settings."""
    for name in [name for name in os.environ if name.startswith("SALUS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Consortium]:
    with consortium(tmp_path) as made:
        yield made


def test_a_fifth_hospital_joins_a_running_network_and_another_leaves(four: Consortium) -> None:
    """Learner first: it counts when it has caught up. Proofs of before, between and after verify
    offline, and every disk holds what was certified."""
    before = four.proof("hosp-a", four.record("hosp-a"))
    home = four.new_home("hosp-e")
    four.start("hosp-e")
    waiting = four.until("hosp-e", "up, and nobody's", ready=False, member=None)
    assert "no organisation" in waiting["reason"]
    assert "no organisation" in waiting["membership"]
    doctor = {f["name"]: f for f in json.loads(
        salus("doctor", "--json", *four.at("hosp-e")).stdout)["findings"]}  # fmt: skip
    assert doctor["member"]["code"] == "NOT_YET_MEMBER"

    # The others learn where it is, and vote; each compares the file that it got.
    for name in FOUNDERS:
        document("peer", "add", home.join, *four.at(name))
        processes.send(four.homes[name].path, signal.SIGHUP)
    dry = document("gov", "propose", "add-member", "--member-file", home.join, "--dry-run",
                   *four.at("hosp-a"))  # fmt: skip
    assert dry["code"] == "OK"
    asked = document("gov", "propose", "add-member", "--member-file", home.join,
                     *four.at("hosp-a"), *PATIENCE)  # fmt: skip
    number = asked["proposal"]["number"]
    assert number == 1, "the dry run left none"
    assert asked["count"] == {
        "approve": ["hosp-a"], "reject": [], "silent": list(FOUNDERS[1:]), "needed": 3,
        "validators": 4,
    }  # fmt: skip
    four.vote(number, "hosp-b", "hosp-c", **{"member-file": home.join})
    four.in_force(number, "hosp-a")
    everybody = {"needed": 4, "online": 5}
    joined = four.until("hosp-e", "voting, and hears all", signing="signing", quorum=everybody)
    assert joined["membership"] is None
    four.level()
    assert document("gov", "show", number, *four.at("hosp-a"))["candidacy"]["stage"] == "counted"

    # The pepper, from any member to the new one alone; its node needs no new start.
    wallets = home.path / "patients"
    wallets.mkdir(mode=0o700)
    write_secret(wallets / "password", "x\n")
    number = ("--identifier", "urn:oid:1.2.3|77-1")
    register = ("patient", "register", "ada", "--at", "hosp-e", *number)
    lacks = error(Exit.CONFIG, *register, *four.at("hosp-e"), *PATIENCE)
    assert lacks["code"] == "NO_PEPPER"
    sealed = four.root / "hosp-e.pepper"
    document("keys", "pepper", "export", "--to", "hosp-e", "-o", sealed, *four.at("hosp-b"))
    for_another = error(Exit.BAD_DATA, "keys", "pepper", "import", sealed, *four.at("hosp-a"))
    assert for_another["code"] == "WRONG_PEPPER"
    document("keys", "pepper", "import", sealed, *four.at("hosp-e"))
    document("keys", "pepper", "check", *four.at("hosp-e"))
    document(*register, *four.at("hosp-e"), *PATIENCE)

    # It counts: with one of the old ones dead, its vote is needed.
    four.stop("hosp-d", kill=True)
    between = four.proof("hosp-e", four.record("hosp-e"), "--as-of")
    four.start("hosp-d")
    four.until("hosp-d", "back", ready=True)

    # A founder leaves; what is left of it learns so.
    asked = document("gov", "propose", "remove-member", "hosp-b", *four.at("hosp-c"), *PATIENCE)
    number = asked["proposal"]["number"]
    assert asked["count"]["needed"] == 4
    four.vote(number, "hosp-a", "hosp-d", "hosp-e")
    four.in_force(number, "hosp-a")
    gone = four.until("hosp-b", "out", ready=False, signing="observer")
    assert "no member" in gone["membership"] or "not in its membership" in gone["reason"]
    refused = salus("record", "add", DATA / "visit-1.json", *four.at("hosp-b"), "--timeout", "3")
    assert refused.returncode != 0
    four.stop("hosp-b")

    # Four again: one may fail.
    four.stop("hosp-a", kill=True)
    after = four.proof("hosp-e", four.record("hosp-e"), "--as-of")
    four.start("hosp-a")
    four.until("hosp-a", "back", ready=True)
    four.level("hosp-a", "hosp-c", "hosp-d", "hosp-e")
    heads = {four.status(name)["epoch"] for name in ("hosp-a", "hosp-c", "hosp-d", "hosp-e")}
    assert heads == {3}, "one epoch for the member, one for its vote, one for the other's leave"

    four.stop(*four.homes)
    for proof, epochs, signers in ((before, 0, 4), (between, 2, 5), (after, 3, 4)):
        report = four.verified(proof)
        checks = {check["name"]: check["detail"] for check in report["checks"]}
        assert f"{epochs} changes of epoch followed" in checks["validators"]
        assert f"of {signers} signed" in checks["certificate"]
    assert four.verified(after)["status"] == "current"
    assert "hosp-e" in four.verified(after)["claim"]
    for name in four.homes:
        checked = document("db", "check", "--replay", *four.at(name))
        assert checked["ok"], (name, checked)


def test_keys_and_limits_change_on_an_idle_chain(four: Consortium) -> None:
    """Nobody sends anything: the epochs end by themselves, and the new keys sign."""
    home = four.homes["hosp-c"]
    old_proof = four.proof("hosp-c", four.record("hosp-c"))
    old = document("keys", "show", "node", *four.at("hosp-c"))["address"]

    # The node key: made beside the old one, voted in, put in place, restarted.
    made = document("keys", "rotate", "node", *four.at("hosp-c"))
    early = error(Exit.NOT_READY, "keys", "rotate", "node", "--finish", *four.at("hosp-c"))
    assert early["code"] == "NOT_READY"
    asked = document("gov", "propose", "rotate-node-key", "--key-file", made["file"],
                     *four.at("hosp-c"), *PATIENCE)  # fmt: skip
    number = asked["proposal"]["number"]
    four.vote(number, "hosp-a", "hosp-b", **{"member-file": made["file"]})
    four.in_force(number, "hosp-a")
    replaced = four.until("hosp-c", "told", ready=False, signing="observer")
    assert "another" in replaced["reason"]
    # The three others are a quorum and go on without it.
    four.record("hosp-a")
    document("keys", "rotate", "node", "--finish", *four.at("hosp-c"))
    four.stop("hosp-c")
    four.start("hosp-c")
    four.until("hosp-c", "voting", signing="signing")
    now = document("keys", "show", "node", *four.at("hosp-c"))["address"]
    assert now == made["address"] != old
    four.stop("hosp-d", kill=True)
    four.record("hosp-c")  # its vote counts: three of four
    four.start("hosp-d")
    four.until("hosp-d", "back", ready=True)
    four.level()
    validators = document("query", "validators", *four.at("hosp-d"))["items"]
    assert [v["address"] for v in validators if v["member"] == "hosp-c"] == [now]

    # The operator key: in force at once for whoever restarts nothing.
    made = document("keys", "rotate", "operator", *four.at("hosp-c"))
    asked = document("gov", "propose", "rotate-operator-key", "--key-file", made["file"],
                     *four.at("hosp-a"), *PATIENCE)  # fmt: skip
    number = asked["proposal"]["number"]
    four.vote(number, "hosp-b", "hosp-d")
    four.in_force(number, "hosp-c")
    assert error(Exit.REJECTED, "record", "add", DATA / "visit-1.json", *four.at("hosp-c"),
                 *PATIENCE)["code"] == "NOT_AUTHORISED"  # fmt: skip
    document("keys", "rotate", "operator", "--finish", *four.at("hosp-c"))
    four.stop("hosp-d")  # else its signature may be among the first three, and the new one not
    new_proof = four.proof("hosp-c", four.record("hosp-c"))
    four.start("hosp-d")
    four.until("hosp-d", "back again", ready=True)

    # A limit, with reasons that the ledger does not tell.
    reasons = four.root / "reasons.txt"
    reasons.write_text("the line to the islands is slow\n")
    asked = document("gov", "propose", "change-parameters", "progress_timeout_ms=1500",
                     "view_change_timeout_ms=1500", "--reasons", reasons,
                     *four.at("hosp-b"), *PATIENCE)  # fmt: skip
    number, salt = asked["proposal"]["number"], asked["salt"]
    four.level()
    shown = ("gov", "show", number, *four.at("hosp-d"), "--reasons", reasons, "--salt", salt)
    assert salus(*shown).returncode == Exit.OK
    reasons.write_text("no reason\n")
    assert salus(*shown).returncode == Exit.NEGATIVE
    rejected = document("gov", "vote", number, "no", *four.at("hosp-a"), *PATIENCE)
    assert rejected["proposal"]["stage"] == "open", "three of four can still pass it"
    passed = four.vote(number, "hosp-c", "hosp-d")
    assert passed["stage"] == "passed"
    four.in_force(number, "hosp-b")
    four.level()
    for name in FOUNDERS:
        parameters = document("query", "params", *four.at(name))["parameters"]
        assert parameters["progress_timeout_ms"] == 1500
    closed = error(Exit.REJECTED, "gov", "vote", number, "yes", *four.at("hosp-a"))
    assert closed["code"] == "PROPOSAL_CLOSED"
    listed = document("gov", "list", "--member", "hosp-c", *four.at("hosp-b"))["proposals"]
    assert [one["change"]["action"] for one in listed] == [
        "rotate_operator_key", "rotate_node_key"
    ]  # fmt: skip

    last = four.proof("hosp-b", four.record("hosp-b"), "--as-of")
    four.stop(*four.homes)
    for proof in (old_proof, new_proof, last):
        assert four.verified(proof)["verified"]
    assert "hosp-c" in four.verified(new_proof)["checks"][3]["detail"]
    for name in four.homes:
        assert document("db", "check", "--replay", *four.at(name))["ok"]
    assert (home.keys / "node.replaced.json").exists()


def test_a_testnet_grows_and_shrinks_by_one_command(tmp_path: Path) -> None:
    """`salus testnet add` and `remove`: the same votes, with all keys on this machine."""
    net = tmp_path / "net"
    at = ("--home", net)
    try:
        document("testnet", "up", "-n", 4, *at)
        added = document("testnet", "add", "hosp-e", *at)
        assert added["signing"] == "signing"
        document("testnet", "kill", "hosp-b", *at)
        document("record", "add", DATA / "visit-1.json", *at, "--node", "hosp-e", *PATIENCE)
        document("testnet", "start", "hosp-b", *at)
        seen = document("testnet", "add", "lab-x", "--observer", *at)
        assert seen["signing"] == "observer"
        validators = document("query", "validators", *at, "--node", "lab-x")
        assert validators["n"] == 5
        removed = document("testnet", "remove", "hosp-a", *at)
        assert removed["since"] > added["member_since"]
        nodes = [node["name"] for node in document("testnet", "status", *at)["nodes"]]
        assert nodes == ["hosp-b", "hosp-c", "hosp-d", "hosp-e", "lab-x"]
        document("record", "add", DATA / "visit-1.json", *at, "--node", "hosp-b", *PATIENCE)
        for node in nodes:
            status = document("status", *at, "--node", node)
            assert (status["ready"], status["epoch"]) == (True, added["epoch"] + 2)
        again = error(Exit.REJECTED, "gov", "propose", "reinstate-member", "hosp-a", *at,
                      "--as", "hosp-b", *PATIENCE)  # fmt: skip
        assert again["code"] == "MEMBER_STATUS"
        assert error(Exit.USAGE, "testnet", "add", "hosp-e", *at)["code"] == "USAGE"
    finally:
        assert salus("testnet", "down", *at).returncode == 0
    for log in (net / "logs").glob("*.log"):
        assert "Traceback" not in log.read_text(), log
