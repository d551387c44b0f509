"""Who is a member is what the certified state says, and nothing that stood in genesis (S13)."""

from contracts.members import MemberStatus
from node.roster import Belonging, Roster
from node.seats import Seats
from salus.statemap import SALT_BYTES
from tests import factories
from tests.contracts.lab import Lab
from tests.contracts.test_governance import (
    boundary,
    decide,
    lab,
    newcomer,
    rotation,
)


def key(name: str) -> bytes:
    return factories.key(name).public_key


def roster_of(chain: Lab, *pinned: bytes) -> Roster:
    def read(raw: bytes) -> bytes | None:
        stored = chain.store.get(raw)
        return None if stored is None else stored[SALT_BYTES:]

    return Roster(read, pinned)


def test_it_changes_with_the_epoch_and_says_so() -> None:
    chain = lab()
    roster = roster_of(chain)
    decide(chain, "add_member", **newcomer("hosp-e"))
    decide(chain, "remove_member", member="hosp-d")
    assert not roster.refresh(), "passed, and not in force"
    boundary(chain)
    assert roster.refresh()
    assert not roster.refresh()
    assert roster.ids == ("hosp-a", "hosp-b", "hosp-c", "hosp-e")
    assert roster.name("hosp-a") == "Hospital hosp-a"
    assert roster.name("hosp-e") == "hosp-e", "no free text was voted in"
    assert roster.peer(key("node hosp-e")) == "hosp-e"
    assert roster.peer(key("node hosp-d")) is None


def test_a_replaced_key_leads_to_the_one_in_force() -> None:
    chain = lab()
    decide(chain, "rotate_node_key", **rotation("hosp-b", "second", "node"))
    boundary(chain)
    roster = roster_of(chain, key("node hosp-b"))
    assert roster.current_key(key("node hosp-b")) == key("second")
    assert roster.peer(key("node hosp-b")) is None, "though the configuration names it"
    assert roster.peer(key("second")) == "hosp-b"
    assert roster.organisation(key("node hosp-b")) == "hosp-b"
    assert roster.current_key(key("nobody")) == key("nobody")
    assert roster.organisation(key("operator hosp-b")) is None, "an operator's is no node's"


def test_how_a_key_stands() -> None:
    chain = lab(5)
    decide(chain, "suspend_member", by="abce", member="hosp-c")
    boundary(chain)
    decide(chain, "remove_member", by="abe", member="hosp-d")
    boundary(chain)
    decide(chain, "rotate_node_key", by="abe", **rotation("hosp-b", "second", "node"))
    boundary(chain)
    roster = roster_of(chain)
    standing = {name: roster.belonging(key(f"node hosp-{name}")) for name in "abcd"}
    assert standing == {
        "a": Belonging.MEMBER,
        "b": Belonging.REPLACED,
        "c": Belonging.SUSPENDED,
        "d": Belonging.REMOVED,
    }
    assert roster.belonging(key("nobody")) is Belonging.UNKNOWN
    assert roster.is_member("hosp-c"), f"{MemberStatus.SUSPENDED} stays connected"


def test_a_pinned_key_that_the_state_does_not_know_is_no_member() -> None:
    roster = roster_of(lab(), key("node hosp-e"))
    name = roster.peer(key("node hosp-e"))
    assert name is not None
    assert not roster.is_member(name)
    assert roster.member(key("node hosp-e")) is None
    assert roster.peer(key("somebody")) is None
    roster.pin([key("somebody")])
    assert roster.peer(key("somebody")) is not None


def test_seats_of_an_epoch_are_those_of_its_own_set() -> None:
    """A message names its sender by an index that means somebody else one epoch later."""
    chain = lab()
    decide(chain, "remove_validator", member="hosp-a")
    boundary(chain)
    seats = Seats(lambda: chain.store.current_epoch(), chain.store.epoch)
    assert (seats.member(0, 0), seats.member(1, 0)) == ("hosp-a", "hosp-b")
    assert (seats.index("hosp-a", 0), seats.index("hosp-a", 1)) == (0, None)
    assert seats.index("hosp-b", 1) == 0
