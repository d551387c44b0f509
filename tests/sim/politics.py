"""Members join, leave, are suspended and change their keys, limits and contract versions change, in
the middle of the faults (rules S4, S13, S14).

The plan says who proposes what, and when; the operators of the honest validators approve whatever
is open, and an operator whose node key was replaced puts the new one in place, with its birth mark.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contracts.governance import (
    ActivateContractArgs,
    ChangeParametersArgs,
    MemberArgs,
    RotateKeyArgs,
    VoteArgs,
    governance,
)
from contracts.members import MemberEntry, MemberStatus, get_entry, members
from contracts.proposals import read_agenda, read_proposal
from contracts.state import ReadState
from node.roster import Belonging
from salus.codec import Wire, encode
from salus.governance import possession
from salus.transaction import Operation
from tests.sim.faults import Change, Politics
from tests.sim.founding import CHAIN_ID, NEXT, name, operator, poisoned
from tests.sim.poison import HOWS
from tests.sim.signatures import true_key

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.shell import Node
    from tests.sim.work import Worker

ROUND_MS = 400.0
VOTES_BLOCKS = 300  # how long a proposal may be voted on
ACTIVATION_BLOCKS = 6  # so far ahead a new contract version is proposed
_REASONS = bytes(32)
_UNCHANGED: dict[str, Any] = {
    field: None
    for field in ChangeParametersArgs.__struct_fields__
    if field not in ("activation_height", "expiry_height", "reasons")
}


class Assembly:
    """The operators of all members, as one actor; the nodes do the rest by themselves."""

    def __init__(self, cluster: Cluster, plan: list[Politics]) -> None:
        self.cluster = cluster
        self.wanted = sorted(plan, key=lambda one: one.time)
        self.proposed: set[int] = set()
        self.voted: set[tuple[int, int]] = set()  # address, proposal
        self.rotated: set[int] = set()
        self.reinstated: set[int] = set()

    def round(self) -> None:
        self.cluster.at(ROUND_MS, self.round)
        seated = [node for node in self.cluster.upright if node.up and node.seated]
        for index, politics in enumerate(self.wanted):
            if index not in self.proposed and self.cluster.now >= politics.time and seated:
                self.proposed.add(index)
                self._propose(seated[index % len(seated)], politics)
        for node in seated:
            self._vote(node)
        for politics in self.wanted:
            if politics.change is Change.ROTATE:
                self._rotate(self.cluster.nodes[politics.target])
            elif politics.change is Change.OPERATOR and seated:
                self._hand_over(seated[0], politics.target)
            elif politics.change is Change.SUSPEND and seated:
                self._reinstate(seated[0], politics.target)

    def _propose(self, node: Node, politics: Politics) -> None:
        head = (0, node.height + VOTES_BLOCKS, _REASONS)
        target = name(politics.target)
        args: Wire
        if politics.change is Change.JOIN:
            method, args = "propose_add_validator", MemberArgs(*head, target)
        elif politics.change is Change.REMOVE:
            method, args = "propose_remove_validator", MemberArgs(*head, target)
        elif politics.change is Change.SUSPEND:
            method, args = "propose_suspend_member", MemberArgs(*head, target)
        elif politics.change is Change.ROTATE or politics.change is Change.OPERATOR:
            whose = "node" if politics.change is Change.ROTATE else "operator"
            key = true_key(f"{whose} {target}{NEXT}")
            signature = key.sign(possession(CHAIN_ID, target, whose))
            method = f"propose_rotate_{whose}_key"
            args = RotateKeyArgs(*head, target, key.public_key, signature)
        elif politics.change is Change.ACTIVATE:
            method = "propose_activate_contract"
            later = node.height + ACTIVATION_BLOCKS  # at this height, not at once
            args = ActivateContractArgs(later, *head[1:], "poison", 2)
        elif politics.change is Change.LIMIT:
            method = "propose_change_parameters"
            args = ChangeParametersArgs(*head, **{**_UNCHANGED, "transaction_operations_max": 1})
        else:
            method = "propose_change_parameters"
            limits = self.cluster.plan.parameters
            numbers: dict[str, Any] = {
                **_UNCHANGED,
                "progress_timeout_ms": limits.progress_timeout_ms + 200,
                "in_flight_proposals_max": 3,
                "block_transactions_max": limits.block_transactions_max + 1,
            }
            args = ChangeParametersArgs(*head, **numbers)
        self.cluster.note(node, f"proposes: {politics.change.value} {target}")
        self._send(node, method, args)

    def _vote(self, node: Node) -> None:
        state = ReadState(node.executor.read, governance.name)
        for listed in read_agenda(state).open:
            key = (node.address, listed.number)
            found = read_proposal(state, listed.number)
            if found is None or any(b.member == name(node.member) for b in found.ballots):
                continue
            if key not in self.voted and node.height > found.height:
                self.voted.add(key)
                self._send(node, "vote", VoteArgs(listed.number, True))

    def _rotate(self, node: Node) -> None:
        """The new key is voted for: it was made here, and takes the other's place."""
        if node.address in self.rotated or not node.up:
            return
        if node.epochs.roster.belonging(node.node_key) is Belonging.REPLACED:
            self.rotated.add(node.address)
            self.cluster.cover("S13 a node key is replaced")
            node.change_key()

    def _hand_over(self, node: Node, target: int) -> None:
        """From now on the operator signs with the new key (and now and then with the old one)."""
        entry, rotated = _entry(node, target), self.cluster.founding.rotated
        if entry is None or target in rotated:
            return
        if entry.operator_key == operator(target, NEXT).public_key:
            rotated.add(target)
            self.cluster.cover("S13 an operator key is replaced")

    def _reinstate(self, node: Node, target: int) -> None:
        """Once it is suspended, its suspension is ended again by vote."""
        entry = _entry(node, target)
        if entry is None or target in self.reinstated:
            return
        if entry.status is MemberStatus.SUSPENDED:
            self.reinstated.add(target)
            self.cluster.cover("S13 a member is suspended")
            head = (0, node.height + VOTES_BLOCKS, _REASONS)
            self._send(node, "propose_reinstate_member", MemberArgs(*head, name(target)))

    def _send(self, node: Node, method: str, args: Wire) -> None:
        operation = Operation(governance.name, method, governance.version, encode(args))
        made = self.cluster.founding.transaction(node.member, operation, node.height + 60)
        if node.submit(made.raw) is not None and isinstance(args, VoteArgs):
            self.voted.discard((node.address, args.proposal))  # It is sent again.


def last_call(node: Worker, life: int) -> None:
    """A client calls the version of a contract that is active still, when its epoch has one more
    block: the call is taken, and the end of the epoch overtakes it (S13)."""
    if node.life == life:
        version = node.executor.active.contracts["poison"].version
        call = poisoned(node.member % HOWS, version)
        made = node.cluster.founding.transaction(node.member, call, node.state.height() + 60)
        node.submit(made.raw)


def _entry(node: Node, target: int) -> MemberEntry | None:
    """As the certified state of this node says."""
    return get_entry(ReadState(node._certified, members.name), name(target))


def describe(politics: Politics) -> str:
    return f"{politics.time:.0f} ms: {politics.change.value} n{politics.target}"
