"""The node's metrics (interfaces.md §8), in a registry of their own: no globals, no singletons.

Law of the file: names, labels and units are an interface (configs/alerts.yml and the Grafana
board name them); a call site is one line; labels are bounded sets (members, phases, routes,
code words), never a patient, a document or a key.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from node.tally import Series, Tally
from storage.errors import DocumentMissing, StorageError

PREFIX = "salus"

# From a loop turn to a view change: the interesting answers lie between 1 ms and 10 s.
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
FSYNC_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1)
COUNTS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)


class Metrics:
    """Every metric of the node as an attribute, named as it is exported (without the prefix)."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._refresh: list[Callable[[], None]] = [self._carry_blocks]
        self._requests: dict[tuple[str, int], Series] = {}  # bounded: templates × statuses
        self._certified: tuple[int, float] | None = None  # newest height, when it came
        self._signed: dict[str, int] = {}  # newest height, by member
        self._missed: dict[str, int] = {}  # blocks since the last scrape, by member
        self._executed: dict[tuple[str, str], int] = {}  # since then, by method and code
        gauge, counter, histogram = self._gauge, self._counter, self._histogram

        # consensus
        self.consensus_height = gauge("consensus_height", "Newest certified height on disk")
        self.consensus_view = gauge("consensus_view", "View of this replica")
        self.consensus_is_primary = gauge("consensus_is_primary", "1 while this node is primary")
        self.consensus_phase = gauge(
            "consensus_phase", "1 for the phase this replica is in", ["phase"]
        )
        self.consensus_quorum_online = gauge(
            "consensus_quorum_online", "Validators heard from lately, this one included"
        )
        self.consensus_quorum_needed = gauge(
            "consensus_quorum_needed", "Validators that a quorum takes"
        )
        self.consensus_view_changes_total = counter(
            "consensus_view_changes", "View changes begun by this replica", ["reason"]
        )
        self.consensus_phase_seconds = histogram(
            "consensus_phase_seconds", "Time that a sequence spends in a phase", SECONDS, ["phase"]
        )
        self.consensus_block_interval_seconds = histogram(
            "consensus_block_interval_seconds",
            "Time between certified blocks, idle time included",
            SECONDS,
        )
        self.consensus_last_block_timestamp_seconds = gauge(
            "consensus_last_block_timestamp_seconds", "Unix time when the last block was certified"
        )
        self.consensus_validator_last_signed_height = gauge(
            "consensus_validator_last_signed_height",
            "Newest certificate that a validator signed",
            ["validator"],
        )
        self.consensus_validator_missed_blocks_total = counter(
            "consensus_validator_missed_blocks",
            "Certificates at this node without that validator's signature",
            ["validator"],
        )
        self.consensus_equivocations_total = counter(
            "consensus_equivocations", "Proved contradictions of a validator", ["validator"]
        )
        self.consensus_checkpoint_height = gauge(
            "consensus_checkpoint_height", "Stable height: the low watermark"
        )
        self.consensus_timeout_seconds = gauge(
            "consensus_timeout_seconds", "Present progress timeout, back-off included"
        )
        self.consensus_halted = gauge("consensus_halted", "1 after a divergence or contradiction")

        # transactions
        self.tx_commit_seconds = histogram(
            "tx_commit_seconds", "From submission at this node to the certified block", SECONDS
        )
        self.txs_total = counter(
            "txs", "Operations executed, by method and code of their receipt", ["kind", "result"]
        )
        self.tx_rejected_total = counter("tx_rejected", "Refusals at admission", ["code"])
        self.contract_faults_total = counter(
            "contract_faults", "Operations whose contract raised something else", ["contract"]
        )
        self.mempool_txs = gauge("mempool_txs", "Transactions that wait")
        self.mempool_bytes = gauge("mempool_bytes", "Bytes of the transactions that wait")
        self.mempool_evicted_total = counter("mempool_evicted", "Dropped, by reason", ["reason"])

        # peers
        self.p2p_peers = gauge("p2p_peers", "Connected peers", ["direction"])
        self.p2p_messages_total = counter("p2p_messages", "Frames", ["type", "direction"])
        self.p2p_bytes_total = counter("p2p_bytes", "Payload bytes", ["type", "direction"])
        self.p2p_rtt_seconds = gauge("p2p_rtt_seconds", "Round trip to a peer", ["peer"])
        self.p2p_rejected_total = counter("p2p_rejected", "Frames and peers refused", ["reason"])
        self.p2p_dropped_total = counter(
            "p2p_dropped", "Frames of ours that found no room or no connection", ["type"]
        )
        self.p2p_queue_depth = gauge("p2p_queue_depth", "Frames that wait for a peer", ["peer"])
        self.clock_skew_seconds = gauge(
            "clock_skew_seconds", "This clock minus the median of the connected peers'"
        )

        # blocks and disk
        self.block_txs = histogram("block_txs", "Transactions of a block", COUNTS)
        self.block_bytes = histogram(
            "block_bytes", "Bytes of a proposal", (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7)
        )
        self.block_apply_seconds = histogram("block_apply_seconds", "Executing a block", SECONDS)
        self.sync_lag_blocks = gauge("sync_lag_blocks", "Certified blocks known of and not here")
        self.sync_active = gauge("sync_active", "1 while catching up")
        self.storage_bytes = gauge("storage_bytes", "Disk used by a store", ["part"])
        self.storage_free_bytes = gauge("storage_free_bytes", "Free on the disk of the stores")
        self.storage_damaged_total = counter(
            "storage_damaged", "Reads that met what was not written, or failed", ["code"]
        )
        self.storage_write_seconds = histogram(
            "storage_write_seconds", "One synced batch or append", FSYNC_SECONDS, ["part"]
        )

        # the gate: reads of patients' records
        self.outbox_notices_total = counter(
            "outbox_notices", "Messages to patients: queued, sent, retried, failed", ["result"]
        )
        self.gate_requests_total = counter(
            "gate_requests",
            "Requests to read: permitted, denied, counted, refused, keeper, unknown",
            ["result"],
        )
        self.gate_seconds = histogram(
            "gate_seconds", "From a request to its decision and envelopes", SECONDS
        )
        self.gate_released_bytes_total = counter(
            "gate_released_bytes", "Sealed bytes that left under tickets"
        )
        self.gate_live_tickets = gauge("gate_live_tickets", "Tickets under which bytes may leave")

        # emergencies
        self.emergency_access_total = counter(
            "emergency_access", "Emergency cases opened, certified", ["hospital"]
        )
        self.emergency_owed = gauge(
            "emergency_owed", "Shares given without a quorum that the chain does not show yet"
        )

        # signer and cryptography
        self.signer_seconds = histogram("signer_seconds", "Signing one vote", FSYNC_SECONDS)
        self.signer_errors_total = counter("signer_errors", "Votes whose signing failed")
        self.crypto_verify_seconds = histogram(
            "crypto_verify_seconds", "Verifying a slice of client signatures", FSYNC_SECONDS
        )
        self.crypto_verified_total = counter("crypto_verified", "Client signatures verified")
        self.crypto_covered_total = counter(
            "crypto_covered",
            "Client signatures believed for the votes of a quorum, not checked here first",
        )

        # the API and the process
        self.api_request_seconds = histogram(
            "api_request_seconds", "Answering a request", SECONDS, ["route", "status"]
        )
        self.api_inflight = gauge("api_inflight", "Requests being answered")
        self.api_rejected_total = counter("api_rejected", "Requests refused by a limit", ["code"])
        self.events_subscribers = gauge("events_subscribers", "Subscribers of the feed")
        self.events_lag = gauge("events_lag", "Blocks that the slowest subscriber is behind")
        self.event_loop_lag_seconds = gauge(
            "event_loop_lag_seconds", "How late the last timer of the event loop was"
        )
        self.build_info = gauge("build_info", "Always 1", ["version", "python", "loop"])

    # helpers: one line at the call site

    def enter_phase(self, phase: str, phases: Iterable[str]) -> None:
        """Exactly one phase is 1."""
        for name in phases:
            self.consensus_phase.labels(name).set(name == phase)

    def block_certified(self, height: int, transactions: int, now_s: float) -> None:
        self._certified = height, now_s
        self.block_txs.observe(transactions)

    def certificate_signed(
        self, height: int, signers: Iterable[str], members: Iterable[str]
    ) -> None:
        """Who signed the certificate that this node holds, and who did not."""
        present = set(signers)
        for member in members:
            if member in present:
                self._signed[member] = height
            else:
                self._missed[member] = self._missed.get(member, 0) + 1

    def operations(self, calls: Mapping[tuple[str, str], int]) -> None:
        """(contract.method, code of the receipt) → how many of them a block held."""
        for call, count in calls.items():
            self._executed[call] = self._executed.get(call, 0) + count

    def _carry_blocks(self) -> None:
        """What blocks left as plain numbers: the library's own cost a block more than its votes'
        frames, and who scrapes wants the sums."""
        if self._certified is not None:
            self.consensus_height.set(self._certified[0])
            self.consensus_last_block_timestamp_seconds.set(self._certified[1])
        for member, height in self._signed.items():
            self.consensus_validator_last_signed_height.labels(member).set(height)
        for member, missed in self._missed.items():
            self.consensus_validator_missed_blocks_total.labels(member).inc(missed)
        for call, count in self._executed.items():
            self.txs_total.labels(*call).inc(count)
        self._certified = None
        for numbers in (self._signed, self._missed, self._executed):
            numbers.clear()

    def rejected(self, code: str, count: int = 1) -> None:
        self.tx_rejected_total.labels(code).inc(count)

    def damaged(self, error: StorageError) -> None:
        """A store or the vault could not give what it holds; the same file counts at each read."""
        if not isinstance(error, DocumentMissing):  # Erased, or never here.
            self.storage_damaged_total.labels(error.code).inc()

    def request(self, route: str, status: int, seconds: float) -> None:
        series = self._requests.get((route, status))
        if series is None:
            series = self._requests[route, status] = self.api_request_seconds.labels(route, status)
        series.observe(seconds)

    def expect(self, validators: Iterable[str], contracts: Iterable[str]) -> None:
        """The first event of its kind must be an increase: what alerts watch begins at 0."""
        for validator in validators:
            self.consensus_equivocations_total.labels(validator)
            self.consensus_validator_missed_blocks_total.labels(validator)
        for contract in contracts:
            self.contract_faults_total.labels(contract)

    def on_scrape(self, refresh: Callable[[], None]) -> None:
        """Gauges that are read off at the scrape instead of being pushed (sizes, depths)."""
        self._refresh.append(refresh)

    def count_at_scrape(self, counter: Counter, total: Callable[[], int]) -> None:
        """A counter that is kept elsewhere as a plain number, which never falls."""
        carried = 0

        def refresh() -> None:
            nonlocal carried
            now = total()
            counter.inc(now - carried)
            carried = now

        self.on_scrape(refresh)

    def text(self) -> bytes:
        """The exposition, in the text format that every scraper reads."""
        for refresh in self._refresh:
            refresh()
        return generate_latest(self.registry)

    def names(self) -> list[str]:
        """Every exported family with its prefix (counters end in _total)."""
        return sorted(
            metric.name + ("_total" if metric.type == "counter" else "")
            for metric in self.registry.collect()
        )

    def _gauge(self, name: str, doc: str, labels: Iterable[str] = ()) -> Gauge:
        return Gauge(name, doc, labels, namespace=PREFIX, registry=self.registry)

    def _counter(self, name: str, doc: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, doc, labels, namespace=PREFIX, registry=self.registry)

    def _histogram(
        self, name: str, doc: str, buckets: tuple[float, ...], labels: Iterable[str] = ()
    ) -> Tally:
        tally = Tally(f"{PREFIX}_{name}", doc, buckets, labels)
        self.registry.register(tally)
        return tally


class NetMeter:
    """The metrics as the transport sees them (`NetMetrics` of node/net/network.py).

    Plain numbers, carried over at the scrape: this runs for every frame, and a counter's lock
    costs more than the frame's header."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._frames: dict[tuple[Enum, str], list[int]] = {}  # frames, bytes
        metrics.on_scrape(self._carry)

    def frame(self, kind: Enum, direction: str, payload_bytes: int) -> None:
        counted = self._frames.get((kind, direction))
        if counted is None:
            counted = self._frames[kind, direction] = [0, 0]
        counted[0] += 1
        counted[1] += payload_bytes

    def _carry(self) -> None:
        for (kind, direction), counted in self._frames.items():
            labels = (kind.name.lower(), direction)
            self._metrics.p2p_messages_total.labels(*labels).inc(counted[0])
            self._metrics.p2p_bytes_total.labels(*labels).inc(counted[1])
            counted[:] = [0, 0]

    def rejected(self, reason: str) -> None:
        self._metrics.p2p_rejected_total.labels(reason).inc()

    def dropped(self, kind: Enum) -> None:
        self._metrics.p2p_dropped_total.labels(kind.name.lower()).inc()
