"""From a case to the summary, and how that went."""

import asyncio
from pathlib import Path
from typing import Any

from cli.output import printable
from cli.session import Session
from salus.client import Client
from salus.client_emergency import Opened
from salus.emergency_json import CaseFile


async def release(
    session: Session,
    client: Client,
    file: CaseFile,
    output: Path | None,
    opened: Opened | None = None,
) -> None:
    """Ask the holders until enough have given their share, and say how it went. `opened`: of a case
    that is opened just now."""
    found = await client.emergencies.release(file, opened, session.timeout_s)
    result: dict[str, Any] = {
        "case_id": file.case,
        "at": file.org,
        "tx_id": None if opened is None else opened.tx_id,
        "height": found.height,
        "released": found.document is not None,
        "late": found.late,
        "holders": list(found.holders),
        "refused": dict(found.refused),
        "path": None if output is None or found.document is None else str(output),
    }
    if found.document is None:
        code = found.reason
        session.out.result(
            result | {"reason": code},
            f"{session.out.mark(False)} case {file.case}: nothing released ({code})\n{_NEXT.get(code, '')}",
        )
        return
    if output is not None:
        await asyncio.to_thread(output.write_bytes, found.document)
    text = (
        f"{session.out.mark(True)} case {file.case}  {len(found.holders)} holders"
        f"{'  logged late' if found.late else ''}\njustify: salus emergency justify {file.case} --text …"
    )
    if output is None:
        shown = found.document.decode("utf-8", "replace")
        result["summary"] = shown
        text += "\n" + "\n".join(printable(line) for line in shown.splitlines())
    session.out.result(result, text)


_NEXT = {
    "BAD_SHARE_SET": "the patient must deposit the summary anew",
    "COSIGN_FIRST": "a clinician of another organisation: salus emergency cosign CASE_ID --as KEY;"
    " then: salus emergency fetch CASE_ID",
    "NO_SUMMARY": "the patient has deposited none; the case stands all the same",
    "EMERGENCY_WAIT": "try again: salus emergency fetch CASE_ID",
}
