"""What lies on a node's own disk, after somebody or something has been at it: storage/, keystores."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import SimpleNamespace
from typing import Any

from hypothesis import strategies as st

from node.contacts import (
    BOX_VERSION,
    Box,
    CarrierName,
    Contact,
    Delivery,
    Message,
    Progress,
    read_box,
    read_progress,
)
from node.erasure_openings import Wanted, read_wanted
from node.notices import Language, Notice, NoticeKind
from node.openings import Opening, Openings, _name
from node.permit_inbox import KnownPermit, PermitInbox
from node.receipts import NotedReceipt, Receipts
from node.record_files import RecordFile, RecordFiles
from node.record_files_older import RecordFile1, RecordFile2
from node.record_subject import Subject
from node.record_version import PrivateVersion, PrivateVersion2
from node.standing import Standing, is_born
from node.ticket_files import TicketFile, TicketFiles
from salus import keystore
from salus.block import Header, Receipt
from salus.certificate import Certificate
from salus.codec import decode, encode
from salus.consent.terms import Code, Effect, Rule, Terms, encode_terms, terms_commitment
from salus.epoch import EpochRecord
from salus.errors import BadMessage, SalusError
from salus.vote import JournalEntry
from storage import keys
from storage.bucket_log import BucketLog, LogPlace
from storage.errors import StorageError
from storage.journal import JournalIdentity, VoteJournal
from storage.kv import MemoryKV, Put
from storage.schema import open_schema
from storage.sealing import (
    DOCUMENT_HEADER_BYTES,
    SEALED_CHUNK_BYTES,
    document_header,
    opened_chunks,
    sealed_chunks,
)
from storage.segment import encode_record, read_segment
from storage.state import _decoded
from storage.vault import ERASING_FILE, Erasing, Vault
from storage.vault_keys import EPOCHS, WRAP_BYTES, wrap_epoch
from tests import factories
from tests.fuzz.decoder import Decoder
from tests.fuzz.decoders import samples
from tests.fuzz.decoders.edge import written
from tests.fuzz.shapes import simplest, values_of
from tests.storage import test_journal, test_vault
from tests.storage.memory_disk import MemoryDisk
from tests.storage.test_kv import stamped

SEGMENT = test_journal.FIRST
KEY, TAG = factories.seed("document key"), factories.seed("tag")[:16]
CHEAP = keystore.Kdf(passes=1, memory_bytes=8192)
PASSWORD = "a password"
HEADER = document_header(TAG)


def journal_disk() -> tuple[MemoryDisk, JournalIdentity]:
    disk = MemoryDisk()
    journal = test_journal.filled(disk, 4)
    identity = journal.identity()
    journal.close()
    return disk, identity


def segment_bytes() -> bytes:
    found = journal_disk()[0].read(SEGMENT)
    assert found is not None
    return found


def segment(data: bytes) -> Any:
    return read_segment(data, "000000000001.seg")


def reencoded(found: Any) -> bytes:
    first = found.header.first_record
    records = [encode_record(first + at, payload) for at, payload in enumerate(found.payloads)]
    return bytes(found.header.encode() + b"".join(records))


def journal(data: bytes) -> Any:
    """A segment in the place of the newest one, opened as a node does."""
    disk, identity = journal_disk()
    disk._inode(SEGMENT).content = bytearray(data)
    opened = VoteJournal.open(
        test_journal.DIRECTORY, test_journal.CHAIN, expected=identity, disk=disk
    )
    try:
        return opened.entries(), opened.floor
    finally:
        opened.close()


@cache
def _bucket_log() -> tuple[bytes, bytes, bytes, bytes]:
    """The key of a row l, the row, one as version 4 had it for bucket 7, and the file that they name."""
    kv, disk = MemoryKV(), MemoryDisk()
    log = BucketLog(kv, LogPlace("log", disk, small_block_bytes=0))
    kv.write(log.puts({7: b"an entry", 9: b"another"}), sync=True)
    log.written()
    ((key, row),) = kv.scan(keys.PLACES)
    former = log._places[7].to_bytes(8) + log._lengths[7].to_bytes(4)
    return key, row, former, disk.read(f"log/{disk.names('log')[0]}") or b""


def _bucket_log_with(put: Put, file: bytes, *older: Put) -> Any:
    kv, disk = MemoryKV(), MemoryDisk()
    disk.make_directory("log")
    disk.create("log/00000001.seg").write(file)
    kv.write([put], sync=True)
    return dict(BucketLog(kv, LogPlace("log", disk), older).scan())


def bucket_places(data: bytes) -> Any:
    key, _, _, file = _bucket_log()
    return _bucket_log_with((key, data), file)


def bucket_place(data: bytes) -> Any:
    file = _bucket_log()[3]
    return _bucket_log_with((keys.place_key(7), data), file, (keys.META_FORMAT, bytes(4)))


def bucket_record(data: bytes) -> Any:
    key, row, _, _ = _bucket_log()
    return _bucket_log_with((key, row), data)


def document(data: bytes) -> Any:
    chunks = data[DOCUMENT_HEADER_BYTES:]
    pieces = [
        chunks[at : at + SEALED_CHUNK_BYTES] for at in range(0, len(chunks), SEALED_CHUNK_BYTES)
    ]
    return b"".join(opened_chunks(KEY, data[:DOCUMENT_HEADER_BYTES], pieces, "a document"))


def documents() -> list[bytes]:
    plain = (b"", b"a finding")
    return [HEADER + b"".join(sealed_chunks(KEY, HEADER, [text])) for text in plain]


@cache
def _vault() -> tuple[str, bytes, str, bytes]:
    """Name and content of the epoch key; name and content of the one record's file."""
    disk = MemoryDisk()
    vault = test_vault.open_vault(disk)
    vault.put_record(RECORD, encode(simplest(RecordFile)))
    directory = f"{test_vault.DIRECTORY}/{EPOCHS}"
    name = f"{directory}/{disk.names(directory)[0]}"
    record = f"{test_vault.DIRECTORY}/records/{RECORD.hex()}.rec"
    return name, disk.read(name) or b"", record, disk.read(record) or b""


RECORD = factories.seed("record")[:16]


def _vault_with(path: str, data: bytes) -> Vault:
    disk = MemoryDisk()
    vault = test_vault.open_vault(disk)
    vault.put_record(RECORD, encode(simplest(RecordFile)))
    if disk.exists(path):
        disk._inode(path).content = bytearray(data)
    else:
        with_new = disk.create(path)
        with_new.write(data)
        with_new.sync()
    return test_vault.open_vault(disk)


def epoch_key(data: bytes) -> Any:
    return _vault_with(_vault()[0], data).record(RECORD)


def sealed_record(data: bytes) -> Any:
    return _vault_with(_vault()[2], data).record(RECORD)


def erasing(data: bytes) -> Any:
    vault = _vault_with(f"{test_vault.DIRECTORY}/{ERASING_FILE}", data)
    return list(vault.records())


def record_file(data: bytes) -> Any:
    """A record whose content is not what the node wrote; it is left out, with an alarm."""
    disk, alarms = MemoryDisk(), []
    vault = test_vault.open_vault(disk)
    vault.put_record(RECORD, data)
    with quiet():
        files = RecordFiles(vault, alarms.append)
    if alarms:
        raise alarms[0]
    return files._read(RECORD)


TERMS = Terms(categories=(Code("s", "c"),), rules=(Rule(effect=Effect.PERMIT),))


def opening(data: bytes) -> Any:
    """An opening under the name that it had when it was whole."""
    commitment = terms_commitment(bytes(32), TERMS)
    vault = test_vault.open_vault(MemoryDisk())
    vault.put_record(_name(bytes(32), commitment), data)
    return Openings(vault, None, "hosp-a").opened(bytes(32), commitment)  # type: ignore[arg-type]


def ticket_file(data: bytes) -> Any:
    """What opens a ticket, under the name of the request that it is of."""
    vault = test_vault.open_vault(MemoryDisk())
    vault.put_record(b"t" + bytes(16), data)
    return TicketFiles(vault, None, "hosp-a").find(bytes(16))  # type: ignore[arg-type]


def known_permit(data: bytes) -> Any:
    """A permit of the inbox: what is damaged is not shown, and is read from the chain again."""
    vault = test_vault.open_vault(MemoryDisk())
    vault.put_record(b"p" + b"\1" * 32, data)
    vault.put_record(b"p" + bytes(32), encode(9))
    inbox = PermitInbox(vault, None, None, "net", "hosp-b", bytes(32), lambda: 0)  # type: ignore[arg-type]
    if data and inbox.height == 0:
        raise BadMessage("read again")
    return inbox.custodians()


def noted_receipt(data: bytes) -> Any:
    """A receipt that waits; a damaged one is told in the log, and forgotten."""
    vault = test_vault.open_vault(MemoryDisk())
    vault.put_record(b"r" + bytes(32), data)
    nothing: Any = None
    state: Any = SimpleNamespace(get=lambda key: None)
    with quiet():
        noted = Receipts(vault, state, *(nothing,) * 4, bytes(32), lambda: 0).noted()
    if not noted:
        raise BadMessage("damaged")
    return noted


@contextmanager
def quiet() -> Iterator[None]:
    """A damaged file is an event in the log; here there are thousands."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def record_files() -> list[bytes]:
    one = simplest(PrivateVersion)
    return [
        encode(RecordFile(3, 5, (one,), simplest(Subject))),
        encode(RecordFile(3, 5, (one,))),
    ]


def wrapped(data: bytes) -> Any:
    return wrap_epoch(data, "a key")


def key_file(data: bytes) -> Any:
    """Opened with the right password: all that is in the file is under its seal."""
    return keystore.unlock_seed(written(data, "key.json"), PASSWORD)


@cache
def key_files() -> list[bytes]:
    made = []
    for kind in (keystore.OPERATOR, keystore.BOX):
        path = written(b"", f"{kind}.json")
        path.unlink()
        seed = factories.seed(kind)
        keystore.write(path, seed, PASSWORD, kind=kind, kdf=CHEAP, random=lambda size: bytes(size))
        made.append(path.read_bytes())
    return made


def birth_mark(data: bytes) -> bool:
    path = written(data, "born")
    return is_born(path.parent, None)


def stamp(data: bytes) -> Any:
    open_schema(stamped(0, data), "state", b"c" * 32)
    return data


STORED = {
    "header": Header,
    "certificate": Certificate,
    "receipts": tuple[Receipt, ...],
    "epoch-record": EpochRecord,
}


def stored(name: str, kind: Any) -> Decoder:
    """A value of the state store; the sum of LevelDB held, so the software wrote it so."""
    return Decoder(
        f"stored-{name}",
        ("storage.state:_decoded", "storage.state:StateStore._at", "node.executor:read_epoch"),
        lambda data: _decoded(data, kind, name),
        lambda: [encode(_certified(name))],
        errors=(StorageError,),
        values=values_of(kind).map(encode),
        encode=encode,
    )


def _certified(name: str) -> Any:
    state = samples.ledger().state
    match name:
        case "header":
            return state.header(1)
        case "certificate":
            return state.certificate(1)
        case "receipts":
            return state.receipts(1)
    return state.current_epoch()


_TOLD = Notice(NoticeKind.READ, "hosp-a", 1_700_000_000_000, 3)
_BEFORE = Contact(CarrierName.EMAIL, "ada@example.org", Language.EN)
_BOX = Box(
    BOX_VERSION,
    bytes(32),
    _BEFORE,
    7,
    2,
    (Message(_TOLD, _BEFORE, 7, 2, Delivery.QUEUED, 1, 0, 9),),
)

DECODERS = (
    Decoder(
        "segment",
        (
            "storage.segment:_read_header",
            "storage.segment:_record_end",
            "storage.segment:_find_later_record",
        ),
        segment,
        lambda: [segment_bytes()],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "journal",
        ("storage.journal:_replayed",),
        journal,
        lambda: [segment_bytes()],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "bucket-places",
        ("storage.place_rows:PlaceRows._load_row", "storage.bucket_log:BucketLog.__init__"),
        bucket_places,
        lambda: [_bucket_log()[1]],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "bucket-place",
        ("storage.place_rows:former_places",),
        bucket_place,
        lambda: [_bucket_log()[2]],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "bucket-record",
        (),
        bucket_record,
        lambda: [_bucket_log()[3]],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "journal-entries",
        (),
        lambda data: decode(data, tuple[JournalEntry, ...]),
        lambda: [encode((test_journal.vote(1), test_journal.vote(2, payload=b"x")))],
        values=values_of(tuple[JournalEntry, ...]).map(encode),
        encode=encode,
    ),
    Decoder(
        "vault-document",
        ("storage.sealing:opened_chunks",),
        document,
        documents,
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "vault-epoch-key",
        ("storage.vault_keys:_parse_prefix", "storage.vault:Vault.records"),
        epoch_key,
        lambda: [_vault()[1]],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "vault-wrapped-key",
        (),
        wrapped,
        lambda: [_vault()[3][:WRAP_BYTES]],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "vault-record",
        (),
        sealed_record,
        lambda: [_vault()[3]],
        errors=(StorageError,),
        form="bytes",
    ),
    Decoder(
        "vault-erasing",
        ("storage.vault:Vault._finish_erasing", "storage.vault:Vault._rewrap"),
        erasing,
        lambda: [encode(Erasing(2, (), (RECORD,))), encode(Erasing(1, (bytes(32),), ()))],
        errors=(StorageError,),
        values=values_of(Erasing).map(encode),
    ),
    Decoder(
        "record-file",
        ("node.record_files:_decoded",),
        record_file,
        record_files,
        errors=(StorageError,),
        values=values_of(RecordFile).map(encode),
        encode=encode,
    ),
    Decoder(
        "record-file-1",
        ("node.record_files_older:read_older",),
        record_file,
        lambda: [encode(RecordFile1(1, 5, (simplest(PrivateVersion2),)))],
        errors=(StorageError,),
        values=values_of(RecordFile1).map(encode),
    ),
    Decoder(
        "vault-permit",
        ("node.permit_inbox:PermitInbox._load",),
        known_permit,
        lambda: [encode(simplest(KnownPermit))],
        values=values_of(KnownPermit).map(encode),
    ),
    Decoder(
        "record-file-2",
        ("node.record_files_older:read_older",),
        record_file,
        lambda: [
            encode(RecordFile2(2, 5, (simplest(PrivateVersion2),), subject))
            for subject in (None, simplest(Subject))
        ],
        errors=(StorageError,),
        values=values_of(RecordFile2).map(encode),
    ),
    Decoder(
        "vault-receipt",
        ("node.receipts:Receipts._load",),
        noted_receipt,
        lambda: [encode(simplest(NotedReceipt))],
        values=values_of(NotedReceipt).map(encode),
    ),
    Decoder(
        "vault-opening",
        ("node.openings:Openings._read",),
        opening,
        lambda: [encode(Opening(1, bytes(32), bytes(32), encode_terms(TERMS)))],
        errors=(StorageError,),
        values=values_of(Opening).map(encode),
    ),
    Decoder(
        "vault-ticket",
        ("node.ticket_files:TicketFiles.find",),
        ticket_file,
        lambda: [encode(simplest(TicketFile))],
        errors=(StorageError,),
        values=values_of(TicketFile).map(encode),
    ),
    Decoder(
        "vault-erasure",
        ("node.erasure_openings:read_wanted",),
        read_wanted,
        lambda: [
            encode(
                Wanted(
                    2,
                    *[bytes(32)] * 4,
                    "moved away",
                    (bytes(16),),
                    (bytes(32), b"\xff" * 32),
                    9,
                    None,
                )
            )
        ],
        errors=(StorageError,),
        values=values_of(Wanted).map(encode),
    ),
    Decoder(
        "vault-contact",
        ("node.contacts:read_box",),
        read_box,
        lambda: [encode(_BOX)],
        errors=(StorageError,),
        values=values_of(Box).map(encode),
    ),
    Decoder(
        "vault-outbox",
        ("node.contacts:read_progress",),
        read_progress,
        lambda: [encode(Progress(BOX_VERSION, 7, (bytes(33),)))],
        errors=(StorageError,),
        values=values_of(Progress).map(encode),
    ),
    Decoder(
        "keystore",
        ("salus.keystore:read", "salus.keystore:unlock_seed"),
        key_file,
        key_files,
        errors=(SalusError,),
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "standing",
        ("node.standing:Voter.__init__",),
        lambda data: decode(data, Standing),
        lambda: [encode(simplest(Standing))],
        values=values_of(Standing).map(encode),
        encode=encode,
    ),
    Decoder(
        "birth-mark",
        (),
        birth_mark,
        lambda: [b"1 2 3.000004\n", b""],
        errors=(StorageError,),
        form="text",
    ),
    Decoder(
        "store-stamp",
        ("storage.schema:open_schema",),
        stamp,
        lambda: [bytes([0, 0, 0, 2])],
        errors=(StorageError,),
        values=st.binary(min_size=4, max_size=4),
        encode=lambda data: data,
        form="bytes",
    ),
    *(stored(name, kind) for name, kind in STORED.items()),
)
