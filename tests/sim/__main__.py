"""`.venv/bin/python -m tests.sim`: see tests/sim/run.py and docs/testing.md."""

import sys

from tests.sim.run import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
