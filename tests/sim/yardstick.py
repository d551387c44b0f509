"""How fast this machine is just now: signatures verified per processor second, on all jobs at once.

Seconds of two machines do not compare, nor do those of one machine in two hours. What a batch took
times this number, divided by its runs, is what a run costs in signatures (docs/testing.md).
"""

from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from time import process_time

from salus.keys import SigningKey, verify

SECONDS = 0.5
ROUND = 16  # signatures between two looks at the clock
PAYLOAD_BYTES = 250  # a transaction of the measurements (performance.md)
START_SECONDS_MAX = 60.0  # for the failure only

_together: list[Barrier] = []  # of this process; set where it is one of several


def signatures_per_s(jobs: int) -> int:
    """The sum over `jobs` processes, all of them at it at the same time."""
    if jobs == 1:
        return round(_measure())
    # Forked, not spawned as the batch is: they need nothing but this file, and no thread runs yet.
    context = get_context("fork")
    with context.Pool(jobs, _together.append, (context.Barrier(jobs),)) as pool:
        return round(sum(pool.map(_with_others, range(jobs), chunksize=1)))


def _with_others(_: int) -> float:
    _together[-1].wait(START_SECONDS_MAX)
    return _measure()


def _measure() -> float:
    key = SigningKey.from_seed(bytes(32))
    payload = bytes(PAYLOAD_BYTES)
    signature, signer = key.sign(payload), key.public_key
    verified, started = 0, process_time()
    while (spent := process_time() - started) < SECONDS:
        verified += sum(verify(signer, payload, signature) for _ in range(ROUND))
    return verified / spent
