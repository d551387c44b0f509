"""A seed finds its relations by proof; what a node merely says is not taken (rule P-13)."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from cli import rebuilding
from cli.errors import CliError
from cli.rebuilding import Found, find
from cli.wallets import OpenWallet
from node.trail_files import TrailFiles
from salus.acts import relations
from salus.acts.act import Act
from salus.client import Trust
from salus.client_errors import UnreachableError
from salus.forms_records import PermitListRequest
from salus.own_relation import OwnRelation
from salus.parameters import Parameters
from salus.wallet import KnownRelation, Wallet
from tests import factories
from tests.contracts.lab import h
from tests.ledger import Ledger

SEED, OTHER = factories.seed("jon"), factories.seed("joan")
ORG, CHAIN = "hosp-a", factories.CHAIN_ID
OWN = OwnRelation.begin(SEED, CHAIN, ORG, custodial=True)


class Node:
    """A certified chain, and a node that says of keys what a test lets it say."""

    def __init__(self) -> None:
        self.ledger = Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))
        self.files = TrailFiles(self.ledger.proofs)
        self.trust: Trust | None = Trust(self.ledger.genesis_hash.hex())
        self.says: dict[str, bytes] = {}  # handle by key
        self.silent = False

    def run(self, act: Act, signer: Any) -> None:
        tx = factories.transaction(self.ledger.genesis, act.operation, signer=signer)
        assert {one.code for one in self.ledger.block(tx)} == {"OK"}

    def register(self, own: OwnRelation) -> None:
        act = relations.register(CHAIN, own.whose, own.keys(), custodial=own.known.custodial)
        self.run(act, factories.key(f"operator {own.whose.org}"))
        self.tell(own)

    def tell(self, own: OwnRelation, handle: bytes | None = None) -> None:
        self.says[own.signer.public_key.hex()] = handle or own.whose.handle

    async def query(self, contract: str, name: str, public_key: str) -> Any:
        assert (contract, name) == ("identity", "by_key")
        found = self.says.get(public_key)
        return None if found is None else {"org": ORG, "handle": found.hex()}

    async def api(self, method: str, path: str, body: bytes) -> Any:
        if self.silent:
            raise UnreachableError("no answer")
        wanted = msgspec.json.decode(body, type=PermitListRequest)
        file = await self.files.permits(wanted.org, bytes.fromhex(wanted.handle))
        return SimpleNamespace(body=file)


async def found(node: Node) -> Found:
    wallet = OpenWallet("jon", Path("jon.wallet"), SEED, Wallet())
    client: Any = node
    return await find(client, wallet, CHAIN, ORG)


async def test_a_relation_is_found_with_what_its_entry_says() -> None:
    node = Node()
    node.register(OWN)
    assert await found(node) == Found(ORG, OWN.known, node.ledger.height)


async def test_that_the_seeds_own_handle_stands_nowhere_is_proved() -> None:
    node = Node()
    node.register(OwnRelation.begin(OTHER, CHAIN, ORG))
    assert await found(node) == Found(ORG, None, node.ledger.height)


async def test_a_node_that_is_silent_of_a_relation_hides_nothing() -> None:
    node = Node()
    node.register(OWN)
    newer = OWN.next()
    node.run(relations.rotate(CHAIN, OWN.whose, newer.keys()), OWN.signer)
    node.says.clear()
    assert (await found(node)).relation == newer.known, "the key that waits stands in the entry"


async def test_a_node_that_invents_keys_does_not_lock_the_owner_out_at_the_next_rebuild() -> None:
    """What the wallet counts on from, an honest node must lead back to: keys are sought in their order."""
    node = Node()
    node.register(OWN)
    for number in range(1, 30):
        node.says[OWN.keys(number).signing.public_key.hex()] = OWN.whose.handle
    misled = (await found(node)).relation
    assert misled is not None
    newer = replace(OWN, known=misled).next()
    node.run(relations.rotate(CHAIN, OWN.whose, newer.keys()), OWN.signer)
    node.says.clear()
    node.tell(OWN)
    node.tell(newer)
    assert (await found(node)).relation == newer.known


async def test_a_key_of_the_seed_is_found_in_the_entry_however_far_the_wallet_had_counted() -> None:
    """Each key that is counted and never sent leaves a gap; so does a lie that an older program believed."""
    node = Node()
    node.register(OWN)
    far = replace(OWN, known=msgspec.structs.replace(OWN.known, generation=40))
    node.run(relations.rotate(CHAIN, OWN.whose, far.keys()), OWN.signer)
    assert (await found(node)).relation == far.known


async def test_a_relation_that_the_node_invents_is_not_taken() -> None:
    node = Node()
    theirs = OwnRelation.begin(OTHER, CHAIN, ORG)
    node.register(theirs)
    for handle in (theirs.whose.handle, h("nowhere")):
        node.tell(OWN, handle)
        assert await found(node) == Found(ORG, None, None, "NOT_PROVED")
    node.register(OWN)
    node.tell(OWN, theirs.whose.handle)
    assert (await found(node)).relation == OWN.known, "its own stands beside what was invented"


async def test_one_that_was_taken_over_is_found_by_its_key() -> None:
    """It began with another seed: the handle is none of this one."""
    node = Node()
    theirs = OwnRelation.begin(OTHER, CHAIN, ORG)
    node.register(theirs)
    mine = OwnRelation.taken_over(SEED, CHAIN, theirs.whose)
    node.run(relations.rotate(CHAIN, theirs.whose, mine.keys()), theirs.signer)
    node.tell(mine)
    expected = KnownRelation(ORG, theirs.whose.handle, False, 0)
    assert await found(node) == Found(ORG, expected, node.ledger.height)


async def test_without_a_proof_nothing_is_found_and_the_reason_is_told() -> None:
    node = Node()
    node.register(OWN)
    node.silent = True
    assert await found(node) == Found(ORG, None, None, "UNREACHABLE")
    node.silent, node.trust = False, Trust("5a" * 32)
    assert await found(node) == Found(ORG, None, None, "NOT_PROVED")


async def test_a_node_that_knows_every_key_is_no_endless_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Eager(Node):
        async def query(self, contract: str, name: str, public_key: str) -> Any:
            return {"org": ORG, "handle": h("yes").hex()}

    monkeypatch.setattr(rebuilding, "GENERATIONS_MAX", 20)
    with pytest.raises(CliError) as caught:
        await found(Eager())
    assert caught.value.code == "BAD_ANSWER"
