"""The one door for transactions, from clients and from peers: parse, verify once, pool, gossip.

Known bytes are never an error: whoever sends twice is told the present state (interfaces.md §5).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NoReturn

from node.api.view import Submitted
from node.drain import LATER_TRANSACTIONS_MAX
from node.gossip import GossipTask
from node.mempool import Mempool
from node.metrics import Metrics
from node.net.frames import IdsFrame, Kind, TransactionsFrame
from node.turns import CHECK_ROOM, CLIENTS, ITSELF, SINGLES, Turns
from node.verify import VerifyPool
from salus.codec import decode
from salus.errors import BadMessage, SalusError
from salus.forms import TransactionState
from salus.transaction import ParsedTransaction, parse

NO_ROOM = "this node has taken as much as is committed in the next seconds"


class Admission:
    def __init__(
        self,
        mempool: Mempool,
        pool: VerifyPool,
        gossip: GossipTask,
        metrics: Metrics,
        known: Callable[[ParsedTransaction], Submitted | None],
        on_pending: Callable[[], None],
        check_room: int = CHECK_ROOM,
    ) -> None:
        """`known`: the state of a transaction that is certified already; `on_pending`: there is
        something to propose now; `check_room`: how many are checked at once (node/turns.py)."""
        self.mempool, self.pool, self.gossip, self.metrics = mempool, pool, gossip, metrics
        self.known, self.on_pending = known, on_pending
        self.turns = Turns(check_room)
        self.ready = True  # False: too little disk, or halted; clients are turned away
        self.not_ready: tuple[str, str] = ("NOT_READY", "")

    def turn_away(self, code: str, reason: str) -> None:
        """Take no more from clients, and say why; what is known already is still answered."""
        self.ready, self.not_ready = False, (code, reason)

    def welcome(self) -> None:
        self.ready = True

    def is_news(self, raws: Sequence[bytes]) -> bool:
        """Nothing of an array waits here, and the first is fit for a block. Whoever had no answer sends
        the same array again, so the first tells of one that blocks have taken since."""
        if self.mempool.knows_any(raws):
            return False
        try:
            self.mempool.parse_check(raws[0], full=True)
        except BadMessage:
            return False
        return True

    def turn_away_all(self, raws: Sequence[bytes]) -> NoReturn:
        """An array for which there is no room at all, and that is news: refused before more of it is
        parsed than the first. Under an overload most arrays are, and whoever is turned away comes again.
        Raises `SalusError`."""
        self._require_ready()
        self.metrics.rejected("POOL_FULL", len(raws))
        raise SalusError(NO_ROOM, code="POOL_FULL")

    def _require_ready(self) -> None:
        if not self.ready:
            code, message = self.not_ready
            raise SalusError(message, code=code)

    async def submit(self, raws: Sequence[bytes], room: int | None = None) -> list[Submitted]:
        """Transactions of a client, or (`room` is None) of the node itself. `room`: how many that
        nobody knows yet it may take (node/drain.py). Raises `SalusError` only if the node takes none
        at all."""
        self._require_ready()
        results: list[Submitted | None] = [None] * len(raws)
        fresh: list[tuple[int, ParsedTransaction]] = []
        pending: list[tuple[bytes, bytes]] = []  # (id, bytes) of what waits here now
        mempool = self.mempool
        for index, raw in enumerate(raws):
            known = mempool.get(raw)
            if known is not None:
                # Verified before, perhaps out of a proposal: nothing to check, but owed from now.
                owed = room is None or self._room_for_later(known)
                results[index] = self._add(known, pending, local=owed)
                continue
            try:
                full = room is not None and len(fresh) >= room
                tx = mempool.parse_check(raw, local=True, full=full)
            except SalusError as error:
                results[index] = self._refused(raw, error)
                continue
            if full:
                results[index] = _no_room(tx)
            else:
                fresh.append((index, tx))
        source = ITSELF if room is None else CLIENTS if len(raws) > 1 else SINGLES
        valid = await self._checked(source, [tx for _, tx in fresh])
        # Asked of each only if all of them together might be too many.
        scarce = mempool.taken_for_later + len(fresh) > LATER_TRANSACTIONS_MAX
        for (index, tx), good in zip(fresh, valid, strict=True):
            if good and scarce and room is not None and not self._room_for_later(tx):
                results[index] = _no_room(tx)
            elif good:
                results[index] = self._add(tx, pending, local=True)
            else:
                results[index] = Submitted(
                    TransactionState.REJECTED,
                    tx.id,
                    code="BAD_SIGNATURE",
                    detail="the signature does not fit sender, chain and content",
                )
        if pending:
            self.gossip.admitted(pending)
            self.on_pending()
        answers = [result for result in results if result is not None]
        assert len(answers) == len(raws)
        codes = [answer.code for answer in answers if answer.code is not None]
        for word, count in Counter(codes).items():
            self.metrics.rejected(word, count)
        return answers

    async def _checked(self, source: str, transactions: list[ParsedTransaction]) -> list[bool]:
        """Their signatures, when it is the source's turn."""
        count = len(transactions)
        if not count:
            return []
        turns = self.turns
        if not turns.comes_at_once(source, count):
            await turns.wait(source, count)
        try:
            return await self.pool.verify(transactions)
        finally:
            turns.give_back(count)

    def _room_for_later(self, tx: ParsedTransaction) -> bool:
        """What no block can hold yet leaves room to what one can (node/drain.py)."""
        pool = self.mempool
        return pool.taken_for_later < LATER_TRANSACTIONS_MAX or not pool.valid_later(tx)

    def _add(
        self, tx: ParsedTransaction, pending: list[tuple[bytes, bytes]], *, local: bool
    ) -> Submitted:
        try:
            self.mempool.add(tx, local=local)
        except SalusError as error:
            return self._refused_parsed(tx, error)
        if self.mempool.is_ordered(tx.id):
            return Submitted(TransactionState.ORDERED, tx.id)
        pending.append((tx.id, tx.raw))
        return Submitted(TransactionState.PENDING, tx.id)

    def _refused(self, raw: bytes, error: SalusError) -> Submitted:
        try:
            mempool = self.mempool
            tx = parse(raw, mempool.chain_id, mempool.genesis_hash, mempool.parameters)
        except BadMessage:
            return Submitted(TransactionState.REJECTED, code=error.code, detail=error.message)
        return self._refused_parsed(tx, error)

    def _refused_parsed(self, tx: ParsedTransaction, error: SalusError) -> Submitted:
        if error.code == "DUPLICATE":
            known = self.known(tx)
            if known is not None:
                return known
            return Submitted(TransactionState.ORDERED, tx.id)  # executed, not yet certified
        state = TransactionState.EXPIRED if error.code == "EXPIRED" else TransactionState.REJECTED
        if error.code in ("EXPIRED",) and (known := self.known(tx)) is not None:
            return known  # it was committed before it expired
        return Submitted(state, tx.id, code=error.code, detail=error.message)

    # -- peers ----------------------------------------------------------------------------------

    def receive(self, member: str, kind: Kind, payload: bytes) -> None:
        """TRANSACTIONS, ANNOUNCE and REQUEST frames; raises `SalusError` for a lying peer."""
        gossip, now_ms = self.gossip.gossip, self.gossip.now_ms()
        if kind is Kind.ANNOUNCE:
            self.gossip.perform(gossip.announced(member, decode(payload, IdsFrame).ids, now_ms))
        elif kind is Kind.REQUEST:
            self.gossip.perform(gossip.requested(member, decode(payload, IdsFrame).ids))
        else:
            # Verified by workers: this connection carries votes too (B26).
            self.gossip.put(member, decode(payload, TransactionsFrame).transactions)

    async def intake(self, member: str, raws: Sequence[bytes]) -> None:
        """Bodies of a peer, for the workers of `GossipTask`; raises `SalusError` for a liar."""
        fresh: list[ParsedTransaction] = []
        mempool, gossip = self.mempool, self.gossip
        for raw in raws:
            try:
                fresh.append(mempool.parse_check(raw))
            except SalusError as error:
                # Late, twice or too many is no lie; what is no transaction of this chain is.
                if error.code in _LIES:
                    raise
                self.metrics.rejected(error.code)
        if not all(await self._checked(member, mempool.unknown(fresh))):
            raise BadMessage("a peer passed on a forged transaction", code="BAD_SIGNATURE")
        added: list[tuple[bytes, bytes]] = []
        for tx in fresh:
            try:
                if mempool.add(tx):
                    added.append((tx.id, tx.raw))
            except SalusError as error:
                if error.code in _FINAL:
                    gossip.gossip.refused(tx.id)
                self.metrics.rejected(error.code)
        if added:
            gossip.perform(gossip.gossip.admitted(added, member, gossip.now_ms()))
            self.on_pending()


def _no_room(tx: ParsedTransaction) -> Submitted:
    return Submitted(TransactionState.REJECTED, tx.id, code="POOL_FULL", detail=NO_ROOM)


# An honest peer checks all this before it passes a transaction on.
_LIES = frozenset({"NOT_CANONICAL", "WRONG_CHAIN", "UNSUPPORTED_VERSION", "BAD_SIGNATURE"})

# What the pool will not have tomorrow either. All else is asked for again when it is announced
# again: a transaction that only its own node waits for costs that node its vote (L17, L20).
_FINAL = frozenset({"DUPLICATE", "EXPIRED"})
