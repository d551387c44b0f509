"""What somebody may read of a patient, at all custodians: for the joined view and the FHIR bridge.

Each document is read through its custodian's gate, under a ticket, and verified here.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cli import record_lists, wallets
from cli.owners import as_owner, at_custodian
from cli.session import Session
from salus.audit_fhir import bundle
from salus.client_results import FHIR_TYPES
from salus.consent.decide import Standing
from salus.consent.fhir_export import to_fhir
from salus.consent.instant import parse_instant
from salus.consent.terms import decode_terms
from salus.errors import SalusError
from salus.ips.joined import JoinedView
from salus.permit import Purpose


class GateHoldings:
    """Implements `cli.fhir_bridge.Holdings`. --as of the session names who reads."""

    def __init__(
        self,
        session: Session,
        patient: str,
        purpose: Purpose,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`patient`: the name of a wallet or a handle, as `record list` takes it; `note`: is told what
        was left out, and why."""
        self._session, self._patient, self._purpose, self._note = session, patient, purpose, note

    async def view(self) -> JoinedView:
        """Every FHIR document that may be read, oldest first. Raises `SalusError` (READ_DENIED) if
        nothing may."""
        async with record_lists.reader(self._own(), self._patient, None, self._purpose) as at:
            desk = at.client.results
            lists = await desk.lists(at.places, at.wish, at.key)
            if not any(one.decision for one in lists):
                reasons = ", ".join(f"{one.whose.org}: {one.reason}" for one in lists)
                raise SalusError(
                    f"nothing may be read ({reasons or 'no custodian'})", code="READ_DENIED"
                )
            view = JoinedView()
            for listed in lists:
                org = listed.whose.org
                if not listed.decision:
                    self._note(f"{org} is not in it: {listed.reason}")
                elif not listed.complete:
                    self._note(f"{org} lists more records than are shown")
                for one in reversed(listed.records):  # the list has the newest first
                    if one.media_type.split(";")[0] not in FHIR_TYPES:
                        continue
                    key = at.key(listed.whose)
                    done = await desk.read_into(view, listed.whose, one, at.wish, key)
                    if done.path is None:
                        self._note(f"a record at {org} is not in it: {done.reason}")
            return view

    async def consents(self) -> list[dict[str, Any]]:
        """The patient's own permits, as his wallet knows their terms; others know none."""
        if not wallets.has_wallet(self._session, self._patient):
            return []
        wallet = wallets.open_wallet(self._session, self._patient)
        found: list[dict[str, Any]] = []
        for relation in wallet.contents.relations:
            where = {"org": relation.org, "handle": relation.handle.hex()}
            async with at_custodian(self._own(), relation) as client:
                for opening in wallet.contents.openings:
                    if (opening.org, opening.handle) != (relation.org, relation.handle):
                        continue
                    permit = opening.permit.hex()
                    stored = await client.query("consent", "permit", **where, permit=permit)
                    entry = None if stored is None else stored["permit"]
                    if entry is None:
                        continue  # it was never sent, or says nothing any more
                    block = await client.block(entry["granted_height"])
                    standing = Standing.ACTIVE if entry["ended_height"] is None else Standing.ENDED
                    terms, given_ms = decode_terms(opening.terms), parse_instant(block.header.time)
                    found.append(to_fhir(permit, terms, standing, given_ms))
        return found

    async def trail(self) -> list[dict[str, Any]]:
        """AuditEvents and Provenances of all custodians."""
        from cli.audits import trusted_hash
        from salus.client import Trust

        session = self._own()
        if not wallets.has_wallet(session, self._patient):
            return []
        trust = Trust(trusted_hash(session, None).hex())
        wallet = wallets.open_wallet(session, self._patient)
        found: list[dict[str, Any]] = []
        for relation in wallet.contents.relations:
            async with as_owner(self._own(), wallet, relation) as (client, chain_id):
                client.trust = trust
                gathered = await client.audit.trail(relation.whose)
            document = bundle(chain_id, gathered.entries)
            found += [
                {"id": entry["fullUrl"].rpartition(":")[2], **entry["resource"]}
                for entry in document.get("entry", ())
            ]
        return found

    def _own(self) -> Session:
        """Each read picks the node that reads for it."""
        return replace(self._session)
