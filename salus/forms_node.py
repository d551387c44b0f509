"""JSON forms of a node: how it stands, its peers, the agreement as it sees it.

In the manner of salus/forms.py.
"""

from typing import Any

from salus.codec import Uint
from salus.forms import AddressText, CodeWord, Form, Hex32, MemberText, TimeText


class PeerCount(Form, frozen=True, omit_defaults=False):
    connected: Uint
    expected: Uint


class QuorumCount(Form, frozen=True, omit_defaults=False):
    needed: Uint
    online: Uint


class Status(Form, frozen=True, kw_only=True, omit_defaults=False):
    """One screen about this node; `height` and roots are certified ones."""

    chain_id: str
    genesis_hash: Hex32
    member: str | None  # the organisation whose node this is; None for an observer
    version: str
    height: Uint
    epoch: Uint
    epoch_end: Uint  # 0 while the last height of the epoch is open
    view: Uint
    primary: str  # member id of the primary of this view
    is_primary: bool
    syncing: bool
    sync_lag_blocks: Uint
    ready: bool
    signing: str  # "signing", "observer", "quarantine" or "halted"
    reason: str | None  # why it is not ready, or does not sign
    peers: PeerCount
    quorum: QuorumCount
    last_block_time: TimeText
    last_block_age_s: float
    block_hash: Hex32
    state_root: Hex32
    mempool_transactions: Uint
    mempool_bytes: Uint
    storage_bytes: dict[str, Uint]  # per store: journal, blocks, state, vault
    contract_faults: Uint = 0  # since the start: contracts that failed instead of refusing
    equivocations: Uint = 0  # since the start: proved contradictions of validators
    code: CodeWord | None = None  # why it is not ready, in a word of `salus.codes`


class Readiness(Form, frozen=True):
    """Whether the node takes transactions, answers up to date and, as a validator, votes and sees
    enough others to agree."""

    ready: bool
    code: str = "OK"
    reason: str = ""


class ValidatorForm(Form, frozen=True, omit_defaults=False):
    index: Uint
    member: MemberText
    name: str
    address: AddressText
    primary: bool
    connected: bool
    last_signed_height: Uint | None


class Validators(Form, frozen=True, omit_defaults=False):
    epoch: Uint
    hash: Hex32
    n: Uint
    f: Uint
    quorum: Uint
    items: tuple[ValidatorForm, ...]


class PeerForm(Form, frozen=True, kw_only=True, omit_defaults=False):
    member: MemberText
    address: str  # host:port that we dial
    connected_in: bool
    connected_out: bool
    rtt_ms: float | None
    clock_ahead_ms: float | None = None  # this node's clock minus the peer's, to some 10 ms
    last_seen: TimeText | None
    queued: Uint
    refused: str | None  # why the last connection was refused, by them or by us


class Slot(Form, frozen=True, omit_defaults=False):
    """One sequence in agreement: who prepared and committed (indexes of validators)."""

    sequence: Uint
    digest: Hex32 | None
    phase: str
    prepares: tuple[Uint, ...]
    commits: tuple[Uint, ...]
    checkpoints: tuple[Uint, ...]


class Consensus(Form, frozen=True, kw_only=True, omit_defaults=False):
    """A snapshot of the agreement, for operators; says nothing about certified state."""

    epoch: Uint
    view: Uint
    primary: str
    phase: str
    stable_height: Uint
    executed_height: Uint
    watermark_low: Uint
    watermark_high: Uint
    timeout_ms: Uint
    view_changes: Uint
    slots: tuple[Slot, ...]


class Mempool(Form, frozen=True, omit_defaults=False):
    transactions: Uint
    bytes: Uint
    transactions_max: Uint
    senders: Uint
    in_flight: Uint


class ParametersForm(Form, frozen=True, omit_defaults=False):
    epoch: Uint
    hash: Hex32
    parameters: dict[str, Any]


class Account(Form, frozen=True, omit_defaults=False):
    """What the chain knows of a public key."""

    address: AddressText
    public_key: Hex32
    member: str | None
    name: str | None
    capacity: str | None  # "operator", "node" or "staff"
    roles: tuple[str, ...]
    active: bool
