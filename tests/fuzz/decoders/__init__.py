"""All decoders of bytes from outside, by area; `test_registry.py` holds that none is missing."""

from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import (
    agreement,
    audit,
    client,
    command,
    consent,
    disk,
    edge,
    emergency,
    execution,
    keeper,
    ledger,
    patient,
    reading,
    wire,
)

ALL: tuple[Decoder, ...] = (
    *wire.DECODERS,
    *agreement.DECODERS,
    *ledger.DECODERS,
    *execution.DECODERS,
    *edge.DECODERS,
    *client.DECODERS,
    *disk.DECODERS,
    *command.DECODERS,
    *patient.DECODERS,
    *consent.DECODERS,
    *keeper.DECODERS,
    *audit.DECODERS,
    *reading.DECODERS,
    *emergency.DECODERS,
)
BY_NAME = {decoder.name: decoder for decoder in ALL}
assert len(BY_NAME) == len(ALL), "a name has one decoder"
