"""Enrolments and comparisons of a biometric device: `client.biometrics` (rule I-8).

The matcher is the device's own; the template stays where it is. What `enrol` and `compare` give back
opens the commitments: whoever runs the device keeps it.
"""

import os
import time
from typing import TYPE_CHECKING

import msgspec

from salus.acts import relations
from salus.biometric import (
    SALT_BYTES,
    SESSIONS_MAX,
    Enrolled,
    Enrolment,
    Method,
    Session,
    session_commitment,
    template_commitment,
)
from salus.client_errors import ClientError, NotFoundError
from salus.errors import BadMessage
from salus.keys import Signer
from salus.relation import Whose
from salus.wire_json import from_json

if TYPE_CHECKING:
    from salus.client import Client
    from salus.client_transactions import Committed


def enrolled(whose: Whose, template: bytes, method: Method, device: bytes) -> Enrolled:
    """With a salt of its own; to be kept before it is sent: without it nobody could say what was
    enrolled. `device`: its public key."""
    salt = os.urandom(SALT_BYTES)
    commitment = template_commitment(salt, template)
    return Enrolled(commitment, salt, whose.org, whose.handle, method, device, ())


class BiometricsClient:
    """The signer is the organisation's: an operator, or staff."""

    def __init__(self, client: "Client") -> None:
        self._client = client

    async def enrol(self, made: Enrolled, owner: Signer) -> "Committed":
        """The patient's key signs that the template is his."""
        chain_id = (await self._client.chain()).genesis.chain_id
        whose = Whose(made.org, made.handle)
        return await self._client.send(
            relations.enrol(chain_id, whose, made.commitment, made.method, made.device, owner)
        )

    async def find(self, org: str, commitment: bytes) -> Enrolment | None:
        answer = await self._client.query(
            "identity", "biometric", org=org, template=commitment.hex()
        )
        try:
            return None if answer is None else from_json(Enrolment, answer)
        except BadMessage as error:
            raise ClientError(f"the node's enrolment: {error.message}") from None

    async def begin(self, known: Enrolled, template: bytes) -> tuple[Enrolled, Session]:
        """The next comparison with this very template; keep the first before `compare`. Raises
        `BadMessage` (BAD_TEMPLATE), `NotFoundError` (UNKNOWN_TEMPLATE)."""
        if template_commitment(known.salt, template) != known.commitment:
            raise BadMessage("this template is not the one that was enrolled", code="BAD_TEMPLATE")
        entry = await self.find(known.org, known.commitment)
        if entry is None:
            raise NotFoundError("the enrolment never came to the chain", code="UNKNOWN_TEMPLATE")
        now_ms = time.time_ns() // 1_000_000
        said = Session(os.urandom(SALT_BYTES), known.commitment, entry.compared + 1, now_ms)
        # As many as are kept; the openings of older ones are gone, their commitments stand.
        sessions = (*known.sessions, said)[-SESSIONS_MAX:]
        return msgspec.structs.replace(known, sessions=sessions), said

    async def compare(
        self, known: Enrolled, said: Session, device: Signer, *, matched: bool
    ) -> "Committed":
        """What the device found, which it signs."""
        chain_id = (await self._client.chain()).genesis.chain_id
        return await self._client.send(
            relations.compare(
                chain_id,
                known.org,
                known.commitment,
                said.number,
                session_commitment(said),
                device,
                matched=matched,
            )
        )
