"""What peers send: messages of frames, the handshake, and each frame's payload."""

from collections.abc import Callable
from typing import Any, get_args

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import strategies as st

from consensus.messages import Message, NewView, Prepare, decode_message, encode_message
from node.errors import NetworkError
from node.evidence import EvidenceDesk
from node.net import handshake
from node.net.calls import Calls
from node.net.frames import (
    Blocks,
    BodyFrame,
    CallFrame,
    EvidenceFrame,
    GetBlocks,
    GetWrites,
    IdsFrame,
    Kind,
    PrePrepareFrame,
    ReplyFrame,
    TransactionsFrame,
    Writes,
    binary_message,
    frame,
    split,
)
from node.net.handshake import Chain, Hello, Proof, RefusalFrame, Welcome
from node.net.tls import certificate_pem, peer_key
from node.net.websocket import KEY_BYTES, check_upgrade, close_reason, find_message
from salus.block import proposal_digest
from salus.certificate import CertifiedBlock
from salus.codec import Wire, decode, encode
from salus.keys import verify
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.shapes import values_of

MESSAGES = get_args(Message)
CHAIN = Chain(samples.GENESIS.chain_id, samples.GENESIS.hash())
LISTENER, DIALLER = factories.keys(4)[:2]
NONCE = factories.seed("nonce")
MEMBERS = {key.public_key: f"hosp-{index}" for index, key in enumerate(factories.keys(4))}


def wire(kind: type[Wire], *examples: Callable[[], Wire], covers: tuple[str, ...] = ()) -> Decoder:
    """A struct that is a whole payload."""
    return Decoder(
        kind.__name__,
        covers,
        lambda data: decode(data, kind),
        lambda: [encode(example()) for example in examples],
        values=values_of(kind).map(encode),
        encode=encode,
    )


class Presented:
    """A TLS connection whose other end shows these bytes as its certificate."""

    def __init__(self, certificate: bytes) -> None:
        self._certificate = certificate

    def getpeercert(self, binary_form: bool) -> bytes:
        return self._certificate


def certificate_der() -> bytes:
    pem = certificate_pem(LISTENER)
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def proof() -> bytes:
    hello = encode(Hello(CHAIN.version, NONCE))
    return handshake.prove(hello, LISTENER.public_key, DIALLER, CHAIN)


def evidence_desk() -> EvidenceDesk:
    epoch = samples.ledger().state.current_epoch()
    return EvidenceDesk(samples.GENESIS.vote_domain(), verify, lambda: epoch)


def examined(data: bytes) -> Any:
    """A desk that has seen nothing yet: it remembers what it was shown."""
    return evidence_desk().examine(decode(data, EvidenceFrame))


def contradictions() -> list[bytes]:
    """Two PREPAREs of one member for one place; a NEW-VIEW by itself."""
    said = next(m for m in samples.messages() if isinstance(m, Prepare))
    other = msgspec.structs.replace(said, digest=factories.seed("other"))
    new_view = next(m for m in samples.messages() if isinstance(m, NewView))
    pair = encode_message(said), encode_message(samples.signed(other))
    return [encode(EvidenceFrame(*pair)), encode(EvidenceFrame(encode_message(new_view), b""))]


def calls() -> Calls:
    """Of a node that is stopping: it reads every frame and begins no work."""
    made = Calls(lambda member, kind, payload: False, lambda: "hosp-a", 1)
    made.stop()
    return made


def consensus_examples() -> list[bytes]:
    return [encode_message(message) for message in samples.messages()]


def pre_prepare_frame() -> bytes:
    return encode(PrePrepareFrame(consensus_examples()[0], samples.proposal()))


def pre_prepared(data: bytes) -> Any:
    """As the inlet reads it."""
    outer = decode(data, PrePrepareFrame)
    return decode_message(outer.message), proposal_digest(outer.body)


def blocks() -> Blocks:
    ledger = samples.ledger()
    return Blocks(tuple(encode(ledger.certified(height)) for height in (1, 2, 3)), 3)


def received_blocks(data: bytes) -> Any:
    return [decode(raw, CertifiedBlock) for raw in decode(data, Blocks).blocks]


def frames() -> bytes:
    ping = frame(Kind.PING, bytes(8))
    return ping + frame(Kind.CONSENSUS, consensus_examples()[1]) + frame(Kind.PRE_PREPARE, b"")


def messages(data: bytes) -> Any:
    """All that a dialler finds in what has come, as `Link` walks over it; the rest is to come."""
    found, at = [], 0
    while (message := find_message(data, at)) is not None and message.end <= len(data):
        payload = data[message.start : message.end]
        found.append(close_reason(payload) if message.closes else split(payload))
        at = message.end
    return found


def server_messages() -> list[bytes]:
    small, large = frame(Kind.PING, bytes(8)), frame(Kind.CONSENSUS, bytes(70_000))
    goodbye = b"\x88\x08\x03\xe8BANNED"
    return [binary_message([small]) + goodbye, binary_message([large, small]), goodbye]


UPGRADED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n"
)


def upgraded(data: bytes) -> Any:
    return check_upgrade(data, bytes(KEY_BYTES)) or True


IDS = tuple(tx.id for tx in samples.transactions())
RAWS = tuple(tx.raw for tx in samples.transactions())

DECODERS = (
    Decoder(
        "frames",
        ("node.net.frames:split",),
        split,
        lambda: [frames(), frame(Kind.PING, bytes(8))],
        errors=(NetworkError,),
        encode=lambda found: b"".join(frame(kind, payload) for kind, payload in found),
        form="bytes",
    ),
    Decoder(
        "websocket-messages",
        ("node.net.websocket:find_message", "node.net.websocket:close_reason"),
        messages,
        server_messages,
        errors=(NetworkError,),
        form="bytes",
    ),
    Decoder(
        "websocket-upgrade",
        (),
        upgraded,
        lambda: [UPGRADED],
        errors=(NetworkError,),
        form="text",
    ),
    Decoder(
        "handshake-hello",
        ("node.net.handshake:prove",),
        lambda data: handshake.prove(data, LISTENER.public_key, DIALLER, CHAIN),
        lambda: [encode(Hello(CHAIN.version, NONCE))],
        values=values_of(Hello).map(encode),
    ),
    Decoder(
        "handshake-proof",
        ("node.net.handshake:check_proof",),
        lambda data: handshake.check_proof(data, NONCE, LISTENER.public_key, CHAIN, MEMBERS.get),
        lambda: [proof()],
        errors=(NetworkError,),
        values=values_of(Proof).map(encode),
    ),
    Decoder(
        "handshake-welcome",
        ("node.net.handshake:read_verdict",),
        lambda data: handshake.read_verdict(Kind.WELCOME, data),
        lambda: [encode(Welcome("hosp-a"))],
        values=values_of(Welcome).map(encode),
        encode=lambda member: encode(Welcome(member)),
    ),
    Decoder(
        "handshake-refusal",
        (),
        lambda data: handshake.read_verdict(Kind.REFUSAL, data),
        lambda: [encode(RefusalFrame("BANNED"))],
        values=values_of(RefusalFrame).map(encode),
        any_word=True,
        refuses=True,
    ),
    Decoder(
        "tls-certificate",
        ("node.net.tls:peer_key",),
        lambda data: peer_key(Presented(data)),  # type: ignore[arg-type]
        lambda: [certificate_der()],
        form="bytes",
        memory_factor=64,
    ),
    Decoder(
        "consensus-message",
        ("consensus.messages:decode_message", "node.inlet:Inlet._consensus"),
        decode_message,
        consensus_examples,
        values=st.one_of([values_of(kind).map(encode) for kind in MESSAGES]),
        encode=encode_message,
    ),
    Decoder(
        "frame-pre-prepare",
        ("node.inlet:Inlet._pre_prepare",),
        pre_prepared,
        lambda: [pre_prepare_frame()],
        values=values_of(PrePrepareFrame).map(encode),
    ),
    Decoder(
        "frame-evidence",
        ("node.inlet:Inlet._evidence", "node.evidence:EvidenceDesk.examine"),
        examined,
        contradictions,
        values=values_of(EvidenceFrame).map(encode),
    ),
    Decoder(
        "frame-blocks",
        ("node.sync:Sync.receive", "node.sync:Sync._apply"),
        received_blocks,
        lambda: [encode(blocks()), encode(Blocks((), 0))],
        values=values_of(Blocks).map(encode),
    ),
    wire(
        BodyFrame,
        lambda: BodyFrame(4, proposal_digest(samples.proposal()), samples.proposal()),
        covers=("node.inlet:Inlet._body",),
    ),
    wire(
        TransactionsFrame,
        lambda: TransactionsFrame(RAWS),
        covers=("node.admission:Admission.receive",),
    ),
    wire(IdsFrame, lambda: IdsFrame(IDS)),
    wire(GetBlocks, lambda: GetBlocks(0, 256), covers=("node.sync:Sync.serve",)),
    wire(GetWrites, lambda: GetWrites(1, 0), covers=("node.divergence:Divergence.serve",)),
    wire(
        Writes,
        lambda: Writes(1, 0, encode(samples.ledger().state.header(1)), bytes(96), False),
        covers=("node.divergence:Divergence.receive",),
    ),
    Decoder(
        "frame-call",
        ("node.net.calls:Calls.receive",),
        lambda data: (calls().receive("hosp-b", Kind.CALL, data), decode(data, CallFrame))[1],
        lambda: [encode(CallFrame(1, 1, b"?")), encode(CallFrame(2**53 - 1, 255, b""))],
        values=values_of(CallFrame).map(encode),
        encode=encode,
    ),
    Decoder(
        "frame-reply",
        ("node.net.calls:Calls._replied", "node.net.calls:_reason"),
        lambda data: (calls().receive("hosp-b", Kind.REPLY, data), decode(data, ReplyFrame))[1],
        lambda: [encode(ReplyFrame(1, "", b"!")), encode(ReplyFrame(1, "NODE_BUSY", b"later"))],
        values=values_of(ReplyFrame).map(encode),
        encode=encode,
    ),
    wire(CertifiedBlock, lambda: samples.ledger().certified(1)),
)
