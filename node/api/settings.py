"""Limits and access of the API, as the composition root reads them from node.toml."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Every limit has its reason; units stand last in the names."""

    # None: no token needed; allowed only while the API listens on loopback ([api] auth).
    token: str | None = None
    # Host headers that are ours; empty: any. On loopback without a token it must be set, or a
    # web page could reach the API through a name that resolves to 127.0.0.1 (DNS rebinding).
    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]"})
    # Web pages of these origins may call the API with a browser; the node's own always may.
    cors_origins: frozenset[str] = frozenset()
    requests_in_flight_max: int = 1_024  # ≈ 64 kB each at worst: bounds memory, not speed
    subscribers_max: int = 256  # each costs a connection and, when slow, storage reads
    # Requests per second and client address; above what one core answers, so only a flood meets
    # it. Lower it where many clients share a node.
    rate_per_s: float = 5_000.0
    rate_burst: int = 10_000
    rate_clients_max: int = 10_000  # addresses remembered; the oldest is forgotten
    body_seconds_max: float = 30.0  # 32 MiB at 1 MB/s; slower senders hold a connection hostage
    transactions_body_bytes_max: int = 16 * 2**20  # 500 transactions of 32 kB
    document_bytes_max: int = 32 * 2**20  # of what is read whole; each takes three times its size
    proof_bytes_max: int = 48 * 2**20  # such a document inside a proof file
    json_body_bytes_max: int = 256 * 1024  # arguments of a query, faults
    read_wait_seconds_max: float = 10.0  # for ?min_height=
    # For Salus-Seen-Height. A node that votes is a block behind another for milliseconds; longer
    # would only make a node that is cut off slow to say so.
    seen_wait_seconds_max: float = 2.0
    # Of the requests in flight: a header or a word of the query that anybody may send must not turn away
    # the others. Whoever finds no place here is answered at once: with what is there, or BUSY for ?min_height=.
    height_waits_max: int = 256

    @property
    def body_bytes_max(self) -> int:
        """The largest of all, for the HTTP parser."""
        return max(
            self.transactions_body_bytes_max,
            self.document_bytes_max,
            self.proof_bytes_max,
            self.json_body_bytes_max,
        )
