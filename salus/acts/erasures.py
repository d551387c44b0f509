"""Erasures, as patients ask for them and holders answer (decision 0015)."""

from salus.acts.act import Act, act
from salus.erasure import Reply
from salus.relation import Whose


def request(whose: Whose, case: bytes, records: bytes, reason: bytes) -> Act:
    """`records`, `reason`: commitments."""
    return act(
        "erasure",
        "request",
        org=whose.org,
        handle=whose.handle,
        case=case,
        records=records,
        reason=reason,
    )


def answer(org: str, case: bytes, reply: Reply, reason: bytes | None) -> Act:
    """`reason`: the commitment to why records are retained."""
    return act("erasure", "receipt", org=org, case=case, reply=reply, reason=reason)


def cancel(org: str, case: bytes) -> Act:
    """Stops a case that has not begun (rule X-9)."""
    return act("erasure", "cancel", org=org, case=case)
