"""A client that trusts genesis alone and follows the certified steps to the set of today, and what a
node might show it instead (S14). Asked once, at the end of a run whose epoch has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from salus.certificate import EpochStep, follow_epochs
from salus.errors import SalusError
from salus.validators import Validator, ValidatorSet
from tests.sim.signatures import true_key, verifier

if TYPE_CHECKING:
    from tests.sim.cluster import Cluster
    from tests.sim.work import Worker


def check_light_client(cluster: Cluster) -> None:
    # Not one whose store may hold a flipped bit that nobody has read yet.
    nodes = [one for one in cluster.upright if one.up and one.member not in cluster.plan.losers]
    node = max(nodes, key=lambda one: one.height, default=None)
    if node is None or node.state.current_epoch().epoch == 0:
        return
    cluster.cover("S14 a client follows the sets")
    steps = _steps(node)
    reached = _followed(cluster, steps)
    assert reached == node.state.current_epoch().validators, "a client ends at another set (S14)"
    last = steps[-1]
    mine = Validator("n00", true_key("liar").public_key)
    forged = ValidatorSet(last.next_validators.epoch, (mine,))
    lies = {
        "a set that no header names": [*steps[:-1], _with(last, next_validators=forged)],
        "an epoch left out": steps[1:] if len(steps) > 1 else [last, last],
        "an epoch twice": [*steps, last],
        "the certificate of another block": [
            *steps[:-1],
            _with(last, header=msgspec.structs.replace(last.header, time_ms=0)),
        ],
        "fewer than q signatures": [
            *steps[:-1],
            _with(
                last,
                certificate=msgspec.structs.replace(
                    last.certificate, signatures=last.certificate.signatures[:-1]
                ),
            ),
        ],
    }
    for lie, shown in lies.items():
        assert _followed(cluster, shown) is None, f"a client believes {lie} (S14)"


def _steps(node: Worker) -> list[EpochStep]:
    steps = []
    for number in range(1, node.state.current_epoch().epoch + 1):
        record = node.state.epoch(number)
        certificate = node.state.certificate(record.base)
        assert certificate is not None
        steps.append(EpochStep(node.state.header(record.base), certificate, record.validators))
    return steps


def _followed(cluster: Cluster, steps: list[EpochStep]) -> ValidatorSet | None:
    genesis = cluster.founding.genesis
    try:
        return follow_epochs(genesis.validators(), steps, genesis.vote_domain(), verifier)
    except SalusError:
        return None


def _with(step: EpochStep, **changes: object) -> EpochStep:
    return msgspec.structs.replace(step, **changes)
