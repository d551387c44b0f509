"""The keeper: opens the keys of exactly those documents that a certified ticket permits (rule G-2).

It believes the node nothing: the ticket's proof leads from the keeper's own copy of genesis to a
quorum's signatures. Law of the file: checked, then on record and synced, then opened. What it cannot
see: the inner terms (the node's gate weighs them and may lie to its own patients), and whether the
permit was revoked within the minutes that a ticket lives.
"""

from collections.abc import Callable
from typing import Annotated

import msgspec

from contracts.access import TicketArgs, access
from salus.codec import Bytes32, Wire, decode
from salus.errors import BadMessage, SalusError
from salus.genesis import Genesis
from salus.permit import Classes
from salus.proof import ProofBundle, read_proof
from salus.sealed_key import KeyOwner, SealedKey, open_key
from salus.ticket import RECORDS_PER_TICKET_MAX, records_commitment
from salus.transaction import Operation
from salus.verifier import verify_bundle

TICKET_AGE_MAX_MS = (
    300_000  # rule T-4: five minutes by a clock, since an idle chain makes no blocks
)
CLOCK_AHEAD_MAX_MS = 60_000  # a block's time may lie before us by what honest clocks differ


class VersionKey(Wire, frozen=True):
    """The sealed key of one record version."""

    commitment: Bytes32
    classes: Classes
    document: Bytes32
    sealed: SealedKey


class UnwrapRequest(Wire, frozen=True):
    """What a node shows to have keys opened. `keys` ascend by commitment: they are the record set."""

    proof: bytes  # the proof file of the ticket's operation
    salt: Bytes32  # of the record set
    keys: Annotated[
        tuple[VersionKey, ...], msgspec.Meta(min_length=1, max_length=RECORDS_PER_TICKET_MAX)
    ]


class Unwrapping(Wire, frozen=True):
    """One line of the keeper's log: enough to find the ticket on the chain, and no person."""

    time_ms: int
    tx_id: Bytes32
    height: int
    requester: str
    purpose: str
    versions: int


class Keeper:
    """Judges requests. Holds the secret that opens the keys of one organisation's documents."""

    def __init__(
        self,
        genesis: Genesis,
        org: str,
        secret: bytes,
        record: Callable[[Unwrapping], None],
        now_ms: Callable[[], int],
    ) -> None:
        """`genesis`: its own copy; `record`: has the line on disk when it returns."""
        self.genesis, self.org = genesis, org
        self.genesis_hash = genesis.hash()
        self._secret, self._record, self._now_ms = secret, record, now_ms

    def unwrap(self, request: UnwrapRequest) -> tuple[bytes, ...]:
        """The keys in the order of the request. Raises `SalusError` (KEEPER_REFUSED, TICKET_OLD);
        takes milliseconds and a sync of the disk."""
        bundle = self._proved(request.proof)
        args = self._permitted(bundle)
        self._fresh(bundle.header.time_ms)
        self._record_set(request, args)
        owners = [
            KeyOwner(
                self.genesis.chain_id,
                self.org,
                args.handle,
                one.classes,
                one.commitment,
                one.document,
            )
            for one in request.keys
        ]
        self._record(
            Unwrapping(
                self._now_ms(),
                bundle.operation.receipt.tx_id,
                bundle.header.height,
                args.requester,
                args.purpose.value,
                len(owners),
            )
        )
        try:
            return tuple(
                open_key(owner, one.sealed, self._secret)
                for owner, one in zip(owners, request.keys, strict=True)
            )
        except SalusError as error:
            raise _refused(error.message) from None

    def _proved(self, proof: bytes) -> ProofBundle:
        """An operation that a quorum certified, by the keeper's own genesis."""
        try:
            bundle = read_proof(proof)
            verify_bundle(bundle, self.genesis_hash)
        except SalusError as error:
            raise _refused(f"the ticket is not proved: {error.message}") from None
        return bundle

    def _permitted(self, bundle: ProofBundle) -> TicketArgs:
        """The arguments of a ticket of this organisation that the chain permitted."""
        try:
            operation = decode(bundle.operation.operation, Operation)
            named = (operation.contract, operation.method, operation.version)
            if named != (access.name, "ticket", access.version):
                raise _refused("the proof is of another operation than a ticket")
            args = decode(operation.args, TicketArgs)
        except BadMessage as error:
            raise _refused(error.message) from None
        decided = [
            event.data
            for event in bundle.operation.receipt.events
            if event.kind == "access.decided"
        ]
        if len(decided) != 1 or decided[0].get("org") != self.org:
            raise _refused("the ticket is of another custodian")
        if decided[0].get("permitted") is not True:
            raise _refused("the ticket was denied")
        return args

    def _fresh(self, time_ms: int) -> None:
        age_ms = self._now_ms() - time_ms
        if not -CLOCK_AHEAD_MAX_MS <= age_ms <= TICKET_AGE_MAX_MS:
            raise SalusError("the ticket's time is over", code="TICKET_OLD")

    def _record_set(self, request: UnwrapRequest, args: TicketArgs) -> None:
        """Exactly the versions of the ticket, all within the classes that were decided about."""
        versions = tuple(one.commitment for one in request.keys)
        if list(versions) != sorted(set(versions)):
            raise _refused("versions stand once each, in ascending order")
        if records_commitment(request.salt, versions) != args.records:
            raise _refused("these are not the versions of the ticket")
        if any(not set(one.classes) <= set(args.classes) for one in request.keys):
            raise _refused("a version holds classes that the ticket does not name")


def _refused(why: str) -> SalusError:
    return SalusError(f"the keeper refuses: {why}", code="KEEPER_REFUSED")
