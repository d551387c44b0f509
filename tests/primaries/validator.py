"""A real node with a bad primary's proposer, or with endless patience; for the measurement only.

    python -m tests.primaries.validator KIND --home HOME

KIND: slow, dripping or censoring (the last member of genesis); or patient: a backup that keeps no
account (rule L22), as every node was before. Law of the file: it runs in no chain but the benchmark's.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from cli.bench.lying_validator import CHAIN_ID
from cli.home import NodeHome
from cli.keyfiles import password_for
from node.config import Config
from node.node import Node
from node.pace import Pace
from node.process import run
from node.proposer import Proposer
from salus.genesis import Genesis
from salus.keys import SigningKey
from tests.primaries.proposers import CensoringProposer, DrippingProposer, SlowProposer

KINDS = ("slow", "dripping", "censoring", "patient")


class BenchNode(Node):
    def __init__(
        self, home: Path, config: Config, genesis: Genesis, key: SigningKey, box_seed: bytes
    ) -> None:
        if genesis.chain_id != CHAIN_ID:
            raise SystemExit(f"{genesis.chain_id} is no benchmark: nobody is slow here")
        super().__init__(home, config, genesis, key, box_seed)


class SlowNode(BenchNode):
    proposer_type: type[Proposer] = SlowProposer


class DrippingNode(BenchNode):
    proposer_type: type[Proposer] = DrippingProposer


class CensoringNode(BenchNode):
    proposer_type: type[Proposer] = CensoringProposer

    def __init__(
        self, home: Path, config: Config, genesis: Genesis, key: SigningKey, box_seed: bytes
    ) -> None:
        super().__init__(home, config, genesis, key, box_seed)
        assert isinstance(self.proposer, CensoringProposer)
        self.proposer.censored = genesis.members[-1].operator_key


class Patience(Pace):
    def tick(self, waiting: bool) -> bool:
        return False


class PatientNode(BenchNode):
    def __init__(
        self, home: Path, config: Config, genesis: Genesis, key: SigningKey, box_seed: bytes
    ) -> None:
        super().__init__(home, config, genesis, key, box_seed)
        self.pace.__class__ = Patience


NODES: dict[str, type[Node]] = dict(
    zip(KINDS, (SlowNode, DrippingNode, CensoringNode, PatientNode), strict=True)
)


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 3 or arguments[0] not in NODES or arguments[1] != "--home":
        raise SystemExit(
            f"usage: python -m tests.primaries.validator {'|'.join(KINDS)} --home HOME"
        )
    home = NodeHome(Path(arguments[2]))
    asyncio.run(run(home.path, password=password_for(home), build=NODES[arguments[0]]))


if __name__ == "__main__":
    main(sys.argv[1:])
