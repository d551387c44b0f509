"""What all nodes must share: limits, sizes and times, fixed for an epoch (rules 13, 28).

They live in genesis and change by governance at an epoch boundary, never in `node.toml`, so
that two nodes cannot differ. Their hash stands in every block header.
"""

from typing import Annotated

import msgspec

from salus.codec import Wire, encode
from salus.hashing import hasher

_hash_parameters = hasher("parameters")

Positive = Annotated[int, msgspec.Meta(ge=1, le=2**53 - 1)]


class ContractVersion(Wire, frozen=True):
    """From the first height of the epoch on, `contract` is executed by this version."""

    contract: str
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
    # The state map has 2^bits buckets; chosen once, at genesis.
    state_bucket_bits: Annotated[int, msgspec.Meta(ge=1, le=24)] = 16
    pool_transactions_max: Positive = 20_000  # also the fairness measure of rule 17
    contracts: tuple[ContractVersion, ...] = (
        ContractVersion("members", 1),
        ContractVersion("records", 1),
    )

    def hash(self) -> bytes:
        return _hash_parameters(encode(self))


PARAMETER_NAMES = Parameters.__struct_fields__
