"""A document between its arrival and its record file."""

from dataclasses import dataclass, field

from node.fhir import FhirChecked
from node.record_files import RecordFile
from node.record_subject import Subject
from node.record_version import PrivateVersion
from salus.document import BatchPlace, Context
from salus.permit import RecordClass
from salus.record import record_leaf, tag_hash
from storage.deposit import VaultEntry


@dataclass(frozen=True, slots=True)
class Submission:
    """A document to be staged; `previous`: the record (hex) that it is a new version of; `handle`:
    the patient's, 32 bytes, if it is somebody's; `record_id`: a new record's, in hex, if the caller has
    drawn it: the same submission again stages nothing more."""

    content: bytes
    media_type: str
    previous: str | None = None
    author: str = ""
    handle: bytes | None = None
    record_id: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """A document in the vault, sealed as it will be, that has no place in a batch yet."""

    submission: Submission  # without its content
    entry: VaultEntry
    salt_seed: bytes
    commitment: bytes
    classes: tuple[RecordClass, ...]  # if it is somebody's
    sealed: bool
    checked: FhirChecked | None = None


@dataclass(slots=True)
class Draft:
    """A submission on its way: cut, salted, and in the vault."""

    record_id: bytes
    file: RecordFile | None
    base: PrivateVersion | None  # the version that it supersedes
    document: bytes
    size: int
    media_type: str
    author: str
    salt_seed: bytes
    tag: bytes
    commitment: bytes
    subject: Subject | None  # of the record with this version
    classes: tuple[RecordClass, ...]  # of this version, if the record is somebody's
    sealed: bool  # its key is sealed to the keeper
    leaf: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.leaf = record_leaf(self.commitment, tag_hash(self.tag))

    def private(
        self,
        root: bytes,
        place: BatchPlace,
        author_salt: bytes,
        author: str,
        context_salt: bytes,
        context: Context,
    ) -> PrivateVersion:
        """What its keeper knows of it, once it has its place in a batch."""
        return PrivateVersion(
            self.document,
            self.size,
            self.media_type,
            self.salt_seed,
            self.tag,
            self.commitment,
            root,
            place.leaves,
            place.index,
            place.path,
            author_salt,
            author,
            context_salt,
            context,
            classes=self.classes,
            sealed=self.sealed,
        )
