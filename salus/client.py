"""The async client: build, sign, submit, wait, prove; one object for one or several nodes.

    async with Client("http://127.0.0.1:7480", signer=key) as client:
        done = await client.call("records", "anchor", 1, args)
        proof = await done.proof()

Law of the file: a transaction is signed once and then only ever *sent* again: the same bytes
have the same id at every node, so a retry can never do a thing twice. Whoever loses the
connection holds the id, and `wait` finds the outcome at any node.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from types import TracebackType
from typing import Self

import msgspec

from salus.client_errors import (
    ClientError,
    NotFoundError,
    NotReadyError,
    PendingError,
    RejectedError,
    UnreachableError,
)
from salus.client_http import Answer, Transport
from salus.client_reads import Chain, Reads, Trust
from salus.codec import Wire, encode
from salus.forms import (
    TRANSACTIONS_PER_REQUEST_MAX,
    OpeningAnswer,
    OpeningRequest,
    RecordForm,
    RecordPage,
    Staged,
    SubmitAnswer,
    SubmitItem,
    TransactionForm,
    TransactionState,
)
from salus.keys import Signer
from salus.transaction import Operation, ParsedTransaction, build

# Half the window of validity: nodes a little ahead or behind the one we ask still accept it.
EXPIRY_SHARE = 2

__all__ = ["Chain", "Client", "Committed", "Trust", "operation"]


@dataclass(frozen=True, slots=True)
class Committed:
    """A certified transaction."""

    tx_id: str
    height: int
    answer: TransactionForm
    client: "Client"

    async def proof(self, operation: int = 0, *, as_of: bool = False) -> bytes:
        return await self.client.proof(self.tx_id, operation=operation, as_of=as_of)


class Client(Reads):
    """Speaks to the first URL that answers; `records` calls always to the first (its vault)."""

    def __init__(
        self,
        urls: str | Sequence[str],
        *,
        signer: Signer | None = None,
        trust: Trust | None = None,
        timeout_s: float = 10.0,
        token: str | None = None,
        ssl: SSLContext | None = None,
    ) -> None:
        http = Transport([urls] if isinstance(urls, str) else urls, token=token, ssl=ssl)
        super().__init__(http, trust, timeout_s)
        self.signer = signer

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

    # ── transactions ─────────────────────────────────────────────────────────

    async def call(
        self,
        contract: str,
        method: str,
        version: int,
        args: Wire | bytes,
        *,
        timeout_s: float | None = None,
    ) -> Committed:
        """Build, sign, submit and wait for one operation."""
        return await self.commit(
            await self.build([operation(contract, method, version, args)]), timeout_s
        )

    async def build(
        self, operations: Iterable[Operation], *, independent: bool = False
    ) -> ParsedTransaction:
        """Sign operations with a fresh nonce and an expiry half a window ahead."""
        if self.signer is None:
            raise ClientError("this client has no signer", code="NO_SIGNER")
        chain = await self.chain()
        if not self._http.height:
            await self.height()
        return build(
            tuple(operations),
            signer=self.signer,
            chain_id=chain.genesis.chain_id,
            genesis_hash=chain.genesis_hash,
            nonce=os.urandom(16),
            expiry_height=self._http.height + chain.expiry_window_blocks // EXPIRY_SHARE,
            independent=independent,
        )

    async def submit(
        self, transaction: ParsedTransaction | bytes, *, timeout_s: float | None = None
    ) -> TransactionForm:
        """Hand the bytes to a node; returns its present state. Raises `RejectedError`."""
        return await self._post(transaction, {}, self.timeout_s if timeout_s is None else timeout_s)

    async def submit_many(
        self, transactions: Iterable[ParsedTransaction | bytes], *, timeout_s: float | None = None
    ) -> list[SubmitItem]:
        """The fast path: arrays of 500; one item per transaction, refusals included, in order."""
        raw = [_raw(transaction) for transaction in transactions]
        items: list[SubmitItem] = []
        for start in range(0, len(raw), TRANSACTIONS_PER_REQUEST_MAX):
            answer = await self._http.request(
                "POST",
                "/v1/txs",
                body=encode(raw[start : start + TRANSACTIONS_PER_REQUEST_MAX]),
                content_type="application/msgpack",
                timeout_s=self.timeout_s if timeout_s is None else timeout_s,
                transaction=True,
            )
            items += answer.decode(SubmitAnswer).items
        return items

    async def commit(
        self, transaction: ParsedTransaction | bytes, timeout_s: float | None = None
    ) -> Committed:
        """Submit and wait until it is certified, whichever node answers.

        Raises `RejectedError` (it never commits) or `PendingError` (outcome unknown yet)."""
        deadline = self._http.clock() + (self.timeout_s if timeout_s is None else timeout_s)
        tx_id = transaction.id.hex() if isinstance(transaction, ParsedTransaction) else None
        taken = False
        while True:
            left = deadline - self._http.clock()
            try:
                answer = await self._post(
                    transaction, {"wait": "commit"}, max(left, 0.5), wait_s=min(left, 30)
                )
            except (UnreachableError, NotReadyError) as error:
                if tx_id is None or (isinstance(error, NotReadyError) and not taken):
                    raise
                # It may have reached a node before the line broke.
                raise PendingError(f"{error.message}; outcome unknown", tx_id=tx_id) from None
            tx_id, taken = answer.tx_id, True
            if answer.state.final:
                return self._outcome(answer)
            if self._http.clock() >= deadline:
                raise PendingError("not committed in time; it may commit later", tx_id=tx_id)

    async def wait(self, tx_id: str | bytes, timeout_s: float | None = None) -> Committed:
        """The outcome of a transaction that was sent before; any node can tell."""
        tx = tx_id.hex() if isinstance(tx_id, bytes) else tx_id
        deadline = self._http.clock() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            left = max(0.1, deadline - self._http.clock())
            try:
                answer = await self._http.request(
                    "GET",
                    f"/v1/txs/{tx}",
                    params={"wait": "commit"},
                    timeout_s=left + 1,
                    wait_s=min(left, 30),
                )
            except UnreachableError as error:
                raise PendingError(f"{error.message}; outcome unknown", tx_id=tx) from None
            form = answer.decode(TransactionForm)
            if form.state.final:
                return self._outcome(form)
            if self._http.clock() >= deadline:
                if form.state is TransactionState.UNKNOWN:
                    raise NotFoundError(
                        "no node asked has seen it", code="UNKNOWN_TRANSACTION", tx_id=tx
                    )
                raise PendingError("not committed in time; it may commit later", tx_id=tx)

    def _outcome(self, answer: TransactionForm) -> Committed:
        if answer.state is TransactionState.COMMITTED and answer.height is not None:
            return Committed(answer.tx_id, answer.height, answer, self)
        expired = answer.state is TransactionState.EXPIRED
        code = answer.code or ("EXPIRED" if expired else "CONTRACT_FAULT")
        where = f" at height {answer.height}" if answer.height is not None else ""
        raise RejectedError(f"{answer.state.value}{where}", code=code, tx_id=answer.tx_id)

    async def _post(
        self,
        transaction: ParsedTransaction | bytes,
        params: Mapping[str, str],
        timeout_s: float,
        wait_s: float | None = None,
    ) -> TransactionForm:
        answer = await self._http.request(
            "POST",
            "/v1/txs",
            params=params,
            body=_raw(transaction),
            timeout_s=timeout_s + 1,  # the node's own time-out should come first: it knows why
            transaction=True,
            wait_s=wait_s,
        )
        return answer.decode(TransactionForm)

    # ── records: the vault of the first URL ──────────────────────────────────

    async def record_add(
        self,
        document: bytes,
        media_type: str,
        *,
        handle: str | None = None,
        timeout_s: float | None = None,
    ) -> tuple[Staged, Committed]:
        """Store a document in the node's vault and anchor its commitment. `handle` (hex): of the
        patient whose it is; it stays in the vault."""
        staged = await self.record_stage(document, media_type, handle=handle)
        return staged, await self.commit(await self.staged_transaction(staged), timeout_s)

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

    async def record_amend(
        self,
        document: bytes,
        media_type: str,
        previous: str,
        *,
        timeout_s: float | None = None,
    ) -> tuple[Staged, Committed]:
        """A new version of record `previous`; the old version is superseded on the chain."""
        staged = await self.record_stage(document, media_type, previous=previous)
        return staged, await self.commit(await self.staged_transaction(staged), timeout_s)

    async def record_stage(
        self,
        document: bytes,
        media_type: str,
        *,
        previous: str | None = None,
        handle: str | None = None,
        timeout_s: float | None = None,
    ) -> Staged:
        """The first half of `record_add` or, with `previous`, of `record_amend`: the document lies
        in the vault. The other half: `staged_transaction`, then `commit`."""
        params = {"media_type": media_type} | ({"previous": previous} if previous else {})
        answer = await self._http.request(
            "POST",
            "/v1/records",
            params=params,
            body=document,
            content_type=media_type,
            headers=None if handle is None else {"Salus-Handle": handle},
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            repeatable=False,
            home=True,
        )
        return answer.decode(Staged)

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


def operation(contract: str, method: str, version: int, args: Wire | bytes) -> Operation:
    return Operation(contract, method, version, args if isinstance(args, bytes) else encode(args))


def _raw(transaction: ParsedTransaction | bytes) -> bytes:
    return transaction if isinstance(transaction, bytes) else transaction.raw
