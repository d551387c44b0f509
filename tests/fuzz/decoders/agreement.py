"""A replica that is fed what one liar can say: signed by him, or by nobody."""

from typing import Any

import msgspec
from hypothesis import strategies as st

from consensus.config import ReplicaConfig
from consensus.effects import Rejected
from consensus.events import Received, Tick
from consensus.invariants import check
from consensus.messages import (
    Fetch,
    PreparedCertificate,
    ViewChange,
    decode_message,
    encode_message,
)
from consensus.replica import Replica
from salus.codec import decode, encode
from salus.errors import BadMessage
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.decoders.wire import MESSAGES, consensus_examples
from tests.fuzz.shapes import values_of

LIAR = 3


def replica() -> Replica:
    """Validator 0, primary of view 0, behind three certified blocks."""
    state = samples.ledger().state
    epoch = state.current_epoch()
    return Replica(
        ReplicaConfig(
            vote_domain=samples.GENESIS.vote_domain(),
            parameters=epoch.parameters,
            epoch=epoch.epoch,
            base=epoch.base,
            validators=epoch.validators,
            me=0,
            signer=factories.keys(4)[0],
            certified=state.height(),
            certificate=state.certificate(state.height()),
        )
    )


def stepped(data: bytes) -> Any:
    """A message as it came, and as the liar would sign it; twice, and a tick between.

    The invariants hold, and one member alone neither halts nor quarantines anybody."""
    message = decode_message(data)
    node = replica()
    said = [message]
    if not isinstance(message, Fetch):
        said.append(samples.signed(_by_the_liar(message)))
    refused = []
    for event in [Received(m) for m in said] + [Tick()] + [Received(m) for m in said]:
        refused += [
            action.reason for action in node.step(event).deliver if isinstance(action, Rejected)
        ]
        check(node)
    assert node.state.halted is None, node.state.halted
    if refused:
        raise BadMessage(refused[0])
    return node.state.view, node.state.wish


def _by_the_liar(message: Any) -> Any:
    return msgspec.structs.replace(message, sender=LIAR)


def _here(message: Any, view: int, sequence: int) -> bytes:
    """Of this epoch, near to where the replica stands: else it looks no further."""
    near = {"epoch": 0, "view": view, "wish": view + 1, "sequence": sequence, "sender": LIAR}
    fields = {name: near[name] for name in near if name in message.__struct_fields__}
    return encode_message(msgspec.structs.replace(message, **fields))


near_messages = st.builds(
    _here,
    st.one_of([values_of(kind) for kind in MESSAGES]),
    st.integers(0, 6),
    st.integers(0, 70),
)


DECODERS = (
    Decoder(
        "replica",
        ("consensus.restore:_restore_view",),
        stepped,
        consensus_examples,
        values=near_messages,
        slow=True,
    ),
    Decoder(
        "prepared-certificate",
        ("consensus.restore:_restore_prepared",),
        lambda data: decode(data, PreparedCertificate),
        lambda: [
            encode(change.prepared[0])
            for change in samples.messages()
            if isinstance(change, ViewChange)
        ],
        values=values_of(PreparedCertificate).map(encode),
        encode=encode,
    ),
)
