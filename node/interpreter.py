"""How the interpreter is set for a process that is one node: thread switches, garbage, memory."""

import ctypes
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

# glibc: what is larger has pages of its own, which go back as soon as it is freed. Left alone this bound
# grows to 32 MiB with what is freed, and the holes that bodies of blocks leave between what stays are
# never given back; neither are those of an arena for each thread. A fifth of a node's memory.
_PAGES_OF_ITS_OWN_BYTES = 2**20
_UNUSED_BYTES_MAX = 4 * 2**20  # at the end of the heap
_ARENAS_MAX = 2
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def tune() -> None:
    """Once, when all is loaded: what is there now stays, and need not be walked through."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG, GC_MIDDLE, GC_OLD)
    _give_back()


def _give_back() -> None:
    """Memory that is freed, to the system; where the C library is another one, as that does."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _PAGES_OF_ITS_OWN_BYTES)
        set_option(_M_TRIM_THRESHOLD, _UNUSED_BYTES_MAX)
        set_option(_M_ARENA_MAX, _ARENAS_MAX)
