"""The async client: build, sign, submit, wait, prove; one object for one or several nodes.

    async with Client("http://127.0.0.1:7480", signer=key) as client:
        done = await client.call("records", "anchor", 1, args)
        proof = await done.proof()

Law of the file: a transaction is signed once and then only ever *sent* again: the same bytes
have the same id at every node, so a retry can never do a thing twice. Whoever loses the
connection holds the id, and `wait` finds the outcome at any node.
"""

from collections.abc import Sequence
from ssl import SSLContext
from types import TracebackType
from typing import TYPE_CHECKING, Self

import msgspec

from salus.client_http import Transport
from salus.client_reads import Chain, Trust
from salus.client_records import Records
from salus.client_transactions import Committed, operation
from salus.forms_records import (
    ContactRequest,
    NoticePage,
    NoticesRequest,
    OpeningAnswer,
    OpeningRequest,
)
from salus.keys import Signer

if TYPE_CHECKING:
    from salus.client_access import AccessClient
    from salus.client_audit import AuditClient
    from salus.client_biometrics import BiometricsClient
    from salus.client_consent import ConsentClient
    from salus.client_desk import DeskClient
    from salus.client_emergency import Emergencies
    from salus.client_erasures import ErasuresClient
    from salus.client_messages import MessagesClient
    from salus.client_patients import PatientsClient
    from salus.client_results import ResultsClient
    from salus.client_staff import StaffClient
    from salus.client_terms import CardsClient, TermsClient

__all__ = ["Chain", "Client", "Committed", "Trust", "operation"]


class Client(Records):
    """Speaks to the first URL that answers; `records` calls always to the first (its vault). `token`: of
    the first URL's node, and sent to no other. Reads its own writes: a node that is a block behind the
    newest height that any of them named waits for it a moment. `seen_height`: what an earlier client
    saw."""

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        signer: Signer | None = None,
        trust: Trust | None = None,
        timeout_s: float = 10.0,
        token: str | None = None,
        ssl: SSLContext | None = None,
        seen_height: int = 0,
    ) -> None:
        http = Transport(
            [urls] if isinstance(urls, str) else urls,
            token=token,
            ssl=ssl,
            seen_height=seen_height,
        )
        super().__init__(http, trust, timeout_s, signer)

    # ── by area; each is imported when it is used: ciphers, which few programs need ──────────

    @property
    def access(self) -> "AccessClient":
        """Reads of patients' records, wherever they are kept."""
        from salus.client_access import AccessClient

        return AccessClient(self)

    @property
    def consent(self) -> "ConsentClient":
        """A patient's permissions; the signer is the owner key of the relation."""
        from salus.client_consent import ConsentClient

        return ConsentClient(self)

    @property
    def patients(self) -> "PatientsClient":
        """Relations: keys, recovery, guardians, delegates."""
        from salus.client_patients import PatientsClient

        return PatientsClient(self)

    @property
    def results(self) -> "ResultsClient":
        """Which records a patient has, and what was examined already."""
        from salus.client_results import ResultsClient

        return ResultsClient(self)

    @property
    def staff(self) -> "StaffClient":
        """People of an organisation; its operator signs."""
        from salus.client_staff import StaffClient

        return StaffClient(self)

    @property
    def terms(self) -> "TermsClient":
        """What an organisation's terms say, and who accepted them."""
        from salus.client_terms import TermsClient

        return TermsClient(self)

    @property
    def desk(self) -> "DeskClient":
        """Identifiers at a hospital's desk: possible duplicates, finding a person."""
        from salus.client_desk import DeskClient

        return DeskClient(self)

    @property
    def cards(self) -> "CardsClient":
        """Cards that find somebody who cannot speak."""
        from salus.client_terms import CardsClient

        return CardsClient(self)

    @property
    def biometrics(self) -> "BiometricsClient":
        """What a biometric device enrols and compares."""
        from salus.client_biometrics import BiometricsClient

        return BiometricsClient(self)

    @property
    def messages(self) -> "MessagesClient":
        """Letters between a patient and his hospital."""
        from salus.client_messages import MessagesClient

        return MessagesClient(self)

    @property
    def audit(self) -> "AuditClient":
        """Who saw what; judged by this client's trust."""
        from salus.client_audit import AuditClient

        return AuditClient(self)

    @property
    def erasures(self) -> "ErasuresClient":
        """Have records erased, and answer for it."""
        from salus.client_erasures import ErasuresClient

        return ErasuresClient(self)

    @property
    def emergencies(self) -> "Emergencies":
        """Summaries for those who cannot be asked, and who opened them."""
        from salus.client_emergency import Emergencies

        return Emergencies(self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.close()

    # ── a patient, at the first URL ──────────────────────────────────────────

    async def keep_opening(self, handle: str, salt: str, terms: str) -> str:
        """Give the custodian the inner terms of a permit (all hex); the commitment to them."""
        answer = await self._http.request(
            "POST",
            "/v1/consents/openings",
            body=msgspec.json.encode(OpeningRequest(handle, salt, terms)),
            content_type="application/json",
            timeout_s=self.timeout_s,
            repeatable=True,
            home=True,
        )
        return answer.decode(OpeningAnswer).commitment

    async def set_contact(
        self, handle: str, carrier: str | None, address: str | None, language: str = "en"
    ) -> None:
        """Where the patient wants to be told; without carrier and address: nowhere any more."""
        await self._http.request(
            "POST",
            "/v1/contacts",
            body=msgspec.json.encode(ContactRequest(handle, carrier, address, language)),
            content_type="application/json",
            timeout_s=self.timeout_s,
            repeatable=True,
            home=True,
        )

    async def notices(self, handle: str) -> NoticePage:
        """The patient's contact and the messages to him, newest first."""
        answer = await self._http.request(
            "POST",
            "/v1/contacts/notices",
            body=msgspec.json.encode(NoticesRequest(handle)),
            content_type="application/json",
            timeout_s=self.timeout_s,
            repeatable=True,
            home=True,
        )
        return answer.decode(NoticePage)
