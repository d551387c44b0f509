"""What all nodes must share: limits, sizes and times, fixed for an epoch (rules 13, 28).

They live in genesis and change by governance at an epoch boundary, never in `node.toml`, so
that two nodes cannot differ. Their hash stands in every block header.
"""

from typing import Annotated

import msgspec

from salus.codec import Wire, encode
from salus.errors import BadMessage
from salus.hashing import hasher
from salus.validators import ValidatorSet

_hash_parameters = hasher("parameters")

Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class ContractVersion(Wire, frozen=True):
    """From the first height of the epoch on, `contract` is executed by this version."""

    contract: Annotated[str, msgspec.Meta(max_length=32)]
    version: Positive


class Parameters(Wire, frozen=True):
    """Consensus parameters; the unit stands last in each name, the reason beside it."""

    # Agreement. L bounds every per-sequence buffer; 64 covers a second of saturation.
    watermark_window: Annotated[int, msgspec.Meta(ge=8, le=1024)] = 64
    in_flight_proposals_max: Annotated[int, msgspec.Meta(ge=1, le=64)] = 4  # 1 and 16 are slower
    execute_ahead_max: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8  # bounds the overlays
    epoch_blocks_max: Positive = 100_000  # a rotation of the set's proof chain about once a day
    # Time. Rule 17 (progress), 18 (view change), 21 (clock).
    tick_ms: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    progress_timeout_ms: Positive = 1_000
    view_change_timeout_ms: Positive = 1_000
    timeout_doublings_max: Annotated[int, msgspec.Meta(ge=0, le=10)] = 6
    clock_drift_max_ms: Positive = 5_000
    # Blocks and transactions.
    block_transactions_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    block_bytes_max: Annotated[int, msgspec.Meta(ge=4096, le=16 * 2**20)] = 2**20
    transaction_bytes_max: Annotated[int, msgspec.Meta(ge=512, le=2**20)] = 64 * 1024
    transaction_operations_max: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000
    expiry_window_blocks: Annotated[int, msgspec.Meta(ge=64, le=1_000_000)] = 8_192
    # What one transaction may do to state (rule 16).
    keys_touched_max: Positive = 4_096
    state_value_bytes_max: Positive = 16 * 1024
    state_bytes_written_max: Positive = 512 * 1024
    # The state map has 2^bits buckets; chosen once, at genesis. 18: four entries a bucket at 10^6
    # keys, 16 MiB of hashes; take 20 where 10^7 are expected.
    state_bucket_bits: Annotated[int, msgspec.Meta(ge=1, le=24)] = 18
    pool_transactions_max: Positive = 20_000  # also the fairness measure of rule 17
    # A patient's keys, in block time (decision 0010): long enough that the owner or a guardian who reads
    # the notice can object, and no longer than somebody without his key can wait.
    rotation_wait_ms: Positive = 86_400_000
    recovery_wait_ms: Positive = 3 * 86_400_000
    # Emergencies, in block time (decision 0014). A colleague elsewhere can be woken within the hour; what
    # he agreed to lasts a shift; the opener writes after a weekend, the reviewer within a week.
    emergency_cosign_ms: Positive = 3_600_000
    emergency_open_ms: Positive = 86_400_000
    emergency_justify_ms: Positive = 3 * 86_400_000
    emergency_review_ms: Positive = 7 * 86_400_000
    emergency_sanction_ms: Positive = (
        90 * 86_400_000
    )  # after an abuse, as long as a quarterly audit
    # By a holder's own clock: twice the longest view change but one, and a patient can wait for it.
    emergency_silence_ms: Positive = 30_000
    # An erasure that one key asks for, in block time (decision 0015): as long as a recovery, for whoever
    # hears of a thief's request must be able to stop it; the law leaves a month (GDPR art. 12(3)).
    erasure_wait_ms: Positive = 3 * 86_400_000
    contracts: Annotated[tuple[ContractVersion, ...], msgspec.Meta(max_length=64)] = (
        ContractVersion("access", 1),
        ContractVersion("consent", 1),
        ContractVersion("emergency", 1),
        ContractVersion("erasure", 1),
        ContractVersion("governance", 1),
        ContractVersion("identity", 1),
        ContractVersion("members", 1),
        ContractVersion("records", 1),
    )

    def hash(self) -> bytes:
        return _hash_parameters(encode(self))


# What a vote may choose (decision 0006): outside of these a network might still run, but too slowly
# to be called back, or without room for the next vote. The limits themselves stand above.
_BY_VOTE: dict[str, tuple[int, int]] = {
    "progress_timeout_ms": (100, 60_000),  # a minute without a block is an outage
    "view_change_timeout_ms": (100, 60_000),
    "clock_drift_max_ms": (100, 600_000),
    "block_transactions_max": (1, 10_000),
    "transaction_bytes_max": (2_048, 2**20),  # a proposal with three keys has 0.7 kB
    "keys_touched_max": (64, 2**20),  # a vote touches a dozen
    "state_value_bytes_max": (16_384, 2**20),  # the fullest agenda of governance has 11 kB
    "state_bytes_written_max": (32_768, 2**26),
    "pool_transactions_max": (100, 10**6),
    "epoch_blocks_max": (8, 10**9),
    "rotation_wait_ms": (3_600_000, 30 * 86_400_000),  # an hour: nobody reads a notice sooner
    "recovery_wait_ms": (3_600_000, 90 * 86_400_000),
    "emergency_cosign_ms": (300_000, 86_400_000),  # nobody is woken within less than five minutes
    "emergency_open_ms": (300_000, 7 * 86_400_000),
    "emergency_justify_ms": (3_600_000, 30 * 86_400_000),
    "emergency_review_ms": (3_600_000, 90 * 86_400_000),
    "emergency_sanction_ms": (86_400_000, 3_650 * 86_400_000),
    "emergency_silence_ms": (5_000, 600_000),  # beneath it an ordinary view change would do
    "erasure_wait_ms": (3_600_000, 21 * 86_400_000),  # of a month, the rest is for the holders
}

# The longest of each timer, all doublings done (L18). With a shorter one a view change over slow lines
# would never end, and no vote could be executed that makes it longer.
_LONGEST_TIMEOUT_MS_MIN = 2_000

# Chosen once, or not by number; everything else can be changed by `governance.change_parameters`.
FIXED_PARAMETERS = ("state_bucket_bits", "contracts")

# The largest message of agreement is a NEW-VIEW: q VIEW-CHANGEs, each with a certificate of q votes
# for each sequence of the window. So n and L together decide whether it can be sent at all.
CONSENSUS_BYTES_MAX = 32 * 2**20  # 100 validators over the default window need 20 MB

# Encoded, at the most (formats.md §9, §10): an index and a signature; a PRE-PREPARE; and what
# stands beside the repeated parts of a certificate, a VIEW-CHANGE, a NEW-VIEW.
_SIGNATURE_BYTES, _PRE_PREPARE_BYTES, _ENVELOPE_BYTES = 68, 130, 128

# Envelope of a proposal that holds a single transaction of the largest size.
_PROPOSAL_ENVELOPE_BYTES = 128


def new_view_bytes_max(validators: ValidatorSet, window: int) -> int:
    """No true NEW-VIEW of these validators over such a watermark window is larger."""
    q = validators.quorum
    prepared = _PRE_PREPARE_BYTES + (q - 1) * _SIGNATURE_BYTES + 4
    low = _ENVELOPE_BYTES + validators.n * _SIGNATURE_BYTES
    view_change = _ENVELOPE_BYTES + low + window * prepared
    return _ENVELOPE_BYTES + q * view_change + window * _PRE_PREPARE_BYTES


def check_parameters(
    new: Parameters, old: Parameters | None = None, *, validators: ValidatorSet | None = None
) -> None:
    """Raises `BadMessage` (BAD_PARAMETERS) unless the limits fit each other; with `validators`,
    unless they fit those; with `old`, unless the change is one that an epoch may bring."""

    def require(condition: bool, message: str) -> None:
        if not condition:
            raise BadMessage(message, code="BAD_PARAMETERS")

    require(
        new.transaction_bytes_max + _PROPOSAL_ENVELOPE_BYTES <= new.block_bytes_max,
        "a block must hold at least one transaction of the largest size",
    )
    require(
        new.in_flight_proposals_max + new.execute_ahead_max < new.watermark_window,
        "the watermark window must hold what is in flight and what is executed ahead",
    )
    require(
        new.epoch_blocks_max >= new.watermark_window,
        "an epoch is at least one watermark window long",
    )
    # Keys that others ask for give the owner longer notice than those that he names himself.
    require(
        new.rotation_wait_ms < new.recovery_wait_ms,
        "rotation_wait_ms must be less than recovery_wait_ms",
    )
    names = [entry.contract for entry in new.contracts]
    require(names == sorted(set(names)), "contracts sorted by name, once each")
    if validators is not None:
        new_view = new_view_bytes_max(validators, new.watermark_window)
        require(
            new_view <= CONSENSUS_BYTES_MAX,
            f"watermark_window {new.watermark_window} is too large for {validators.n} validators:"
            f" a NEW-VIEW could have {new_view} bytes, and {CONSENSUS_BYTES_MAX} can be sent",
        )
    if old is not None:
        require(
            new.state_bucket_bits == old.state_bucket_bits,
            "state_bucket_bits is chosen once, at genesis",
        )
        for name, (least, most) in _BY_VOTE.items():
            value = getattr(new, name)
            require(
                value == getattr(old, name) or least <= value <= most,
                f"{name} can be changed to {least} … {most}",
            )
        for name in ("progress_timeout_ms", "view_change_timeout_ms"):
            longest_ms = getattr(new, name) << new.timeout_doublings_max
            require(
                longest_ms >= _LONGEST_TIMEOUT_MS_MIN
                or longest_ms >= getattr(old, name) << old.timeout_doublings_max,
                f"{name} may be {longest_ms} ms at the most after timeout_doublings_max doublings,"
                f" and {_LONGEST_TIMEOUT_MS_MIN} must be possible",
            )
        versions = {entry.contract: entry.version for entry in new.contracts}
        require(
            all(versions.get(entry.contract, 0) >= entry.version for entry in old.contracts),
            "contracts stay, and their versions only rise",
        )
