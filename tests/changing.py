"""A ledger whose epochs bring other sets and other parameters, as the test plans them.

Whose decision it was plays no part here: what is checked is that stores, catch-up and proofs
follow whatever a certified boundary hands over (rules S13, S14).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from salus.epoch import EpochRecord
from salus.genesis import Genesis
from salus.keys import SigningKey
from salus.parameters import Parameters
from salus.validators import Validator, ValidatorSet
from tests import factories
from tests.ledger import Ledger


class Change(NamedTuple):
    """What an epoch brings: its members, each with the label of its key, and its parameters."""

    keys: Mapping[str, str]
    parameters: Parameters


def hospitals(*letters: str, rotated: str = "") -> dict[str, str]:
    """`hosp-x` for each letter, with its first key; those of `rotated` with their second one."""
    return {
        f"hosp-{letter}": f"node hosp-{letter}" + (", second" if letter in rotated else "")
        for letter in sorted(letters)
    }


class ChangingLedger(Ledger):
    """`plan`: by number of the epoch that the change begins."""

    def __init__(self, genesis: Genesis, plan: Mapping[int, Change]) -> None:
        super().__init__(genesis)
        self.plan = plan
        self._held = {
            signer.public_key: signer
            for change in plan.values()
            for signer in map(factories.key, change.keys.values())
        }
        make = self.executor._next_epoch

        def planned(*arguments: Any) -> EpochRecord:
            record = make(*arguments)
            return changed(record, plan[record.epoch]) if record.epoch in plan else record

        self.executor._next_epoch = planned  # type: ignore[method-assign]

    def signers(self, validators: ValidatorSet) -> list[SigningKey]:
        founders = {s.public_key: s for s in super().signers(self.genesis.validators())}
        return [(founders | self._held)[one.public_key] for one in validators.validators]

    def grow(self, height: int) -> None:
        while self.height < height:
            self.block()


def changed(record: EpochRecord, change: Change) -> EpochRecord:
    validators = tuple(
        Validator(name, factories.key(label).public_key)
        for name, label in sorted(change.keys.items())
    )
    return msgspec.structs.replace(
        record,
        validators=ValidatorSet(record.epoch, validators),
        parameters=change.parameters,
    )
