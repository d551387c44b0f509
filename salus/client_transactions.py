"""The writing half of the client: build, sign, submit, wait.

Law of the file: a transaction is signed once and then only ever *sent* again: the same bytes
have the same id at every node, so a retry can never do a thing twice. Whoever loses the
connection holds the id, and `wait` finds the outcome at any node.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from salus.acts.act import Act
from salus.client_errors import (
    ClientError,
    NotFoundError,
    NotReadyError,
    PendingError,
    RejectedError,
    UnreachableError,
)
from salus.client_http import Transport
from salus.client_reads import Reads, Trust
from salus.codec import Wire, encode
from salus.forms import (
    TRANSACTIONS_PER_REQUEST_MAX,
    SubmitAnswer,
    SubmitItem,
    TransactionForm,
    TransactionState,
)
from salus.keys import Signer
from salus.transaction import Operation, ParsedTransaction, build

# Half the window of validity: nodes a little ahead or behind the one we ask still accept it.
EXPIRY_SHARE = 2


@dataclass(frozen=True, slots=True)
class Committed:
    """A certified transaction."""

    tx_id: str
    height: int
    answer: TransactionForm
    client: "Transactions"

    async def proof(self, operation: int = 0, *, as_of: bool = False) -> bytes:
        return await self.client.proof(self.tx_id, operation=operation, as_of=as_of)


class Transactions(Reads):
    """What a signer sends."""

    def __init__(
        self, http: Transport, trust: Trust | None, timeout_s: float, signer: Signer | None
    ) -> None:
        super().__init__(http, trust, timeout_s)
        self.signer = signer

    async def send(self, act: Act, timeout_s: float | None = None) -> Committed:
        """Sign and commit what `salus.acts` made. Raises as `commit`."""
        return await self.commit(await self.build([act.operation]), timeout_s)

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
        sent = list(transactions)
        items: list[SubmitItem] = []
        for start in range(0, len(sent), TRANSACTIONS_PER_REQUEST_MAX):
            part = sent[start : start + TRANSACTIONS_PER_REQUEST_MAX]
            try:
                answer = await self._http.request(
                    "POST",
                    "/v1/txs",
                    body=encode([_raw(transaction) for transaction in part]),
                    content_type="application/msgpack",
                    timeout_s=self.timeout_s if timeout_s is None else timeout_s,
                    transaction=True,
                )
            except NotReadyError as error:  # asked again until the time was up
                if error.code != "POOL_FULL":
                    raise
                # What came of the arrays before it is not lost.
                items += [_no_room(transaction, error) for transaction in part]
            else:
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
            except RejectedError:
                raise
            except ClientError as error:
                if tx_id is None or not (taken or isinstance(error, UnreachableError)):
                    raise
                # A node has it, or it may have reached one before the line broke.
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


def operation(contract: str, method: str, version: int, args: Wire | bytes) -> Operation:
    return Operation(contract, method, version, args if isinstance(args, bytes) else encode(args))


def _no_room(transaction: ParsedTransaction | bytes, error: NotReadyError) -> SubmitItem:
    tx_id = transaction.id.hex() if isinstance(transaction, ParsedTransaction) else None
    return SubmitItem(TransactionState.REJECTED, tx_id, code=error.code, detail=error.message)


def _raw(transaction: ParsedTransaction | bytes) -> bytes:
    return transaction if isinstance(transaction, bytes) else transaction.raw
