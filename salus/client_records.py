"""The client's records: documents of the first URL's vault, and their anchors."""

import asyncio
import random

import msgspec

from salus.client_errors import NotFoundError, NotReadyError, RejectedError
from salus.client_http import Answer
from salus.client_transactions import Committed, Transactions, operation
from salus.forms_records import RecordForm, RecordPage, Staged
from salus.transaction import ParsedTransaction

BATCH_PERIOD_S_MAX = 60.0  # as `records.batch_period` has it
ANCHOR_POLL_S = 0.1  # a fraction of a block
TAKE_OVER_SHARES = (0.1, 0.5)  # of its time are left to whoever sends what others were given


class Records(Transactions):
    """Of the vault of the first URL: another node's vault holds other documents."""

    async def record_add(
        self,
        document: bytes,
        media_type: str,
        *,
        handle: str | None = None,
        now: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[Staged, Committed]:
        """Store a document in the node's vault and anchor its commitment, with the others of the node's
        next batch; `now`: alone and at once. `handle` (hex): of the patient whose it is; it stays in the
        vault."""
        staged = await self.record_stage(document, media_type, handle=handle, batched=not now)
        return staged, await self.record_anchored(staged, timeout_s)

    async def record_amend(
        self,
        document: bytes,
        media_type: str,
        previous: str,
        *,
        now: bool = False,
        timeout_s: float | None = None,
    ) -> tuple[Staged, Committed]:
        """A new version of record `previous`; the old version is superseded on the chain. `now`: as in
        `record_add`."""
        staged = await self.record_stage(document, media_type, previous=previous, batched=not now)
        return staged, await self.record_anchored(staged, timeout_s)

    async def record_stage(
        self,
        document: bytes,
        media_type: str,
        *,
        previous: str | None = None,
        handle: str | None = None,
        record_id: str | None = None,
        batched: bool = False,
        timeout_s: float | None = None,
    ) -> Staged:
        """The first half of `record_add` or, with `previous`, of `record_amend`: the document lies
        in the vault. The other half: `staged_transaction`, then `commit`; of what is `batched`,
        `record_anchored`.

        `record_id`: of the new record, 32 hex digits that the caller has drawn at random. Sent again, the
        same document stages nothing more: for whoever writes the id down first and loses the answer.
        NODE_BUSY (`NotReadyError`) where the first call still waits for its batch."""
        params = {"media_type": media_type}
        params |= {"previous": previous} if previous else {}
        params |= {"record_id": record_id} if record_id else {}
        params |= {"batched": "true"} if batched else {}
        patience_s = self.timeout_s if timeout_s is None else timeout_s
        answer = await self._http.request(
            "POST",
            "/v1/records",
            params=params,
            body=document,
            content_type=media_type,
            headers=None if handle is None else {"Salus-Handle": handle},
            timeout_s=patience_s + (BATCH_PERIOD_S_MAX if batched else 0),
            repeatable=False,
            home=True,
        )
        return answer.decode(Staged)

    async def record_anchored(self, staged: Staged, timeout_s: float | None = None) -> Committed:
        """Anchor what was staged: by its operations, or, where another of its batch was given them, by
        that one's transaction. If that does not come, this client sends them too, in the second half of its
        time.

        Raises as `commit`."""
        patience_s = self.timeout_s if timeout_s is None else timeout_s
        deadline = self._http.clock() + patience_s
        # Each at a moment of its own: those who sent the same again would be refused on the chain, and their
        # number is the one that padding hides.
        takes_over = deadline - patience_s * random.uniform(*TAKE_OVER_SHARES)
        while True:
            if staged.operations:
                try:
                    return await self.commit(await self.staged_transaction(staged), timeout_s)
                except RejectedError as error:
                    if error.code != "DUPLICATE_ROOT":  # another one was faster
                        raise
                    staged = msgspec.structs.replace(staged, operations=())
            form = await self.record(staged.record_id)
            version = next(one for one in form.versions if one.version == staged.version)
            if version.tx_id is not None:
                return await self.wait(version.tx_id, timeout_s)
            if self._http.clock() >= deadline:
                raise NotReadyError(
                    f"record {staged.record_id} is not anchored yet", code="NOT_ANCHORED"
                )
            await asyncio.sleep(ANCHOR_POLL_S)
            if self._http.clock() >= takes_over:
                takes_over = deadline
                try:
                    staged = await self.record_staged(staged.record_id)
                except NotFoundError:  # it has just been anchored
                    continue

    async def record_staged(self, record_id: str) -> Staged:
        """What `record_stage` answered, once more, while it is not anchored."""
        return (await self._get(f"/v1/records/{record_id}/operations", home=True)).decode(Staged)

    async def staged_transaction(self, staged: Staged) -> ParsedTransaction:
        """Signed here; whoever keeps its bytes can send them again and anchors nothing twice."""
        return await self.build(
            operation(o.contract, o.method, o.version, bytes.fromhex(o.args))
            for o in staged.operations
        )

    async def record_retract(
        self, record_id: str, reason: str, *, timeout_s: float | None = None
    ) -> tuple[Staged, Committed]:
        """End a record without a successor; the reason stays in the node's vault."""
        answer = await self._http.request(
            "POST",
            f"/v1/records/{record_id}/retract",
            body=msgspec.json.encode({"reason": reason}),
            content_type="application/json",
            timeout_s=self.timeout_s,
            repeatable=False,
            home=True,
        )
        return await self._commit_staged(answer, timeout_s)

    async def record_resume(
        self, record_id: str, *, timeout_s: float | None = None
    ) -> tuple[Staged, Committed]:
        """Anchor what lies staged in the vault, after the answer to its staging was lost.

        Not while the first transaction may still commit: the second would be refused then.
        """
        staged = await self.record_staged(record_id)
        return staged, await self.commit(await self.staged_transaction(staged), timeout_s)

    async def _commit_staged(
        self, answer: Answer, timeout_s: float | None
    ) -> tuple[Staged, Committed]:
        staged = answer.decode(Staged)
        return staged, await self.commit(await self.staged_transaction(staged), timeout_s)

    async def records(self, *, after: str | None = None, limit: int = 50) -> RecordPage:
        params = {"limit": str(limit)} | ({"after": after} if after is not None else {})
        return (await self._get("/v1/records", params, home=True)).decode(RecordPage)

    async def record(self, record_id: str) -> RecordForm:
        return (await self._get(f"/v1/records/{record_id}", home=True)).decode(RecordForm)

    async def record_document(
        self, record_id: str, version: int | None = None
    ) -> tuple[str, bytes]:
        """(media type, content)."""
        params = {} if version is None else {"version": str(version)}
        answer = await self._get(f"/v1/records/{record_id}/document", params, home=True)
        return answer.headers.get("Content-Type", "application/octet-stream"), answer.body

    async def record_proof(
        self, record_id: str, version: int | None = None, *, as_of: bool = False
    ) -> bytes:
        """The proof file of a record with the opening of its document."""
        params = {"as_of": "true" if as_of else "false"}
        if version is not None:
            params["version"] = str(version)
        return (await self._get(f"/v1/records/{record_id}/proof", params, home=True)).body
