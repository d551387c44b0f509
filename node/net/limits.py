"""What one peer may do to us: rates per kind of frame, a score for garbage, a ban that ends.

Clock-free: `now_ms` arrives as an argument. The rates are several times what an honest node
sends at saturation, so they bite floods only; whoever exceeds them loses the frame and a point.
"""

from dataclasses import dataclass

from node.net.frames import MIB, Kind


@dataclass(frozen=True, slots=True)
class NetLimits:
    """The limits of the transport, each with its reason; node.toml sets those in [p2p]."""

    handshake_timeout_ms: int = 5_000  # TLS and three frames over a slow link
    unauthenticated_max: int = 128  # a handshake costs about a millisecond of CPU
    unauthenticated_per_ip_max: int = 32  # a whole testnet lives on one address
    peers_max: int = 128  # 100 validators and some observers
    ping_interval_ms: int = 2_000
    idle_timeout_ms: int = 10_000  # five pings: a stopped peer is noticed, a pause is not
    dial_min_ms: int = 100  # a local testnet comes up at once
    dial_max_ms: int = 5_000  # after an outage of any length we are back within this
    dial_stable_ms: int = 10_000
    close_timeout_ms: int = 1_000  # a graceful stop flushes for so long
    score_max: int = 100
    score_decay_per_s: int = 20
    ban_min_ms: int = 2_000
    ban_max_ms: int = 60_000  # a repaired peer is back within a minute


class TokenBucket:
    """`rate_per_s` on average, `burst` at once."""

    __slots__ = ("_burst", "_filled_ms", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: int, burst: int, now_ms: int) -> None:
        self._rate_per_s, self._burst = rate_per_s, burst
        self._tokens: float = burst
        self._filled_ms = now_ms

    def take(self, tokens: int, now_ms: int) -> bool:
        """True if so many may pass now; they are taken then."""
        if now_ms > self._filled_ms:
            gained = (now_ms - self._filled_ms) * self._rate_per_s / 1000
            self._tokens = min(self._burst, self._tokens + gained)
            self._filled_ms = now_ms
        if tokens > self._tokens:
            return False
        self._tokens -= tokens
        return True


@dataclass(frozen=True, slots=True)
class Rate:
    """Per peer: frames and bytes a second; twice as much at once."""

    frames_per_s: int
    bytes_per_s: int


# A validator sends about 4 votes a block and at most some hundred blocks a second.
_VOTES = Rate(10_000, 64 * MIB)
_ASKING = Rate(2_000, 4 * MIB)

RECEIVE_RATES: dict[Kind, Rate] = {
    Kind.CONSENSUS: _VOTES,
    Kind.PRE_PREPARE: Rate(2_000, 64 * MIB),
    Kind.BODY: Rate(2_000, 64 * MIB),
    # 60,000 transactions a second of 300 bytes from one peer: above what a node can verify.
    Kind.TRANSACTIONS: Rate(60_000, 32 * MIB),
    Kind.ANNOUNCE: _ASKING,
    Kind.REQUEST: _ASKING,
    Kind.GET_BLOCKS: Rate(200, MIB),
    Kind.BLOCKS: Rate(500, 128 * MIB),
    Kind.EVIDENCE: Rate(20, 4 * MIB),
    # Only a halted node asks, one page after the other; each may read a large row.
    Kind.GET_WRITES: Rate(20, MIB),
    Kind.WRITES: Rate(20, 20 * MIB),
    Kind.PING: Rate(20, MIB),
    Kind.PONG: Rate(20, MIB),
    # Eight at once, each a few milliseconds of somebody's disk and cipher at the least.
    Kind.CALL: Rate(500, 32 * MIB),
    Kind.REPLY: Rate(500, 256 * MIB),
}


# Time is added to an allowance when it runs out, and else so seldom: it is asked for every frame. A
# peer that has rested gets so much above its burst, a twentieth.
_FILL_INTERVAL_MS = 100


class _Allowance:
    """Frames and bytes of one kind, in one bucket."""

    __slots__ = ("bytes", "filled_ms", "frames", "rate")

    def __init__(self, rate: Rate, now_ms: int) -> None:
        self.rate = rate
        self.frames: float = 2 * rate.frames_per_s
        self.bytes: float = 2 * rate.bytes_per_s
        self.filled_ms = now_ms

    def fill(self, passed_ms: int) -> None:
        frames, volume = self.rate.frames_per_s, self.rate.bytes_per_s
        self.frames = min(2 * frames, self.frames + passed_ms * frames / 1000)
        self.bytes = min(2 * volume, self.bytes + passed_ms * volume / 1000)
        self.filled_ms += passed_ms


class ReceiveLimits:
    """The allowances of one peer; they live as long as the peer is known, not as the connection."""

    def __init__(self, now_ms: int, rates: dict[Kind, Rate] | None = None) -> None:
        self._allowances = {
            kind: _Allowance(rate, now_ms) for kind, rate in (rates or RECEIVE_RATES).items()
        }

    def admit(self, kind: Kind, payload_bytes: int, now_ms: int) -> bool:
        """May this frame pass? A kind without a rate may never pass. One that is too large for now
        is lost, and counted all the same."""
        allowed = self._allowances.get(kind)
        if allowed is None:
            return False
        passed_ms = now_ms - allowed.filled_ms
        if passed_ms > 0 and (
            passed_ms >= _FILL_INTERVAL_MS or allowed.frames < 1 or allowed.bytes < payload_bytes
        ):
            allowed.fill(passed_ms)
        if allowed.frames < 1:
            return False
        allowed.frames -= 1
        if allowed.bytes < payload_bytes:
            return False
        allowed.bytes -= payload_bytes
        return True


class Conduct:
    """The score of one peer: points add up, time forgives, too many are a ban."""

    def __init__(self, limits: NetLimits) -> None:
        self._limits = limits
        self._points: float = 0
        self._at_ms = 0
        self._ban_ms = limits.ban_min_ms
        self.banned_until_ms = 0
        self.reason = ""

    def penalise(self, points: int, reason: str, now_ms: int) -> bool:
        """Add points; True if this is the moment of a ban."""
        elapsed_ms = max(0, now_ms - self._at_ms)
        decay = elapsed_ms * self._limits.score_decay_per_s / 1000
        self._points = max(0, self._points - decay) + points
        self._at_ms = now_ms
        if self._points < self._limits.score_max or self.banned(now_ms):
            return False
        if now_ms - self.banned_until_ms > 10 * self._limits.ban_max_ms:
            self._ban_ms = self._limits.ban_min_ms  # a long time of good conduct
        self.banned_until_ms = now_ms + self._ban_ms
        self._ban_ms = min(2 * self._ban_ms, self._limits.ban_max_ms)
        self._points = 0
        self.reason = reason
        return True

    def banned(self, now_ms: int) -> bool:
        return now_ms < self.banned_until_ms
