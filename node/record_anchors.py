"""Versions of records take their place in a batch: leaves, root, and what the chain is to be told.

Law of the file: all drafts of one call stand in one batch, padded; a record file names its version
before anybody is told of it.
"""

from collections.abc import Callable, Sequence

import msgspec

from node import record_operations
from node.record_drafts import Draft, Kept
from node.record_files import RECORD_FILE_VERSION, RECORD_ID_BYTES, RecordFile, RecordFiles
from node.record_seals import RecordSeals
from node.record_subject import subject_of
from node.record_version import PrivateVersion
from salus.document import SALT_BYTES, Context, batch, batch_size
from salus.forms_records import Staged


class RecordAnchors:
    """Over the record files of one organisation."""

    def __init__(
        self,
        files: RecordFiles,
        seals: RecordSeals,
        random: Callable[[int], bytes],
        now_ms: Callable[[], int],
    ) -> None:
        self._files, self._seals = files, seals
        self._random, self._now_ms = random, now_ms

    def drafted(self, kept: Kept, file: RecordFile | None, base: PrivateVersion | None) -> Draft:
        """What its version will say, but for its place. `base`: the version that it follows."""
        submission = kept.submission
        before = None if file is None else file.subject
        subject = subject_of(before, submission.handle, kept.classes)
        record_id = submission.previous or submission.record_id
        return Draft(
            self._random(RECORD_ID_BYTES) if record_id is None else bytes.fromhex(record_id),
            file,
            base,
            kept.entry.document,
            kept.entry.size,
            submission.media_type,
            submission.author,
            kept.salt_seed,
            self._random(SALT_BYTES),
            kept.commitment,
            subject,
            kept.classes if subject is not None else (),
            kept.sealed,
        )

    def anchored(self, drafts: Sequence[Draft], context: Context) -> Sequence[Staged]:
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
            self._files.store(draft.record_id, file)
            if file.subject is not None:
                # Versions of before it was known whose record it is.
                self._seals.hand_over(self._files, draft.record_id, file)
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
