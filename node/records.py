"""The records service: documents into the vault, their commitments ready for the chain.

Law of the file: a document's bytes are never changed; a patient's is sealed to the keeper before it has
a name. The operator signs: this service returns operations and holds no key.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import msgspec

from node import record_operations
from node.errors import NodeBusy
from node.fhir import FhirChecked, check_fhir, is_checked
from node.proofs import ProofMaker
from node.record_anchors import RecordAnchors
from node.record_batches import RecordBatches
from node.record_drafts import Draft, Kept, Submission
from node.record_files import RecordFile
from node.record_reader import RecordReader
from node.record_seals import RecordSeals
from node.record_streams import CLASSES, RecordStreams
from node.record_subject import classes_in, require_relation, subject_of
from node.record_version import REASONS_MAX, VERSIONS_MAX, PrivateVersion, Reason
from salus.document import (
    SALT_BYTES,
    ChunkedCommitment,
    Context,
    batch_size,
    commitment,
    cut_by_meaning,
    open_all,
    split,
)
from salus.errors import SalusError
from salus.forms_records import Staged
from storage.errors import StorageError
from storage.state import StateStore
from storage.vault import Vault

LARGE_AT_ONCE = 8  # read whole: 256 MiB with the default of api.document_max

Random = Callable[[int], bytes]
Leftovers = Callable[[], Sequence[tuple[bytes, bytes, bytes]]]  # old name, new name, content
Check = Callable[[bytes, str], Awaitable[FhirChecked | None]]


class RecordService(RecordReader):
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
        keeper: bytes | None = None,
        batch_period_ms: int = 0,
    ) -> None:
        """`random`: the system's, fit for keys; `check`: as `check_fhir`; `keeper`: the public key to
        which the keys of patients' documents are sealed; `batch_period_ms`: as in `RecordBatches`;
        the others as in `RecordReader`."""
        super().__init__(vault, state, proofs, org, damaged=damaged)
        self._random, self.now_ms = random, now_ms
        self._check = check or _check_in_thread
        self._room = asyncio.Semaphore(LARGE_AT_ONCE)
        self._writing = asyncio.Lock()  # record files are read, changed and replaced
        self.batches = RecordBatches(self.place, batch_period_ms, now_ms)
        self._seals = RecordSeals(vault, proofs.genesis.chain_id, org, keeper)
        self._seals.hand_over_all(self.files)
        self._places = RecordAnchors(self.files, self._seals, random, now_ms)
        self._streams = RecordStreams(vault, self._seals, random)

    # -- staging -----------------------------------------------------------------------------

    async def stage(
        self,
        content: bytes,
        media_type: str,
        previous: str | None = None,
        *,
        author: str = "",
        handle: bytes | None = None,
        record_id: str | None = None,
        context: Context | None = None,
    ) -> Staged:
        """Encrypt a document into the vault; returns the operations that anchor it.

        With `previous` it becomes the next version of that record, and its operations end the
        version before. With a `record_id` that the caller has drawn, the same document again gives the
        same operations, also while the first call is still under way: NOT_FOUND once it is anchored,
        BAD_ARGUMENT for another document. Raises `SalusError`: those of `BadFhir`, TOO_LARGE,
        UNKNOWN_RECORD, NOT_ANCHORED, VERSION_ENDED, UNKNOWN_RELATION, OTHER_PATIENT, KEEPER_MISSING.
        """
        submission = Submission(content, media_type, previous, author, handle, record_id)
        (staged,) = await self.stage_batch([submission], context=context)
        return staged

    async def deposit(
        self,
        content: bytes,
        media_type: str,
        previous: str | None,
        *,
        handle: bytes | None = None,
        record_id: str | None = None,
    ) -> Awaitable[Staged]:
        """`stage` with the others of the next fixed time, in two steps: when this returns, the content is
        in the vault and needed no more; what it returns ends with the batch. What a drawn `record_id`
        staged before waits for none. Raises as `stage`, and NODE_BUSY where the same waits already."""
        submission = Submission(content, media_type, previous, handle=handle, record_id=record_id)
        if not self.batches.period_ms or self._kept(submission) is not None:
            return _ready(
                await self.stage(content, media_type, previous, handle=handle, record_id=record_id)
            )
        return self.batches.stage(await self.keep(submission))

    async def keep(self, submission: Submission) -> Kept:
        """In the vault and in no batch yet. Raises as `stage`."""
        if submission.handle is not None:
            require_relation(self.state, self.org, submission.handle)
        file, _ = self._amended(submission.previous)  # refuse before anything is written
        if self._is_patients(submission):
            self._seals.require()
        async with self._documents:
            checked = await self._check(submission.content, submission.media_type)
            return await asyncio.to_thread(self._stored, submission, file, checked)

    async def place(
        self, kept: Sequence[Kept], context: Context | None = None
    ) -> Sequence[Staged | SalusError]:
        """One batch of what is kept. What its record does not take any more is refused alone: an error
        in its place. The first that is placed carries the operations of all."""
        async with self._writing:
            drafts: list[Draft] = []
            refused: dict[int, SalusError] = {}
            drawn: set[str] = set()
            for number, one in enumerate(kept):
                try:
                    drafts.append(self._place_now(one, drawn))
                except SalusError as error:
                    refused[number] = error
            placed: Sequence[Staged] = ()
            if drafts:
                placed = await asyncio.to_thread(
                    self._places.anchored, drafts, context or Context()
                )
        left = iter(placed)
        return [
            refused[number] if number in refused else _told(next(left), one.checked)
            for number, one in enumerate(kept)
        ]

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
        if any(self._is_patients(one) for one in submissions):
            self._seals.require()
        checked = []
        for submission in submissions:
            async with self._documents:
                # Before anything is written.
                checked.append(await self._check(submission.content, submission.media_type))
                await asyncio.to_thread(split, submission.content, submission.media_type)
        async with self._writing:
            if (again := await asyncio.to_thread(self._again, submissions)) is not None:
                return [_told(again, checked[0])]
            drafts = []
            for submission in submissions:
                file, base = self._amended(submission.previous)
                async with self._documents:
                    drafts.append(await asyncio.to_thread(self._draft, submission, file, base))
            staged = await asyncio.to_thread(self._places.anchored, drafts, context or Context())
        return [_told(one, found) for one, found in zip(staged, checked, strict=True)]

    def room(self) -> AbstractAsyncContextManager[None]:
        return self._room

    @staticmethod
    def streams(media_type: str) -> bool:
        """Whether nobody here looks into such a document: neither to check nor to cut it."""
        return not (is_checked(media_type) or cut_by_meaning(media_type))

    async def stage_stream(
        self,
        pieces: AsyncIterator[bytes],
        media_type: str,
        previous: str | None = None,
        *,
        author: str = "",
        handle: bytes | None = None,
        record_id: str | None = None,
        context: Context | None = None,
        batched: bool = False,
    ) -> Staged:
        """`stage` for what nobody here reads (`streams`): as it comes, in pieces of 1 MiB of which the
        last is shorter, and never whole in memory. Raises as `stage`, what `pieces` raises,
        BAD_REQUEST if nothing comes, and NODE_BUSY while the same is still coming by another call."""
        assert self.streams(media_type)
        submission = Submission(b"", media_type, previous, author, handle, record_id)
        if (known := self._kept(submission)) is not None:
            found = ChunkedCommitment(media_type, known.versions[0].salt_seed)
            async for piece in pieces:
                await asyncio.to_thread(found.add, piece)
            return self._same(submission, known, found.finish())
        kept = await self._keep_stream(pieces, submission)
        if batched and self.batches.period_ms:
            return await self.batches.stage(kept)
        (staged,) = await self.place([kept], context)
        if isinstance(staged, SalusError):
            raise staged  # what is refused now lies staged, and goes at the next start
        return staged

    async def _keep_stream(self, pieces: AsyncIterator[bytes], submission: Submission) -> Kept:
        handle = submission.handle
        if handle is not None:
            require_relation(self.state, self.org, handle)
        file, _ = self._amended(submission.previous)  # refuse before anything is written
        subject = subject_of(None if file is None else file.subject, handle, CLASSES)
        return await self._streams.keep(pieces, submission, subject)

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

    def _kept(self, submission: Submission) -> RecordFile | None:
        """What an earlier call with the caller's own id has staged. Raises `SalusError` (ERASED)."""
        if submission.record_id is None:
            return None
        if submission.previous is not None:
            raise SalusError("a new version keeps its record's id", code="BAD_ARGUMENT")
        return self.files.find(submission.record_id)

    def _again(self, submissions: Sequence[Submission]) -> Staged | None:
        """In a thread: cuts the document. A batch has no ids of its caller."""
        if len(submissions) > 1:
            assert all(one.record_id is None for one in submissions)
            return None
        (submission,) = submissions
        kept = self._kept(submission)
        if kept is None:
            return None
        parts = split(submission.content, submission.media_type)
        found = commitment(open_all(parts, kept.versions[0].salt_seed))
        return self._same(submission, kept, found)

    def _same(self, submission: Submission, kept: RecordFile, found: bytes) -> Staged:
        """`found`: the commitment to what came, under the salts of what is kept."""
        first, subject = kept.versions[0], kept.subject
        known = first.commitment, first.media_type, None if subject is None else subject.handle
        if known != (found, submission.media_type, submission.handle):
            raise SalusError("another document is kept under this id", code="BAD_ARGUMENT")
        assert submission.record_id is not None
        staged = self.operations(submission.record_id)
        assert staged is not None, "its file was read a moment ago"
        return staged

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

    def _is_patients(self, submission: Submission) -> bool:
        if submission.handle is not None or submission.previous is None:
            return submission.handle is not None
        file = self.files.find(submission.previous)
        return file is not None and file.subject is not None

    def _draft(
        self, submission: Submission, file: RecordFile | None, base: PrivateVersion | None
    ) -> Draft:
        return self._places.drafted(self._stored(submission, file, None), file, base)

    def _stored(
        self, submission: Submission, file: RecordFile | None, checked: FhirChecked | None
    ) -> Kept:
        """In a thread: cuts, salts, encrypts, and seals the key of what is a patient's."""
        content, media_type = submission.content, submission.media_type
        seed = self._random(SALT_BYTES)
        version = commitment(open_all(split(content, media_type), seed))
        before = None if file is None else file.subject
        patients = submission.handle is not None or before is not None
        classes = classes_in(content, media_type) if patients else ()
        subject = subject_of(before, submission.handle, classes)
        seal = None if subject is None else self._seals.sealer(subject.handle, classes, version)
        entry = self.vault.put([content], seal)
        bare = replace(submission, content=b"")  # it may wait for a while, and lies in the vault
        return Kept(bare, entry, seed, version, classes, seal is not None, checked)

    def _place_now(self, kept: Kept, drawn: set[str]) -> Draft:
        """Its place in its record, as that is now: meanwhile it may have been amended, or erased. `drawn`:
        the ids of their callers' that stand in this batch; grows."""
        record_id = kept.submission.record_id
        if record_id in drawn or self._kept(kept.submission) is not None:
            raise NodeBusy("the same document has come by another call; ask again")
        if record_id is not None:
            drawn.add(record_id)
        file, base = self._amended(kept.submission.previous)
        if file is not None and file.subject is not None and not kept.classes:
            raise SalusError("the record became a patient's meanwhile", code="NOT_ANCHORED")
        return self._places.drafted(kept, file, base)

    async def erase(self, record_ids: Sequence[bytes], case: bytes, leftovers: Leftovers) -> None:
        """Erase records with all their versions, for a case of the chain; durable on return, and
        may be repeated (rule X-6). `leftovers`: what else in the vault says less from now on."""
        async with self._writing:
            await asyncio.to_thread(self._erase, record_ids, case, leftovers)

    def _erase(self, record_ids: Sequence[bytes], case: bytes, leftovers: Leftovers) -> None:
        files = [self.files.even_erased(record_id) for record_id in record_ids]
        versions = [one for file in files if file is not None for one in file.versions]
        self.files.bury(record_ids, case)
        names = list(record_ids)
        for name, new_name, content in leftovers():
            self.vault.put_record(new_name, content)
            names.append(name)
        self.vault.erase([one.document for one in versions], names)


async def _ready(staged: Staged) -> Staged:
    return staged


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
