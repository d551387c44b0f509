"""A document between its arrival and its record file."""

from dataclasses import dataclass, field

from node.record_files import PrivateVersion, RecordFile
from node.record_subject import Subject
from salus.document import BatchPlace, Context
from salus.record import record_leaf, tag_hash


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
        )
