"""A validator that says where its processor time goes: for the benchmark, `python -m` alone leads here."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cli.bench.stages import Sampler
from cli.commands.start import run_node
from cli.home import NodeHome
from cli.keyfiles import password_for

COMMAND = ("cli.bench.profiled_validator",)
STAGES_FILE = "stages.json"  # in the home


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 2 or arguments[0] != "--home":
        raise SystemExit("usage: python -m cli.bench.profiled_validator --home HOME")
    home = NodeHome(Path(arguments[1]))
    Sampler(home.path / STAGES_FILE).start()
    run_node(home.path, {}, password_for(home))


if __name__ == "__main__":
    main(sys.argv[1:])
