"""How a case of erasure stands, as --json prints it."""

from typing import Any

from salus.answers import CaseAnswer
from salus.erasure import Stage


def told(org: str, case: bytes, found: CaseAnswer) -> dict[str, Any]:
    """As --json prints it."""
    return {
        "case_id": case.hex(),
        "custodian": org,
        "basis": found.case.basis.value,
        "height": found.case.height,
        "time_ms": found.case.time_ms,
        "stage": found.case.stage.value,
        "due_ms": found.case.due_ms,
        "closed": found.case.closed,
        "holders": [
            {
                "member": one.member,
                "holding": one.holder.holding.value,
                "reply": None if one.holder.reply is None else one.holder.reply.value,
                "height": one.holder.height,
            }
            for one in found.holders
        ],
        "unanswered": [
            one.member
            for one in found.holders
            if one.holder.reply is None and found.case.stage is not Stage.CANCELLED
        ],
    }
