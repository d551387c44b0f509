"""How the interpreter is set for a process that is one node: thread switches, cyclic garbage."""

import gc
import sys

# The loop and the threads that verify and write share the interpreter. A thread that comes back
# from libsodium or the disk waits this long for a busy loop (5 ms by default).
SWITCH_INTERVAL_S = 0.0005

# Nearly all that a node makes dies by reference count; transactions, entries and frames that live
# on are no cycles. With the default of 700 the collector walks through thousands of waiting
# transactions again and again, in the middle of a round of votes.
GC_YOUNG = 100_000
GC_MIDDLE, GC_OLD = 20, 20


def tune() -> None:
    """Once, when all is loaded: what is there now stays, and need not be walked through."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, GC_MIDDLE, GC_OLD)
