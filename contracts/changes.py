"""What each change that can be voted on needs, and what it does: the one place that knows.

`require` refuses what is impossible. It runs when a change is proposed and again, on top of
whatever took effect before, when its time comes; then `apply` does it. So no order of votes leads
to a network that cannot run: no set without a validator, none that is too large, no limits under
which a NEW-VIEW cannot be sent or the next vote cannot be executed.
"""

import msgspec

from contracts.context import Capacity, Scope, Turn
from contracts.errors import Refused
from contracts.member_acts import add_member, give_vote, replace_key, set_status, take_vote
from contracts.members import MemberEntry, MemberStatus, key_taken, organisation, voters
from contracts.proposals import Action, Change, ParameterChange
from salus.codec import check, encode
from salus.errors import BadMessage
from salus.genesis import Member
from salus.keys import valid_public_key
from salus.parameters import ContractVersion, Parameters, check_parameters
from salus.validators import VALIDATORS_MAX, Validator, ValidatorSet

CONTRACTS_MAX = 64  # salus.parameters.Parameters.contracts


def require(scope: Scope, change: Change, parameters: Parameters) -> None:
    """Raises `Refused` unless the change is possible; `parameters`: that it would come upon."""
    match change.action:
        case Action.ADD_MEMBER:
            _require_new(scope, change)
        case Action.ADD_VALIDATOR:
            require_candidate(scope, change, parameters)
        case Action.REMOVE_VALIDATOR:
            entry = _member(scope, change)
            if not entry.validator:
                raise Refused("NO_VALIDATOR")
            _require_others(scope, entry)
        case Action.REMOVE_MEMBER:
            entry = _member(scope, change)
            if entry.status is MemberStatus.REMOVED:
                raise Refused("MEMBER_STATUS", status=entry.status)
            _require_others(scope, entry)
        case Action.SUSPEND_MEMBER:
            entry = _member(scope, change, MemberStatus.ACTIVE)
            _require_others(scope, entry)
        case Action.REINSTATE_MEMBER:
            _member(scope, change, MemberStatus.SUSPENDED)
        case Action.ROTATE_NODE_KEY | Action.ROTATE_OPERATOR_KEY:
            _require_rotation(scope, change)
        case Action.CHANGE_PARAMETERS:
            changed(parameters, change.parameters, _voters(scope))
        case Action.ACTIVATE_CONTRACT:
            _activated(parameters, change)


def require_candidate(scope: Scope, change: Change, parameters: Parameters) -> None:
    """Could this member get a vote now?"""
    entry = _member(scope, change, MemberStatus.ACTIVE)
    if entry.validator:
        raise Refused("ALREADY_VALIDATOR")
    present = _voters(scope)
    if present.n >= VALIDATORS_MAX:
        raise Refused("TOO_MANY_VALIDATORS", most=VALIDATORS_MAX)
    more = (*present.validators, Validator(entry.id, entry.node_key))
    _fitting(parameters, ValidatorSet(present.epoch, more))


def apply(turn: Turn, change: Change) -> None:
    """Do what `require` has just allowed; it is in force from the next height on."""
    member, height = change.member, turn.height + 1
    match change.action:
        case Action.ADD_MEMBER:
            turn.act(add_member, _new_member(change), height)
        case Action.ADD_VALIDATOR:
            assert member is not None
            turn.act(give_vote, member)
        case Action.REMOVE_VALIDATOR:
            assert member is not None
            turn.act(take_vote, member)
        case Action.REMOVE_MEMBER:
            assert member is not None
            turn.act(set_status, member, MemberStatus.REMOVED, height)
        case Action.SUSPEND_MEMBER:
            assert member is not None
            turn.act(set_status, member, MemberStatus.SUSPENDED, height)
        case Action.REINSTATE_MEMBER:
            assert member is not None
            turn.act(set_status, member, MemberStatus.ACTIVE, height)
        case Action.ROTATE_NODE_KEY | Action.ROTATE_OPERATOR_KEY:
            assert member is not None
            assert change.new_key is not None
            turn.act(replace_key, member, _capacity(change), change.new_key)
        case Action.CHANGE_PARAMETERS:
            turn.next_parameters = changed(turn.next_parameters, change.parameters, _voters(turn))
        case Action.ACTIVATE_CONTRACT:
            turn.next_parameters = _activated(turn.next_parameters, change)


# ── members ──────────────────────────────────────────────────────────────────


def _member(scope: Scope, change: Change, *allowed: MemberStatus) -> MemberEntry:
    assert change.member is not None
    entry = scope.ask(organisation, change.member)
    if entry is None:
        raise Refused("UNKNOWN_MEMBER")
    if allowed and entry.status not in allowed:
        raise Refused("MEMBER_STATUS", status=entry.status)
    return entry


def _voters(scope: Scope) -> ValidatorSet:
    """Who has a vote by now. State changes with the epoch only, so within one it is its set, which
    costs nothing to read; in a turn it is what the changes before have left."""
    if isinstance(scope, Turn):
        return scope.ask(voters, scope.epoch + 1)
    return scope.validators


def _require_others(scope: Scope, entry: MemberEntry) -> None:
    if entry.validator and _voters(scope).n == 1:
        raise Refused("LAST_VALIDATOR")


def _require_new(scope: Scope, change: Change) -> None:
    member = _new_member(change)
    if scope.ask(organisation, member.id) is not None:
        raise Refused("DUPLICATE_MEMBER")
    if not member.roles or list(member.roles) != sorted(set(member.roles)):
        raise Refused("BAD_ROLES")
    if not any(member.box_key):
        raise Refused("BAD_KEY")
    keys = (member.node_key, member.operator_key, member.box_key)
    for key in keys[:2]:
        if not valid_public_key(key):
            raise Refused("BAD_KEY")
    if len(set(keys)) < len(keys) or any(scope.ask(key_taken, key) for key in keys):
        raise Refused("KEY_IN_USE")


def _new_member(change: Change) -> Member:
    """Its public name is its id: the ledger takes no free text (health.md §4.0)."""
    assert change.member is not None
    assert change.node_key is not None
    assert change.operator_key is not None
    assert change.box_key is not None
    return Member(
        change.member,
        change.member,
        change.roles,
        False,
        change.node_key,
        change.operator_key,
        change.box_key,
    )


def _capacity(change: Change) -> Capacity:
    node = change.action is Action.ROTATE_NODE_KEY
    return Capacity.NODE if node else Capacity.OPERATOR


def _require_rotation(scope: Scope, change: Change) -> None:
    entry = _member(scope, change, MemberStatus.ACTIVE, MemberStatus.SUSPENDED)
    assert change.new_key is not None
    node = _capacity(change) is Capacity.NODE
    if change.old_key != (entry.node_key if node else entry.operator_key):
        raise Refused("CHANGED_MEANWHILE")
    if not valid_public_key(change.new_key):
        raise Refused("BAD_KEY")
    if scope.ask(key_taken, change.new_key):
        raise Refused("KEY_IN_USE")


# ── parameters and versions ──────────────────────────────────────────────────


def changed(
    old: Parameters, changes: tuple[ParameterChange, ...], validators: ValidatorSet
) -> Parameters:
    """The parameters with these changes; raises `Refused`."""
    for change in changes:
        if getattr(old, change.name) != change.old:
            raise Refused("CHANGED_MEANWHILE")
    new = msgspec.structs.replace(old, **{change.name: change.new for change in changes})
    return _fitting(new, validators, old)


def _activated(old: Parameters, change: Change) -> Parameters:
    """Whether software has the version cannot be asked here: nodes of different age would answer
    differently. A node that lacks it stops before the epoch that needs it."""
    assert change.contract is not None
    assert change.version is not None
    versions = {entry.contract: entry.version for entry in old.contracts}
    active = versions.get(change.contract, 0)
    if change.version <= active:
        raise Refused("NOT_NEWER", active=active)
    versions[change.contract] = change.version
    if len(versions) > CONTRACTS_MAX:
        raise Refused("UNFIT_PARAMETERS")
    contracts = tuple(ContractVersion(name, versions[name]) for name in sorted(versions))
    return msgspec.structs.replace(old, contracts=contracts)


def _fitting(
    new: Parameters, validators: ValidatorSet, old: Parameters | None = None
) -> Parameters:
    try:
        check(encode(new), Parameters)  # the range of each
        check_parameters(new, old, validators=validators)
    except BadMessage:
        raise Refused("UNFIT_PARAMETERS") from None
    return new
