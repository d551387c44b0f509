"""The records service: documents into the vault, their commitments ready for the chain.

Law of the file: a document leaves the vault only through here; its bytes are never changed;
what stands on the chain is read from the certified state and never remembered beside it. The
operator signs: this service returns operations and holds no key.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec

from node import record_operations
from node.api.view import Document
from node.fhir import FhirChecked, check_fhir
from node.proofs import ProofMaker
from node.record_drafts import Draft
from node.record_files import (
    REASONS_MAX,
    RECORD_FILE_VERSION,
    RECORD_ID_BYTES,
    VERSIONS_MAX,
    PrivateVersion,
    Reason,
    RecordFile,
    RecordFiles,
    cursor,
)
from node.record_subject import require_relation, subject_of
from salus.codec import decode
from salus.document import (
    SALT_BYTES,
    Context,
    Opening,
    batch,
    batch_size,
    commitment,
    open_all,
    split,
)
from salus.errors import SalusError
from salus.forms import RecordForm, Staged, VersionForm
from salus.proof import RecordProof
from salus.record import Anchor, Spent, anchor_key, spent_key, tag_hash
from salus.statemap import SALT_BYTES as STATE_SALT_BYTES
from storage.errors import DocumentMissing, StorageError
from storage.state import StateStore
from storage.vault import Vault

ANCHORS_KNOWN_MAX = 10_000  # 2 MB
DOCUMENTS_AT_ONCE = 2  # in memory with all their parts: each takes about three times its size

Random = Callable[[int], bytes]
Check = Callable[[bytes, str], Awaitable[FhirChecked | None]]


@dataclass(frozen=True, slots=True)
class Submission:
    """A document to be staged; `previous`: the record (hex) that it is a new version of; `handle`:
    the patient's, 32 bytes, if it is somebody's."""

    content: bytes
    media_type: str
    previous: str | None = None
    author: str = ""
    handle: bytes | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What the certified state says of a version."""

    state: str  # staged | anchored | superseded | retracted
    anchor: Anchor | None = None
    spent: Spent | None = None


class RecordService:
    """Implements `node.api.view.RecordsView` over a vault and the certified state."""

    def __init__(
        self,
        vault: Vault,
        state: StateStore,
        proofs: ProofMaker,
        org: str,
        *,
        random: Random,
        now_ms: Callable[[], int],
        damaged: Callable[[StorageError], None] = lambda error: None,
        check: Check | None = None,
    ) -> None:
        """`org`: the member whose records these are; `random`: the system's, fit for keys;
        `damaged`: takes what made a record file unreadable; `check`: as `check_fhir`."""
        self.vault, self.state, self.proofs, self.org = vault, state, proofs, org
        self._random, self._now_ms = random, now_ms
        self._check = check or _check_in_thread
        self._writing = asyncio.Lock()  # record files are read, changed and replaced
        self._documents = asyncio.Semaphore(DOCUMENTS_AT_ONCE)
        self.files = RecordFiles(vault, damaged)
        # root → what anchored it. Certified, so it never changes; else a page of records would
        # decode the receipts of as many blocks.
        self._anchors: dict[bytes, tuple[bytes, int]] = {}

    # -- staging -----------------------------------------------------------------------------

    async def stage(
        self,
        content: bytes,
        media_type: str,
        previous: str | None = None,
        *,
        author: str = "",
        handle: bytes | None = None,
        context: Context | None = None,
    ) -> Staged:
        """Encrypt a document into the vault; returns the operations that anchor it.

        With `previous` it becomes the next version of that record, and its operations end the
        version before. Raises `SalusError`: those of `BadFhir`, TOO_LARGE, UNKNOWN_RECORD, NOT_ANCHORED,
        VERSION_ENDED, UNKNOWN_RELATION, OTHER_PATIENT.
        """
        submission = Submission(content, media_type, previous, author, handle)
        (staged,) = await self.stage_batch([submission], context=context)
        return staged

    async def stage_batch(
        self, submissions: Sequence[Submission], *, context: Context | None = None
    ) -> Sequence[Staged]:
        """Stage several documents under one root, padded to a power of two with random leaves.

        The first result carries the operations of the whole batch, the others carry none: they
        belong into one transaction. Authors must agree, for a batch commits to one.
        """
        batch_size(len(submissions))
        authors = {submission.author for submission in submissions}
        assert len(authors) == 1, "one author a batch"
        amended = [one.previous for one in submissions if one.previous is not None]
        if len(set(amended)) != len(amended):
            raise SalusError("a record stands twice in the batch", code="BAD_ARGUMENT")
        for handle in {one.handle for one in submissions if one.handle is not None}:
            require_relation(self.state, self.org, handle)
        checked = []
        for submission in submissions:
            async with self._documents:
                # Before anything is written.
                checked.append(await self._check(submission.content, submission.media_type))
                await asyncio.to_thread(split, submission.content, submission.media_type)
        async with self._writing:
            drafts = []
            for submission in submissions:
                file, base = self._amended(submission.previous)
                async with self._documents:
                    drafts.append(await asyncio.to_thread(self._draft, submission, file, base))
            staged = await asyncio.to_thread(self._anchor, drafts, context or Context())
        return [_told(one, found) for one, found in zip(staged, checked, strict=True)]

    async def retract(self, record_id: str, reason: str) -> Staged:
        """The operation that ends the current version without a successor."""
        async with self._writing:
            file, base = self._amended(record_id)
            assert file is not None
            assert base is not None
            number = file.versions.index(base)
            told = next((one for one in base.reasons if one.text == reason), None)
            if told is None:
                if len(base.reasons) >= REASONS_MAX:
                    raise SalusError(
                        f"a version keeps at most {REASONS_MAX} reasons; use one of them",
                        code="TOO_LARGE",
                    )
                told = Reason(self._random(SALT_BYTES), reason)
                ended = msgspec.structs.replace(base, reasons=(*base.reasons, told))
                versions = (*file.versions[:number], ended, *file.versions[number + 1 :])
                self.files.store(
                    bytes.fromhex(record_id), msgspec.structs.replace(file, versions=versions)
                )
            return Staged(
                record_id,
                number + 1,
                base.commitment.hex(),
                base.root.hex(),
                (record_operations.retract(base, told),),
            )

    def operations(self, record_id: str) -> Staged | None:
        """The operations of the newest version once more, for whoever lost the answer to its
        staging; None for an unknown record. Raises `SalusError` (NOT_FOUND, VERSION_ENDED)."""
        file = self.files.find(record_id)
        if file is None:
            return None
        version = file.versions[-1]
        if self.standing(version).state != "staged":
            raise SalusError("the newest version is anchored: nothing waits", code="NOT_FOUND")
        batch = [(record_id, file)]
        if version.leaves > 1:
            batch = [
                (other.hex(), its_file)
                for other, its_file in self.files.readable()
                if its_file.versions[-1].root == version.root
            ]
        operations = [record_operations.anchor(version)]
        for _, its_file in batch:
            if len(its_file.versions) > 1:
                _, base = self._current(its_file)
                operations.append(record_operations.supersede(base, version.root))
        return Staged(
            record_id,
            len(file.versions),
            version.commitment.hex(),
            version.root.hex(),
            tuple(operations),
        )

    def _amended(self, previous: str | None) -> tuple[RecordFile | None, PrivateVersion | None]:
        """The record to amend and its current version."""
        if previous is None:
            return None, None
        file = self.files.find(previous)
        if file is None:
            raise SalusError("this node keeps no such record", code="UNKNOWN_RECORD")
        if len(file.versions) >= VERSIONS_MAX:
            raise SalusError(f"a record has at most {VERSIONS_MAX} versions", code="TOO_LARGE")
        return self._current(file)

    def _current(self, file: RecordFile) -> tuple[RecordFile, PrivateVersion]:
        """The version of a record that may be amended or ended."""
        states = [self.standing(version).state for version in file.versions]
        if "anchored" in states:
            return file, file.versions[states.index("anchored")]
        if "staged" in states:
            raise SalusError("the version before is not anchored yet", code="NOT_ANCHORED")
        raise SalusError("the record was retracted", code="VERSION_ENDED")

    def _draft(
        self, submission: Submission, file: RecordFile | None, base: PrivateVersion | None
    ) -> Draft:
        """In a thread: cuts, salts and encrypts."""
        seed = self._random(SALT_BYTES)
        version = commitment(open_all(split(submission.content, submission.media_type), seed))
        subject = subject_of(
            None if file is None else file.subject,
            submission.handle,
            submission.content,
            submission.media_type,
        )
        entry = self.vault.put([submission.content])
        record_id = submission.previous
        return Draft(
            self._random(RECORD_ID_BYTES) if record_id is None else bytes.fromhex(record_id),
            file,
            base,
            entry.document,
            entry.size,
            submission.media_type,
            submission.author,
            seed,
            self._random(SALT_BYTES),
            version,
            subject,
        )

    def _anchor(self, drafts: Sequence[Draft], context: Context) -> Sequence[Staged]:
        """In a thread: places the drafts in one batch and writes their record files."""
        size = batch_size(len(drafts))
        padding = [self._random(SALT_BYTES) for _ in range(size - len(drafts))]
        root, places = batch([draft.leaf for draft in drafts], padding)
        author_salt, context_salt = self._random(SALT_BYTES), self._random(SALT_BYTES)
        author = drafts[0].author
        versions = [
            draft.private(root, place, author_salt, author, context_salt, context)
            for draft, place in zip(drafts, places, strict=True)
        ]
        operations = [record_operations.anchor(versions[0])]
        operations += (
            record_operations.supersede(draft.base, root)
            for draft in drafts
            if draft.base is not None
        )
        staged: list[Staged] = []
        for draft, version in zip(drafts, versions, strict=True):
            before = draft.file or RecordFile(RECORD_FILE_VERSION, self._now_ms(), ())
            file = msgspec.structs.replace(
                before, versions=(*before.versions, version), subject=draft.subject
            )
            self.files.store(draft.record_id, file)
            staged.append(
                Staged(
                    draft.record_id.hex(),
                    len(file.versions),
                    version.commitment.hex(),
                    root.hex(),
                    () if staged else tuple(operations),
                )
            )
        return staged

    # -- looking up --------------------------------------------------------------------------

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
        """The bytes that came; None if there is no such version, or it was erased."""
        private = self._version(record_id, version)
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
        """A proof file with the whole document in it. Raises `SalusError` (NOT_ANCHORED …)."""
        private = self._version(record_id, version)
        if private is None:
            return None
        anchor = self.standing(private).anchor
        if anchor is None:
            raise SalusError("the version is not anchored yet", code="NOT_ANCHORED")
        tx_id, operation = self._anchored_by(private.root, anchor.height)
        async with self._documents:
            try:
                opening = await asyncio.to_thread(self._opening, private)
            except DocumentMissing:
                return None
            record = RecordProof(private.index, private.path, tag_hash(private.tag), opening)
            return await self.proofs.file(tx_id, operation, record=record, as_of=as_of)

    def _anchored_by(self, root: bytes, height: int) -> tuple[bytes, int]:
        """Which operation of that block anchored the root for us; another organisation's may
        have anchored the same one in the same block."""
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

    def _version(self, record_id: str, number: int | None) -> PrivateVersion | None:
        """By number, from 1; without one the current version, or the newest if there is none."""
        file = self.files.find(record_id)
        if file is None:
            return None
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
                tx_id = self._anchored_by(version.root, standing.anchor.height)[0].hex()
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


async def _check_in_thread(content: bytes, media_type: str) -> FhirChecked | None:
    return await asyncio.to_thread(check_fhir, content, media_type)


def _told(staged: Staged, checked: FhirChecked | None) -> Staged:
    if checked is None:
        return staged
    return msgspec.structs.replace(
        staged,
        resources=checked.resources,
        schemaless=checked.schemaless,
        notices=checked.notices,
    )
