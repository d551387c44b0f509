"""The operations that the operator signs for a record, made of what its keeper knows.

Law of the file: the same private version gives the same operation, byte for byte. So whoever
lost the answer to a staging can ask again, and nothing is anchored twice.
"""

from contracts.records import AnchorArgs, RetractArgs, SupersedeArgs
from node.record_version import PrivateVersion, Reason
from salus.codec import Wire, encode
from salus.document import author_commitment, context_commitment, reason_commitment
from salus.forms_records import UnsignedOperation


def anchor(version: PrivateVersion) -> UnsignedOperation:
    """Anchor the batch that the version stands in; the same for all versions of a batch."""
    arguments = AnchorArgs(
        version.root,
        version.leaves,
        author_commitment(version.author_salt, version.author),
        context_commitment(version.context_salt, version.context),
    )
    return _operation("anchor", arguments)


def supersede(base: PrivateVersion, successor_root: bytes) -> UnsignedOperation:
    """End a version in favour of one under another root."""
    arguments = SupersedeArgs(
        base.root, base.leaves, base.index, base.commitment, base.tag, base.path, successor_root
    )
    return _operation("supersede", arguments)


def retract(base: PrivateVersion, reason: Reason) -> UnsignedOperation:
    """End a version without a successor."""
    arguments = RetractArgs(
        base.root,
        base.leaves,
        base.index,
        base.commitment,
        base.tag,
        base.path,
        reason_commitment(reason.salt, reason.text),
    )
    return _operation("retract", arguments)


def _operation(method: str, arguments: Wire) -> UnsignedOperation:
    return UnsignedOperation("records", method, 1, encode(arguments).hex())
