"""A member that is suspended by vote, and reinstated: real processes (rule S13, decision 0006).

Its keys open nothing and its vote does not count; what it anchored stays valid, and its node reads on.
"""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from salus.codes import Exit
from tests.e2e.consortium import DATA, PATIENCE, Consortium, consortium, document, error, salus
from tests.e2e.shell import until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SUSPENDED = "hosp-e"
OTHERS = ("hosp-a", "hosp-b", "hosp-c", "hosp-d")
STANDSTILL_S = "5"  # many times what a quorum needs


@pytest.fixture(autouse=True)
def no_overrides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the caller's own settings."""
    for name in [name for name in os.environ if name.startswith("SALUS_")]:
        monkeypatch.delenv(name)


def validators(five: Consortium, name: str) -> list[str]:
    items = document("query", "validators", *five.at(name))["items"]
    return [item["member"] for item in items]


def decide(five: Consortium, action: str, *names: str) -> int:
    """Proposed by the first of these, approved by the others, in force."""
    first, *more = names
    asked = document("gov", "propose", action, SUSPENDED, *five.at(first), *PATIENCE)
    number: int = asked["proposal"]["number"]
    assert five.vote(number, *more)["stage"] == "passed"
    five.in_force(number, first)
    return number


def account(five: Consortium, kind: str) -> Any:
    """What the others' state says of a key of the suspended one."""
    key = document("keys", "show", kind, *five.at(SUSPENDED))["address"]
    return document("query", "account", key, *five.at("hosp-a"))


def certificate(five: Consortium, proof: Path) -> dict[str, str]:
    return {check["name"]: check["detail"] for check in five.verified(proof)["checks"]}


def test_a_suspended_member_opens_nothing_and_counts_for_nothing_until_it_is_reinstated(
    tmp_path: Path,
) -> None:
    with consortium(tmp_path, 5) as five:
        kept = five.record(SUSPENDED)
        before = five.proof(SUSPENDED, kept)
        assert "of 5 signed" in certificate(five, before)["certificate"]
        assert len(validators(five, "hosp-a")) == 5
        decide(five, "suspend-member", *OTHERS)

        # Its node is told, reads on, and signs nothing.
        told = five.until(SUSPENDED, "told", signing="observer")
        assert "suspended" in told["membership"]
        five.level()
        assert validators(five, "hosp-a") == validators(five, SUSPENDED) == list(OTHERS)
        for kind in ("node", "operator"):
            assert account(five, kind)["active"] is False

        # Its transactions are refused: records, proposals and votes; also by way of another node.
        refused = error(Exit.REJECTED, "record", "add", DATA / "visit-1.json",
                        *five.at(SUSPENDED), *PATIENCE)  # fmt: skip
        assert refused["code"] == "NOT_AUTHORISED"
        refused = error(Exit.REJECTED, "gov", "propose", "remove-member", "hosp-a",
                        *five.at(SUSPENDED), *PATIENCE)  # fmt: skip
        assert refused["code"] == "NOT_AUTHORISED"
        asked = document("gov", "propose", "change-parameters", "pool_transactions_max=5000",
                         *five.at("hosp-a"), *PATIENCE)  # fmt: skip
        assert asked["count"]["validators"] == 4
        number = asked["proposal"]["number"]
        shown = ("gov", "show", number, *five.at(SUSPENDED))
        until("it reads of the proposal", lambda: salus(*shown).returncode == Exit.OK)
        refused = error(Exit.REJECTED, "gov", "vote", number, "yes", *five.at(SUSPENDED), *PATIENCE)
        assert refused["code"] == "NOT_AUTHORISED"
        five.seen(number, "hosp-b")
        assert document("gov", "show", number, *five.at("hosp-b"))["proposal"]["stage"] == "open"

        # Four vote now, three are a quorum. With two of them it stands still, though the suspended
        # one is up and hears them: three of five would not have been a quorum either, but two of
        # the four and the suspended one are three.
        five.stop("hosp-d", kill=True)
        between = five.proof("hosp-a", five.record("hosp-a"), "--as-of")
        assert "of 4 signed" in certificate(five, between)["certificate"]
        assert SUSPENDED not in certificate(five, between)["certificate"]
        five.stop("hosp-c", kill=True)
        five.level("hosp-a", "hosp-b", SUSPENDED)
        height = five.status("hosp-a")["height"]
        pending = salus("record", "add", DATA / "visit-1.json", "--json", *five.at("hosp-a"),
                        "--timeout", STANDSTILL_S)  # fmt: skip
        assert pending.returncode not in (Exit.OK, Exit.REJECTED), pending.stdout
        assert five.status("hosp-a")["height"] == height
        for name in ("hosp-c", "hosp-d"):
            five.start(name)
            five.until(name, "back", ready=True, signing="signing")
        until("what waited is done", lambda: five.status("hosp-a")["height"] > height)

        # Lifted: it stands for its vote again, says `ready` by itself, and is needed.
        number = decide(five, "reinstate-member", *OTHERS[:3])
        back = five.until(SUSPENDED, "voting again", signing="signing")
        assert back["membership"] is None
        five.level()
        assert validators(five, "hosp-a") == [*OTHERS, SUSPENDED]
        assert account(five, "operator")["active"] is True
        assert (
            document("gov", "show", number, *five.at("hosp-a"))["candidacy"]["stage"] == "counted"
        )
        five.stop("hosp-b", kill=True)
        after = five.proof(SUSPENDED, five.record(SUSPENDED), "--as-of")
        five.start("hosp-b")
        five.until("hosp-b", "back", ready=True)

        # What was anchored before stays, and so do its proofs; every disk holds what was certified.
        assert "of 5 signed" in certificate(five, after)["certificate"]
        again = five.proof(SUSPENDED, kept, "--as-of")
        five.stop(*five.homes)
        for proof in (before, between, after, again):
            assert five.verified(proof)["verified"]
        assert five.verified(again)["status"] == "current"
        for name in five.homes:
            checked = json.loads(salus("db", "check", "--replay", "--json", *five.at(name)).stdout)
            assert checked["ok"], (name, checked)
