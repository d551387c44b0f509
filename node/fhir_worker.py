"""A process that checks documents: `python -m node.fhir_worker`, spoken to over its pipes.

Why a process: reading 16 MiB of JSON makes millions of objects, and making, collecting and freeing
them holds the interpreter for tenths of a second, during which a validator would not vote. It
ends when its parent does, for then its input ends. Law of the file: nothing of a document is
written anywhere but into the answer, and the answer holds paths and rules only.
"""

import sys
from typing import BinaryIO

import msgspec

from node.child import close_inherited
from node.fhir import FhirChecked, check_fhir
from node.fhir_faults import BadFhir, FhirFault

FRAME_BYTES = 4  # big-endian length in front of each message


class Question(msgspec.Struct, array_like=True):
    media_type: str
    document: bytes


class Answer(msgspec.Struct, array_like=True):
    """`checked`, or `code` with its faults, or neither: the document is no FHIR."""

    checked: FhirChecked | None = None
    code: str = ""
    faults: list[FhirFault] = []
    count: int = 0


def framed(message: Question | Answer) -> bytes:
    raw = msgspec.msgpack.encode(message)
    return len(raw).to_bytes(FRAME_BYTES) + raw


def verdict(answer: Answer) -> FhirChecked | None:
    """What `check_fhir` returns or raises."""
    if answer.code:
        raise BadFhir(answer.faults, answer.count, code=answer.code)
    return answer.checked


def _answer(question: Question) -> Answer:
    try:
        return Answer(check_fhir(question.document, question.media_type))
    except BadFhir as error:
        return Answer(None, error.code, list(error.faults), int(error.facts["faults"]))


def serve(incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Until the input ends."""
    while head := incoming.read(FRAME_BYTES):
        question = msgspec.msgpack.decode(incoming.read(int.from_bytes(head)), type=Question)
        outgoing.write(framed(_answer(question)))
        outgoing.flush()


if __name__ == "__main__":
    close_inherited()
    serve(sys.stdin.buffer, sys.stdout.buffer)
