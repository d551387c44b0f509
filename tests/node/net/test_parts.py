"""The pure parts of the transport: queues, buckets, scores, back-off, certificates."""

import asyncio
import ssl
import stat
import tempfile
from asyncio.sslproto import _SSLProtocolTransport
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from node.net import tls
from node.net.backoff import Backoff
from node.net.frames import COALESCE_BYTES, FRAMES_PER_MESSAGE_MAX, Kind, QueueClass
from node.net.hangup import cut_off
from node.net.limits import Conduct, NetLimits, Rate, ReceiveLimits, TokenBucket
from node.net.queues import Pushed, QueueLimits, SendQueue
from salus.keys import address
from tests.node.net.net import key

SMALL = {lane: QueueLimits(3, 100) for lane in QueueClass}


class TestSendQueue:
    def test_consensus_leaves_first_then_blocks_then_gossip_then_documents(self) -> None:
        """B26."""
        queue = SendQueue()
        queue.push(QueueClass.BULK, b"d")
        queue.push(QueueClass.GOSSIP, b"g")
        queue.push(QueueClass.BLOCKS, b"b")
        queue.push(QueueClass.CONSENSUS, b"c1")
        queue.push(QueueClass.CONSENSUS, b"c2")
        assert queue.pop_batch() == [b"c1", b"c2", b"b", b"g", b"d"]
        assert not queue

    def test_a_vote_overtakes_waiting_gossip(self) -> None:
        queue = SendQueue()
        for _ in range(10):
            queue.push(QueueClass.GOSSIP, bytes(COALESCE_BYTES))
        assert len(queue.pop_batch()) == 1
        queue.push(QueueClass.CONSENSUS, b"vote")
        assert queue.pop_batch() == [b"vote"]

    def test_full_gossip_drops_its_oldest(self) -> None:
        queue = SendQueue(SMALL)
        for number in range(3):
            assert queue.push(QueueClass.GOSSIP, bytes([number])) is Pushed.QUEUED
        assert queue.push(QueueClass.GOSSIP, b"\x03") is Pushed.DROPPED_OLDEST
        assert queue.pop_batch() == [b"\x01", b"\x02", b"\x03"]
        assert queue.dropped_total == 1

    @pytest.mark.parametrize("lane", [QueueClass.BLOCKS, QueueClass.BULK])
    def test_full_blocks_and_documents_refuse_the_newest(self, lane: QueueClass) -> None:
        queue = SendQueue(SMALL)
        for number in range(3):
            queue.push(lane, bytes([number]))
        assert queue.push(lane, b"\x03") is Pushed.REFUSED
        assert queue.pop_batch() == [b"\x00", b"\x01", b"\x02"]

    def test_a_full_consensus_queue_is_an_overflow_and_keeps_what_it_has(self) -> None:
        queue = SendQueue(SMALL)
        assert queue.push(QueueClass.CONSENSUS, bytes(60)) is Pushed.QUEUED
        assert queue.push(QueueClass.CONSENSUS, bytes(41)) is Pushed.OVERFLOW
        assert queue.depths()["consensus"] == 1

    def test_a_frame_larger_than_its_lane_does_not_empty_the_lane_for_nothing_else(self) -> None:
        queue = SendQueue(SMALL)
        assert queue.push(QueueClass.GOSSIP, bytes(101)) is Pushed.REFUSED
        assert not queue

    @settings(deadline=None, max_examples=100)
    @given(
        st.lists(
            st.tuples(st.sampled_from(list(QueueClass)), st.integers(0, COALESCE_BYTES * 2)),
            max_size=40,
        )
    )
    def test_batches_lose_nothing_keep_order_and_stay_small(
        self, pushes: list[tuple[QueueClass, int]]
    ) -> None:
        queue = SendQueue()
        frames: dict[QueueClass, list[bytes]] = {lane: [] for lane in QueueClass}
        for number, (lane, size) in enumerate(pushes):
            data = number.to_bytes(2) + bytes(size)
            queue.push(lane, data)
            frames[lane].append(data)
        assert queue.bytes == sum(map(len, (f for lane in frames.values() for f in lane)))
        popped: list[bytes] = []
        while queue:
            batch = queue.pop_batch()
            assert len(batch) == 1 or sum(map(len, batch)) <= COALESCE_BYTES
            assert 1 <= len(batch) <= FRAMES_PER_MESSAGE_MAX
            popped += batch
        assert popped == [data for lane in QueueClass for data in frames[lane]]
        assert queue.bytes == 0


class TestRates:
    def test_a_bucket_gives_its_burst_then_its_rate(self) -> None:
        bucket = TokenBucket(rate_per_s=10, burst=20, now_ms=1_000)
        assert [bucket.take(1, 1_000) for _ in range(21)] == [True] * 20 + [False]
        assert not bucket.take(1, 1_099)
        assert bucket.take(1, 1_100)
        assert not bucket.take(21, 1_000_000)
        assert bucket.take(20, 1_000_000)

    def test_time_that_stands_still_or_runs_back_gives_nothing(self) -> None:
        bucket = TokenBucket(rate_per_s=1_000, burst=1, now_ms=500)
        assert bucket.take(1, 500)
        assert not bucket.take(1, 400)
        assert not bucket.take(1, 500)

    def test_kinds_have_separate_buckets(self) -> None:
        """B26: a flood of announcements leaves the votes alone."""
        rates = {Kind.ANNOUNCE: Rate(1, 1_000), Kind.CONSENSUS: Rate(1, 1_000)}
        limits = ReceiveLimits(0, rates)
        assert [limits.admit(Kind.ANNOUNCE, 10, 0) for _ in range(3)] == [True, True, False]
        assert limits.admit(Kind.CONSENSUS, 10, 0)

    def test_bytes_count_as_well_as_frames(self) -> None:
        limits = ReceiveLimits(0, {Kind.BODY: Rate(100, 1_000)})
        assert limits.admit(Kind.BODY, 2_000, 0)
        assert not limits.admit(Kind.BODY, 1, 0)

    def test_a_kind_of_the_handshake_never_passes(self) -> None:
        assert not ReceiveLimits(0).admit(Kind.HELLO, 1, 0)


class TestConduct:
    LIMITS = NetLimits(score_max=100, score_decay_per_s=10, ban_min_ms=2_000, ban_max_ms=8_000)

    def test_points_add_up_to_a_ban_that_ends(self) -> None:
        conduct = Conduct(self.LIMITS)
        assert not conduct.penalise(60, "A", 1_000)
        assert conduct.penalise(60, "B", 1_000)
        assert conduct.banned(2_999)
        assert not conduct.banned(3_000)
        assert conduct.reason == "B"

    def test_time_forgives(self) -> None:
        conduct = Conduct(self.LIMITS)
        assert not conduct.penalise(99, "A", 0)
        assert not conduct.penalise(99, "A", 10_000)

    def test_bans_grow_and_are_capped(self) -> None:
        conduct, now_ms, lengths = Conduct(self.LIMITS), 0, []
        for _ in range(4):
            assert conduct.penalise(100, "A", now_ms)
            lengths.append(conduct.banned_until_ms - now_ms)
            now_ms = conduct.banned_until_ms
        assert lengths == [2_000, 4_000, 8_000, 8_000]

    def test_a_long_time_of_good_conduct_begins_anew(self) -> None:
        conduct = Conduct(self.LIMITS)
        conduct.penalise(100, "A", 0)
        conduct.penalise(100, "A", 2_000)
        late_ms = 1_000_000
        conduct.penalise(100, "A", late_ms)
        assert conduct.banned_until_ms == late_ms + 2_000

    def test_one_ban_at_a_time(self) -> None:
        conduct = Conduct(self.LIMITS)
        assert conduct.penalise(100, "A", 0)
        assert not conduct.penalise(100, "A", 1)


class TestBackoff:
    def test_pauses_double_up_to_the_cap_and_jitter_takes_at_most_half(self) -> None:
        backoff = Backoff(Random(1), min_ms=100, max_ms=5_000, stable_ms=10_000)
        full = 100
        for _ in range(20):
            pause_ms = backoff.after(0)
            assert full // 2 <= pause_ms <= full
            full = min(2 * full, 5_000)

    def test_a_stable_connection_resets_a_short_one_does_not(self) -> None:
        backoff = Backoff(Random(1), min_ms=100, max_ms=5_000, stable_ms=10_000)
        for _ in range(10):
            backoff.after(9_999)
        assert backoff.after(9_999) >= 2_500
        assert backoff.after(10_000) <= 100

    def test_nodes_that_fell_together_do_not_dial_together(self) -> None:
        pauses = {
            Backoff(Random(seed), min_ms=1_000, max_ms=5_000, stable_ms=1).after(0)
            for seed in range(20)
        }
        assert len(pauses) > 10


class TestTls:
    def test_the_certificate_is_a_function_of_the_key(self) -> None:
        pem = tls.certificate_pem(key(3))
        assert pem == tls.certificate_pem(key(3))
        assert pem != tls.certificate_pem(key(4))
        certificate = x509.load_pem_x509_certificate(pem)
        name = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
        assert name == address(key(3).public_key)
        certificate.verify_directly_issued_by(certificate)

    def test_only_tls_1_3_and_no_resumption(self) -> None:
        server = tls.server_context(key(1))
        assert server.minimum_version is ssl.TLSVersion.TLSv1_3
        assert server.num_tickets == 0
        assert tls.client_context().minimum_version is ssl.TLSVersion.TLSv1_3

    def test_the_key_file_is_ours_alone_encrypted_and_gone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        seen: list[tuple[int, bytes]] = []

        load = ssl.SSLContext.load_cert_chain

        def spy(context, certfile, keyfile=None, password=None) -> None:
            path = Path(certfile)
            seen.append((stat.S_IMODE(path.stat().st_mode), path.read_bytes()))
            load(context, certfile, keyfile, password)

        monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
        tls.server_context(key(1))
        (mode, content) = seen[0]
        assert mode == 0o600
        assert b"BEGIN ENCRYPTED PRIVATE KEY" in content
        assert key(1).seed not in content
        assert list(tmp_path.iterdir()) == []


def test_a_line_that_was_closed_twice_is_cut_off_without_a_word() -> None:
    """Else whoever waits for the end of the connection waits for ever, and a node never stops."""
    loop = asyncio.new_event_loop()
    try:
        transport = _SSLProtocolTransport(
            loop, cast(Any, SimpleNamespace(_start_shutdown=lambda: None, _abort=lambda *_: None))
        )
        transport.close()
        transport.close()
        cut_off(transport)
        assert transport.is_closing()
    finally:
        loop.close()
