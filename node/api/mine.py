"""What the certified state and the custodian's vault say of one relation, for its patient.

Used by the paths /v1/me/… and by the patient's page. Law of the file: it reads, for the handle of
the session and no other; lists follow the chain's own links, so none can be left out here unseen.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from contracts.consent import PermitAnswer
from node.api.forms import time_text
from node.api.problems import ApiError
from node.api.request import Call
from node.api.sessions import Session
from salus.answers import Cases
from salus.audit_story import text_of
from salus.consent.terms import encode_terms
from salus.emergency import Case
from salus.forms_me import (
    DelegateForm,
    EmergencyLook,
    EmergencyPage,
    LookForm,
    LookPage,
    Me,
    OpeningForm,
    OpeningPage,
    PermitForm,
    PermitPage,
    RuleForm,
)
from salus.forms_records import RecordForm
from salus.looks import faults
from salus.permit import PermitHead
from salus.relation import DAY_MS, RelationEntry, Right
from salus.terms_words import rules
from salus.ticket import Ticket, TrailHead
from salus.trail import Look
from salus.wire_json import from_json

NEWEST = bytes(32).hex()  # where a list of cases begins


class Mine:
    """The relation of one request's session."""

    def __init__(self, call: Call, session: Session) -> None:
        assert session.handle is not None, "the route table admits patients only"
        self.call, self.session, self.handle = call, session, session.handle
        self.view = call.view
        org = self.view.status().member
        assert org is not None, "a session at a node without patients"
        self.org = org
        self._names: dict[str, str] = {}

    @classmethod
    def of(cls, call: Call, *, right: Right | None = Right.VIEW) -> "Mine":
        """Raises `ApiError` (NO_SESSION, RIGHT_MISSING)."""
        if call.session is None or not call.session.patient:
            raise ApiError("NO_SESSION")
        if right is not None and right not in call.session.rights:
            raise ApiError("RIGHT_MISSING", f"the right to {right.value} is missing")
        return cls(call, call.session)

    def me(self) -> Me:
        height, found = self.ask("identity", "relation_of", **self._where())
        if found is None:
            raise ApiError("UNKNOWN_RELATION")
        relation = from_json(RelationEntry, found)
        rights = [right.value for right in sorted(self.session.rights)]
        rotation = relation.rotation
        recovery = relation.recovery
        return Me(
            organisation=self.org,
            name=self.name(self.org),
            rights=(*rights, "owner") if self.session.owner else tuple(rights),
            custodial=relation.custodial,
            guardians=len(relation.guardians),
            threshold=relation.threshold,
            delegates=tuple(
                DelegateForm(
                    one.key.hex(),
                    tuple(right.value for right in one.rights),
                    _day(one.until_day),
                    one.key == self.session.key,
                )
                for one in relation.delegates
            ),
            rotation_at=None if rotation is None else time_text(rotation.effective_ms),
            proposals=len(relation.proposals_at(self.call.sessions.now_ms())),
            recovery_at=None if recovery is None else time_text(recovery.ready_ms),
            since_height=relation.since_height,
            height=height,
        )

    def permits(self, after: str | None, limit: int) -> PermitPage:
        """Newest first. `after`: a page's `next`, of this session."""
        height, head = self.ask("consent", "newest", **self._where())
        if head is None:
            return PermitPage((), None, 0, height)
        known = from_json(PermitHead, head)
        at = known.newest if after is None else self._permit(self.session.shown(after)).before
        items: list[PermitForm] = []
        while at is not None and len(items) < limit:
            found = self._permit(at)
            items.append(self._permit_form(at, found))
            at = found.before
        last = bytes.fromhex(items[-1].consent_id) if items and at is not None else None
        follows = None if last is None else self.session.hide(last)
        return PermitPage(tuple(items), follows, known.count, height)

    def openings(self, after: str | None, limit: int) -> OpeningPage:
        """What opens the terms of the permits that stand, as the vault has it, newest first. `after`: likewise."""
        kept = self.view.openings
        if kept is None:
            raise ApiError("NOT_ENABLED", "this node keeps no openings")
        height, head = self.ask("consent", "newest", **self._where())
        if head is None:
            return OpeningPage((), None, 0, height)
        known = from_json(PermitHead, head)
        at = known.newest if after is None else self._permit(self.session.shown(after)).before
        items: list[OpeningForm] = []
        last, steps = None, 0
        while at is not None and steps < limit:
            found, last, steps = self._permit(at), at, steps + 1
            opened = found.permit and kept.opened(self.handle, found.permit.terms)
            if opened:
                terms = encode_terms(opened.terms).hex()
                items.append(OpeningForm(at.hex(), opened.salt.hex(), terms))
            at = found.before
        follows = None if last is None or at is None else self.session.hide(last)
        return OpeningPage(tuple(items), follows, known.count, height)

    def looks(self, after: str | None, limit: int) -> LookPage:
        """Who looked: the trail, newest first. `after`: likewise."""
        height, head = self.ask("access", "trail", **self._where())
        if head is None:
            return LookPage((), None, 0, 0, height)
        trail = from_json(TrailHead, head)
        at = trail.newest if after is None else self.ticket(self.session.shown(after)).before
        items: list[LookForm] = []
        while at is not None and len(items) < limit:
            ticket = self.ticket(at)
            items.append(self._look(at, ticket))
            at = ticket.before
        last = bytes.fromhex(items[-1].request_id) if items and at is not None else None
        follows = None if last is None else self.session.hide(last)
        return LookPage(tuple(items), follows, trail.tickets, trail.denials, height)

    def emergencies(self, after: str | None) -> EmergencyPage:
        """The cases of this relation (decision 0014), newest first. `after`: likewise."""
        start = NEWEST if after is None else self.session.shown(after).hex()
        height, found = self.ask("emergency", "cases_of", **self._where(), start=start)
        cases = from_json(Cases, found)
        return EmergencyPage(
            tuple(self._emergency(one) for one in cases.cases),
            None if cases.next is None else self.session.hide(cases.next),
            cases.count,
            height,
        )

    def _emergency(self, case: Case) -> EmergencyLook:
        return EmergencyLook(
            case_id=case.id.hex(),
            by=case.opener,
            by_name=self.name(case.opener),
            staff=case.staff.hex(),
            opened=time_text(case.opened_ms),
            height=case.opened_height,
            live=case.live,
            late=case.late,
            cosigned_by=None if case.cosign is None else case.cosign.org,
            justified=case.justification is not None,
            disputed=case.dispute is not None,
            verdict=None if case.decided is None else case.decided.verdict.value,
            panel=case.panel,
        )

    def records(self) -> tuple[RecordForm, ...]:
        if self.view.records is None:
            raise ApiError("NOT_ENABLED", "this node keeps no documents")
        return self.view.records.of_handle(self.handle)

    def name(self, org: str) -> str:
        """The public name of an organisation."""
        if org not in self._names:
            _, found = self.ask("members", "member", id=org)
            self._names[org] = org if found is None else found["name"]
        return self._names[org]

    def ask(self, contract: str, name: str, **arguments: object) -> tuple[int, Any]:
        return self.view.contracts.query(contract, name, arguments)

    def _where(self) -> dict[str, str]:
        return {"org": self.org, "handle": self.handle.hex()}

    def _permit(self, permit: bytes) -> PermitAnswer:
        _, found = self.ask("consent", "permit", **self._where(), permit=permit.hex())
        if found is None:
            raise ApiError("UNKNOWN_PERMIT")
        return from_json(PermitAnswer, found)

    def ticket(self, request_id: bytes) -> Ticket:
        """A ticket of this relation. Raises `ApiError` (UNKNOWN_TICKET)."""
        _, found = self.ask("access", "ticket_of", org=self.org, request_id=request_id.hex())
        ticket = None if found is None else from_json(Ticket, found)
        if ticket is None or ticket.handle != self.handle:
            raise ApiError("UNKNOWN_TICKET")
        return ticket

    def _permit_form(self, permit_id: bytes, found: PermitAnswer) -> PermitForm:
        permit = found.permit
        form = PermitForm(
            consent_id=permit_id.hex(),
            to=found.grantee,
            to_name=self.name(found.grantee),
            purpose=found.purpose.value,
            effect=None,
            reach=None,
            classes=(),
            begins=None,
            ends=None,
            state=self._state(found),
            granted_height=None,
            ended_height=None,
            terms=None,
        )
        if permit is None:
            return form
        return msgspec.structs.replace(
            form,
            effect=permit.effect.value,
            reach=permit.reach.value,
            classes=tuple(one.value for one in permit.classes),
            begins=_day(permit.from_day),
            ends=_day(permit.until_day),
            granted_height=permit.granted_height,
            ended_height=permit.ended_height,
            terms=self._terms(permit.terms),
        )

    def _state(self, found: PermitAnswer) -> str:
        permit, day = found.permit, self.call.sessions.now_ms() // DAY_MS
        if permit is None:
            return "replaced"
        if permit.ended_height is not None:
            return "revoked"
        if day < permit.from_day:
            return "to_come"
        return "past" if day > permit.until_day else "active"

    def _terms(self, commitment: bytes) -> tuple[RuleForm, ...] | None:
        openings = self.view.openings
        terms = None if openings is None else openings.find(self.handle, commitment)
        return None if terms is None else rules(terms)

    def _look(self, request_id: bytes, ticket: Ticket) -> LookForm:
        audit, chain_id = self.view.audit, self.view.genesis.chain_id
        opening = None if audit is None else audit.opening(self.handle, request_id)
        if opening is not None and faults(chain_id, self.org, Look(request_id, ticket), opening):
            opening = None  # it opens another ticket than the chain has
        inner = None if opening is None else opening.inner
        return LookForm(
            request_id=request_id.hex(),
            by=ticket.requester,
            by_name=self.name(ticket.requester),
            purpose=ticket.purpose.value,
            classes=tuple(one.value for one in ticket.classes),
            permitted=ticket.permitted,
            reason=ticket.reason.value,
            consent_id=None if ticket.permit is None else ticket.permit.hex(),
            time=time_text(ticket.time_ms),
            height=ticket.height,
            receipt_height=ticket.receipt_height,
            staff=None if opening is None or opening.staff is None else opening.staff.hex(),
            records=None
            if opening is None
            else tuple(one.record_id.hex() for one in opening.versions),
            care=None if inner is None else text_of(inner.care) or None,
        )


def _day(day: int) -> str:
    return f"{datetime.fromtimestamp(day * DAY_MS / 1000, UTC):%Y-%m-%d}"
