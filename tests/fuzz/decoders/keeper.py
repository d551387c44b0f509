"""What a node says to its keeper, and the keeper to its node."""

import asyncio
from typing import Any

from node.keeper import Keeper, UnwrapRequest
from node.keeper_epochs import EpochEnd, EpochsFile, read_epochs
from node.keeper_socket import KeeperServer, Unwrapped, _receive
from salus.codec import decode, encode
from salus.errors import BadMessage, SalusError
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders.disk import quiet
from tests.fuzz.shapes import simplest, values_of


def refuse(line: object) -> None:
    raise AssertionError("nothing that is made up is put on record")


def question(data: bytes) -> Any:
    """To a keeper that has never seen a ticket; the answer says so and opens nothing."""
    keeper = Keeper(factories.genesis(), "hosp-a", bytes(32), refuse, lambda: factories.TIME_MS)
    with quiet():
        answer = asyncio.run(KeeperServer(keeper, None)._answer(data))  # type: ignore[arg-type]
    assert answer.keys == ()
    if answer.code == "KEEPER_REFUSED":
        return answer  # understood, and judged
    raise SalusError(answer.message, code=answer.code)


def frame(data: bytes) -> bytes:
    async def read() -> bytes:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        return await _receive(reader, 1_000)

    try:
        return asyncio.run(read())
    except EOFError:
        raise BadMessage("the frame ends early") from None


DECODERS = (
    Decoder(
        "keeper-question",
        ("node.keeper_socket:KeeperServer._answer",),
        question,
        lambda: [encode(simplest(UnwrapRequest))],
        errors=(SalusError,),
        values=values_of(UnwrapRequest).map(encode),
    ),
    Decoder(
        "keeper-answer",
        ("node.keeper_socket:KeeperDesk.unwrap",),
        lambda data: decode(data, Unwrapped),
        lambda: [encode(Unwrapped((bytes(32),), "", "")), encode(Unwrapped((), "TICKET_OLD", ""))],
        values=values_of(Unwrapped).map(encode),
        encode=encode,
    ),
    Decoder(
        "keeper-epochs",
        ("node.keeper_epochs:read_epochs",),
        read_epochs,
        lambda: [encode(EpochsFile(1, tuple(EpochEnd(n, n, n, bytes(32)) for n in range(3))))],
        errors=(SalusError,),
        values=values_of(EpochsFile).map(encode),
    ),
    Decoder(
        "keeper-frame",
        ("node.keeper_socket:_length",),
        frame,
        lambda: [b"\0\0\0\2ab", b"\0\0\0\0"],
        errors=(BadMessage,),
    ),
)
