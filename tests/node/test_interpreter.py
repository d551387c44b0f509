"""How a node's interpreter is set."""

import platform
import subprocess
import sys

import pytest

BLOCKS, BLOCK_BYTES = 64, 3 * 2**19  # as bodies of blocks come and go

WORK = f"""
import sys
from node.interpreter import tune

def held():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) * 1024

if sys.argv[1] == "tuned":
    tune()
before = held()
kept = []
for _ in range(2):  # the first time sets the bound of a malloc that is left alone
    blocks = []
    for number in range({BLOCKS}):
        blocks.append(b"x" * ({BLOCK_BYTES} + number))
        kept.append(b"x" * 2**16)  # what stays, between them
    del blocks
print(held() - before)
"""


def _held(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", WORK, how], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is another one")
def test_memory_that_is_freed_between_what_stays_goes_back() -> None:
    assert _held("tuned") < BLOCKS * BLOCK_BYTES // 4
