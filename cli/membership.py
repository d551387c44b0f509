"""How the consortium sees this node: member or not yet, candidate, suspended, removed, another key.

From the ledger's own answers, as the node gives them; so it says what certified state says.
"""

from typing import Any

from cli.home import NodeHome
from cli.keyfiles import public_key_of
from cli.preflight import Finding
from salus.client import Client
from salus.errors import SalusError
from salus.keys import address

NAME = "member"


async def belonging(client: Client, home: NodeHome) -> list[Finding]:
    """One line, or none where the node does not say."""
    try:
        key = public_key_of(home.keys / "node.json")
        account = await client.account(address(key))
        if account.member is None:
            return [_stranger(home, key)]
        entry = await client.query("members", "member", id=account.member)
        candidacy = await client.query("governance", "candidacy", member=account.member)
        height = await client.height()
    except (OSError, SalusError):
        return []
    return [judged(entry, candidacy, key, height)]


def judged(entry: Any, candidacy: Any, key: bytes, height: int) -> Finding:
    """What the entry of an organisation means for the node with this key."""
    member, status = entry["id"], entry["status"]
    if status == "removed":
        return Finding(
            NAME,
            False,
            f"{member} is no member any more, since height {entry['since_height']}",
            "MEMBER_REMOVED",
            f"salus gov list --member {member}; its proofs stay valid",
        )
    if entry["node_key"] != key.hex():
        return Finding(
            NAME,
            False,
            f"{member} has another node key by vote",
            "KEY_REPLACED",
            "salus keys rotate node --finish; then restart the node",
        )
    if status == "suspended":
        return Finding(
            NAME,
            False,
            f"{member} is suspended since height {entry['since_height']}: its transactions are refused",
            "MEMBER_SUSPENDED",
            f"salus gov list --member {member}",
        )
    if entry["validator"]:
        return Finding(NAME, True, f"{member}, with a vote")
    if candidacy is not None and candidacy["stage"] == "waiting":
        left = max(candidacy["until_height"] - height, 0)
        return Finding(
            NAME,
            None,
            f"{member} is a candidate: the others wait until it has caught up, {left} blocks more",
            "NOT_READY",
            "wait: salus status --watch",
        )
    if candidacy is not None and candidacy["stage"] == "ready":
        return Finding(
            NAME,
            None,
            f"{member} votes from the next epoch on",
            "NOT_READY",
            "salus status --watch",
        )
    return Finding(NAME, True, f"{member}, without a vote")


def _stranger(home: NodeHome, key: bytes) -> Finding:
    return Finding(
        NAME,
        None,
        f"no organisation has the node key {address(key)} at the height that this node has read",
        "NOT_YET_MEMBER",
        f"send {home.join} to a hospital with a vote (salus gov propose add-member --member-file …)",
    )
