"""A hospital's node: the composition root, and the only place where the parts meet.

Built in order, from disk to network; run in one TaskGroup; stopped in reverse. Law of the file:
no rules and no formats, only who knows whom.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from random import Random

from consensus.effects import Evidence, Halt, Quarantine, ViewEntered, ViewLeft
from consensus.events import BlockWritten, BodyDropped, CaughtUp, Complain
from contracts.catalogue import registry
from contracts.registry import Registry
from node.admissible import check_admissible
from node.admission import Admission
from node.alarms import Alarms
from node.api.app import Api, ApiServer
from node.api_options import api_settings, api_tls
from node.bodies import Bodies
from node.care import Care
from node.config import Config
from node.dialling import Dialling, current
from node.disk import Disk
from node.divergence import Divergence
from node.epochs import Epochs
from node.evidence import EvidenceDesk
from node.executor import Executor
from node.facade import Facade
from node.faults import FaultSwitch
from node.fhir_workers import FhirWorkers
from node.gossip import Gossip, GossipTask
from node.inlet import Inlet
from node.judge import Judge
from node.logs import describe_error, log_event
from node.me import Me
from node.mempool import Mempool
from node.meters import BlockMeter, MeteredSigner
from node.metrics import Metrics, NetMeter
from node.net.calls import Calls
from node.net.frames import Kind
from node.net.handshake import Chain
from node.net.network import Network
from node.news import News
from node.outlet import Outlet
from node.pace import Pace
from node.pipeline import Pipeline, Written
from node.proofs import ProofMaker
from node.proposer import Proposer
from node.ready import Ready, is_waited_for
from node.rejoin import Rejoin
from node.roster import Roster
from node.runner import Runner
from node.seats import Seats
from node.sync import BlockSource, Sync
from node.turns import CHECK_ROOM
from node.upkeep import Upkeep
from node.verify import VerifyPool, default_threads
from node.verify_workers import VerifyWorkers
from node.vitals import Vitals
from salus.genesis import Genesis
from salus.keys import SigningKey, verify
from salus.statemap import StateTree
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
        self.home = home
        self.config, self.genesis, self.key = config, genesis, key
        self.genesis_hash, self.domain = genesis.hash(), genesis.vote_domain()
        self.stop_asked = asyncio.Event()
        self.runner: Runner
        self.inlet: Inlet
        self.facade: Facade
        self.epochs: Epochs
        self.alarms: Alarms
        self.metrics = Metrics()

        # -- disk: stores, the state tree, the journal
        data = home / "data"
        self.contracts = contracts or registry()
        cache_bytes = config.storage.cache_bytes
        self.disk = Disk(data, genesis, self.contracts, key.public_key, cache_bytes, self.metrics)
        self.blocks, self.state, self.voter = self.disk.blocks, self.disk.state, self.disk.voter
        epoch = self.state.current_epoch()
        self.roster = Roster(self.state.value, (peer.public_key for peer in config.p2p.peers))
        contract_names = {name for name, _ in self.contracts.contracts}
        self.metrics.expect((v.member for v in epoch.validators.validators), contract_names)
        tree = StateTree(
            genesis.parameters.state_bucket_bits,
            height=self.state.height(),
            uncertified_max=epoch.parameters.execute_ahead_max,
        )
        tree.load(self.state.buckets())

        # -- execution and the pool
        recent = self.state.recent_ids(self.state.replay_start())
        self.executor = Executor(
            self.contracts, genesis, self.state, tree, self.state.head, epoch, recent
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
        self.bodies = Bodies(
            self.blocks,
            self.state.height(),
            self._counted_on,
            lambda *body: self.runner.step(BodyDropped(*body)),
        )
        threads = config.mempool.verify_threads or default_threads()
        self.verify_pool = VerifyPool(
            threads,
            workers=VerifyWorkers(threads) if threads else None,
            observe=self.metrics.crypto_verify_seconds.observe,
        )
        self.metrics.count_at_scrape(
            self.metrics.crypto_verified_total, lambda: self.verify_pool.verified_total
        )
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
            self.disk.writer,
            lambda error: self.runner.fatal(error),
        )

        # -- peers
        self.network = Network(
            key,
            Chain(genesis.chain_id, self.genesis_hash),
            (config.p2p.listen.host, config.p2p.listen.port),
            current(self.roster, config.p2p.peers),
            self.roster.peer,
            self._deliver,
            random=Random(secrets.randbits(64)),
            limits=config.p2p.limits(),
            metrics=NetMeter(self.metrics),
            fault_injection=config.dev.fault_injection,
        )
        self.dialling = Dialling(self.network, self.roster, config.p2p.peers)
        self.calls = Calls(self.network.send, lambda: self.member, secrets.randbits(48))
        self.gossip = GossipTask(Gossip(self.mempool, (), None), self.network.send)

        # -- agreement
        self.seats = Seats(lambda: self.pipeline.epoch, self.state.epoch)
        self.runner = Runner(
            partial(self.disk.persist, self.bodies), self, epoch.parameters.tick_ms
        )
        source = BlockSource(self.state, self.blocks)
        self.sync = Sync(
            self.network,
            self.pipeline,
            source,
            lambda: self.epochs.replica.state.proved,
            lambda diverged: self.alarms.diverged(diverged),
            self.roster.is_member,
            self.verify_pool if config.sync.verify_all else None,
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
            lambda checked: self.runner.step(checked),
            lambda question: self.epochs.in_view(question),
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
        self.news = News(
            self.state, self.mempool, self.pace, self.gossip, self.vitals, self.meter, self.metrics
        )
        self.waiters, self.feed = self.news.waiters, self.news.feed
        self.admission = Admission(
            self.mempool,
            self.verify_pool,
            self.gossip,
            self.metrics,
            lambda tx: self.facade.known(tx),
            self._pending,
            CHECK_ROOM * max(1, threads),
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
            self.calls,
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
            lambda: is_waited_for(self.state.value, self.member),
            self.epochs.may_vote,
            lambda: self.facade.measure_clock(),
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
            commits=self.news.commits,
            vitals=self.vitals,
            asks=self.disk.asks,
            faults=FaultSwitch(self.network) if config.dev.fault_injection else None,
        )
        self.care: Care | None = None
        self._box_seed = box_seed
        self._has_care = asyncio.Event()
        self._found_care()
        self.api = ApiServer(Api(self.facade, api_settings(home, config)))
        self.epochs.begin(epoch)

    # -- life -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until `stop_asked`; then drains: no new work, peers are told, stores are closed."""
        self.upkeep.look()
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
                        ("sync", self.sync.run()),
                        ("offer", self.sync.offer_blocks()),
                        ("gossip", self.gossip.run(self.admission.intake, self.network.penalise)),
                        ("upkeep", self.upkeep.run()),
                        ("divergence", self.divergence.run()),
                        ("answer", self.divergence.answer()),
                        ("care", self._attend()),
                    )
                ]
                await self.stop_asked.wait()
                if self.care is not None:
                    await self.care.close()
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as failures:
            log_event(log, logging.CRITICAL, "fatal", error=describe_error(_cause(failures)))
            raise
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self.runner.close()
        self.pipeline.close()
        self.admission.turn_away("NOT_READY", "the node is stopping")
        await self.api.stop()
        await self._fhir.close()
        await self.calls.close()
        self.gossip.leave()
        await self.network.stop()
        await self.verify_pool.close()
        self.disk.close()
        log_event(log, logging.INFO, "stopped")

    # -- blocks ---------------------------------------------------------------------------------

    def _deliver(self, member: str, kind: Kind, payload: bytes) -> Awaitable[None] | None:
        """Every frame of a peer comes by here: tests write down what was said to a node."""
        return self.inlet.deliver(member, kind, payload)

    def _block_written(self, written: Written) -> None:
        """A certified block is on disk: now everybody may know."""
        batch, height = written.batch, written.batch.header.height
        assert batch.certificate is not None
        self.news.tell(written)
        if self.care is not None:
            self.care.see(batch.receipts, written.contracts)
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

    def _counted_on(self, sequence: int, digest: bytes) -> bool:
        """Bodies of executed blocks are needed until those are on disk, all others by the core."""
        return sequence <= self.executor.head.height or self.runner.counts_on(sequence, digest)

    def _ticked(self, waited_ms: float) -> None:
        self.verify_pool.note_wait_ms(waited_ms)
        self.epochs.ticked()
        if self.pace.tick(self.epochs.replica.waits_for_primary):
            self.runner.step(Complain())  # L22

    def _pending(self) -> None:
        self.runner.pending(self.mempool.owed > 0)
        self.outlet.nudge()

    @property
    def member(self) -> str | None:
        """The organisation of this node; None until a vote has made it one."""
        return self.roster.organisation(self.key.public_key)

    def _found_care(self) -> None:
        """Documents belong to an organisation: there are none before the node has one."""
        if self.care is not None or self.member is None:
            return
        self.facade.member = self.member
        self.care = Care(
            Me(self.member, self.key, self._box_seed, self.genesis.chain_id, self.genesis_hash),
            self.home,
            self.config,
            self.vault,
            self.sync.source,
            self.proofs,
            self._fhir,
            self.feed,
            self.waiters,
            self.calls,
            self.admission,
            self.facade,
            self.metrics,
            parameters=lambda: self.pipeline.epoch.parameters,
            behind=lambda: self.sync.behind,
            now_ms=_now_ms,
        )
        self._has_care.set()

    async def _attend(self) -> None:
        await self._has_care.wait()
        assert self.care is not None
        await self.care.run()

    def _roster_changed(self) -> None:
        """Members, or keys of theirs, are new with this epoch."""
        epoch = self.pipeline.epoch
        self.metrics.expect((v.member for v in epoch.validators.validators), ())
        self.network.set_membership(self.roster.peer)
        self.dialling.again()
        self._found_care()

    def _alarm(self, action: Evidence | Quarantine | Halt | ViewEntered | ViewLeft) -> None:
        if isinstance(action, ViewEntered):
            self.epochs.view_entered(action)
        else:
            self.alarms.sound(action)


def _cause(failures: BaseException) -> BaseException:
    while isinstance(failures, BaseExceptionGroup):
        failures = failures.exceptions[0]
    return failures
