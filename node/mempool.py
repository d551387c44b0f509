"""Transactions that wait to be ordered; and the memory of which bytes were verified.

Clock-free and without I/O: the simulator drives the real one. Law of the file: only exact,
verified bytes are ever given out — a transaction is found by all of its bytes, signature
included, never by an id that somebody claims. Everything is bounded: number (a parameter of the
chain, because rule L17 measures fairness by it), bytes, and each organisation's share.

    waiting ──take/ordered──► in flight ──executed──► gone
       ▲ └──expire──► gone        │
       └──────── release ─────────┘     its sequence passed, or was given up, without it
"""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

from node.entry import Entry
from node.later import Later
from node.quotas import PER_SENDER_MAX, Quotas
from node.verified import Verified
from node.window import check_heights, earliest
from salus.block import VerifiedTransactions
from salus.errors import BadMessage
from salus.keys import Verifier, verify
from salus.parameters import Parameters
from salus.transaction import ParsedTransaction, check_size, parse

BYTES_MAX = 64 * 2**20  # 3 kB each for 20,000: hospitals' batches; larger ones fill it sooner
BLOCK_ITEM_BYTES = 5  # the header that MessagePack puts before bytes, at most


class Mempool(VerifiedTransactions):
    """Admission, order of arrival, what is in flight, fairness."""

    def __init__(
        self,
        chain_id: str,
        genesis_hash: bytes,
        parameters: Parameters,
        verifier: Verifier = verify,
        *,
        height: int = 0,
        is_executed: Callable[[ParsedTransaction], bool] = lambda tx: False,
        organisation: Callable[[bytes], str | None] = lambda sender: "",
        admit: Callable[[ParsedTransaction], None] = lambda tx: None,
        bytes_max: int = BYTES_MAX,
        per_sender_max: int = PER_SENDER_MAX,
    ) -> None:
        """`organisation`: whom a key speaks for, None for strangers; `admit`: raises for local
        transactions that can only be refused (contracts/framework.py: `Active.check`)."""
        self._verified = Verified()
        super().__init__(verifier, self._verified.get)
        self.chain_id, self.genesis_hash = chain_id, genesis_hash
        self.parameters, self.height = parameters, height
        self.bytes_max, self.quotas = bytes_max, Quotas(per_sender_max)
        self._is_executed, self._organisation, self._admit = is_executed, organisation, admit
        self.bytes = 0
        self._pool: dict[bytes, Entry] = {}  # by id, in order of arrival
        self._waiting: dict[bytes, Entry] = {}  # takeable now, in order of arrival
        self._later = Later()  # valid from some height above the next
        # Of all others those that are not committed yet, also in flight, in order of arrival.
        self._owed: dict[bytes, Entry] = {}
        self._flying: dict[bytes, int] = {}  # id → sequence; also of ids that are not in the pool
        self._sequences: dict[int, list[bytes]] = {}
        self._decided: dict[int, bytes] = {}  # sequence → digest, see `is_decided`
        self._expiries: dict[int, dict[bytes, None]] = {}
        self._forwarded: dict[bytes, Entry] = {}
        self._arrivals = self._ordered_total = self._view_began = self._served = 0
        self._committed = height

    # ── admission ────────────────────────────────────────────────────────────

    def parse_check(
        self, raw: bytes, *, local: bool = False, full: bool = False
    ) -> ParsedTransaction:
        """All of admission but the signature, cheap to dear; raises `BadMessage`. `full`: it will not
        be taken, and whoever is turned away comes again and again. So it is only asked whether a block
        may hold it (again): else nobody need come again.

        Bytes that were verified before come back as they are, whatever the state of the pool:
        sending something twice is no error.
        """
        known = self._verified.get(raw)
        if known is not None:
            return known
        tx = parse(raw, self.chain_id, self.genesis_hash, self.parameters)
        check_heights(tx.body, self.parameters, self.height)
        if self._is_executed(tx):
            raise BadMessage("the transaction was executed before", code="DUPLICATE")
        if not full:
            from_height = earliest(tx.body, self.parameters)
            self._check_room(tx, self._organisation(tx.body.sender), from_height)
            if local:
                self._admit(tx)
        return tx

    def add(self, tx: ParsedTransaction, *, local: bool = False) -> bool:
        """Take in a transaction whose signature was verified; False if it is here already.

        Raises `BadMessage` as `parse_check` does: time has passed since. `local`: this node
        owes it to a client, so it is forwarded and its fair treatment is watched (L17).
        """
        entry = self._pool.get(tx.id)
        if entry is not None:
            if local:
                self._watch(entry)
            return False
        check_heights(tx.body, self.parameters, self.height)
        if self._is_executed(tx):
            raise BadMessage("the transaction was executed before", code="DUPLICATE")
        group = self._organisation(tx.body.sender)
        from_height = earliest(tx.body, self.parameters)
        self._check_room(tx, group, from_height)
        entry = Entry(tx, group, from_height)
        self._insert(entry)
        if local:
            self._watch(entry)
        return True

    def _check_room(self, tx: ParsedTransaction, group: str | None, from_height: int) -> None:
        full = len(self._pool) >= self.parameters.pool_transactions_max
        if full or self.bytes + len(tx.raw) > self.bytes_max:
            raise BadMessage("too many transactions wait already", code="POOL_FULL")
        if from_height > self.height + 1:
            limits = self.parameters.pool_transactions_max, self.bytes_max
            self._later.check_room(tx, group, self.quotas.share(group), *limits)
        if self.quotas.is_full(group):
            share = self.quotas.share(group)
            raise BadMessage(
                f"{share} transactions of this sender's organisation wait already"
                if group is not None
                else f"{share} transactions of keys that belong to no member wait already",
                code="SENDER_QUOTA",
            )

    def _insert(self, entry: Entry) -> None:
        tx = entry.tx
        tx_id = tx.id
        self._arrive(entry)
        self._pool[tx_id] = entry
        self._verified.keep(tx)
        self.bytes += len(tx.raw)
        self.quotas.take(entry.group)
        expiry = tx.body.expiry_height
        expiring = self._expiries.get(expiry)
        if expiring is None:
            expiring = self._expiries[expiry] = {}
        expiring[tx_id] = None
        flying = self._flying.get(tx_id)
        if flying is None:
            self._wait(entry)
        elif entry.from_height <= self.height + 1 and flying > self._committed:
            self._owed[tx_id] = entry
            self._decided.clear()

    def _arrive(self, entry: Entry) -> None:
        """It has come, or has become valid: whose turn it is counts from now."""
        self._arrivals += 1
        entry.arrival = self._arrivals
        entry.served, entry.behind = self.quotas.counts(entry.group)

    def _wait(self, entry: Entry) -> None:
        if entry.from_height > self.height + 1:
            self._later.put(entry)
            return
        tx_id = entry.tx.id
        self._waiting[tx_id] = entry
        self._owed.setdefault(tx_id, entry)

    # ── what was verified (rule 15: checked once, remembered by its bytes) ───

    def knows_any(self, raws: Iterable[bytes]) -> bool:
        """Were some of these verified before?"""
        return self._verified.has_any(raws)

    def unknown(self, transactions: Iterable[ParsedTransaction]) -> list[ParsedTransaction]:
        """Those of them whose signature is still to be verified."""
        return self._verified.unknown(transactions)

    def check(self, transactions: list[ParsedTransaction]) -> None:
        super().check(transactions)
        self.remember(transactions)

    def remember(self, transactions: Iterable[ParsedTransaction]) -> None:
        """Their signatures were verified (in a proposal): never again, should they come alone."""
        self._verified.remember(transactions)

    # ── ordering ─────────────────────────────────────────────────────────────

    def take(self, sequence: int, count_max: int, bytes_max: int) -> list[ParsedTransaction]:
        """For my proposal of `sequence`: in order of arrival, at most so many; now in flight."""
        chosen: list[ParsedTransaction] = []
        flying = []
        for tx_id, entry in self._waiting.items():
            tx = entry.tx
            if tx.body.expiry_height < sequence:
                flying.append(tx_id)  # Too late for this sequence; if that fails, it waits again.
                continue
            bytes_max -= len(tx.raw) + BLOCK_ITEM_BYTES
            if bytes_max < 0 or len(chosen) >= count_max:
                break
            chosen.append(tx)
            flying.append(tx_id)
        self.ordered(flying, sequence)
        return chosen

    def ordered(self, ids: Iterable[bytes], sequence: int, decided: bytes | None = None) -> None:
        """A proposal for `sequence` holds them: they are in flight, do not propose them again.
        `decided`: its digest, if no other can be committed there any more (`is_decided`).

        What an earlier proposal for the same sequence held, and this one does not, waits again:
        a new view chose otherwise, so the earlier one was committed nowhere (S9).
        """
        listed = list(ids)
        before = self._sequences.pop(sequence, None)
        self._decided.pop(sequence, None)
        if before:
            still = set(listed)
            self._put_back([tx_id for tx_id in before if tx_id not in still])
        flying, waiting, later = self._flying, self._waiting, self._later.entries
        for tx_id in listed:
            flying.setdefault(tx_id, sequence)
            waiting.pop(tx_id, None)
            if later:
                self._later.pop(tx_id)
            if sequence <= self._committed:
                self._owed.pop(tx_id, None)  # judged late
        self._sequences[sequence] = [i for i in listed if flying[i] == sequence]
        if decided is not None:
            self._decided[sequence] = decided

    def is_decided(self, sequence: int, digest: bytes) -> bool:
        """Was it marked as decided, and has nothing been let go since that it may hold? Asked with
        every tick: marking all that is on its way to the disk each time anew costs as much as
        admitting it."""
        return self._decided.get(sequence) == digest

    def committed(self, sequence: int) -> bool:
        """All up to there is decided: what is left to do is this node's own work and its disk's, and
        no primary's fault (L17, L22). True: nothing is owed any more, and something was."""
        if sequence <= self._committed:
            return False  # asked with every tick, and mostly nothing is new
        owed = len(self._owed)
        for decided in [s for s in self._sequences if self._committed < s <= sequence]:
            for tx_id in self._sequences[decided]:
                self._owed.pop(tx_id, None)
        self._committed = sequence
        return owed > 0 and not self._owed

    def release(self, sequence: int) -> None:
        """The proposal for `sequence` will not be (a new view chose otherwise): they wait again,
        at their old places."""
        self._put_back(self._sequences.pop(sequence, []))

    def _put_back(self, ids: list[bytes]) -> None:
        landed = [tx_id for tx_id in ids if self._flying.pop(tx_id, None) is not None]
        if landed:
            self._decided.clear()
        back = [self._pool[tx_id] for tx_id in landed if tx_id in self._pool]
        for entry in back:
            self._wait(entry)
        if back:
            self._waiting = _in_order_of_arrival(self._waiting)
            self._owed = _in_order_of_arrival(self._owed)

    def release_above(self, sequence: int) -> None:
        """A new view was entered: what only the old one had ordered above `sequence` waits again.
        What the new view carries on is marked again when it is judged, or committed."""
        for flying in sorted(s for s in self._sequences if s > sequence):
            self.release(flying)

    def executed(self, ids: Iterable[bytes], height: int) -> list[bytes]:
        """Block `height` ran these. Returns the ids that expired with it, unordered by anybody."""
        groups: list[str | None] = []
        listed = list(ids)
        self._ordered_total += len(listed)
        flying, pool = self._flying, self._pool
        for tx_id in listed:
            flying.pop(tx_id, None)
            entry = pool.get(tx_id)
            if entry is not None:
                groups.append(entry.group)
                self._served += entry.forwarded
                self._remove(entry)
        if len(groups) < len(listed):  # what the pool never held
            extras = self._verified.forget_extras(listed)
            for sender, count in Counter([tx.body.sender for tx in extras]).items():
                groups += [self._organisation(sender)] * count
        self.quotas.serve(groups)
        if self._sequences.get(height) == listed:
            del self._sequences[height]  # as it was marked: none of them is in flight any more
        for sequence in sorted(s for s in self._sequences if s <= height):
            self.release(sequence)  # Another proposal was agreed on there.
        for sequence in [s for s in self._decided if s <= height]:
            del self._decided[sequence]
        return self.expire(height)

    def expire(self, height: int) -> list[bytes]:
        """Drop what can no longer be ordered after `height`; returns their ids."""
        if height <= self.height:
            return []
        self.height = height
        gone = []
        for expiry in sorted(e for e in self._expiries if e <= height):
            for tx_id in list(self._expiries[expiry]):
                self._remove(self._pool[tx_id])
                gone.append(tx_id)
        self._ripen()
        return gone

    def _ripen(self) -> None:
        """What is valid from the next height on queues up."""
        for entry in self._later.due(self.height):
            self._arrive(entry)
            self._waiting[entry.tx.id] = self._owed[entry.tx.id] = entry

    def _remove(self, entry: Entry) -> None:
        tx = entry.tx
        tx_id = tx.id
        del self._pool[tx_id]
        self._waiting.pop(tx_id, None)
        if self._later.entries:
            self._later.pop(tx_id)
        self._owed.pop(tx_id, None)
        if entry.forwarded:
            del self._forwarded[tx_id]
        self._verified.drop(tx)
        self.bytes -= len(tx.raw)
        expiry = tx.body.expiry_height
        expiring = self._expiries[expiry]
        del expiring[tx_id]
        if not expiring:
            del self._expiries[expiry]
        self.quotas.give_back(entry.group)

    def begin_epoch(self, parameters: Parameters) -> None:
        """New limits: what they exclude leaves, and what they allow at a later height only waits for
        that: a primary that took it would refuse its own proposal, each time anew (S15)."""
        self.parameters = parameters
        self._decided.clear()
        for entry in tuple(self._pool.values()):
            tx = entry.tx
            try:
                check_size(tx, parameters)
                check_heights(tx.body, self.parameters, self.height)
                entry.from_height = earliest(tx.body, self.parameters)
                if entry.from_height > self.height + 1:
                    self._put_off(entry)
            except BadMessage:
                self._remove(entry)
        self._ripen()

    def _put_off(self, entry: Entry) -> None:
        """It waits for a later height than before; raises `BadMessage` if too many do."""
        tx_id = entry.tx.id
        if tx_id in self._waiting:
            share = self.quotas.share(entry.group)
            limits = self.parameters.pool_transactions_max, self.bytes_max
            self._later.check_room(entry.tx, entry.group, share, *limits)
            del self._waiting[tx_id]
            self._later.put(entry)
        self._owed.pop(tx_id, None)

    # ── fairness (L17, L22) ──────────────────────────────────────────────────

    def begin_view(self) -> list[ParsedTransaction]:
        """A new primary: it starts with a clean slate, and is owed what we are owed."""
        self._view_began = self._ordered_total
        self.quotas.begin_view()
        return [entry.tx for entry in self._forwarded.values() if entry.tx.id in self._waiting]

    def fairness(self) -> bool:
        """True when the primary starves us: more than one pool capacity of transactions that
        came later was ordered before one that we forwarded. Count, not time: a healthy saturated
        network complains about nobody.

        Of what was ordered since, at most `before` came earlier; the one that is watched longest
        has been passed by most, so it speaks for all.
        """
        for tx_id, entry in self._forwarded.items():
            if tx_id in self._waiting:
                since = self._ordered_total - max(entry.ordered, self._view_began)
                return since - entry.before > self.parameters.pool_transactions_max
        return False

    def _watch(self, entry: Entry) -> None:
        if not entry.forwarded:
            self._later.owe(entry)
            entry.forwarded = True
            # Perhaps it came earlier, by gossip: what was ordered meanwhile wronged nobody.
            entry.ordered, entry.before = self._ordered_total, len(self._pool) - 1
            self._forwarded[entry.tx.id] = entry

    # ── asking ───────────────────────────────────────────────────────────────

    @property
    def proposable(self) -> int:
        """How many `take` could give for the next sequence."""
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """All that wait or are in flight."""
        return len(self._pool)

    @property
    def owed(self) -> int:
        """Of them, those that could stand in a block by now: work that the progress timer counts
        on (L17). No primary can help it if a transaction is valid from a later height only."""
        return len(self._owed)

    @property
    def taken(self) -> int:
        """Of all, those that this node owes to its own clients."""
        return len(self._forwarded)

    @property
    def taken_for_later(self) -> int:
        """Of these, those that are valid from a later height only: nothing serves them yet."""
        return self._later.owed

    def valid_later(self, tx: ParsedTransaction) -> bool:
        """From a later height only than the next."""
        return earliest(tx.body, self.parameters) > self.height + 1

    @property
    def served(self) -> int:
        """How many of its own clients' were executed so far."""
        return self._served

    @property
    def in_flight(self) -> int:
        return sum(1 for tx_id in self._flying if tx_id in self._pool)

    @property
    def arrivals(self) -> int:
        """How many have come, or have become valid, so far: the number of the newest."""
        return self._arrivals

    @property
    def oldest_owed(self) -> int | None:
        """The number of the oldest that could stand in a block by now and is not committed yet, and
        for which the primary has had room: an organisation that floods it waits behind itself."""
        flooding = set[str | None]()
        for entry in self._owed.values():
            if entry.group in flooding:
                continue
            if not self.quotas.passed_by_its_own(entry.group, entry.served, entry.behind):
                return entry.arrival
            flooding.add(entry.group)
        return None

    @property
    def organisations(self) -> int:
        """How many organisations have something here (strangers count as one)."""
        return len(self.quotas)

    def find(self, tx_id: bytes) -> ParsedTransaction | None:
        """A verified transaction in the pool, to be given to a peer that asks."""
        entry = self._pool.get(tx_id)
        return None if entry is None else entry.tx

    def is_ordered(self, tx_id: bytes) -> bool:
        """Does a proposal that this node has accepted hold it?"""
        return tx_id in self._flying

    def missing(self, ids: Iterable[bytes]) -> list[bytes]:
        """Of announced ids, those to ask for: neither here nor in flight.

        Also what a proposal has shown that came to nothing: it was verified, but it waits nowhere,
        and whoever announces it again would be alone with it (L17)."""
        return [tx_id for tx_id in ids if tx_id not in self._pool and tx_id not in self._flying]

    def ids(self, count_max: int) -> list[bytes]:
        """The oldest so many, for a peer that has just connected."""
        return list(islice(self._pool, count_max))


def _in_order_of_arrival(entries: dict[bytes, Entry]) -> dict[bytes, Entry]:
    ascending = sorted(entries.values(), key=lambda entry: entry.arrival)
    return {entry.tx.id: entry for entry in ascending}
