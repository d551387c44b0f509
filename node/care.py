"""What a node does for patients: their records, who reads them, what they are told and what goes.

There is one as soon as the node has its organisation, and none before: documents belong to one. Law
of the file: no rules and no formats, only who knows whom; each part stands once, over one vault.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from contracts.consent import consent
from contracts.emergency import emergency
from node.admission import Admission
from node.audit_desk import AuditDesk
from node.config import Config
from node.emergency_desk import EmergencyDesk
from node.emergency_holder import Holder
from node.emergency_state import EmergencyState
from node.erasures import Erasures
from node.facade import Facade
from node.feed import Feed
from node.fhir_workers import FhirWorkers
from node.gate import Gate
from node.gate_records import GateRecords
from node.identity_desk import IdentityDesk
from node.keeper_socket import KeeperDesk
from node.me import Me
from node.metrics import Metrics
from node.net.calls import Calls, Topic
from node.openings import Openings
from node.outbox import Outbox
from node.outbox_options import carriers_of
from node.pepper import PepperKeep
from node.permit_inbox import PermitInbox
from node.proofs import ProofMaker
from node.reader_desk import ReaderDesk, serve
from node.receipts import Receipts
from node.records import RecordService
from node.scales import Scales
from node.sync import BlockSource
from node.ticket_files import TicketFiles
from node.ticket_sender import TicketSender
from node.trail_files import TrailFiles
from node.waiters import Waiters
from salus.block import Receipt
from salus.errors import SalusError
from salus.parameters import Parameters
from salus.site import parse_sites
from storage.vault import Vault, vault_lock


class Care:
    """All parts of one organisation that are about patients; `run` drives them."""

    def __init__(
        self,
        me: Me,
        home: Path,
        config: Config,
        vault: Vault,
        source: BlockSource,
        proofs: ProofMaker,
        fhir: FhirWorkers,
        feed: Feed,
        waiters: Waiters,
        calls: Calls,
        admission: Admission,
        facade: Facade,
        metrics: Metrics,
        *,
        parameters: Callable[[], Parameters],
        behind: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        """`parameters`: of the epoch; `behind`: do others have blocks that we lack?"""
        self.facade = facade
        state, chain = source.state, (me.chain_id, me.genesis_hash)

        # -- records, and what opens permits and tickets
        files = TicketFiles(vault, state, me.org)
        self.openings = Openings(vault, state, me.org)
        self.records = RecordService(
            vault,
            state,
            proofs,
            me.org,
            random=os.urandom,
            now_ms=now_ms,
            damaged=metrics.damaged,
            check=fhir.check,
            keeper=config.keeper.public_key,
            batch_period_ms=config.records.batch_period_ms,
        )
        self.audit = AuditDesk(files, me.chain_id, now_ms, TrailFiles(proofs), facade.asks)
        self.erasures = Erasures(
            self.records,
            me.key,
            *chain,
            admission.submit,
            self.audit,
            automatic=config.storage.erase_on_request,
        )

        # -- who reads them, here and elsewhere
        self.gate = Gate(
            me.chain_id,
            Scales(state, me.org, self.openings),
            GateRecords(self.records),
            files,
            proofs,
            KeeperDesk(home / config.keeper.socket),
            TicketSender(me.key, *chain, admission.submit, facade.wait),
            me.key,
            metrics,
            parameters=parameters,
            ready=self._may_release,
            reach=waiters.for_height,
            # By the time that its blocks will have: else its tickets are of another moment (G-20).
            now_ms=lambda: now_ms() - facade.clock_ahead_ms(),
            clock=time.monotonic,
        )
        self.permits = PermitInbox(
            vault,
            source,
            partial(feed.recent, contract=consent.name),
            me.chain_id,
            me.org,
            me.box_secret,
            now_ms,
        )
        seed = vault_lock(me.box_secret)
        self.receipts = Receipts(vault, state, me.key, *chain, admission.submit, seed, now_ms)
        self.access = ReaderDesk(
            calls,
            self.permits,
            self.receipts,
            lambda: me.org,
            lambda: facade.roster.ids,
            parse_sites(config.reading.sites),
        )

        # -- emergencies, identifiers at the desk, and what patients are told
        emergencies = EmergencyState(state.value)
        self.holder = Holder(
            me,
            vault,
            emergencies,
            waiters,
            admission.submit,
            parameters,
            behind,
            now_ms,
            time.monotonic,
            os.urandom,
            metrics,
        )
        self.emergencies = EmergencyDesk(me.org, vault, emergencies, self.holder, calls)
        pepper = PepperKeep(home, facade.genesis, me.org, me.box_secret)
        self.identity = IdentityDesk(vault, state, me.org, me.chain_id, pepper, now_ms, facade.asks)
        self.outbox = Outbox(
            vault,
            state,
            me.org,
            feed,
            carriers_of(home, config.outbox),
            now_ms=now_ms,
            gather_ms=config.outbox.gather_ms,
            count=lambda outcome: metrics.outbox_notices_total.labels(outcome).inc(),
        )
        serve(calls, self.gate)
        calls.serve(Topic.SUMMARY, self.emergencies.serve)
        facade.records, facade.openings, facade.audit = self.records, self.openings, self.audit
        facade.erasures, facade.access = self.erasures, self.access
        facade.emergencies, facade.outbox = self.emergencies, self.outbox
        facade.identity = self.identity

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, work in (
                ("permits", self.permits.run()),
                ("erase", self.erasures.run()),
                ("tell", self.outbox.run()),
                ("receipts", self.receipts.run()),
                ("gate", self.gate.run()),
                ("late entries", self.holder.run()),
            ):
                group.create_task(work, name=name)

    def see(self, receipts: Sequence[Receipt], contracts: frozenset[str]) -> None:
        """Of a block that is certified and on disk; `contracts`: those it called."""
        self.permits.grew()
        self.receipts.grew()
        self.erasures.nudge()
        self.outbox.grew()
        if emergency.name in contracts:
            self.holder.see(receipts)

    async def close(self) -> None:
        """While the node can still send and hear; `run` goes on meanwhile."""
        await self.records.batches.close()
        await self.gate.close()

    def _may_release(self) -> None:
        """Raises `SalusError` while a permit may have been revoked and this node would not know."""
        self.facade.require_news()
        if self.holder.late.owes:  # E-8: what was given late comes first
            raise SalusError("first what was given without a quorum", code="LATE_OWED")
