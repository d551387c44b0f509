"""Proposals in plain words: what one changes, who has voted, what is missing, when it lapses.

Law of the file: words only, out of what the ledger has answered; nothing here decides or asks.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from salus.validators import ValidatorSet

Document = Mapping[str, Any]  # of a proposal, as the query `governance.proposal` answers

ACTIVATION = "activation_height"


def effect(change: Document) -> str:
    """What the change would do."""
    member = change.get("member")
    match change["action"]:
        case "add_member":
            vote = "; then it stands for a vote" if change["candidate"] else ", without a vote"
            return f"{member} ({', '.join(change['roles'])}) becomes a member{vote}"
        case "add_validator":
            return f"{member} gets a vote, once its node has caught up and says so"
        case "remove_validator":
            return f"{member} loses its vote and stays a member"
        case "remove_member":
            return f"{member} leaves for ever; nobody gets its id or its keys again"
        case "suspend_member":
            return f"{member} is suspended: its keys open nothing, and it has no vote"
        case "reinstate_member":
            return f"{member} is reinstated; if it had a vote, it stands for one again"
        case "rotate_node_key":
            return f"{member} votes and connects with another node key"
        case "rotate_operator_key":
            return f"{member} signs its transactions with another operator key"
        case "change_parameters":
            changes = (f"{p['name']} {p['old']} → {p['new']}" for p in change["parameters"])
            return ", ".join(changes)
        case "activate_contract":
            return f"contract {change['contract']} runs as version {change['version']}"
        case other:
            return str(other)  # of a newer node


class Count:
    """The ballots of a proposal, as the present set would count them."""

    def __init__(self, proposal: Document, seated: Sequence[str]) -> None:
        self.seated = list(seated)
        ballots = {b["member"]: b["approve"] for b in proposal["ballots"] if b["member"] in seated}
        self.approve = sorted(member for member, yes in ballots.items() if yes)
        self.reject = sorted(member for member, yes in ballots.items() if not yes)
        self.silent = [member for member in self.seated if member not in ballots]
        self.needed = 2 * len(self.seated) // 3 + 1  # more than two thirds

    def document(self) -> dict[str, Any]:
        return {
            "approve": self.approve,
            "reject": self.reject,
            "silent": self.silent,
            "needed": self.needed,
            "validators": len(self.seated),
        }

    def words(self) -> str:
        told = f"{len(self.approve)} of {len(self.seated)} approve, {self.needed} are needed"
        missing = self.needed - len(self.approve)
        return f"{told}; {missing} missing" if missing > 0 else told


def standing(
    proposal: Document, count: Count, candidacy: Document | None, height: int, epoch_end: int
) -> list[str]:
    """How it stands, and what comes next: some sentences."""
    stage = proposal["stage"]
    if stage == "open":
        left = proposal["expiry_height"] - height
        lines = [
            f"open: {count.words()}",
            f"lapses after height {proposal['expiry_height']}, in {max(left, 0)} blocks",
        ]
        if count.silent:
            lines.append("not voted yet: " + ", ".join(count.silent))
        return [*lines, when(proposal)]
    if stage == "passed":
        return [
            f"passed at height {proposal['decided_height']}",
            _wait(proposal, candidacy, epoch_end),
        ]
    if stage == "effective":
        lines = [f"in force since height {proposal['effective_height']}"]
        if candidacy is not None and candidacy["proposal"] == proposal["number"]:
            lines.append(_candidate(candidacy))
        return lines
    if stage == "lapsed":
        return [
            f"passed, and lapsed when its time came: {proposal['lapse']} ({_why(proposal['lapse'])})"
        ]
    return [f"{stage} at height {proposal['decided_height']}; {count.words()}"]


def when(proposal: Document) -> str:
    """When it would take effect, said before it has passed."""
    change = proposal["change"]
    if change["action"] == "add_validator":
        return "after it passes, the node has an epoch's length to catch up; then it counts"
    later = proposal[ACTIVATION]
    text = "takes effect with the epoch that begins a watermark window after it passes"
    if later:
        text += f", at height {later} or right after"
        return text + " (an idle chain makes no heights by itself)"
    return text + "; an idle chain makes those blocks by itself"


def _wait(proposal: Document, candidacy: Document | None, epoch_end: int) -> str:
    if candidacy is not None and candidacy["proposal"] == proposal["number"]:
        return _candidate(candidacy)
    if proposal[ACTIVATION] > epoch_end + 1:
        return f"in force from height {proposal[ACTIVATION]} on, or right after"
    if epoch_end:
        return f"in force from height {epoch_end + 1} on"
    return "in force with the next epoch"


def _candidate(candidacy: Document) -> str:
    member = candidacy["member"]
    match candidacy["stage"]:
        case "waiting":
            return f"waits for the node of {member} to catch up, until height {candidacy['until_height']}"
        case "ready":
            return f"the node of {member} has caught up: it counts from the next epoch on"
        case "counted":
            return f"{member} has its vote"
        case _:
            return f"{member} got no vote: {candidacy['lapse']} ({_why(candidacy['lapse'])})"


def _why(code: str | None) -> str:
    from contracts.governance import governance

    return governance.refusals.get(code or "", "see docs/errors.md").rstrip(".")


def needed(validators: ValidatorSet) -> int:
    """So many approvals decide."""
    return 2 * validators.n // 3 + 1
