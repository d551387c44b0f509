"""Proposals and votes as operations, and what a node answers about them.

Law of the file: it asks and sends; in which words it is told stands in cli/governance.py.
"""

import os
from pathlib import Path
from typing import Any

from cli import governance
from cli.connect import short
from cli.errors import CliError
from cli.session import Session
from cli.transactions import Outcome, deliver
from salus.client import Client, Committed
from salus.codec import decode, encode
from salus.codes import Exit
from salus.errors import BadMessage
from salus.transaction import Operation

CONTRACT = "governance"
# Days, at any rate: heights pass faster the more the network has to do. The contract's own cap.
EXPIRES_IN_BLOCKS = 1_000_000
SALT_BYTES = 32
NO_REASONS = bytes(32)


def proposal(
    action: str,
    height: int,
    *,
    reasons: bytes = NO_REASONS,
    activation_height: int = 0,
    expires_in: int = EXPIRES_IN_BLOCKS,
    **fields: Any,
) -> Operation:
    """Of the action that the fields describe, made at a certified height."""
    from contracts.governance import governance as contract

    method = contract.methods[f"propose_{action}"]
    args = method.args(
        activation_height=activation_height,
        expiry_height=height + expires_in,
        reasons=reasons,
        **fields,
    )
    try:
        return method.operation(decode(encode(args), method.args))
    except BadMessage as error:
        raise CliError("BAD_ARGUMENT", error.message) from None


def vote(number: int, *, approve: bool) -> Operation:
    from contracts.governance import VoteArgs

    return Operation(CONTRACT, "vote", 1, encode(VoteArgs(number, approve)))


def number_of(done: Committed) -> int:
    """Which number the proposal got."""
    for event in done.answer.receipts[0].events:
        if event.kind == f"{CONTRACT}.proposed":
            return int(event.data["proposal"])
    raise CliError("BAD_ANSWER", "the receipt names no proposal")


def commitment_to(document: Path) -> tuple[bytes, bytes]:
    """What goes on chain of the reasons, and the salt that is given with them."""
    from salus.governance import reasons_commitment

    salt = os.urandom(SALT_BYTES)
    return reasons_commitment(salt, document.read_bytes()), salt


async def ask(client: Client, number: int) -> dict[str, Any]:
    found = await client.query(CONTRACT, "proposal", number=number)
    if found is None:
        raise CliError(
            "UNKNOWN_PROPOSAL", f"there is no proposal {number}", exit_code=Exit.NOT_FOUND
        )
    answer: dict[str, Any] = found
    return answer


async def describe(client: Client, number: int) -> tuple[dict[str, Any], str]:
    """A proposal and what people want to know of it: for machines, and as some lines."""
    asked = await ask(client, number)
    status, validators = await client.status(), await client.validators()
    count = governance.Count(asked, [v.member for v in validators.items])
    change, candidacy = asked["change"], None
    if change["action"] in {"add_member", "add_validator", "reinstate_member"}:
        candidacy = await client.query(CONTRACT, "candidacy", member=change["member"])
    lines = governance.standing(asked, count, candidacy, status.height, status.epoch_end)
    document = {
        "proposal": asked,
        "effect": governance.effect(change),
        "count": count.document(),
        "candidacy": candidacy,
        "height": status.height,
        "words": lines,
    }
    ballots = [
        f"  {'yes' if ballot['approve'] else 'no':<3}  {ballot['member']}, height {ballot['height']}"
        for ballot in asked["ballots"]
    ]
    title = f"proposal {number} by {asked['proposer']}: {document['effect']}"
    return document, "\n".join([title, *(f"  {line}" for line in lines), *ballots])


async def send(
    session: Session, client: Client, operation: Operation, *, dry_run: bool
) -> Committed | None:
    """Certified; or simulated and told, and then None."""
    built = await client.build([operation])
    if not dry_run:
        return await client.commit(built)
    await deliver(session, client, built, Outcome.SIMULATE)
    return None


async def tell(
    session: Session, client: Client, number: int, done: Committed, **more: object
) -> None:
    """What came of a proposal or a vote."""
    document, text = await describe(client, number)
    opened = document["proposal"]["stage"] == "open"
    hint = f"\nthe others: salus gov vote {number} yes" if opened else ""
    session.out.result(
        document | {"tx_id": done.tx_id} | more,
        f"{session.out.mark(True)} committed  tx {short(done.tx_id)}  block {done.height}\n"
        f"{text}{hint}",
    )
