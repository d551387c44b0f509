"""Whole nodes whose members, keys and limits change while they run, on a chain that idles.

Nobody sends anything but the votes themselves: what a vote brings about must come without traffic
(rule S13, decision 0006).
"""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contracts.catalogue import registry
from contracts.context import Capacity, Context
from contracts.framework import Contract
from contracts.governance import PARAMETER_NAMES
from contracts.proposals import CandidacyStage, Proposal, Stage, read_proposal
from contracts.registry import Registry
from contracts.state import ReadState, State
from node.api.view import Submitted
from node.errors import UpgradeNeeded
from node.net.peer import PeerAddress
from node.node import Node
from node.ready import Ready, candidacy_of, is_waited_for
from node.roster import Belonging
from node.standing import is_born, mark_birth
from salus.block import Event
from salus.certificate import EpochStep, follow_epochs
from salus.codec import Wire, encode
from salus.epoch import EpochRecord
from salus.forms import TransactionState
from salus.genesis import Role
from salus.governance import possession
from salus.keys import SigningKey, box_public_key
from salus.parameters import Parameters
from salus.transaction import Operation, ParsedTransaction, build
from salus.validators import ValidatorSet
from storage.check import check_stores
from tests import factories
from tests.node.network import Hospitals, eventually, hospitals
from tests.node.test_node import anchor, commit

LIMITS = Parameters(
    state_bucket_bits=4, watermark_window=8, in_flight_proposals_max=2, execute_ahead_max=4
)
FAR = 5_000


def op(group: Hospitals, org: int, method: str, **fields: Any) -> ParsedTransaction:
    """Signed by the operator of that hospital."""
    node = next(iter(group.nodes.values()))
    declared = node.executor.active.method("governance", method)
    if "vote" not in method:
        fields = {
            "activation_height": 0,
            "expiry_height": FAR,
            "reasons": factories.seed("reasons"),
        } | fields
    return build(
        (declared.operation(declared.args(**fields)),),
        signer=group.operators[org],
        chain_id=group.genesis.chain_id,
        genesis_hash=group.genesis.hash(),
        nonce=factories.nonce(),
        expiry_height=FAR,
    )


async def decide(group: Hospitals, *voters: int, method: str, **fields: Any) -> int:
    """Proposed by the first voter, approved by the others; the number."""
    proposer, *others = voters
    await commit(group, proposer, op(group, proposer, method, **fields))
    number = group.nodes[proposer].facade.contracts.query("governance", "agenda", {})[1]
    made = number["next_number"] - 1
    for voter in others:
        await commit(group, voter, op(group, voter, "vote", proposal=made, approve=True))
    return int(made)


def add(group: Hospitals, index: int, *, candidate: bool) -> dict[str, Any]:
    name = factories.member_ids(group.n)[index]

    def proof(key: SigningKey, capacity: Capacity) -> bytes:
        return key.sign(possession(group.genesis.chain_id, name, capacity))

    node_key, operator = group.keys[index], group.operators[index]
    return {
        "member": name,
        "roles": (Role.HOSPITAL,),
        "node_key": node_key.public_key,
        "operator_key": operator.public_key,
        "box_key": box_public_key(factories.seed(f"box {name}")),
        "node_possession": proof(node_key, Capacity.NODE),
        "operator_possession": proof(operator, Capacity.OPERATOR),
        "candidate": candidate,
    }


def proposal(node: Node, number: int) -> Proposal:
    found = read_proposal(ReadState(node.state.value, "governance"), number)
    assert found is not None
    return found


def seated(node: Node) -> list[str]:
    return [v.member for v in node.pipeline.epoch.validators.validators]


def chain_of_sets(node: Node) -> ValidatorSet:
    """From genesis, by signatures alone; the set that the last boundary hands over to."""
    steps = []
    for record in list(node.state.epochs())[1:]:
        certificate = node.state.certificate(record.base)
        assert certificate is not None
        steps.append(EpochStep(node.state.header(record.base), certificate, record.validators))
    genesis = node.genesis
    return follow_epochs(genesis.validators(), steps, genesis.vote_domain())


async def epoch(group: Hospitals, number: int, *indexes: int) -> None:
    for index in indexes or tuple(group.nodes):
        node = group.nodes[index]
        await eventually(lambda node=node: node.pipeline.epoch.epoch >= number)  # type: ignore[misc]


async def sound(group: Hospitals, index: int) -> None:
    """The stores of a node that stands still hold what was certified, over all its sets."""
    await group.stop(index)
    node = group.start(index)
    height = node.state.height()
    assert list(check_stores(node.blocks, node.state, node.genesis)) == []
    assert node.state.height() >= height


async def test_a_fifth_hospital_joins_catches_up_by_itself_and_votes(tmp_path: Path) -> None:
    async with hospitals(tmp_path, 5, LIMITS, founders=4) as group:
        fifth = group.start(4)
        assert fifth.vitals.trouble()[0] == "NOT_YET_MEMBER"
        assert fifth.member is None
        assert fifth.facade.records is None
        assert all(group.nodes[i].network.peers()[-1].member != "hosp-e" for i in range(4))

        number = await decide(
            group, 0, 1, 2, method="propose_add_member", **add(group, 4, candidate=True)
        )
        await epoch(group, 2, 0, 1, 2, 3, 4)  # 1: a member; 2: a validator. Nobody sent anything.

        assert seated(fifth) == ["hosp-a", "hosp-b", "hosp-c", "hosp-d", "hosp-e"]
        await eventually(lambda: fifth.vitals.signing() == "signing")
        assert fifth.member == "hosp-e"
        assert fifth.facade.records is not None
        assert proposal(fifth, number).stage is Stage.EFFECTIVE
        candidacy = candidacy_of(fifth.state.value, "hosp-e")
        assert candidacy is not None
        assert candidacy.stage is CandidacyStage.COUNTED
        assert chain_of_sets(fifth) == fifth.pipeline.epoch.validators

        # Four of five are the quorum now: with one of the founders down it takes the fifth's vote.
        await group.stop(3)
        height = await commit(group, 4, anchor(group, 1, org=4))
        await group.height(height)
        signers = fifth.state.certificate(height)
        assert signers is not None
        assert len(signers.signatures) == 4


async def test_a_hospital_is_removed_from_the_set_and_then_altogether(tmp_path: Path) -> None:
    async with hospitals(tmp_path, 5, LIMITS) as group:
        gone = group.nodes[4]
        await decide(group, 0, 1, 2, 3, method="propose_remove_validator", member="hosp-e")
        await epoch(group, 1)
        assert seated(gone) == ["hosp-a", "hosp-b", "hosp-c", "hosp-d"]
        assert gone.vitals.signing() == "observer"
        assert gone.vitals.belonging is Belonging.MEMBER
        journal = gone.voter.journal
        assert journal is not None
        said = journal.entries()
        height = await commit(group, 0, anchor(group, 1))
        await group.height(height)  # it goes on as an observer
        assert journal.entries() == said, "and signs nothing more"

        await decide(group, 0, 1, 2, method="propose_remove_member", member="hosp-e")
        await epoch(group, 2, 0, 1, 2, 3)
        await eventually(
            lambda: all(
                peer.member != "hosp-e" or not (peer.connected_in or peer.connected_out)
                for index in range(4)
                for peer in group.nodes[index].network.peers()
            )
        )
        # It has read of it, or the others' refusals say so: in either case its status does.
        await eventually(lambda: gone.facade.readiness().code in ("MEMBER_REMOVED", "NOT_A_MEMBER"))
        height = await commit(group, 0, anchor(group, 2))
        await group.height(height, 0, 1, 2, 3)
        assert chain_of_sets(group.nodes[0]) == group.nodes[0].pipeline.epoch.validators


async def test_limits_change_for_everybody_at_one_height(tmp_path: Path) -> None:
    async with hospitals(tmp_path, 4, LIMITS) as group:
        none = dict.fromkeys(PARAMETER_NAMES)
        wanted = {"tick_ms": 30, "watermark_window": 16, "execute_ahead_max": 8}
        number = await decide(group, 0, 1, 2, method="propose_change_parameters", **(none | wanted))
        await epoch(group, 1)
        for node in group.nodes.values():
            limits = node.pipeline.epoch.parameters
            assert {name: getattr(limits, name) for name in wanted} == wanted
            assert node.runner.tick_s == 0.03
        await commit(group, 0, anchor(group, 1))
        assert proposal(group.nodes[0], number).effective_height == 8 + 3 + 1
        await sound(group, 3)


async def test_a_node_key_is_replaced_and_its_old_votes_are_void(tmp_path: Path) -> None:
    async with hospitals(tmp_path, 4, LIMITS) as group:
        old, new = group.nodes[1], factories.key("second node hosp-b")
        signed = new.sign(possession(group.genesis.chain_id, "hosp-b", Capacity.NODE))
        await decide(
            group,
            0,
            2,
            3,
            method="propose_rotate_node_key",
            member="hosp-b",
            new_key=new.public_key,
            possession=signed,
        )
        await epoch(group, 1, 0, 2, 3)
        await eventually(lambda: old.facade.readiness().code in ("KEY_REPLACED", "NOT_A_MEMBER"))
        assert old.vitals.signing() != "signing" or old.pipeline.epoch.epoch == 0
        height = await commit(group, 0, anchor(group, 1))  # three of four go on

        await group.stop(1)
        group.keys[1] = new
        mark_birth(group.home(1) / "data")  # made together with the key
        assert is_born(group.home(1) / "data")
        node = group.start(1)
        await group.height(height, 1)
        await eventually(lambda: node.vitals.signing() == "signing")
        assert node.voter.journal is not None
        # The others dial it under the new key, though their configuration names the old one.
        await eventually(
            lambda: any(
                peer.member == "hosp-b" and peer.connected and peer.public_key == new.public_key
                for peer in group.nodes[0].network.peers()
            )
        )
        await group.stop(3)  # now it takes the new key's vote
        height = await commit(group, 1, anchor(group, 2))
        await group.height(height)
        assert chain_of_sets(node) == node.pipeline.epoch.validators


async def test_a_candidate_that_lost_its_journal_votes_from_its_own_ready_on(
    tmp_path: Path,
) -> None:
    """S4: no life of it before can have voted in the epoch that its own `ready` began."""
    async with hospitals(tmp_path, 5, LIMITS) as group:
        await decide(group, 0, 1, 2, 3, method="propose_remove_validator", member="hosp-e")
        await epoch(group, 1)
        await group.stop(4)
        shutil.rmtree(group.home(4) / "data")
        node = group.start(4)
        await decide(group, 0, 1, 2, method="propose_add_validator", member="hosp-e")
        await epoch(group, 2)
        await eventually(lambda: node.vitals.signing() == "signing")
        assert node.voter.first_epoch == 2
        assert node.pipeline.epoch.epoch == 2, "it took no rejoin"


def copy_of(group: Hospitals, index: int) -> Ready:
    """Somebody with a copy of that node's key, who speaks through the first one."""
    genesis, through = group.genesis, group.nodes[0].admission
    return Ready(group.keys[index], genesis.chain_id, genesis.hash(), through.submit, None)


async def waits(group: Hospitals, index: int) -> None:
    """The consortium waits for that node to say `ready`."""
    name = factories.member_ids(group.n)[index]
    await eventually(lambda: is_waited_for(group.nodes[0].state.value, name))


@pytest.mark.parametrize("journal", [True, False])
async def test_a_ready_that_somebody_else_said_in_my_name_is_no_leave_to_vote(
    tmp_path: Path, journal: bool
) -> None:
    """S4: a copy of the key is at work, and votes in the new epoch; two must not. Its own `ready`
    came second and was refused, which says nothing of who votes."""
    async with hospitals(tmp_path, 5, LIMITS) as group:
        await decide(group, 0, 1, 2, 3, method="propose_remove_validator", member="hosp-e")
        await epoch(group, 1)
        await group.stop(4)
        if not journal:
            shutil.rmtree(group.home(4) / "data")
        node, said = group.start(4), asyncio.Queue[Sequence[bytes]]()
        submit = node.ready.submit

        async def hold(raws: Sequence[bytes]) -> list[Submitted]:
            said.put_nowait(raws)
            return [Submitted(TransactionState.PENDING) for _ in raws]

        node.ready.submit = hold
        signings: dict[int, str] = {}
        begin = node.epochs.begin

        def began(following: EpochRecord) -> None:
            begin(following)
            signings[following.epoch] = node.vitals.signing()

        node.epochs.begin = began  # type: ignore[method-assign]
        await decide(group, 0, 1, 2, method="propose_add_validator", member="hosp-e")
        await waits(group, 4)
        held = await said.get()
        copy, primary = copy_of(group, 4), group.nodes[1]
        await copy.ask(group.nodes[0].state.head, 0.0)
        (theirs,) = copy.sent
        # Both go to the primary, by ways of their own: which is the first is not left to chance.
        await eventually(
            lambda: (
                (primary.mempool.find(theirs) or primary.state.find_transaction(theirs)) is not None
            )
        )
        await submit(held)
        await epoch(group, 2)
        assert signings[2] == "quarantine"
        await eventually(lambda: node.vitals.signing() == "signing")
        assert node.voter.first_epoch >= 3, "its own rejoin granted it"


async def test_a_suspended_hospital_reads_on_and_comes_back_as_a_candidate(
    tmp_path: Path,
) -> None:
    async with hospitals(tmp_path, 4, LIMITS) as group:
        node = group.nodes[3]
        await decide(group, 0, 1, 2, method="propose_suspend_member", member="hosp-d")
        await epoch(group, 1)
        assert node.vitals.belonging is Belonging.SUSPENDED
        assert seated(node) == ["hosp-a", "hosp-b", "hosp-c"]
        (submitted,) = await node.facade.submit([anchor(group, 1, org=3).raw])
        assert submitted.tx_id is not None
        view = await node.facade.wait(submitted.tx_id, 60)
        assert [receipt.code for receipt in view.receipts] == ["NOT_AUTHORISED"]

        await decide(group, 0, 1, 2, method="propose_reinstate_member", member="hosp-d")
        await epoch(group, 3)  # 2: reinstated; 3: it has said `ready`
        await eventually(lambda: node.vitals.signing() == "signing")
        await commit(group, 3, anchor(group, 2, org=3))


async def test_peers_of_the_configuration_that_nobody_has_voted_in_get_nothing(
    tmp_path: Path,
) -> None:
    """A key that an operator wrote into `p2p.peers` too early must not open the ledger."""
    async with hospitals(tmp_path, 5, LIMITS, founders=4) as group:
        height = await commit(group, 0, anchor(group, 1))
        stranger = group.start(4)
        await eventually(lambda: sum(peer.connected_out for peer in stranger.network.peers()) == 4)
        asked = stranger.sync._turn + 3
        await eventually(lambda: stranger.sync._turn >= asked)
        assert height > 0
        assert stranger.state.height() == 0
        assert not any(
            group.nodes[index].roster.is_member(peer.member)
            for index in range(4)
            for peer in group.nodes[index].network.peers()
            if peer.public_key == group.keys[4].public_key
        )


@pytest.mark.parametrize("approve", [True, False])
async def test_a_removed_ones_ballot_does_not_count(tmp_path: Path, approve: bool) -> None:
    """Recounted when the set shrinks: what the removed one said plays no part."""
    async with hospitals(tmp_path, 4, LIMITS) as group:
        none = dict.fromkeys(PARAMETER_NAMES)
        # hosp-d votes, hosp-a proposes: 2 of 4, or 1 of 4 with one against.
        await commit(
            group, 0, op(group, 0, "propose_change_parameters", **(none | {"tick_ms": 30}))
        )
        await commit(group, 3, op(group, 3, "vote", proposal=1, approve=approve))
        await commit(group, 1, op(group, 1, "vote", proposal=1, approve=not approve))
        await decide(group, 0, 1, 2, method="propose_remove_member", member="hosp-d")
        await epoch(group, 1, 0, 1, 2)
        # Three are left, and three it takes: a's approval and b's ballot are what counts.
        stage = proposal(group.nodes[0], 1).stage
        assert stage is (Stage.REJECTED if approve else Stage.OPEN)


class Nothing(Wire, frozen=True):
    """No arguments."""


def with_second_records() -> Registry:
    """The catalogue, and a next version of the records."""
    second = Contract("records", version=2, doc="The next version.", refusals={})

    @second.method(senders=(Capacity.OPERATOR,))
    def greet(ctx: Context, state: State, args: Nothing) -> list[Event]:
        """Only here to be called."""
        return []

    known = registry()
    return Registry((*known.contracts.values(), second), known.membership)


async def test_a_node_with_old_software_stops_at_the_boundary_and_newer_software_goes_on(
    tmp_path: Path,
) -> None:
    """The other three have the version; nothing that the fourth had agreed to is lost."""
    made: list[Registry] = []

    def software() -> Registry:
        made.append(registry() if len(made) == 3 else with_second_records())  # the fourth: old
        return made[-1]

    async with hospitals(tmp_path, 4, LIMITS, software) as group:
        old = group.nodes[3]
        wanted = {"contract": "records", "version": 2}
        (refused,) = await old.facade.submit(
            [op(group, 3, "propose_activate_contract", **wanted).raw]
        )
        assert refused.code == "UPGRADE_NEEDED"
        number = await decide(group, 0, 1, method="propose_activate_contract", **wanted)
        await group.height(2, 3)
        (refused,) = await old.facade.submit(
            [op(group, 3, "vote", proposal=number, approve=True).raw]
        )
        assert refused.code == "UPGRADE_NEEDED"
        await commit(group, 2, op(group, 2, "vote", proposal=number, approve=True))

        with pytest.raises(ExceptionGroup) as ended:
            await group.ended(3)
        assert ended.group_contains(UpgradeNeeded, match="records version 2")
        assert old.pipeline.epoch.epoch == 0
        await epoch(group, 1, 0, 1, 2)
        del group.nodes[3], group._tasks[3]

        node = group.start(3)  # the software of the others
        await epoch(group, 1, 3)
        greeting = build(
            (Operation("records", "greet", 2, encode(())),),
            signer=group.operators[3],
            chain_id=group.genesis.chain_id,
            genesis_hash=group.genesis.hash(),
            nonce=factories.nonce(),
            expiry_height=1_000,
        )
        await commit(group, 3, greeting)
        assert node.vitals.signing() == "signing"


async def test_an_idle_chain_comes_to_a_fixed_end_and_waits_before_an_activation_height(
    tmp_path: Path,
) -> None:
    """Nothing happens between the heights that nobody makes; an end at birth is made."""
    async with hospitals(tmp_path, 4, LIMITS) as group:
        none = dict.fromkeys(PARAMETER_NAMES)
        later = none | {"tick_ms": 30, "activation_height": 40}
        number = await decide(group, 0, 1, 2, method="propose_change_parameters", **later)
        assert await commit(group, 0, anchor(group, 1)) == 4  # after the three votes
        assert group.nodes[0].pipeline.epoch.end == 0

        soon = none | {"timeout_doublings_max": 3, "activation_height": 16}
        await decide(group, 0, 1, 2, method="propose_change_parameters", **soon)
        await epoch(group, 1)  # it passed at 7, one window before 15: no traffic was needed
        assert all(node.state.height() == 15 for node in group.nodes.values())
        for height in range(16, 32):  # at 31, one window before 39, the next end is asked for
            assert group.nodes[0].pipeline.epoch.end == 0
            assert await commit(group, 0, anchor(group, height)) == height
        await epoch(group, 2)
        assert all(node.state.height() == 39 for node in group.nodes.values())
        assert proposal(group.nodes[0], number).effective_height == 40
        assert group.nodes[3].pipeline.epoch.parameters.tick_ms == 30


async def test_a_peer_that_is_added_while_the_node_runs_is_dialled(tmp_path: Path) -> None:
    """What SIGHUP does: a new hospital costs the others no restart."""
    async with hospitals(tmp_path, 1, LIMITS) as group:
        node, added = group.nodes[0], factories.key("node hosp-e").public_key
        assert node.roster.peer(added) is None
        node.dialling.dial((*node.dialling.configured, PeerAddress(added, "127.0.0.1", 1)))
        await eventually(lambda: len(node.network.peers()) == 1)  # also if it came before the start
        (peer,) = node.network.peers()
        assert (peer.public_key, peer.address) == (added, "127.0.0.1:1")
        assert not node.roster.is_member(peer.member)
        await eventually(lambda: node.network.peers()[0].problem == "PEER_UNREACHABLE")
