"""The consortium of one run: keys, genesis, founded stores, and transactions of its members.

Operations do not depend on the chain, so they are made once for a process and only signed anew.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256
from typing import Any

import msgspec

from contracts.records import AnchorArgs, RetractArgs, SupersedeArgs
from contracts.registry import Registry
from node.genesis_block import genesis_block
from salus.block import BLOCK_VERSION, Proposal, null_proposal, proposal_digest
from salus.codec import encode
from salus.genesis import GENESIS_VERSION, NO_PEPPER, Genesis, Member, Role
from salus.keys import box_public_key
from salus.merkle import leaf_hash
from salus.parameters import Parameters
from salus.record import record_leaf, tag_hash
from salus.transaction import Operation, ParsedTransaction, build, signed_payload
from salus.vote import VoteDomain
from storage.blocks import BlockStore
from storage.state import StateStore
from tests.sim.kv import SimKV
from tests.sim.poison import FailArgs
from tests.sim.power import Power
from tests.sim.signatures import SimKey, keyed, true_key

CHAIN_ID = "simulated"
NEXT = " next"  # in the label of the key that a vote has put in the place of another
TIME_MS = 1_000_000
# The same members founded a chain of this name before, with the same keys. What they signed there
# liars still have: any vote, any transaction (S1).
EARLIER = sha256(b"the genesis of an earlier founding").digest()
EARLIER_DOMAIN = VoteDomain(CHAIN_ID, EARLIER)


def name(number: int) -> str:
    """The member's id; ascending with its number."""
    return f"n{number:02}"


NAMES = tuple(name(number) for number in range(100))


def number(member: str) -> int:
    return int(member[1:])


@lru_cache(maxsize=256)
def member(index: int, *, validator: bool = True) -> Member:
    who = name(index)
    return Member(
        who,
        f"Hospital {who}",
        (Role.HOSPITAL,),
        validator,
        true_key(f"node {who}").public_key,
        true_key(f"operator {who}").public_key,
        box_public_key(sha256(f"box {who}".encode()).digest()),
    )


@lru_cache(maxsize=256)
def operator(index: int, turn: str = "") -> SimKey:
    return SimKey(f"operator {name(index)}{turn}")


@lru_cache(maxsize=1_024)
def null(sequence: int) -> tuple[bytes, bytes]:
    """(digest, body) of Null(sequence)."""
    body = null_proposal(sequence)
    return proposal_digest(body), body


def make_body(
    sequence: int, proposer: int, view: int, time_ms: int, transactions: tuple[bytes, ...]
) -> bytes:
    return encode(Proposal(BLOCK_VERSION, sequence, proposer, view, time_ms, transactions))


class Founding:
    """Genesis of one run, and what every node's disks hold at its first start."""

    def __init__(
        self, n: int, parameters: Parameters, registry: Registry, observers: int = 0
    ) -> None:
        members = tuple(member(index, validator=index < n) for index in range(n + observers))
        self.genesis = Genesis(GENESIS_VERSION, CHAIN_ID, TIME_MS, members, parameters, NO_PEPPER)
        self.registry = registry
        self.hash = self.genesis.hash()
        self.domain = self.genesis.vote_domain()
        power = Power()
        state, blocks = SimKV(power, _NO_DICE), SimKV(power, _NO_DICE)
        StateStore(state, self.hash).initialise(genesis_block(self.genesis, registry))
        BlockStore(blocks, self.hash)
        self.state, self.blocks = state.data, blocks.data
        self._made = 0
        self.rotated: set[int] = set()  # members whose operator has another key by now
        self.foreign: set[bytes] = set()  # transactions of the earlier founding

    def transaction(
        self,
        of: int,
        operation: Operation,
        expiry_height: int,
        first_height: int = 0,
        *,
        old_key: bool = False,
        more: tuple[Operation, ...] = (),
    ) -> ParsedTransaction:
        """Signed by the operator of a member; each has a nonce of its own. `old_key`: by the one
        that was replaced, if one was. `more`: operations behind the first."""
        self._made += 1
        return build(
            (operation, *more),
            signer=operator(of, NEXT if of in self.rotated and not old_key else ""),
            chain_id=CHAIN_ID,
            genesis_hash=self.hash,
            nonce=self._made.to_bytes(16),
            first_height=first_height,
            expiry_height=expiry_height,
            independent=operation.contract == "poison",  # what it leaves no other operation undoes
        )

    def earlier(self, tx: ParsedTransaction) -> bytes:
        """The bytes of the same transaction as its sender signed it in the earlier founding."""
        signed = signed_payload(EARLIER, tx.body, 1, leaf_hash(tx.body.operations[0]))
        made = encode(msgspec.structs.replace(tx.body, signature=keyed(tx.body.sender, signed)))
        self.foreign.add(made)
        return made


_NO_DICE: Any = None  # founding meets no faults


# -- operations -----------------------------------------------------------------------------------


def _word(what: str, index: int) -> bytes:
    return sha256(f"{what} {index}".encode()).digest()


def _leaf(index: int) -> bytes:
    return record_leaf(_word("version", index), tag_hash(_word("tag", index)))


@lru_cache(maxsize=4_096)
def anchor(index: int) -> Operation:
    """A batch of one record version; number `index` of its organisation."""
    return _records("anchor", AnchorArgs(_leaf(index), 1, _word("author", index), bytes(32)))


@lru_cache(maxsize=4_096)
def retract(index: int) -> Operation:
    """Ends the version that `anchor(index)` brought: OK once, refused again or too early."""
    args = RetractArgs(
        _leaf(index), 1, 0, _word("version", index), _word("tag", index), (), bytes(32)
    )
    return _records("retract", args)


@lru_cache(maxsize=4_096)
def supersede(index: int) -> Operation:
    """By the batch that `anchor(index + 1)` brought."""
    args = SupersedeArgs(
        _leaf(index), 1, 0, _word("version", index), _word("tag", index), (), _leaf(index + 1)
    )
    return _records("supersede", args)


@lru_cache(maxsize=64)
def refused(index: int) -> Operation:
    """Anchors three leaves, which no batch has: executed, and refused."""
    return _records("anchor", AnchorArgs(_leaf(index), 3, bytes(32), bytes(32)))


@lru_cache(maxsize=16)
def poisoned(how: int, version: int = 1) -> Operation:
    """Breaks the contract that it calls (rule S16); the second version of it mends that."""
    return Operation("poison", "fail", version, encode(FailArgs(how)))


def _records(method: str, args: object) -> Operation:
    return Operation("records", method, 1, encode(args))
