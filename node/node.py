"""A hospital's node: the composition root, and the only place where the parts meet.

Built in order, from disk to network; run in one TaskGroup; stopped in reverse. Law of the file:
no rules and no formats, only who knows whom.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

from consensus.effects import (
    CheckProposal,
    Evidence,
    Halt,
    PersistBody,
    Quarantine,
    ViewEntered,
    ViewLeft,
)
from consensus.events import (
    BlockWritten,
    BodyDropped,
    CaughtUp,
    Complain,
    ProposalChecked,
)
from contracts.catalogue import registry
from contracts.registry import Registry
from node.admissible import check_admissible
from node.admission import Admission
from node.alarms import Alarms
from node.api.app import Api, ApiServer
from node.api_options import api_settings, api_tls
from node.bodies import Bodies
from node.config import Config
from node.disk_thread import DiskThread
from node.divergence import Divergence
from node.epochs import Epochs
from node.evidence import EvidenceDesk
from node.executor import Executor
from node.facade import Facade
from node.faults import FaultSwitch
from node.feed import Feed
from node.fhir_workers import FhirWorkers
from node.genesis_block import genesis_block
from node.gossip import Gossip, GossipTask
from node.inlet import Inlet
from node.judge import Judge
from node.logs import describe_error, log_event
from node.mempool import Mempool
from node.meters import BlockMeter, CommitMeter, MeteredSigner
from node.metrics import Metrics, NetMeter
from node.net.frames import Kind
from node.net.handshake import Chain
from node.net.network import Network
from node.net.peer import PeerAddress
from node.openings import Openings
from node.outlet import Outlet
from node.pace import Pace
from node.pipeline import Pipeline, Written
from node.proofs import ProofMaker
from node.proposer import Proposer
from node.ready import Ready, is_waited_for
from node.records import RecordService
from node.rejoin import Rejoin
from node.roster import Roster
from node.runner import Runner
from node.seats import Seats
from node.standing import Voter
from node.sync import BlockSource, Sync
from node.upkeep import Upkeep
from node.verify import VerifyPool, default_threads
from node.vitals import Vitals
from node.waiters import Waiters
from salus.genesis import Genesis
from salus.keys import SigningKey, verify
from salus.statemap import SALT_BYTES, StateTree
from salus.vote import JournalEntry
from storage.blocks import BlockStore
from storage.kv import LevelKV
from storage.recent import check_recent
from storage.state import StateStore
from storage.vault import Vault, vault_lock
from storage.votes import floor_entry

log = logging.getLogger("salus.node")

FLOOR_EVERY_BLOCKS = 64  # how often the journal may forget what is certified


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Node:
    """All parts of one node. Building it opens the stores; `run` starts everything else."""

    proposer_type: type[Proposer] = Proposer  # a liar of the benchmark has another

    def __init__(
        self,
        home: Path,
        config: Config,
        genesis: Genesis,
        key: SigningKey,
        box_seed: bytes,
        contracts: Registry | None = None,
    ) -> None:
        """`contracts`: other ones than the catalogue's, for tests; all nodes must have the same."""
        self.config, self.genesis, self.key = config, genesis, key
        self.genesis_hash, self.domain = genesis.hash(), genesis.vote_domain()
        self.stop_asked = asyncio.Event()
        self.facade: Facade
        self.epochs: Epochs
        self.alarms: Alarms
        self.metrics = Metrics()

        # -- disk: stores, the state tree, the journal
        data = home / "data"
        data.mkdir(parents=True, exist_ok=True)
        self.contracts = contracts or registry()
        cache = config.storage.cache_bytes
        self.blocks = BlockStore(LevelKV(data / "blocks", cache_bytes=cache), self.genesis_hash)
        self.state = StateStore(LevelKV(data / "state", cache_bytes=cache), self.genesis_hash)
        if not self.state.initialised:
            self.state.initialise(genesis_block(genesis, self.contracts))
        check_recent(self.blocks, self.state)
        self.voter = Voter(data, self.state, self.genesis_hash, key.public_key)
        epoch = self.state.current_epoch()
        self.roster = Roster(self._read, (peer.public_key for peer in config.p2p.peers))
        contract_names = {name for name, _ in self.contracts.contracts}
        self.metrics.expect((v.member for v in epoch.validators.validators), contract_names)
        tree = StateTree(
            genesis.parameters.state_bucket_bits,
            height=self.state.height(),
            uncertified_max=epoch.parameters.execute_ahead_max,
        )
        tree.load(self.state.buckets())

        # -- execution and the pool
        self.executor = Executor(
            self.contracts,
            genesis,
            self.state,
            tree,
            self.state.head,
            epoch,
            self.state.recent_ids(self.state.replay_start()),
        )
        self.mempool = Mempool(
            genesis.chain_id,
            self.genesis_hash,
            epoch.parameters,
            verify,
            height=self.state.height(),
            is_executed=self.executor.is_executed,
            organisation=self.executor.organisation,
            admit=partial(check_admissible, self.executor),
            bytes_max=config.mempool.size_max_bytes,
            per_sender_max=config.mempool.per_sender_max,
        )
        self.pace = Pace(self.mempool, epoch.parameters)
        self.bodies = Bodies(self.blocks, self.state.height(), self._counted_on, self._body_dropped)
        threads = config.mempool.verify_threads or default_threads()
        self.verify_pool = VerifyPool(threads, observe=self.metrics.crypto_verify_seconds.observe)
        self.metrics.count_at_scrape(
            self.metrics.crypto_verified_total, lambda: self.verify_pool.verified_total
        )
        self.writer, self.journalist = DiskThread("writer"), DiskThread("journal")
        self.pipeline = Pipeline(
            self.executor,
            self.state,
            self.bodies,
            self.domain,
            verify,
            epoch,
            self._block_written,
            self.voter.vouch,
            lambda fault: self.alarms.contract_fault(fault),
            self.metrics,
            self.writer,
        )

        # -- peers
        self.network = Network(
            key,
            Chain(genesis.chain_id, self.genesis_hash),
            (config.p2p.listen.host, config.p2p.listen.port),
            [self._address(peer) for peer in config.p2p.peers],
            self.roster.peer,
            self._deliver,
            random=Random(secrets.randbits(64)),
            limits=config.p2p.limits(),
            metrics=NetMeter(self.metrics),
            fault_injection=config.dev.fault_injection,
        )
        self.gossip = GossipTask(Gossip(self.mempool, (), None), self.network.send)

        # -- agreement
        self.seats = Seats(lambda: self.pipeline.epoch, self.state.epoch)
        self.runner = Runner(self._persist, self, epoch.parameters.tick_ms)
        source = BlockSource(self.state, self.blocks)
        self.sync = Sync(
            self.network,
            self.pipeline,
            source,
            lambda: self.epochs.replica.state.proved,
            lambda diverged: self.alarms.diverged(diverged),
            self.roster.is_member,
        )
        self.proposer = self.proposer_type(self.mempool, self.bodies, _now_ms)
        self.judge = Judge(
            self.bodies,
            self.mempool,
            self.verify_pool,
            self.domain,
            verify,
            lambda: self.pipeline.epoch,
            _now_ms,
            self._judged,
            self._in_view,
            self.runner.fatal,
        )
        self.outlet = Outlet(
            self.runner,
            self.network,
            self.bodies,
            self.judge,
            self.pipeline,
            self.proposer,
            self.sync,
            self.seats,
            self._alarm,
        )
        self.meter = BlockMeter(self.outlet, self.metrics)
        self.send, self.act = self.meter.send, self.meter.act

        # -- what others see
        self.vitals = Vitals(
            data,
            lambda: self.epochs.replica,
            lambda: self.epochs.may_vote(),
            lambda: [peer.member for peer in self.network.peers() if peer.connected_in],
        )
        self.waiters = Waiters(self.state.height())
        self.commits = CommitMeter(self.metrics)
        self.feed = Feed(
            lambda height: (self.state.header(height), self.state.receipts(height)),
            height=self.state.height(),
        )
        self.admission = Admission(
            self.mempool,
            self.verify_pool,
            self.gossip,
            self.metrics,
            lambda tx: self.facade.known(tx),
            self._pending,
        )
        errand = (key, genesis.chain_id, self.genesis_hash, self.admission.submit, self.state)
        self.rejoin, self.ready = Rejoin(*errand), Ready(*errand)
        evidence = EvidenceDesk(self.domain, verify, lambda: self.pipeline.epoch)
        self.divergence = Divergence(
            self.executor,
            self.state,
            self.network.send,
            lambda: self.pipeline.epoch,
            lambda: self.vitals.me,
            lambda difference: self.alarms.explained(difference),
            self.metrics.damaged,
        )
        self.alarms = Alarms(
            self.vitals,
            self.metrics,
            self.seats,
            self.voter,
            self.runner,
            self.sync,
            self.admission,
            evidence,
            self.gossip,
            self.divergence,
        )
        self.inlet = Inlet(
            self.runner,
            self.bodies,
            self.admission,
            self.sync,
            self.seats,
            evidence,
            self.divergence,
            self.roster,
            self.alarms.pass_on,
        )
        self.epochs = Epochs(
            genesis,
            MeteredSigner(key, self.metrics),
            self.roster,
            self.state,
            self.voter,
            self.executor,
            self.pipeline,
            self.bodies,
            self.mempool,
            self.pace,
            self.gossip,
            self.proposer,
            self.runner,
            self.outlet,
            self.sync,
            self.rejoin,
            self.ready,
            self.vitals,
            self._pending,
            self._roster_changed,
        )
        self.upkeep = Upkeep(
            config.storage.free_min_bytes,
            self.vitals,
            self.metrics,
            self.mempool,
            self.runner,
            self.admission,
            self.sync,
            self.state,
            self.rejoin,
            self.ready,
            lambda: is_waited_for(self._read, self.member),
            self.epochs.may_vote,
        )
        self.proofs = ProofMaker(genesis, self.state, self.blocks, tree)
        self.vault = Vault.open(str(data / "vault"), vault_lock(box_seed))
        self._fhir = FhirWorkers()
        self.facade = Facade(
            genesis=genesis,
            roster=self.roster,
            member=self.member,
            registry=self.contracts,
            state=self.state,
            source=source,
            executor=self.executor,
            pipeline=self.pipeline,
            mempool=self.mempool,
            network=self.network,
            sync=self.sync,
            admission=self.admission,
            proofs=self.proofs,
            feed=self.feed,
            metrics=self.metrics,
            waiters=self.waiters,
            commits=self.commits,
            vitals=self.vitals,
            records=self._records(),
            openings=self._openings(),
            faults=FaultSwitch(self.network) if config.dev.fault_injection else None,
        )
        self.api = ApiServer(Api(self.facade, api_settings(home, config)))
        self.home = home
        self.epochs.begin(epoch)
        self.addresses = config.p2p.peers

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop_asked`; then drains: no new work, peers are told, stores are closed."""
        await self.network.start()
        tls = api_tls(self.home, self.config)
        listen = self.config.api.listen
        await self.api.start(listen.host, listen.port, tls)
        log_event(
            log,
            logging.INFO,
            "started",
            member=self.member or "observer",
            height=self.state.height(),
            api_port=self.api.port,
            p2p_port=self.network.port,
            signing=self.vitals.signing(),
        )
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(work, name=name)
                    for name, work in (
                        ("failure", self.runner.failure()),
                        ("tick", self.runner.tick(self._ticked)),
                        ("journal", self.runner.sync()),
                        ("propose", self.outlet.propose()),
                        ("write", self.pipeline.write()),
                        ("sync", self.sync.run()),
                        ("offer", self.sync.offer_blocks()),
                        ("gossip", self.gossip.run(self.admission.intake, self.network.penalise)),
                        ("upkeep", self.upkeep.run()),
                        ("divergence", self.divergence.run()),
                        ("answer", self.divergence.answer()),
                    )
                ]
                await self.stop_asked.wait()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as failures:
            log_event(log, logging.CRITICAL, "fatal", error=describe_error(_cause(failures)))
            raise
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self.admission.turn_away("NOT_READY", "the node is stopping")
        await self.api.stop()
        await self._fhir.close()
        await self.network.stop()
        self.verify_pool.close()
        self.journalist.close()
        self.writer.close()
        self.voter.close()
        self.state.close()
        self.blocks.close()
        log_event(log, logging.INFO, "stopped")

    # -- blocks ---------------------------------------------------------------------------------

    def _block_written(self, written: Written) -> None:
        """A certified block is on disk: now everybody may know."""
        batch, height = written.batch, written.batch.header.height
        assert batch.certificate is not None
        gone = self.mempool.executed(batch.tx_ids, height)
        self.vitals.expired(gone)
        self.pace.block(batch.header.transactions_count, written.size_bytes)
        self.gossip.gossip.gone([*batch.tx_ids, *gone])
        members = [v.member for v in written.epoch.validators.validators]
        signers = [members[s.index] for s in batch.certificate.signatures]
        self.vitals.certified(height, signers)
        self.metrics.certificate_signed(height, signers, members)
        self.metrics.block_certified(height, batch.header.transactions_count, time.time())
        self.meter.written(height, fetched=written.fetched)
        self.commits.committed(batch.tx_ids)
        self.commits.expired(gone)
        self.metrics.mempool_evicted_total.labels("expired").inc(len(gone))
        self.feed.publish(batch.header, batch.receipts)
        self.waiters.block(batch.header, batch.tx_ids, batch.receipts)
        if written.fetched:
            # Block by block, so that the core sees each certificate that bears its signature (S4).
            self.runner.step(CaughtUp(height, batch.certificate, batch.header.epoch_end))
        else:
            self.runner.step(BlockWritten(height))
        if self.voter.journal is not None and height % FLOOR_EVERY_BLOCKS == 0:
            self.runner.persist_entry(floor_entry((batch.header.epoch, height)))
        if batch.epoch is not None:
            self.epochs.over(batch.epoch)
        self._pending()

    # -- between the parts ----------------------------------------------------------------------

    async def _persist(self, bodies: list[PersistBody], entries: list[JournalEntry]) -> None:
        raws = self.bodies.persist([(body.sequence, body.digest) for body in bodies])
        took = await self.journalist.run(self._write_votes, raws, entries)
        self.bodies.persisted(raws)
        for part, seconds in took.items():
            self.metrics.storage_write_seconds.labels(part).observe(seconds)

    def _write_votes(
        self, bodies: list[tuple[int, bytes, bytes]], entries: list[JournalEntry]
    ) -> dict[str, float]:
        """In the journal's thread; how many seconds each store took."""
        took, began = {}, time.perf_counter()
        if bodies:
            self.blocks.put_bodies(bodies, sync=True)
            took["blocks"] = time.perf_counter() - began
        if entries:
            began = time.perf_counter()
            self.voter.append(entries)
            took["journal"] = time.perf_counter() - began
        return took

    def _counted_on(self, sequence: int, digest: bytes) -> bool:
        """Bodies of executed blocks are needed until those are on disk, all others by the core."""
        return sequence <= self.executor.head.height or self.runner.counts_on(sequence, digest)

    def _body_dropped(self, sequence: int, digest: bytes) -> None:
        self.runner.step(BodyDropped(sequence, digest))

    def _deliver(self, member: str, kind: Kind, payload: bytes) -> Awaitable[None] | None:
        return self.inlet.deliver(member, kind, payload)

    def _judged(self, checked: ProposalChecked) -> None:
        self.runner.step(checked)

    def _in_view(self, question: CheckProposal) -> bool:
        """A verdict for a view that is over must not mark transactions as ordered."""
        core = self.epochs.replica.state
        return question.view == core.view and not core.in_view_change

    def _ticked(self, waited_ms: float) -> None:
        self.verify_pool.note_wait_ms(waited_ms)
        self.epochs.ticked()
        if self.pace.tick(self.epochs.replica.waits_for_primary):
            self.runner.step(Complain())  # L22

    def _pending(self) -> None:
        self.runner.pending(self.mempool.owed > 0)
        self.outlet.nudge()

    def _read(self, key: bytes) -> bytes | None:
        """The certified state, as contracts see it."""
        stored = self.state.get(key)
        return None if stored is None else stored[SALT_BYTES:]

    @property
    def member(self) -> str | None:
        """The organisation of this node; None until a vote has made it one."""
        return self.roster.organisation(self.key.public_key)

    def _records(self) -> RecordService | None:
        """Documents belong to an organisation: there are none before the node has one."""
        if self.member is None:
            return None
        return RecordService(
            self.vault,
            self.state,
            self.proofs,
            self.member,
            random=os.urandom,
            now_ms=_now_ms,
            damaged=self.metrics.damaged,
            check=self._fhir.check,
        )

    def _openings(self) -> Openings | None:
        return None if self.member is None else Openings(self.vault, self.state, self.member)

    def _roster_changed(self) -> None:
        """Members, or keys of theirs, are new with this epoch."""
        epoch = self.pipeline.epoch
        self.metrics.expect((v.member for v in epoch.validators.validators), ())
        self.network.set_membership(self.roster.peer)
        self.dial(self.addresses)
        if self.facade.records is None and self.member is not None:
            self.facade.member, self.facade.records = self.member, self._records()
            self.facade.openings = self._openings()

    def dial(self, addresses: Iterable[PeerAddress]) -> None:
        """From now on these as well; those with a key that was replaced, by the new one."""
        self.addresses = tuple(addresses)
        self.roster.pin(address.public_key for address in self.addresses)
        for address in self.addresses:
            self.network.add_peer(self._address(address))

    def _address(self, configured: PeerAddress) -> PeerAddress:
        current = self.roster.current_key(configured.public_key)
        return replace(configured, public_key=current)

    def _alarm(self, action: Evidence | Quarantine | Halt | ViewEntered | ViewLeft) -> None:
        if isinstance(action, ViewEntered):
            self.epochs.view_entered(action)
        else:
            self.alarms.sound(action)


def _cause(failures: BaseException) -> BaseException:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures
