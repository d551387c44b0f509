"""Looking up records: how their versions stand, and what may leave the vault.

Law of the file: a document leaves the vault only through here; what stands on the chain is read
from the certified state and never remembered beside it. Of a patient's record nothing leaves without
a ticket: what the gate needs of it, the node can name and not open (decision 0010, G-2).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.api.view import Document
from node.proofs import ProofMaker
from node.record_files import RecordFile, RecordFiles, cursor
from node.record_version import PrivateVersion
from salus.codec import decode
from salus.document import Opening, commitment, open_all, split
from salus.errors import SalusError
from salus.forms_records import RecordForm, VersionForm
from salus.permit import Classes
from salus.proof import RecordProof
from salus.record import Anchor, Spent, anchor_key, spent_key, tag_hash
from salus.statemap import SALT_BYTES as STATE_SALT_BYTES
from storage.errors import DocumentMissing, StorageError
from storage.state import StateStore
from storage.vault import Vault

ANCHORS_KNOWN_MAX = 10_000  # 2 MB
DOCUMENTS_AT_ONCE = 2  # in memory with all their parts: each takes about three times its size


@dataclass(frozen=True, slots=True)
class Standing:
    """What the certified state says of a version."""

    state: str  # staged | anchored | superseded | retracted
    anchor: Anchor | None = None
    spent: Spent | None = None


@dataclass(frozen=True, slots=True)
class SealedVersion:
    """A version of a patient's record, for the gate: all that the node knows of it, and the key that
    it cannot open. The keeper opens it for a ticket that names `classes` at least."""

    number: int
    private: PrivateVersion
    handle: bytes
    classes: Classes
    key: bytes  # 80 bytes, sealed to the keeper (salus/sealed_key.py)


class RecordReader:
    """What this node keeps, over a vault and the certified state."""

    def __init__(
        self,
        vault: Vault,
        state: StateStore,
        proofs: ProofMaker,
        org: str,
        *,
        damaged: Callable[[StorageError], None] = lambda error: None,
    ) -> None:
        """`org`: the member whose records these are; `damaged`: takes what made a record file
        unreadable."""
        self.vault, self.state, self.proofs, self.org = vault, state, proofs, org
        self._documents = asyncio.Semaphore(DOCUMENTS_AT_ONCE)
        self.files = RecordFiles(vault, damaged)
        # root → what anchored it. Certified, so it never changes; else a page of records would
        # decode the receipts of as many blocks.
        self._anchors: dict[bytes, tuple[bytes, int]] = {}

    def standing(self, version: PrivateVersion) -> Standing:
        """Where a version stands in the newest certified state."""
        stored = self.state.get(anchor_key(self.org, version.root))
        if stored is None:
            return Standing("staged")
        anchor = decode(stored[STATE_SALT_BYTES:], Anchor)
        stored = self.state.get(spent_key(self.org, tag_hash(version.tag)))
        if stored is None:
            return Standing("anchored", anchor)
        spent = decode(stored[STATE_SALT_BYTES:], Spent)
        return Standing(
            "retracted" if spent.successor_root is None else "superseded", anchor, spent
        )

    def show(self, record_id: str) -> RecordForm | None:
        file = self.files.find(record_id)
        return None if file is None else self._form(record_id, file)

    def of_handle(self, handle: bytes) -> tuple[RecordForm, ...]:
        """All records of one patient, newest first; one that is damaged is left out, with an alarm."""
        found = (
            (record_id, self.files.readable_one(record_id)) for record_id in self.files.of(handle)
        )
        return tuple(
            self._form(record_id.hex(), file) for record_id, file in found if file is not None
        )

    def list(self, after: str | None, limit: int) -> tuple[tuple[RecordForm, ...], str | None]:
        """A page, newest first, and the cursor of the next one."""
        order = self.files.order
        if after is not None:
            order = tuple(place for place in order if cursor(place) < after)
        page = order[:limit]
        files = ((record_id, self.files.readable_one(record_id)) for _, record_id in page)
        forms = tuple(
            self._form(record_id.hex(), file) for record_id, file in files if file is not None
        )
        return forms, cursor(page[-1]) if len(order) > len(page) > 0 else None

    def by_root(self, root: bytes) -> Sequence[tuple[str, int]]:
        """(record id, version) of every version in a batch; reads all records that can be read."""
        return [
            (record_id.hex(), number)
            for record_id, file in self.files.readable()
            for number, version in enumerate(file.versions, 1)
            if version.root == root
        ]

    async def document(self, record_id: str, version: int | None = None) -> Document | None:
        """The bytes that came; None if there is no such version, or it was erased. Raises
        `SalusError` (GATE_ONLY) for a patient's record."""
        private = self._own(record_id, version)
        if private is None:
            return None
        async with self._documents:
            try:
                content = await asyncio.to_thread(self._content, private)
            except DocumentMissing:
                return None
        return Document(private.media_type, content)

    async def proof(
        self, record_id: str, version: int | None = None, as_of: bool = False
    ) -> bytes | None:
        """A proof file with the whole document in it. Raises `SalusError` (NOT_ANCHORED, GATE_ONLY
        for a patient's record …)."""
        private = self._own(record_id, version)
        if private is None:
            return None
        anchor = self.standing(private).anchor
        if anchor is None:
            raise SalusError("the version is not anchored yet", code="NOT_ANCHORED")
        tx_id, operation = self.anchored_by(private.root, anchor.height)
        async with self._documents:
            try:
                opening = await asyncio.to_thread(self._opening, private)
            except DocumentMissing:
                return None
            record = RecordProof(private.index, private.path, tag_hash(private.tag), opening)
            return await self.proofs.file(tx_id, operation, record=record, as_of=as_of)

    def sealed(self, record_id: str, version: int | None = None) -> SealedVersion | None:
        """A version of a patient's record; None if there is no such version, or it is nobody's.
        Raises `SalusError` (KEEPER_MISSING) if its key is not sealed, `DocumentMissing` if it was
        erased, `VaultDamaged`."""
        file = self.files.find(record_id)
        if file is None or file.subject is None:
            return None
        private = self._version_of(file, version)
        if private is None:
            return None
        key = self.vault.sealed_key(private.document)
        if key is None:
            raise SalusError("the record was stored before the keeper", code="KEEPER_MISSING")
        number = file.versions.index(private) + 1
        return SealedVersion(number, private, file.subject.handle, private.classes, key)

    def anchored_by(self, root: bytes, height: int) -> tuple[bytes, int]:
        """Transaction and place of the operation of that block that anchored the root for us;
        another organisation's may have anchored the same one in the same block. Raises `SalusError`
        (PRUNED)."""
        known = self._anchors.get(root)
        if known is not None:
            return known
        for receipt in self.state.receipts(height):
            for event in receipt.events:
                told = event.data.get("org"), event.data.get("root")
                if event.kind == "records.anchored" and told == (self.org, root.hex()):
                    if len(self._anchors) >= ANCHORS_KNOWN_MAX:
                        self._anchors.clear()
                    self._anchors[root] = receipt.tx_id, receipt.operation
                    return self._anchors[root]
        raise SalusError(f"the receipts of height {height} are no longer kept", code="PRUNED")

    def _content(self, private: PrivateVersion) -> bytes:
        return b"".join(self.vault.get(private.document))

    def _opening(self, private: PrivateVersion) -> Opening:
        opening = open_all(split(self._content(private), private.media_type), private.salt_seed)
        assert commitment(opening) == private.commitment, "the cut of documents never changes"
        return opening

    def _own(self, record_id: str, number: int | None) -> PrivateVersion | None:
        """A version that the organisation reads without a ticket, since it is no patient's."""
        file = self.files.find(record_id)
        if file is None:
            return None
        if file.subject is not None:
            raise SalusError("the record is a patient's", code="GATE_ONLY")
        return self._version_of(file, number)

    def _version_of(self, file: RecordFile, number: int | None) -> PrivateVersion | None:
        """By number, from 1; without one the current version, or the newest if there is none."""
        if number is not None:
            return file.versions[number - 1] if 0 < number <= len(file.versions) else None
        current = [one for one in file.versions if self.standing(one).state == "anchored"]
        return (current or list(file.versions))[-1]

    def _form(self, record_id: str, file: RecordFile) -> RecordForm:
        return RecordForm(
            record_id=record_id,
            media_type=file.versions[-1].media_type,
            versions=tuple(
                self._version_form(number, version)
                for number, version in enumerate(file.versions, 1)
            ),
            handle=None if file.subject is None else file.subject.handle.hex(),
            classes=() if file.subject is None else file.subject.classes,
        )

    def _version_form(self, number: int, version: PrivateVersion) -> VersionForm:
        standing = self.standing(version)
        tx_id = None
        if standing.anchor is not None:
            try:
                tx_id = self.anchored_by(version.root, standing.anchor.height)[0].hex()
            except SalusError:
                tx_id = None  # pruned: the state still knows the height
        return VersionForm(
            version=number,
            commitment=version.commitment.hex(),
            root=version.root.hex(),
            state=standing.state,
            tx_id=tx_id,
            height=None if standing.anchor is None else standing.anchor.height,
        )
