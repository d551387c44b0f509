"""What keys sign is what the contracts read: the order of arguments, and co-signatures."""

import pytest

from contracts.catalogue import registry
from contracts.context import Capacity
from contracts.framework import Method
from contracts.identity import DelegateRemoveArgs
from contracts.rotation import GuardiansArgs
from salus import relation as forms
from salus.acts.act import FIELDS, VERSION, act
from salus.acts.relations import remove_delegate
from salus.codec import decode, encode
from salus.keys import verify
from salus.relation import Whose
from tests import factories
from tests.contracts.lab import h

WHOSE = Whose("hosp-a", h("handle"))
# Whole applications of the node, of the operator's records and of votes have ways of their own.
OTHERS = {"access", "governance", "records"}


def method_of(name: str) -> Method:
    contract, _, method = name.partition(".")
    return registry().contracts[contract, VERSION].methods[method]


@pytest.mark.parametrize("name", FIELDS)
def test_arguments_stand_in_the_order_in_which_the_contract_reads_them(name: str) -> None:
    assert FIELDS[name] == tuple(field.name for field in method_of(name).fields)


def test_whatever_a_person_or_an_organisation_may_send_is_in_the_table() -> None:
    everything = {
        f"{contract}.{method.name}"
        for (contract, _), found in registry().contracts.items()
        if contract not in OTHERS
        for method in found.methods.values()
        if set(method.senders) != {Capacity.NODE}
    }
    assert everything == set(FIELDS)


def test_a_co_signature_covers_the_operation_without_co_signatures() -> None:
    eve, bob = factories.key("eve"), factories.key("bob")
    bare = remove_delegate(WHOSE, h("key"))
    args = decode(
        bare.cosigned("chain", bob).cosigned("chain", eve).operation.args, DelegateRemoveArgs
    )
    payload = forms.cosigned("chain", "identity", "delegate_remove", VERSION, bare.operation.args)
    assert args.cosigner == eve.public_key  # there is room for one
    assert verify(eve.public_key, payload, args.cosignature or b"")


def test_several_co_signers_stand_in_the_order_of_their_keys() -> None:
    friends = [factories.key(name) for name in ("eve", "bob", "cai")]
    made = act(
        "identity",
        "set_guardians",
        org="hosp-a",
        handle=h("handle"),
        guardians=(),
        threshold=0,
        possessions=(),
        generation=0,
    )
    bare = made.operation.args
    for friend in (*friends, friends[0]):  # who signs twice counts once
        made = made.cosigned("chain", friend)
    args = decode(made.operation.args, GuardiansArgs)
    assert args.cosigners == tuple(sorted(friend.public_key for friend in friends))
    payload = forms.cosigned("chain", "identity", "set_guardians", VERSION, bare)
    for key, signature in zip(args.cosigners, args.cosignatures, strict=True):
        assert verify(key, payload, signature)
    assert bare == encode(("hosp-a", h("handle"), (), 0, (), 0, (), ()))


def test_an_argument_that_is_missing_or_unknown_is_noticed_at_once() -> None:
    with pytest.raises(AssertionError, match=r"emergency\.cosign has case"):
        act("emergency", "cosign")
    with pytest.raises(AssertionError, match="has case"):
        act("emergency", "cosign", case=h("case"), more=1)
