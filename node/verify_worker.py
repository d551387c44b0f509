"""A process that checks signatures: `python -m node.verify_worker`, spoken to over its pipes.

Why a process: a thread that comes back from a signature takes the interpreter away from the loop, so
both stand still for a while with each one (docs/decisions/0022-verify-processes.md). It ends when its
parent does, for then its input ends. Law of the file: it judges by `salus.keys.verify` alone, and
imports nothing that this does not need.
"""

import sys
import time
from collections.abc import Sequence
from struct import Struct
from typing import BinaryIO

import msgspec

from node.child import close_inherited
from salus.keys import verify

# A question: its number, the bytes that follow, and these: a flat array of key, signed bytes and
# signature of each. An answer: that number, how many verdicts follow, and the microseconds that
# they took; then a byte for each, 1 for a valid signature.
ASK = Struct("<II")
ANSWER = Struct("<III")
FIELDS = 3  # key, signed bytes, signature
MICROS_MAX = 2**32 - 1


def framed(number: int, fields: Sequence[bytes]) -> bytes:
    """A question; `fields`: key, signed bytes and signature of each, one after the other."""
    raw = msgspec.msgpack.encode(fields)
    return ASK.pack(number, len(raw)) + raw


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Until the input ends."""
    decoder = msgspec.msgpack.Decoder(list[bytes])
    while len(head := incoming.read(ASK.size)) == ASK.size:
        number, length = ASK.unpack(head)
        fields = decoder.decode(incoming.read(length))
        began = time.perf_counter()
        verdicts = bytes(map(verify, *(fields[at::FIELDS] for at in range(FIELDS))))
        micros = min(MICROS_MAX, int((time.perf_counter() - began) * 1e6))
        outgoing.write(ANSWER.pack(number, len(verdicts), micros) + verdicts)
        outgoing.flush()


if __name__ == "__main__":
    close_inherited()
    serve(sys.stdin.buffer, sys.stdout.buffer)
