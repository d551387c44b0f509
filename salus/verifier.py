"""The offline verifier: a proof file and a trusted genesis hash in, a list of checks out.

Law of the file: nothing is believed that does not follow from the genesis hash by signatures
and hashes; the first check that fails ends the verification with `ProofRefused`, and an
operation that was refused on chain is never reported as done. Pure: no node, no network, no
clock — so the claim speaks of a certified height, and says so.
"""

from dataclasses import dataclass

from salus import merkle
from salus.block import BLOCK_VERSION, Header, receipt_leaf
from salus.certificate import Certificate, check_certificate, follow_epochs
from salus.codec import decode
from salus.document import check_record, check_structure, commitment, contents
from salus.errors import VerificationError
from salus.keys import Verifier, address, verify
from salus.proof import AnchorArguments, AsOf, ProofBundle, RecordProof, read_proof
from salus.record import Anchor, Spent, anchor_key, anchoring_org, spent_key
from salus.report import CheckTable, Report, ShownDocument, utc
from salus.statemap import StateProof, verify_state
from salus.transaction import (
    TRANSACTION_VERSION,
    Operation,
    Transaction,
    signed_payload,
    transaction_id,
)
from salus.validators import ValidatorSet

Checkpoint = tuple[int, bytes]  # height and header hash, known from elsewhere


def verify_file(
    data: bytes,
    genesis_hash: bytes,
    *,
    checkpoint: Checkpoint | None = None,
    verifier: Verifier = verify,
) -> Report:
    """Read and verify a proof file; raises `ProofRefused`, whatever the bytes are."""
    table = CheckTable()
    bundle = table.run("file", lambda: (f"{len(data)} bytes, unchanged", read_proof(data)))
    return _judge(bundle, genesis_hash, checkpoint, verifier, table)


def verify_bundle(
    bundle: ProofBundle,
    genesis_hash: bytes,
    *,
    checkpoint: Checkpoint | None = None,
    verifier: Verifier = verify,
) -> Report:
    """The same for a bundle that was read already."""
    return _judge(bundle, genesis_hash, checkpoint, verifier, CheckTable())


@dataclass(frozen=True, slots=True)
class _Executed:
    tx_id: bytes
    operation: Operation


@dataclass(frozen=True, slots=True)
class _Standing:
    """What the state after a block says: the organisation, and the end of the version if any."""

    org: str
    spent: Spent | None


def _judge(
    bundle: ProofBundle,
    genesis_hash: bytes,
    checkpoint: Checkpoint | None,
    verifier: Verifier,
    table: CheckTable,
) -> Report:
    header, record, as_of = bundle.header, bundle.record, bundle.as_of
    table.run("genesis", lambda: _genesis(bundle, genesis_hash))
    sets = table.run("validators", lambda: _validator_sets(bundle, verifier))
    signers = table.run(
        "certificate", lambda: _certified(bundle, header, bundle.certificate, sets, verifier)
    )
    done = table.run("transaction", lambda: _transaction(bundle, genesis_hash, verifier))
    table.run("receipt", lambda: _receipt(bundle, done))
    version = shown = None
    if record is not None:
        version, shown = table.run("document", lambda: _document(record, done.operation))
    standing = None
    if as_of is not None:
        table.run(
            "as-of block",
            lambda: _certified(bundle, as_of.header, as_of.certificate, sets, verifier),
        )
        standing = table.run("state", lambda: _state(bundle, as_of, done.operation))
    if bundle.links:
        table.run("later blocks", lambda: _links(bundle))
    if checkpoint is not None:
        table.run("checkpoint", lambda: _checkpoint(bundle, checkpoint))

    status, claim = _claim(bundle, done, standing, version)
    parts = () if record is None else record.opening.parts
    return Report(
        checks=tuple(table.checks),
        claim=claim,
        limit=_limit(bundle, checkpoint),
        status=status,
        height=header.height,
        block_hash=header.hash(),
        time_ms=header.time_ms,
        tx_id=done.tx_id,
        operation=f"{done.operation.contract}.{done.operation.method}",
        sender=bundle.operation.sender,
        signers=signers,
        as_of_height=None if as_of is None else as_of.header.height,
        version_commitment=version,
        parts_shown=len(parts) - (0 if record is None else len(record.opening.withheld)),
        parts_count=len(parts),
        document=shown,
    )


# -- trust: from the genesis hash to a certified header --------------------------------------


def _genesis(bundle: ProofBundle, genesis_hash: bytes) -> tuple[str, None]:
    if bundle.genesis.hash() != genesis_hash:
        raise VerificationError("the file speaks of another consortium: its genesis hash differs")
    return f"{bundle.genesis.chain_id}, the genesis that you trust", None


def _validator_sets(bundle: ProofBundle, verifier: Verifier) -> tuple[str, list[ValidatorSet]]:
    first = bundle.genesis.validators()
    follow_epochs(first, bundle.epochs, bundle.genesis.vote_domain(), verifier)
    heights = [0, *(step.header.height for step in bundle.epochs)]
    if heights != sorted(set(heights)):
        raise VerificationError("the ends of epochs must ascend")
    newest = bundle.header.epoch if bundle.as_of is None else bundle.as_of.header.epoch
    if newest != len(bundle.epochs):
        raise VerificationError("the chain of epochs must end at the newest block of the file")
    detail = f"{first.n} validators from genesis, {len(bundle.epochs)} changes of epoch followed"
    return detail, [first, *(step.next_validators for step in bundle.epochs)]


def _certified(
    bundle: ProofBundle,
    header: Header,
    certificate: Certificate,
    sets: list[ValidatorSet],
    verifier: Verifier,
) -> tuple[str, tuple[str, ...]]:
    """The header is signed by a quorum of its own epoch and lies within that epoch's heights."""
    if header.version != BLOCK_VERSION:
        raise VerificationError(f"block version {header.version} is not known here")
    epoch = header.epoch
    if epoch >= len(sets):
        raise VerificationError("the file does not lead to the epoch of this block")
    base = bundle.epochs[epoch - 1].header.height if epoch else 0
    end = bundle.epochs[epoch].header.height if epoch < len(bundle.epochs) else None
    if header.height <= base or (end is not None and header.height > end):
        raise VerificationError("the block lies outside of the heights of its epoch")
    validators = sets[epoch]
    domain = bundle.genesis.vote_domain()
    check_certificate(certificate, header, validators, domain, verifier)
    signers = tuple(validators.validators[s.index].member for s in certificate.signatures)
    detail = (
        f"block {header.height}: {len(signers)} of {validators.n} signed "
        f"({', '.join(signers)}), {validators.quorum} needed"
    )
    return detail, signers


# -- the operation and what came of it -------------------------------------------------------


def _transaction(
    bundle: ProofBundle, genesis_hash: bytes, verifier: Verifier
) -> tuple[str, _Executed]:
    proof, header = bundle.operation, bundle.header
    if proof.version != TRANSACTION_VERSION:
        raise VerificationError(f"transaction version {proof.version} is not known here")
    if not proof.first_height <= header.height <= proof.expiry_height:
        raise VerificationError("the transaction was not valid at this height")
    root = merkle.root_from_inclusion(
        merkle.leaf_hash(proof.operation),
        proof.operation_index,
        proof.operations_count,
        proof.operation_path,
    )
    envelope = Transaction(
        proof.version,
        bundle.genesis.chain_id,
        proof.sender,
        proof.nonce,
        proof.first_height,
        proof.expiry_height,
        proof.independent,
        (proof.operation,),
        proof.signature,
    )
    signed = signed_payload(genesis_hash, envelope, proof.operations_count, root)
    if not verifier(proof.sender, signed, proof.signature):
        raise VerificationError("the signature does not fit sender, chain and operation")
    tx_id = transaction_id(signed, proof.signature)
    merkle.verify_inclusion(
        merkle.leaf_hash(tx_id),
        proof.transaction_index,
        header.transactions_count,
        proof.transaction_path,
        header.transactions_root,
    )
    operation = decode(proof.operation, Operation)
    detail = (
        f"{operation.contract}.{operation.method}, operation {proof.operation_index + 1} of "
        f"{proof.operations_count}, signed by {_who(bundle)}; "
        f"{proof.transaction_index + 1} of {header.transactions_count} in block {header.height}"
    )
    return detail, _Executed(tx_id, operation)


def _receipt(bundle: ProofBundle, done: _Executed) -> tuple[str, None]:
    proof, header = bundle.operation, bundle.header
    receipt = proof.receipt
    if receipt.tx_id != done.tx_id or receipt.operation != proof.operation_index:
        raise VerificationError("the receipt is of another operation")
    merkle.verify_inclusion(
        receipt_leaf(receipt),
        proof.receipt_index,
        header.receipts_count,
        proof.receipt_path,
        header.receipts_root,
    )
    if not receipt.ok:
        raise VerificationError(
            f"the operation was REFUSED by the ledger with code {receipt.code} at height "
            f"{header.height}: it did not take effect"
        )
    return "executed, result OK", None


# -- the document and its standing -----------------------------------------------------------


def _document(
    record: RecordProof, operation: Operation
) -> tuple[str, tuple[bytes, ShownDocument | None]]:
    arguments = _anchor_arguments(operation)
    version = commitment(record.opening)
    check_record(
        arguments.root, arguments.leaves, record.index, version, record.tag_hash, record.path
    )
    count, withheld = len(record.opening.parts), len(record.opening.withheld)
    check_structure(record.opening)  # it must fit the parts, or there is no document
    if not withheld:
        document = ShownDocument(*contents(record.opening))
        return f"all {count} parts lead to the anchored root: {document}", (version, document)
    detail = f"{count - withheld} of {count} parts shown, {withheld} withheld as hashes"
    return detail, (version, None)


def _anchor_arguments(operation: Operation) -> AnchorArguments:
    if (operation.contract, operation.method, operation.version) != ("records", "anchor", 1):
        raise VerificationError("the operation is no records.anchor of version 1")
    return decode(operation.args, AnchorArguments)


def _state(bundle: ProofBundle, as_of: AsOf, operation: Operation) -> tuple[str, _Standing]:
    header, height = bundle.header, as_of.header.height
    if height < header.height:
        raise VerificationError("the as-of block lies before the proved one")
    if height == header.height and as_of.header != header:
        raise VerificationError("two different blocks of one height")
    arguments = _anchor_arguments(operation)
    org = anchoring_org(bundle.operation.receipt)
    value = _read(bundle, as_of, as_of.anchor, anchor_key(org, arguments.root))
    if value is None:
        raise VerificationError("the anchor is not in the state")
    anchor = decode(value, Anchor)
    if anchor.org != org or anchor.height != header.height or anchor.leaves != arguments.leaves:
        raise VerificationError("the state speaks of another anchoring")
    if (as_of.spent is None) != (bundle.record is None):
        raise VerificationError("a document and the state of its tag belong together")
    if as_of.spent is None or bundle.record is None:
        return f"block {height}: anchored by {anchor.org}", _Standing(anchor.org, None)
    key = spent_key(anchor.org, bundle.record.tag_hash)
    value = _read(bundle, as_of, as_of.spent, key)
    if value is None:
        return (
            f"block {height}: anchored by {anchor.org}, no entry that ends this version",
            _Standing(anchor.org, None),
        )
    spent = decode(value, Spent)
    if not header.height <= spent.height <= height:
        raise VerificationError("the version ends at an impossible height")
    word = "retracted" if spent.successor_root is None else "superseded"
    return f"block {height}: {word} at height {spent.height}", _Standing(anchor.org, spent)


def _read(bundle: ProofBundle, as_of: AsOf, proof: StateProof, key: bytes) -> bytes | None:
    if proof.key != key:
        raise VerificationError("the state proof is of another key")
    bits = bundle.genesis.parameters.state_bucket_bits
    return verify_state(proof, as_of.header.state_root, bits=bits)


# -- later blocks ----------------------------------------------------------------------------


def _links(bundle: ProofBundle) -> tuple[str, None]:
    parent = bundle.header
    for link in bundle.links:
        if link.height != parent.height + 1 or link.parent_hash != parent.hash():
            raise VerificationError("the later headers do not follow from the block one by one")
        parent = link
    as_of = bundle.as_of
    if as_of is not None and parent.height >= as_of.header.height > bundle.header.height:
        at = as_of.header.height - bundle.header.height - 1
        if bundle.links[at] != as_of.header:
            raise VerificationError("two different blocks of one height")
    return f"block {parent.height} descends from block {bundle.header.height}", None


def _checkpoint(bundle: ProofBundle, checkpoint: Checkpoint) -> tuple[str, None]:
    """Only a block that fixes the proved one counts: itself, a descendant, or the end of an
    earlier epoch (which fixes the keys that may have signed it)."""
    height, pinned = checkpoint
    own = bundle.header.height
    before = [step.header for step in bundle.epochs if step.header.epoch < bundle.header.epoch]
    for header in (*before, bundle.header, *bundle.links):
        if header.height == height:
            if header.hash() != pinned:
                raise VerificationError(f"block {height} is not the one that you pinned")
            if height < own:
                return f"the epochs up to block {height} are the pinned ones", None
            return f"block {own} is fixed by the pinned block {height}", None
    raise VerificationError(
        f"nothing in the file leads from block {own} to the pinned height {height}; "
        "ask for a proof with the headers up to it"
    )


# -- plain words -----------------------------------------------------------------------------


def _who(bundle: ProofBundle) -> str:
    sender = bundle.operation.sender
    for member in bundle.genesis.members:
        if sender == member.operator_key:
            return f"{member.id} (its operator key in genesis)"
    return address(sender)


def _claim(
    bundle: ProofBundle, done: _Executed, standing: _Standing | None, version: bytes | None
) -> tuple[str, str]:
    height, record = bundle.header.height, bundle.record
    when = f"at height {height} ({utc(bundle.header.time_ms)})"
    name = f"{done.operation.contract}.{done.operation.method}"
    if record is None and standing is None:
        return "executed", f"{name} by {_who(bundle)} was executed {when}"
    what = "this batch" if record is None else "this document version"
    if record is not None and record.opening.withheld:
        what = "the version that the shown parts belong to"
        if len(record.opening.withheld) == len(record.opening.parts):
            assert version is not None
            what = f"a version with the commitment {version.hex()}, of which nothing is shown,"
    by = _who(bundle) if standing is None else standing.org
    text = f"{what} was anchored by {by} {when}"
    if standing is None or record is None:
        return "anchored", text
    assert bundle.as_of is not None
    if standing.spent is None:
        return "current", f"{text} and is current as of height {bundle.as_of.header.height}"
    status = "retracted" if standing.spent.successor_root is None else "superseded"
    return status, f"{text}; it was {status} at height {standing.spent.height}"


def _limit(bundle: ProofBundle, checkpoint: Checkpoint | None) -> str:
    """What the claim rests on. A pin frees it from the keys that signed the newest block only
    if it names that block or a descendant; one before it trusts all keys that came later."""
    newest = bundle.header if bundle.as_of is None else bundle.as_of.header
    limit = f"says nothing about later than height {newest.height} ({utc(newest.time_ms)})"
    if checkpoint is None:
        return f"{limit}; assumes that no quorum of former validator keys was stolen"
    pinned, _ = checkpoint
    if pinned < newest.height:
        return f"{limit}; assumes that no quorum of validator keys after height {pinned} was stolen"
    return limit
