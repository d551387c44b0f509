"""A patient's trail, fetched and held to the chain: `client.audit`.

    trail = await client.audit.trail(whose)
    export = await client.audit.export(trail, "fhir", "trail.json")
    write(path, *export)                                     # salus.audit_files

State files come from any node, openings from the custodian's, proofs of tickets by what the blocks say
of them. The client's trust judges all of it; an owner's key, a delegate's or an auditor's signs.
"""

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from salus import audit_check as checks
from salus.audit_export import KeptOpenings
from salus.audit_files import Gathered, written
from salus.client_errors import ClientError, RejectedError
from salus.codec import decode, encode
from salus.errors import BadMessage, VerificationError
from salus.forms_records import TrailRequest, TrailStart
from salus.looks import NONCE_BYTES, OPENINGS_PER_ASK, LookOpening, Openings, OpeningsAsk, SignedAsk
from salus.relation import Whose
from salus.state_file import verify_state_file
from salus.trail import TICKETS_PER_FILE, Look, Start, Trail, trail_of

if TYPE_CHECKING:
    from salus.client import Client

ASK_LIVES_MS = 120_000  # a slow line; the node takes five minutes at most
FILES_MAX = 400  # of one trail: a hundred thousand tickets


class AuditClient:
    def __init__(self, client: "Client") -> None:
        self._client = client

    async def trail(self, whose: Whose) -> Gathered:
        """All of it at one certified height, with its openings where the first node is the custodian's.
        Raises `VerificationError` for a trail that was cut or is another chain's, `ClientError`
        (NO_ANCHOR without a trust, TOO_LARGE)."""
        client, org, handle = self._client, whose.org, whose.handle
        if client.trust is None:
            raise ClientError("this client has no trust to verify by", code="NO_ANCHOR")
        genesis_hash = bytes.fromhex(client.trust.genesis)
        chain_id = (await client.chain()).genesis.chain_id
        files: list[bytes] = []
        trails: list[Trail] = []
        start: Start | None = None
        while not files or start is not None:
            if len(files) >= FILES_MAX:
                most = f"{FILES_MAX} files of {TICKETS_PER_FILE} tickets"
                raise ClientError(f"a trail of more than {most}", code="TOO_LARGE")
            wanted = TrailRequest(org, handle.hex(), None if start is None else _form(start))
            answer = await client.api("POST", "/v1/audit/trail", msgspec.json.encode(wanted))
            found = trail_of(org, handle, verify_state_file(answer.body, genesis_hash), start)
            files.append(answer.body)
            trails.append(found)
            start = found.next
        looks = [look for found in trails for look in found.looks]
        opened = (await client.status()).member == org and client.signer is not None
        openings = await self._openings(chain_id, whose, looks) if opened else {}
        return Gathered(
            chain_id, genesis_hash, org, handle, tuple(files), tuple(trails), openings, opened
        )

    async def export(
        self, gathered: Gathered, kind: str, name: str
    ) -> tuple[bytes, bytes, dict[str, bytes]]:
        """(export, manifest, proofs by name). `kind`: fhir, csv or jsonl; `name`: of the export's file,
        which the manifest says. The client's signer signs it."""
        if self._client.signer is None:
            raise ClientError("this client has no signer", code="NO_SIGNER")
        proofs = await self.proofs(gathered)
        export, manifest = written(gathered, kind, name, proofs, self._client.signer)
        return export, manifest, proofs

    async def proofs(self, gathered: Gathered) -> dict[str, bytes]:
        """All that an export rests on, by name. A ticket whose block was pruned has no proof of its
        own: the state proves it all the same."""
        found = {
            checks.trail_name(number): data for number, data in enumerate(gathered.files, start=1)
        }
        kept = tuple(sorted(gathered.openings.items()))
        found[checks.OPENINGS] = encode(KeptOpenings(kept))
        for look in gathered.looks:
            data = await self._ticket_proof(gathered, look)
            if data is not None:
                found[checks.proof_name(look.request_id)] = data
        return found

    async def _openings(
        self, chain_id: str, whose: Whose, looks: Sequence[Look]
    ) -> Mapping[bytes, LookOpening]:
        found: dict[bytes, LookOpening] = {}
        signer = self._client.signer
        assert signer is not None, "the caller has looked"
        for at in range(0, len(looks), OPENINGS_PER_ASK):
            names = tuple(look.request_id for look in looks[at : at + OPENINGS_PER_ASK])
            expires_ms = time.time_ns() // 1_000_000 + ASK_LIVES_MS
            key = signer.public_key
            nonce = os.urandom(NONCE_BYTES)
            ask = OpeningsAsk(chain_id, whose.org, whose.handle, names, key, expires_ms, nonce)
            signed = SignedAsk(ask, signer.sign(ask.payload()))
            answer = await self._client.api(
                "POST", "/v1/audit/openings", encode(signed), "application/octet-stream"
            )
            try:
                openings = decode(answer.body, Openings).openings
            except BadMessage as error:
                raise ClientError(f"the node's openings: {error.message}") from None
            if len(openings) != len(names):
                raise ClientError("the node answers for other tickets than were asked for")
            found.update(
                (name, opening)
                for name, opening in zip(names, openings, strict=True)
                if opening is not None
            )
        return found

    async def _ticket_proof(self, gathered: Gathered, look: Look) -> bytes | None:
        """Found by its block's receipts, not by what the custodian says."""
        client = self._client
        try:
            block = await client.block(look.ticket.height)
            for receipt in block.receipts:
                for event in receipt.events:
                    told = (event.kind, event.data.get("org"), event.data.get("handle"))
                    if told != ("access.decided", gathered.org, gathered.handle.hex()):
                        continue
                    data = await client.proof(receipt.tx_id, operation=receipt.operation)
                    try:
                        checks.check_ticket(gathered.org, look, data, gathered.genesis_hash)
                    except (VerificationError, BadMessage):
                        continue  # another ticket of the same block
                    return data
        except (ClientError, RejectedError) as error:
            if error.code != "PRUNED":
                raise
        return None


def _form(start: Start) -> TrailStart:
    ticket, emergency, erasure = (
        None if at is None else at.hex() for at in (start.ticket, start.emergency, start.erasure)
    )
    return TrailStart(ticket=ticket, emergency=emergency, erasure=erasure)
