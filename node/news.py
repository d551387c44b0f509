"""A certified block is on disk: who of this node's parts hears of it.

Law of the file: it tells and decides nothing. Nobody hears of a block that could still be lost.
"""

import time

from node.feed import Feed
from node.gossip import GossipTask
from node.mempool import Mempool
from node.meters import BlockMeter, CommitMeter
from node.metrics import Metrics
from node.pace import Pace
from node.pipeline import Written
from node.vitals import Vitals
from node.waiters import Waiters
from storage.state import StateStore


class News:
    """Makes what clients hear of blocks by: `feed`, `waiters`, `commits`."""

    def __init__(
        self,
        state: StateStore,
        mempool: Mempool,
        pace: Pace,
        gossip: GossipTask,
        vitals: Vitals,
        meter: BlockMeter,
        metrics: Metrics,
    ) -> None:
        self._mempool, self._pace, self._gossip = mempool, pace, gossip
        self._vitals, self._meter, self._metrics = vitals, meter, metrics
        height = state.height()
        self.waiters, self.commits = Waiters(height), CommitMeter(metrics)
        self.feed = Feed(lambda at: (state.header(at), state.receipts(at)), height=height)

    def tell(self, written: Written) -> None:
        batch, height = written.batch, written.batch.header.height
        assert batch.certificate is not None
        gone = self._mempool.executed(batch.tx_ids, height)
        self._vitals.expired(gone)
        self._pace.block(batch.header.transactions_count, written.size_bytes)
        self._gossip.gossip.executed(batch.tx_ids, self._gossip.now_ms())
        self._gossip.gossip.gone(gone)
        members = [v.member for v in written.epoch.validators.validators]
        signers = [members[s.index] for s in batch.certificate.signatures]
        self._vitals.certified(height, signers)
        self._metrics.certificate_signed(height, signers, members)
        self._metrics.block_certified(height, batch.header.transactions_count, time.time())
        self._meter.written(height, fetched=written.fetched)
        self.commits.committed(batch.tx_ids)
        self.commits.expired(gone)
        if gone:
            self._metrics.mempool_evicted_total.labels("expired").inc(len(gone))
        self.feed.publish(batch.header, batch.receipts, written.contracts)
        self.waiters.block(batch.header, batch.tx_ids, batch.receipts)
