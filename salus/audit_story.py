"""Who saw what, when, under which authority: the trail and its openings as entries to read and export.

Equal inputs give equal entries, so that whoever has an export's proofs can make it again and compare
(salus/audit_export.py). Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from salus.emergency import Case
from salus.erasure import ErasureCase, Stage
from salus.looks import LookOpening, faults
from salus.report import utc
from salus.trail import PLAIN, Look, Trail


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the story. `check` says how far the custodian's words were held to the chain:
    `checked`, `erased` (only the request is left), `missing`, or `mismatch` with `faults`."""

    kind: str  # read | denied | emergency | erasure | denials
    time: str | None  # RFC 3339, of the block; None of denials that were counted only
    height: int | None
    custodian: str
    id: str  # request id, or case id
    by: str | None  # the organisation
    staff: str | None = None  # its handle, by the opening
    purpose: str | None = None
    classes: tuple[str, ...] = ()
    authority: str  # a word: PERMIT, OWN_CARE …
    words: str  # the same, for people
    permit: str | None = None
    records: tuple[str, ...] = ()  # «record id@version», by the opening
    care: str | None = None  # why the reader cares for the patient, in the reader's words
    withheld: int = 0  # versions of which a part was not shown
    receipt: str | None = None  # confirmed | missing; None where nothing was released
    check: str = "checked"
    faults: tuple[str, ...] = ()
    count: int = 1


def story(
    chain_id: str, trails: Sequence[Trail], openings: Mapping[bytes, LookOpening]
) -> tuple[Entry, ...]:
    """Newest first. `trails`: the files of one trail in order; `openings`: by request id."""
    newest = trails[0]
    found = [
        _look(chain_id, trail, look, openings.get(look.request_id))
        for trail in trails
        for look in trail.looks
    ]
    found += [_emergency(newest.org, case) for trail in trails for case in trail.emergencies]
    found += [_erasure(newest.org, *erasure) for trail in trails for erasure in trail.erasures]
    found.sort(key=lambda one: one.height or 0, reverse=True)
    if newest.denials:
        found.append(_denials(newest))
    return tuple(found)


def clean(entries: Sequence[Entry]) -> bool:
    """Does everything that the custodian said lead to the chain?"""
    return all(entry.check != "mismatch" for entry in entries)


def plain(entry: Entry) -> dict[str, Any]:
    """As JSON has it."""
    found: dict[str, Any] = msgspec.to_builtins(entry)
    return found


def _look(chain_id: str, trail: Trail, look: Look, opening: LookOpening | None) -> Entry:
    ticket = look.ticket
    wrong: tuple[str, ...] = ()
    if opening is not None:
        docket = trail.dockets.get((ticket.requester, ticket.purpose))
        wrong = faults(chain_id, trail.org, look, opening, docket, trail.permits)
    receipt = None
    if ticket.permitted:
        receipt = "missing" if look.unconfirmed else "confirmed"
    # What does not lead to the ticket is named as a fault and not repeated as if it were true.
    believed = None if wrong else opening
    inner = None if believed is None else believed.inner
    return Entry(
        kind="read" if ticket.permitted else "denied",
        time=utc(ticket.time_ms),
        height=ticket.height,
        custodian=trail.org,
        id=look.request_id.hex(),
        by=ticket.requester,
        staff=None if believed is None or believed.staff is None else believed.staff.hex(),
        purpose=ticket.purpose.value,
        classes=tuple(one.value for one in ticket.classes),
        authority=look.authority,
        words=PLAIN[ticket.reason],
        permit=None if ticket.permit is None else ticket.permit.hex(),
        records=()
        if believed is None
        else tuple(f"{one.record_id.hex()}@{one.version}" for one in believed.versions),
        care=None if inner is None else text_of(inner.care),
        withheld=0 if inner is None else len(inner.cut),
        receipt=receipt,
        check=_check(opening, wrong),
        faults=wrong,
    )


def _check(opening: LookOpening | None, wrong: tuple[str, ...]) -> str:
    if opening is None:
        return "missing"
    if wrong:
        return "mismatch"
    return "erased" if opening.inner is None else "checked"


def _emergency(org: str, case: Case) -> Entry:
    said = ["broke the glass"]
    if case.late:
        said.append("logged late")
    if case.cosign is None:
        said.append("nobody co-signed")
    if case.justification is None and case.live:
        said.append("no justification yet")
    if case.disputed_ms is not None:
        said.append("disputed by the patient")
    if case.decided is not None:
        said.append(f"found {case.decided.verdict.value} by {case.decided.org}")
    return Entry(
        kind="emergency",
        time=utc(case.opened_ms),
        height=case.opened_height,
        custodian=org,
        id=case.id.hex(),
        by=case.opener,
        staff=case.staff.hex(),
        purpose="emergency",
        classes=("summary",),
        authority="EMERGENCY",
        words=", ".join(said),
    )


_ERASURE = {
    Stage.WAITING: "erasure asked for; it may begin at {2}",
    Stage.BEGUN: "erasure asked for; {0} of {1} holders have not answered",
    Stage.CANCELLED: "erasure asked for, and stopped before it began",
}


def _erasure(org: str, name: bytes, case: ErasureCase) -> Entry:
    open_answers = case.holders - case.answered
    return Entry(
        kind="erasure",
        time=utc(case.time_ms),
        height=case.height,
        custodian=org,
        id=name.hex(),
        by=None if case.basis.value == "owner" else case.basis.value,
        authority=f"ERASURE_BY_{case.basis.value.upper()}",
        words=_ERASURE[case.stage].format(open_answers, case.holders, utc(case.due_ms)),
        count=case.holders,
    )


def _denials(trail: Trail) -> Entry:
    return Entry(
        kind="denials",
        time=None,
        height=None,
        custodian=trail.org,
        id="",
        by=None,
        authority="TOO_MANY",
        words="denied without a ticket of their own, for they were too many",
        count=trail.denials,
    )


def text_of(care: bytes) -> str:
    """The reader's words; hex where they are no text that can be shown."""
    try:
        text = care.decode("utf-8")
    except UnicodeDecodeError:
        return care.hex()
    return text if text.isprintable() else care.hex()
