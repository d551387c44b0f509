"""What the API says of contracts: their declarations, and answers out of the certified state."""

from collections.abc import Mapping
from typing import Any

from contracts.registry import Registry
from node.executor import Executor
from salus.forms import ContractForm
from salus.statemap import SALT_BYTES
from salus.transaction import Operation
from storage.state import StateStore


class ContractsDesk:
    """The registry as declared, over the certified state."""

    def __init__(self, registry: Registry, executor: Executor, state: StateStore) -> None:
        self._registry, self._executor, self._state = registry, executor, state

    def declarations(self) -> tuple[ContractForm, ...]:
        return self._executor.certified_active.declarations()

    def decoded(self, operation: Operation) -> dict[str, Any] | None:
        return self._executor.certified_active.decoded(operation)

    def query(self, contract: str, name: str, arguments: Mapping[str, Any]) -> tuple[int, Any]:
        def read(key: bytes) -> bytes | None:
            stored = self._state.get(key)
            return None if stored is None else stored[SALT_BYTES:]

        active = self._executor.certified_active
        return self._state.at_one_height(lambda: active.query(read, contract, name, arguments))
