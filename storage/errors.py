"""The exception tree of the stores: what a disk, its content or its owner can do to us.

    StorageError               code, message, hint (the next step, for the operator)
    ├── StoreUnavailable       locked by another process, disk full, I/O error
    ├── StoreVersion           written by a newer, older or unknown version of the software
    ├── StoreDamaged           bytes on disk are not what was written
    │   ├── JournalDamaged     the vote journal has a hole: starting would risk a double vote
    │   └── VaultDamaged       a document or key file fails its authentication
    ├── JournalLost            the vote journal is missing or not the one that was used (S4)
    ├── SigningRefused         a vote that must not be signed
    │   ├── DoubleSign         it contradicts one that was signed before (S4)
    │   └── BelowFloor         its height lies at or below the floor (S12)
    ├── DocumentMissing        the vault holds no such document or record (or no longer)
    └── DocumentSealed         its key is sealed to the keeper: nothing here opens it

A caller's mistake is an `assert`, as everywhere. Texts name files and heights, never content.
"""


class StorageError(Exception):
    """Base; `code` is a word of `salus.codes`."""

    code = "STORE_IO"
    hint = "Run «salus doctor»; the log names the file."

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code
        if hint is not None:
            self.hint = hint


class StoreUnavailable(StorageError):
    """The store could not be opened, read or written; what it holds is not in doubt."""

    hint = "Check free space, permissions and whether another node process uses this directory."


class StoreVersion(StorageError):
    """The store's format is not one that this software reads."""

    code = "STORE_VERSION"
    hint = "Start the version of the software that wrote it, or a newer one; change no file."


class StoreDamaged(StorageError):
    """Bytes on disk are not what was written."""

    code = "STORE_DAMAGED"
    hint = "Run «salus db check»; then move the directory away and let the node sync again."


class JournalDamaged(StoreDamaged):
    """A record of the vote journal is bad and a good one comes after it, or one is missing."""

    code = "JOURNAL_DAMAGED"
    hint = (
        "Keep the journal directory for inspection and move it away: the node then syncs as an "
        "observer and rejoins by itself at the next epoch. Do not edit or truncate it."
    )


class VaultDamaged(StoreDamaged):
    """A file of the vault fails its authentication."""

    code = "VAULT_DAMAGED"
    hint = "Restore the file from a backup of the vault; its name is the hash of its bytes."


class JournalLost(StorageError):
    """This validator's own intact journal is not here (rule S4): it must not vote."""

    code = "JOURNAL_LOST"
    hint = (
        "The node syncs as an observer and asks to rejoin; it votes again from the next epoch. "
        "If another copy of this node runs anywhere, stop it."
    )


class SigningRefused(StorageError):
    """The journal does not let this vote leave."""


class DoubleSign(SigningRefused):
    """Another digest was signed before for the same type, epoch, view and sequence."""

    code = "DOUBLE_SIGN"
    hint = "Another copy of this node may be running. Do not delete the journal."


class BelowFloor(SigningRefused):
    """The height is at or below the floor: nothing is voted on there again."""

    code = "BELOW_FLOOR"
    hint = "The node is behind its own journal; let it catch up before it votes."


class DocumentMissing(StorageError):
    """The vault has no such document or record."""

    code = "NOT_FOUND"
    hint = "It was never stored here, or it was erased."


class DocumentSealed(StorageError):
    """The document's key is sealed to the keeper, and none was given."""

    code = "GATE_ONLY"
    hint = "Ask through the gate: salus record get RECORD_ID --as STAFF --purpose PURPOSE."
