"""What the commands of an emergency sign, keep and show (decision 0014).

emergencies/CASE.json   in the home of who opened it: what opens the commitment, and what is needed
                        to ask again after a colleague has agreed
"""

import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import write_secret
from cli.session import Session
from cli.wallets import open_wallet
from salus.card import CARD_CHARS
from salus.client import Client
from salus.codec import Wire
from salus.desk_asks import Typed
from salus.emergency import Case
from salus.emergency_forms import (
    Details,
)
from salus.emergency_json import CaseFile, NoteForm
from salus.emergency_wire import CaseNote, opened_note
from salus.relation import Whose

W = TypeVar("W", bound=Wire)

FOLDER = "emergencies"


# -- whose case ------------------------------------------------------------------------------


async def patient(
    session: Session,
    client: Client,
    name: str | None,
    handle: str | None,
    card: str | None,
    org: str | None,
) -> tuple[str, bytes]:
    """Custodian and handle, by a wallet of this home, a handle, or what stands on a card. Of several
    relations, the one with a summary."""
    if handle is not None:
        if org is None:
            raise CliError("USAGE", "a handle is of one organisation", next_step="--at-org ORG")
        return org, _bytes32(handle, "--handle")
    if card is not None:
        whose = (
            await client.cards.find(sys.stdin.read(4 * CARD_CHARS) if card == "-" else card)
        ).whose
        return whose.org, whose.handle
    if name is None:
        raise CliError("USAGE", "whose summary? --patient, --handle, --card or --identifier")
    wallet = open_wallet(session, name)
    known = wallet.contents.relations if org is None else (wallet.relation(org),)
    for relation in known:
        if (await client.emergencies.summary(relation.whose)).commitment is not None:
            return relation.org, relation.handle
    if not known:
        raise CliError("UNKNOWN_RELATION", f"«{name}» is registered nowhere")
    return known[0].org, known[0].handle


async def identified(
    session: Session, client: Client, typed: tuple[Typed, ...], reason: str, org: str | None
) -> tuple[str, bytes]:
    """Custodian and handle by an identifier: of several relations the one at `org`, else the one with
    a summary; the others are named, for a number is no proof of a person. Raises `ClientError` (NOBODY_FOUND …), `CliError` (UNKNOWN_RELATION)."""
    answer = await client.desk.find(reason, typed)
    found = [(one.org, bytes.fromhex(one.handle)) for one in answer.found if org in (None, one.org)]
    if not found:
        known = ", ".join(sorted({one.org for one in answer.found}))
        raise CliError("UNKNOWN_RELATION", f"not known at {org}; known at {known}")
    chosen = found[0]
    for custodian, handle in found:
        if (await client.emergencies.summary(Whose(custodian, handle))).commitment is not None:
            chosen = custodian, handle
            break
    others = ", ".join(
        f"{at} handle {handle.hex()}" for at, handle in found if (at, handle) != chosen
    )
    if others:
        session.out.note(
            f"  of several relations this is the one at {chosen[0]}; make sure whose it is. Others, for"
            f" --at-org and --handle: {others}"
        )
    return chosen


async def find(client: Client, case: str) -> Case:
    """Raises `CliError` (USAGE), `NotFoundError` (UNKNOWN_CASE)."""
    return await client.emergencies.case(_bytes32(case, "CASE_ID"))


def _bytes32(text: str, what: str) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raw = b""
    if len(raw) != 32:
        raise CliError("USAGE", f"{what} has 64 hex digits")
    return raw


# -- what stays in the home of who opened it -----------------------------------------------------


def keep(home: NodeHome, file: CaseFile) -> Path:
    folder = home.path / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{file.case}.json"
    write_secret(path, msgspec.json.encode(file).decode() + "\n")
    return path


def kept(home: NodeHome, case: str) -> CaseFile:
    """Raises `CliError` (FILE_NOT_FOUND)."""
    path = home.path / FOLDER / f"{_bytes32(case, 'CASE_ID').hex()}.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=CaseFile)
    except FileNotFoundError:
        raise CliError(
            "FILE_NOT_FOUND",
            "this case was not opened from this home",
            next_step="use the home where it was opened, or open another: salus emergency open",
        ) from None
    except msgspec.DecodeError:
        raise CliError("CONFIG_INVALID", f"{path} is not what was written") from None


# -- for people ------------------------------------------------------------------------------


def content_of(case: Case, note: NoteForm) -> str | None:
    """What a note says, if it opens a commitment of this case; else None."""
    salt, content = bytes.fromhex(note.salt), bytes.fromhex(note.content)
    said = opened_note(case, CaseNote(case.id, note.kind, salt, content))
    if isinstance(said, Details):
        return "; ".join(one for one in (said.reason.value, said.place, said.clinician) if one)
    return None if said is None else said.text


def state_of(case: Case, now_ms: int) -> str:
    """In one word."""
    if case.decided is not None:
        return case.decided.verdict.value
    if case.disputed_ms is not None:
        return "disputed"
    if not case.live:
        return "waits_for_cosignature" if now_ms < case.cosign_until_ms else "never_read"
    if case.unjustified(now_ms):
        return "unjustified"
    if case.justified_ms is not None:
        return "under_review"
    return "uncosigned" if case.uncosigned(now_ms) else "open"


def row(case: Case) -> dict[str, Any]:
    """A case as --json shows it."""
    now_ms = time.time_ns() // 1_000_000
    return {
        "case_id": case.id.hex(),
        "custodian": case.org,
        "handle": case.handle.hex(),
        "opener": case.opener,
        "clinician": case.staff.hex(),
        "state": state_of(case, now_ms),
        "alone": case.alone,
        "late": case.late,
        "holders_late": list(case.holders),
        "opened": time_text(case.opened_ms),
        "height": case.opened_height,
        "cosigned_by": None if case.cosign is None else case.cosign.org,
        "cosign_until": time_text(case.cosign_until_ms),
        "justify_until": time_text(case.justify_until_ms),
        "justified": None if case.justified_ms is None else time_text(case.justified_ms),
        "disputed": None if case.disputed_ms is None else time_text(case.disputed_ms),
        "reviewers": list(case.reviewers(now_ms)),
        "verdict": None if case.decided is None else case.decided.verdict.value,
        "reviewed_by": None if case.decided is None else case.decided.org,
        "overruled": None if case.overruled is None else case.overruled.org,
    }


def time_text(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms // 1000, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
