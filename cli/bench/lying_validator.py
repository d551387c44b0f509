"""A validator that lies, for the benchmark only: its proposals hold a badly signed transaction.

Everything else is the node: it is honest as a backup, and its journal, stores and network are
the real ones. Law of the file: no setting and no command leads here. It runs as
`python -m cli.bench.lying_validator --home HOME`, and only in a chain that the benchmark founded.
"""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import password_for
from consensus.effects import BuildProposal
from node.config import Config
from node.node import Node
from node.process import run
from node.proposer import Proposer
from salus.block import ParsedProposal
from salus.codec import encode
from salus.genesis import Genesis
from salus.keys import SigningKey
from salus.transaction import ParsedTransaction, parse

CHAIN_ID = "salus-bench"
COMMAND = ("cli.bench.lying_validator",)
LIES_FILE = "lies"  # in the home: the ids of the badly signed transactions, in hex, one a line


class LyingProposer(Proposer):
    """Adds to each proposal that is not empty its first transaction again, with a signature that
    is not valid; and believes it, as a liar's core does."""

    lies: Path

    def _checked(
        self, permission: BuildProposal, now: int, transactions: Sequence[ParsedTransaction]
    ) -> ParsedProposal:
        room = self.parameters.block_transactions_max - 1
        honest = super()._checked(permission, now, transactions[:room])
        if not honest.transactions:
            return honest
        raw = honest.transactions[0].raw
        bad = parse(
            raw[:-1] + bytes((raw[-1] ^ 1,)),
            self.mempool.chain_id,
            self.mempool.genesis_hash,
            self.parameters,
        )
        with self.lies.open("a") as file:
            file.write(bad.id.hex() + "\n")
        body = msgspec.structs.replace(
            honest.body, transactions=(*honest.body.transactions, bad.raw)
        )
        return ParsedProposal(encode(body), body, [*honest.transactions, bad])


class LyingNode(Node):
    """A node with a lying proposer; refuses any other chain than the benchmark's."""

    proposer_type = LyingProposer

    def __init__(
        self, home: Path, config: Config, genesis: Genesis, key: SigningKey, box_seed: bytes
    ) -> None:
        if genesis.chain_id != CHAIN_ID:
            raise CliError("USAGE", f"{genesis.chain_id} is no benchmark: nobody lies here")
        super().__init__(home, config, genesis, key, box_seed)
        assert isinstance(self.proposer, LyingProposer)
        self.proposer.lies = home / LIES_FILE


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 2 or arguments[0] != "--home":
        raise SystemExit("usage: python -m cli.bench.lying_validator --home HOME")
    home = NodeHome(Path(arguments[1]))
    asyncio.run(run(home.path, password=password_for(home), build=LyingNode))


if __name__ == "__main__":
    main(sys.argv[1:])
