"""The keeper: opens the keys of exactly those documents that a certified ticket permits (rule G-2).

It believes the node nothing: the ticket's proof leads from the keeper's own copy of genesis to a
quorum's signatures, and to no older consortium than it has seen (node/keeper_epochs.py). Law of the
file: checked, then on record and synced, then opened. The docket that was weighed is held to the chain's, by
a state proof. What it cannot see: who in the asking organisation asks, and what the patient said after the
block that the gate shows.
"""

from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from typing import Annotated

import msgspec

from contracts.access import TicketArgs, access
from node.keeper_epochs import KeeperEpochs
from node.keeper_weighing import InnerDecision, check_docket, check_inner
from salus.codec import Bytes32, Wire, decode
from salus.errors import BadMessage, SalusError
from salus.genesis import Genesis
from salus.keys import verify
from salus.permit import EMPTY, Classes, Docket, Purpose, docket_key
from salus.proof import ProofBundle, read_proof
from salus.sealed_key import KeyOwner, SealedKey, open_key
from salus.state_file import STATE_FILE_BYTES_MAX, read_state_file, verify_state_bundle
from salus.ticket import RECORDS_PER_TICKET_MAX, records_commitment
from salus.transaction import Operation
from salus.verifier import verify_bundle

TICKET_AGE_MAX_MS = (
    300_000  # rule T-4: five minutes by a clock, since an idle chain makes no blocks
)
CLOCK_AHEAD_MAX_MS = 60_000  # a block's time may lie before us by what honest clocks differ
# Between the time of a block whose ticket is good and that of the newest one that can be proved.
TICKET_LIFE_MS = TICKET_AGE_MAX_MS + CLOCK_AHEAD_MAX_MS

SIGNATURES_SEEN_MAX = 100_000  # 12 MB; ten years of epochs of a day, of ten hospitals, are 26,000


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
    inner: InnerDecision  # that the ticket commits to
    # State file of the docket that the ticket was decided by, of its block or a later one; of the
    # patient's own request, which nobody weighs, empty.
    docket: Annotated[bytes, msgspec.Meta(max_length=STATE_FILE_BYTES_MAX)]


class Unwrapping(Wire, frozen=True):
    """One line of the keeper's log: enough to find the ticket on the chain, and no person."""

    time_ms: int
    tx_id: Bytes32
    height: int
    requester: str
    purpose: str
    versions: int


class SeenSignatures:
    """Signatures that were verified here. The chain of validator sets is the same in every proof and
    grows by a set a day: verifying it each time would take longer every year."""

    def __init__(self) -> None:
        # In the order in which they came; a plain dict would be slow to give its first (storage/cache.py).
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def verify(self, public_key: bytes, payload: bytes, signature: bytes) -> bool:
        # Two of three have a fixed length, so no other triple has these bytes.
        name = sha256(public_key + signature + payload).digest()
        if len(public_key) == 32 and len(signature) == 64 and name in self._seen:
            return True
        if not verify(public_key, payload, signature):
            return False
        self._seen[name] = None
        if len(self._seen) > SIGNATURES_SEEN_MAX:
            del self._seen[next(iter(self._seen))]
        return True


class Keeper:
    """Judges requests. Holds the secret that opens the keys of one organisation's documents."""

    def __init__(
        self,
        genesis: Genesis,
        org: str,
        secret: bytes,
        record: Callable[[Unwrapping], None],
        now_ms: Callable[[], int],
        epochs: KeeperEpochs | None = None,
    ) -> None:
        """`genesis`: its own copy; `record`: has the line on disk when it returns; `epochs`: what it
        has learned of them, None in a new keeper that remembers no longer than it lives."""
        self.genesis, self.org = genesis, org
        self.genesis_hash = genesis.hash()
        self._secret, self._record, self._now_ms = secret, record, now_ms
        self._epochs = epochs or KeeperEpochs(TICKET_LIFE_MS)
        self._signatures = SeenSignatures()

    def unwrap(self, request: UnwrapRequest) -> tuple[bytes, ...]:
        """The keys in the order of the request. Raises `SalusError` (KEEPER_REFUSED, TICKET_OLD, CLOCK_BEHIND);
        takes milliseconds and a sync of the disk."""
        bundle = self._proved(request.proof)
        args = self._permitted(bundle)
        self._fresh(bundle.header.time_ms)
        check_inner(request.inner, self.org, args, bundle.header.time_ms)
        if args.purpose is not Purpose.PATIENT_REQUEST:
            docket = self._docket(request.docket, bundle.header.height, args)
            check_docket(request.inner.weighing, docket, bundle.header.height)
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
            verify_bundle(bundle, self.genesis_hash, verifier=self._signatures.verify)
        except SalusError as error:
            raise _refused(f"the ticket is not proved: {error.message}") from None
        if bundle.record is not None or bundle.as_of is not None or bundle.links:
            raise _refused("the proof says more than that a ticket was decided")
        self._epochs.accept(bundle)
        return bundle

    def _docket(self, file: bytes, height: int, args: TicketArgs) -> Docket:
        """What the chain says of it, at the ticket's `height` or later: from the keeper's own genesis too."""
        key = docket_key(self.org, args.handle, args.requester, args.purpose)
        try:
            state = read_state_file(file)
            proved = verify_state_bundle(state, self.genesis_hash, verifier=self._signatures.verify)
            value = proved.value(key)
            docket = EMPTY if value is None else decode(value, Docket)
        except SalusError as error:
            raise _refused(f"the docket is not proved: {error.message}") from None
        if proved.height < height:
            raise _refused("the docket is of an earlier block than the ticket")
        self._epochs.accept(state)
        return docket

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
        if age_ms < -CLOCK_AHEAD_MAX_MS:
            # Not the ticket is wrong: the next one would be met the same way.
            raise SalusError(
                f"the clock of {self.org}'s keeper is {-age_ms // 1_000} s behind the ticket's block",
                code="CLOCK_BEHIND",
            )
        if age_ms > TICKET_AGE_MAX_MS:
            raise SalusError("the ticket's time is over", code="TICKET_OLD")

    def _record_set(self, request: UnwrapRequest, args: TicketArgs) -> None:
        """Exactly the versions of the ticket, each with something of the classes decided about."""
        versions = tuple(one.commitment for one in request.keys)
        if list(versions) != sorted(set(versions)):
            raise _refused("versions stand once each, in ascending order")
        if records_commitment(request.salt, versions) != args.records:
            raise _refused("these are not the versions of the ticket")
        # A document has one key. What of it is of other classes the gate withholds (rule G-17), as it does
        # what the inner terms deny: the keeper sees neither.
        if any(set(args.classes).isdisjoint(one.classes) for one in request.keys):
            raise _refused("a version holds nothing of the classes that the ticket names")


def _refused(why: str) -> SalusError:
    return SalusError(f"the keeper refuses: {why}", code="KEEPER_REFUSED")
