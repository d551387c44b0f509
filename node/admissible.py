"""A courtesy to our own clients: what can only be refused is refused before it costs.

Law of the file: it is asked for clients of this node only, and decides nothing of the ledger. What
a peer passes on, and what a block holds, goes by the contracts alone (rule S15).
"""

from contracts.governance import ActivateContractArgs, VoteArgs
from contracts.proposals import Action, read_proposal
from contracts.state import ReadState
from node.executor import Executor
from salus.errors import BadMessage
from salus.transaction import ParsedTransaction


def check_admissible(executor: Executor, tx: ParsedTransaction) -> None:
    """Raises `BadMessage` with the code that the receipt would have; UPGRADE_NEEDED for a proposal
    or an approval of a contract that this node could not run: it would vote itself out."""
    for method, args in executor.active.check_all(tx.body.operations):
        if method.contract != "governance":
            continue
        match args:
            case ActivateContractArgs(contract=contract, version=version):
                _require(executor, contract, version)
            case VoteArgs(proposal=number, approve=True):
                proposal = read_proposal(ReadState(executor.read, "governance"), number)
                if proposal is not None and proposal.change.action is Action.ACTIVATE_CONTRACT:
                    change = proposal.change
                    assert change.contract is not None
                    assert change.version is not None
                    _require(executor, change.contract, change.version)


def _require(executor: Executor, contract: str, version: int) -> None:
    if (contract, version) not in executor.registry.contracts:
        raise BadMessage(
            f"this node's software has no contract {contract} version {version}: it would stop there",
            code="UPGRADE_NEEDED",
        )
