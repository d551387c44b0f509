"""What is wrong with a node, from its disk, its own words and those of its peers.

Each part gives findings; `cause` puts them together into one sentence and one next command. A
dead node is diagnosed from its disk and by asking the others about it.
"""

import asyncio
import os
import time
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

from cli import keepers, processes
from cli.commands.query import items_of
from cli.connect import own_tls, plain
from cli.home import Home, NodeHome, Target
from cli.membership import belonging
from cli.preflight import Finding, Preflight
from cli.refusals import refusal, refusal_hint
from node.net.clock import skew_ms
from node.standing import is_born
from salus.client import Client
from salus.errors import SalusError
from salus.forms_node import Status, Validators

ASK_S = 3.0
STALL_S = 30.0  # pending work and no block for so long is a stall, an idle chain is not
CLOCK_WARN_S = 1.0


@dataclass
class Diagnosis:
    """Collects findings about one node."""

    home: Home
    target: Target
    findings: list[Finding] = field(default_factory=list)
    status: Status | None = None
    peers: list[dict[str, Any]] = field(default_factory=list)
    validators: Validators | None = None
    drift_max_s: float = 5.0
    token: str | None = None  # for the node's API, in the place of the home's

    async def run(self) -> None:
        await self._ask()
        if self.target.home is not None:
            # Told first, found second: the ports of a node that answers are its own.
            self.findings[:0] = self._disk(self.target.home)
        if self.status is not None:
            self._consensus(self.status)
        await self._others()

    def add(self, *findings: Finding) -> None:
        self.findings += findings

    # ── the disk ─────────────────────────────────────────────────────────────

    def _disk(self, node_home: NodeHome) -> list[Finding]:
        preflight = Preflight(node_home, environ=dict(os.environ))
        # A node under systemd leaves no pid file; that it answers says as much.
        down = self.status is None and processes.running(node_home.path) is None
        findings = list(preflight.run(ports=down))
        if preflight.config is not None:
            findings.append(keepers.finding(node_home))
        if preflight.genesis is not None:
            self.drift_max_s = preflight.genesis.parameters.clock_drift_max_ms / 1000
            if down:
                findings += journal_findings(node_home, preflight.genesis.hash())
        return findings

    # ── the node itself ──────────────────────────────────────────────────────

    async def _ask(self) -> None:
        token = self.token or self.target.token()
        tls = own_tls(self.target.home)
        async with Client(self.target.urls[0], ssl=tls, token=token, timeout_s=ASK_S) as client:
            try:
                self.status = await client.status()
            except SalusError as error:
                self.add(self._silent(error))
                return
            try:
                self.validators = await client.validators()
                document = (await client.api("GET", "/v1/peers")).json()
                if self.target.home is not None:
                    self.add(*await belonging(client, self.target.home))
            except SalusError as error:
                self.add(Finding("api", None, error.message, error.code, "salus status"))
                return
        self.peers = items_of(document)
        self.add(
            Finding(
                "node",
                True,
                f"answers at {self.target.urls[0]}, height {self.status.height}, "
                f"view {self.status.view}",
            )
        )
        self._peers()

    def _silent(self, error: SalusError) -> Finding:
        home = self.target.home
        if home is not None and processes.running(home.path) is not None:
            return Finding(
                "node",
                False,
                f"the process runs and does not answer ({error.message})",
                "UNREACHABLE",
                "it hangs, is paused (salus testnet resume), or is still starting: see its log",
            )
        return Finding(
            "node",
            False,
            f"does not run ({error.message})",
            "UNREACHABLE",
            f"salus testnet start {self.target.name}" if self.home.is_testnet else "salus start",
        )

    def _peers(self) -> None:
        assert self.status is not None
        connected, expected = self.status.peers.connected, self.status.peers.expected
        trouble = [
            f"{peer['member']}: {refusal(peer['refused'])}"
            if peer["refused"]
            else f"{peer['member']}: not reached at {peer['address']}"
            for peer in self.peers
            if not (peer["connected_in"] and peer["connected_out"])
        ]
        detail = f"{connected} of {expected} connected"
        if trouble:
            detail += ".  " + ";  ".join(trouble)
        self.add(
            Finding("peers", True, detail)
            if connected >= expected
            else Finding(
                "peers", None if connected else False, detail, "PEER_UNREACHABLE", self._peer_hint()
            )
        )

    def _peer_hint(self) -> str:
        hint = refusal_hint(str(peer["refused"] or "") for peer in self.peers)
        if hint is not None:
            return hint
        if self.home.is_testnet:
            return "salus testnet status; salus testnet heal"
        return "check that they run, and [p2p] peers in node.toml"

    def _consensus(self, status: Status) -> None:
        quorum = status.quorum
        if quorum.online < quorum.needed:
            missing = (
                [v.member for v in self.validators.items if not v.connected]
                if (self.validators)
                else []
            )
            self.add(
                Finding(
                    "consensus",
                    False,
                    f"no quorum: {quorum.online} validators seen, {quorum.needed} needed"
                    + (f" (missing {', '.join(missing)})" if missing else "")
                    + f"; height {status.height}, view {status.view}",
                    "NO_QUORUM",
                    self._quorum_hint(missing),
                )
            )
        elif status.mempool_transactions and status.last_block_age_s > STALL_S:
            self.add(
                Finding(
                    "consensus",
                    False,
                    f"stalled {status.last_block_age_s:.0f} s at height {status.height} view "
                    f"{status.view} with {status.mempool_transactions} transactions waiting",
                    "NOT_READY",
                    "salus api GET consensus",
                )
            )
        else:
            self.add(
                Finding(
                    "consensus",
                    True,
                    f"{quorum.online} validators seen, {quorum.needed} needed; "
                    f"primary {status.primary}",
                )
            )
        if status.signing == "signing":
            self.add(Finding("signing", True, "votes are signed"))
        elif status.signing == "observer":
            self.add(Finding("signing", True, "an observer: signs no votes"))
        else:
            self.add(
                Finding(
                    "signing",
                    False,
                    f"{status.signing}: {status.reason or 'no reason given'}",
                    "NOT_READY",
                    "quarantine ends by itself at the next epoch; a halted node: keep its disk, "
                    "see docs/operating.md",
                )
            )
        alarms = {"contract faults": status.contract_faults, "equivocations": status.equivocations}
        if told := ", ".join(f"{count} {name}" for name, count in alarms.items() if count):
            self.add(
                Finding(
                    "alarms",
                    None,
                    f"{told} since its start",
                    "CONTRACT_FAULT" if status.contract_faults else "DOUBLE_SIGN",
                    "its log says which (contract_fault, equivocation): see docs/operating.md",
                )
            )
        if status.syncing:
            self.add(
                Finding(
                    "sync",
                    None,
                    f"catching up, {status.sync_lag_blocks} blocks behind",
                    "NOT_READY",
                    "wait: salus status --watch",
                )
            )

    def _quorum_hint(self, missing: list[str]) -> str:
        if self.home.is_testnet and missing:
            return f"salus testnet start {missing[0]}"
        return "ask the missing hospitals; each: salus doctor"

    # ── the others ───────────────────────────────────────────────────────────

    async def _others(self) -> None:
        """In a testnet the others can be asked: for their clocks, and what they say of us."""
        skew = skew_ms([peer.get("clock_ahead_ms") for peer in self.peers])
        if skew is not None:
            self._clock_off(skew / 1000, "the median of its peers")
        if not self.home.is_testnet:
            if skew is None:
                await self._clock([self.target.urls[0]] if self.status else [])
            return
        others = [node for node in self.home.testnet.nodes if node.name != self.target.name]
        urls = [node.api for node in others]
        if self.status is not None:
            urls.append(self.target.urls[0])
        if skew is None:
            await self._clock(urls)
        down = [n.name for n in others if processes.running(n.node_home.path) is None]
        if down:
            self.add(
                Finding(
                    "others",
                    None,
                    f"not running: {', '.join(down)}",
                    "NODE_FAILED",
                    f"salus testnet start {' '.join(down)}",
                )
            )
        if self.status is None:
            views = await asyncio.gather(*(_status_of(url) for url in urls))
            seen = [status for status in views if status is not None]
            if seen:
                best = max(seen, key=lambda status: status.height)
                enough = best.quorum.online >= best.quorum.needed
                self.add(
                    Finding(
                        "network",
                        enough,
                        f"the others stand at height {best.height} with {best.quorum.online} of "
                        f"{best.quorum.needed} needed validators",
                        "OK" if enough else "NO_QUORUM",
                        "" if enough else f"salus testnet start {self.target.name}",
                    )
                )

    async def _clock(self, urls: list[str]) -> None:
        """Our clock against those that answer (HTTP dates have whole seconds)."""
        offsets = [
            o for o in await asyncio.gather(*(_clock_offset(u) for u in urls)) if o is not None
        ]
        if not offsets:
            return
        self._clock_off(-sorted(offsets)[len(offsets) // 2], "the median of nodes")

    def _clock_off(self, ahead_s: float, of: str) -> None:
        detail = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} {of}"
        detail += f" (limit {self.drift_max_s:g} s)"
        ok = (
            True
            if abs(ahead_s) <= CLOCK_WARN_S
            else None
            if abs(ahead_s) < self.drift_max_s
            else False
        )
        if ok:
            self.add(Finding("clock", True, detail))
        else:
            self.add(Finding("clock", ok, detail, "CLOCK_OFF", "timedatectl status; enable NTP"))

    # ── the sum ──────────────────────────────────────────────────────────────

    @property
    def ok(self) -> bool:
        return all(finding.ok is not False for finding in self.findings)

    def cause(self) -> tuple[str, str]:
        """One sentence and one next command: the first fault in the order of `_CAUSES`."""
        bad = {finding.name: finding for finding in self.findings if finding.ok is False}
        for name in _CAUSES:
            if name in bad:
                return bad[name].detail, bad[name].next_step
        if bad:
            first = next(iter(bad.values()))
            return first.detail, first.next_step
        return "", ""

    def document(self) -> dict[str, Any]:
        cause, next_step = self.cause()
        return {
            "ok": self.ok,
            "node": self.target.name,
            "cause": cause or None,
            "next": next_step or None,
            "findings": [finding.document() for finding in self.findings],
            "status": None if self.status is None else plain(self.status),
        }


# A fault further up explains those further down.
_CAUSES = (
    "config", "genesis", "keys", "disk", "journal", "port p2p", "port api", "clock", "member",
    "signing", "node", "consensus", "network", "peers",
)  # fmt: skip


def journal_findings(node_home: NodeHome, genesis_hash: bytes) -> list[Finding]:
    """Whether the vote journal can be opened; only for a node that does not run."""
    from storage.errors import StorageError
    from storage.segment import SEGMENT_SUFFIX, read_segment

    directory = node_home.data / "journal"
    segments = sorted(directory.glob(f"*{SEGMENT_SUFFIX}"))
    if not segments:
        if is_born(node_home.data) or not (node_home.data / "state").exists():
            return [Finding("journal", True, "not started yet")]
        return [
            Finding(
                "journal",
                None,
                "missing: the node will follow the others and rejoin at a new epoch",
                "JOURNAL_LOST",
                "if another copy of this node runs anywhere, stop it",
            )
        ]
    records = 0
    for path in segments:
        try:
            segment = read_segment(path.read_bytes(), path.name)
        except StorageError as error:
            return [Finding("journal", False, error.message, error.code, error.hint)]
        if segment.header.genesis_hash != genesis_hash:
            return [
                Finding(
                    "journal",
                    False,
                    "the vote journal of another chain",
                    "JOURNAL_LOST",
                    "restore this home's own data directory",
                )
            ]
        records += len(segment.payloads)
    return [Finding("journal", True, f"{records} records of votes, none damaged")]


async def _status_of(url: str) -> Status | None:
    async with Client(url, timeout_s=ASK_S) as client:
        try:
            return await client.status()
        except SalusError:
            return None


async def _clock_offset(url: str) -> float | None:
    """Seconds that the node is ahead of us, by the middle of the exchange; None without answer."""
    async with Client(url, timeout_s=ASK_S) as client:
        try:
            before = time.time()
            answer = await client.api("GET", "/healthz")
            after = time.time()
        except SalusError:
            return None
    date = answer.headers.get("Date")
    if not date:
        return None
    theirs = parsedate_to_datetime(date).timestamp()
    # A whole second means anything from .0 to .999: no offset is claimed inside of that.
    low, high = theirs - after, theirs + 1 - before
    return 0.0 if low <= 0 <= high else low if low > 0 else high
