"""What the client asks about the chain and the node; every answer comes from one of the nodes.

Law of the file: nothing here changes anything, so every call may be repeated at another node.
"""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from salus import genesis as genesis_document
from salus.client_errors import ClientError
from salus.client_events import ChainEvent, Checkpoint, subscribe
from salus.client_http import Answer, Transport
from salus.errors import VerificationError
from salus.forms import Block, QueryAnswer, TransactionForm
from salus.forms_node import Account, ParametersForm, Status, Validators
from salus.forms_public import Directory
from salus.genesis import Genesis
from salus.report import Report
from salus.verifier import verify_file


@dataclass(frozen=True, slots=True)
class Trust:
    """What the caller trusts of his own knowledge: the genesis hash (hex), perhaps a block."""

    genesis: str
    checkpoint: tuple[int, str] | None = None  # (height, block hash)

    @property
    def block(self) -> tuple[int, bytes] | None:
        """The checkpoint as the verifier takes it."""
        return (
            None
            if self.checkpoint is None
            else (self.checkpoint[0], bytes.fromhex(self.checkpoint[1]))
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """What signing needs to know of the chain, checked against the trust."""

    genesis: Genesis
    genesis_hash: bytes
    expiry_window_blocks: int
    read_at: int  # the height by which the window was read


# A vote may change the window with any epoch, and none is shorter than this.
WINDOW_READ_BLOCKS = 64


class Reads:
    """The reading half of `Client`."""

    def __init__(self, http: Transport, trust: Trust | None, timeout_s: float) -> None:
        self._http = http
        self.trust = trust
        self.timeout_s = timeout_s
        self._chain: Chain | None = None

    @property
    def seen_height(self) -> int:
        """The newest certified height that any answer has named; 0 before the first."""
        return self._http.height

    async def chain(self) -> Chain:
        """Genesis and limits; raises `VerificationError` if it is not the trusted chain."""
        known = self._chain
        if known is not None and self._http.height < known.read_at + WINDOW_READ_BLOCKS:
            return known
        if known is None:
            document = genesis_document.from_json((await self._get("/v1/genesis")).body)
            genesis_hash = document.hash()
            if self.trust is not None and genesis_hash.hex() != self.trust.genesis:
                raise VerificationError("the node belongs to another chain", code="WRONG_CHAIN")
        else:
            document, genesis_hash = known.genesis, known.genesis_hash
        form = (await self._get("/v1/params")).decode(ParametersForm)
        window = form.parameters.get("expiry_window_blocks")
        if not isinstance(window, int):
            raise ClientError("/v1/params names no expiry window")
        self._chain = Chain(document, genesis_hash, window, self._http.height)
        return self._chain

    async def height(self) -> int:
        """The newest certified height that a node names."""
        status = await self.status()
        return status.height

    async def status(self) -> Status:
        return (await self._get("/v1/status")).decode(Status)

    async def directory(self) -> Directory:
        """The public directory: organisations, their kinds, and what each says that it offers."""
        return (await self._get("/v1/directory")).decode(Directory)

    async def validators(self) -> Validators:
        return (await self._get("/v1/validators")).decode(Validators)

    async def block(self, which: int | str = "latest") -> Block:
        return (await self._get(f"/v1/blocks/{which}")).decode(Block)

    async def transaction(self, tx_id: str) -> TransactionForm:
        return (await self._get(f"/v1/txs/{tx_id}")).decode(TransactionForm)

    async def account(self, address: str) -> Account:
        return (await self._get(f"/v1/accounts/{address}")).decode(Account)

    async def query(self, contract: str, name: str, **arguments: Any) -> Any:
        """A contract's declared query; byte arguments as hex."""
        answer = await self._json(
            f"/v1/contracts/{contract}/queries/{name}", {"arguments": arguments}
        )
        return answer.decode(QueryAnswer).result

    async def proof(self, tx_id: str, *, operation: int = 0, as_of: bool = False) -> bytes:
        """The proof file of a certified operation; check it with `salus.proof`."""
        params = {"operation": str(operation), "as_of": "true" if as_of else "false"}
        return (await self._get(f"/v1/txs/{tx_id}/proof", params)).body

    async def verified_proof(
        self, tx_id: str, *, operation: int = 0, as_of: bool = False
    ) -> tuple[bytes, Report]:
        """A proof file and what it proves, judged here by the trust of this client.

        Raises `VerificationError` if it does not hold: the node is not believed."""
        if self.trust is None:
            raise ClientError("this client has no trust to verify by", code="NO_ANCHOR")
        raw = await self.proof(tx_id, operation=operation, as_of=as_of)
        report = verify_file(raw, bytes.fromhex(self.trust.genesis), checkpoint=self.trust.block)
        if report.tx_id.hex() != tx_id:
            raise VerificationError("the proof is of another transaction")
        return raw, report

    def events(
        self,
        kind: str | None = None,
        *,
        after: str | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> AsyncGenerator[ChainEvent, None]:
        """Certified events, at least once, resumed after every loss; `kind`: «records.*»."""
        return subscribe(self._http, kind=kind, after=after, checkpoint=checkpoint)

    # ── raw calls ────────────────────────────────────────────────────────────

    async def api(
        self, method: str, path: str, body: bytes | None = None, content_type: str = ""
    ) -> Answer:
        """Any call of the API (`salus api`); not repeated unless it is a GET."""
        return await self._http.request(
            method,
            path,
            body=body,
            content_type=content_type or "application/json",
            timeout_s=self.timeout_s,
            repeatable=method == "GET",
        )

    @property
    def origin(self) -> str:
        """Of the first node, as a browser would write it."""
        url = urlsplit(self._http.endpoints[0].url)
        return f"{url.scheme}://{url.netloc}"

    async def at_home(
        self, method: str, path: str, body: bytes | None = None, *, bearer: str | None = None
    ) -> Answer:
        """A JSON call of the first node; `bearer`: a session's in the place of the node's token."""
        return await self._http.request(
            method,
            path,
            body=body,
            content_type="application/json",
            headers=None if bearer is None else {"Authorization": f"Bearer {bearer}"},
            timeout_s=self.timeout_s,
            repeatable=method == "GET",
            home=True,
        )

    async def _get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        *,
        home: bool = False,
    ) -> Answer:
        return await self._http.request(
            "GET",
            path,
            params=params,
            timeout_s=self.timeout_s if timeout_s is None else timeout_s,
            home=home,
        )

    async def _json(self, path: str, body: object) -> Answer:
        """A POST that changes nothing (a query), hence repeatable."""
        return await self._http.request(
            "POST",
            path,
            body=msgspec.json.encode(body),
            content_type="application/json",
            timeout_s=self.timeout_s,
        )
