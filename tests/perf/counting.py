"""What a piece of work costs, counted and not timed: the same on a busy machine as on a quiet one.

Counted is what runs in Salus' own files: bytecode instructions, functions called, calls into C; and of
these the primitives that cost most. What a library does inside is not seen, but how often it is asked
is. The first run of anything pays for its caches: `warm` runs it before it counts.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass
from operator import add
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("salus", "consensus", "contracts", "storage", "node", "cli")
# The second stands for the first where replicas are tested without keys.
SIGNATURE_CHECKS = ("salus/keys.py:verify", "tests/consensus/cluster.py:fake_verify")
# Python 3.12 runs them inside the function that holds them, 3.11 calls them.
INLINED = ("<listcomp>", "<dictcomp>", "<setcomp>")


@dataclass(frozen=True, slots=True)
class Counts:
    instructions: float = 0  # bytecodes: they differ from one version of Python to the next
    calls: float = 0  # of functions of ours; these and all below do not
    into_c: float = 0  # calls of C functions out of ours
    signatures: float = 0  # checked
    hashes: float = 0
    encodings: float = 0
    decodings: float = 0
    reads: float = 0  # of LevelDB
    batches: float = 0  # written to it

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*map(add, astuple(self), astuple(other)))

    def over(self, units: int) -> "Counts":
        return Counts(*(count / units for count in astuple(self)))


_C_NAMES = {
    "HASH.digest": "hashes",
    "Encoder.encode": "encodings",
    "Encoder.encode_into": "encodings",
    "Decoder.decode": "decodings",
}
_OWN_NAMES = {
    **dict.fromkeys(SIGNATURE_CHECKS, "signatures"),
    "storage/kv.py:LevelKV.get": "reads",
    "storage/kv.py:LevelView.get": "reads",
    "storage/kv.py:LevelKV.write": "batches",
}


def count(work: Callable[[], object]) -> Counts:
    """Of one run, in a thread of its own: what asks how deep the stack is (rule S16) finds the same."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(_prime).result()
        return thread.submit(_count, work).result()


def _count(work: Callable[[], object]) -> Counts:
    found: Counter[str] = Counter()
    names: dict[CodeType, str] = {}  # empty: not ours
    instructions = 0

    def name_of(code: CodeType) -> str:
        name = names.get(code)
        if name is None:
            name = names[code] = _name(code)
        return name

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal instructions
        if event == "opcode":
            instructions += 1
        return local

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        name = name_of(frame.f_code)
        if not name:
            return None
        if name in _OWN_NAMES:
            found[_OWN_NAMES[name]] += 1
        if frame.f_code.co_name not in INLINED:
            found["calls"] += 1
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return local

    def profiled(frame: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and name_of(frame.f_code):
            found["into_c"] += 1
            kind = _C_NAMES.get(argument.__qualname__)
            if kind is not None:
                found[kind] += 1

    before = sys.gettrace(), sys.getprofile()
    sys.setprofile(profiled)
    sys.settrace(entered)
    try:
        work()
    finally:
        sys.settrace(before[0])
        sys.setprofile(before[1])
    return Counts(instructions, **found)


def _name(code: CodeType) -> str:
    file = os.path.relpath(code.co_filename, ROOT)
    name = f"{file}:{code.co_qualname}"
    ours = file.split(os.sep)[0] in PACKAGES
    return name if ours or name in SIGNATURE_CHECKS else ""


def _prime() -> None:
    """Python 3.12 counts no instruction before somebody has asked for them once."""
    _count(lambda: _name(_prime.__code__))
