"""Catching up: certified blocks from peers, believed only for their certificates (S14, L20).

One request is out at a time, to one peer in turn; the next one while the last answer is worked off.
What arrives is checked against the set of its epoch, executed, compared with the certified header and
written by the same pipeline that writes the node's own blocks; so a node that was away, a wiped one and
an observer walk the same way.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from node.errors import UpgradeNeeded
from node.net.frames import BLOCKS_PER_FRAME_MAX, MIB, Blocks, GetBlocks, Kind
from node.net.peer import PeerInfo
from node.pipeline import Diverged, Pipeline, Unsigned
from salus.certificate import CertifiedBlock, check_certificate
from salus.codec import decode, encode
from salus.errors import SalusError, VerificationError
from salus.transaction import ParsedTransaction
from storage.blocks import BlockStore
from storage.state import StateStore

log = logging.getLogger("salus.sync")

ANSWER_BYTES_MAX = 4 * MIB  # beside consensus traffic on one link; at least one block always
ARRIVED_MAX = 4  # answers that wait, 18 MiB at most; the last place is for the one asked for
OFFER_BLOCKS_MAX = 64
OFFER_INTERVAL_S = 0.25  # to one peer: its STATUS may repeat each tick, the blocks need not
POLL_S = 0.2  # an idle observer asks so often whether there is news
ANSWER_TIMEOUT_S = 3  # then the next peer is asked
# Blocks whose bodies are read, and whose few signatures are checked, in one turn of the loop (B26).
CHECKED_AHEAD = 3
GARBAGE_POINTS = 50  # a block that does not verify is a lie, not a mistake


class SyncNetwork(Protocol):
    def send(self, member: str, kind: Kind, payload: bytes) -> bool: ...

    def penalise(self, member: str, points: int, reason: str) -> None: ...

    def peers(self) -> list[PeerInfo]: ...


Checking = asyncio.Future[bytes | None]  # the transaction that nobody signed


class Signatures(Protocol):
    """As node/verify.py: for each transaction, is its signature valid?"""

    async def verify(
        self, transactions: Sequence[ParsedTransaction], *, urgent: bool = False
    ) -> list[bool]: ...


class BlockSource:
    """Certified blocks of this node, for peers and for the API."""

    def __init__(self, state: StateStore, blocks: BlockStore) -> None:
        self.state, self.blocks = state, blocks

    def block(self, height: int) -> CertifiedBlock | None:
        if not 0 < height <= self.state.height():
            return None
        header, certificate = self.state.header(height), self.state.certificate(height)
        if header is None or certificate is None:
            return None
        body = self.blocks.body(height, header.proposal_digest)
        return None if body is None else CertifiedBlock(header, certificate, body)

    def answer(self, request: GetBlocks) -> Blocks:
        """The next blocks above a height, as many as an answer may hold."""
        found: list[bytes] = []
        size = 0
        for height in range(request.above + 1, request.above + 1 + request.limit):
            block = self.block(height)
            if block is None:
                break
            raw = encode(block)
            if found and size + len(raw) > ANSWER_BYTES_MAX:
                break
            found.append(raw)
            size += len(raw)
        return Blocks(tuple(found), self.state.height())


class Sync:
    """Asks, receives, checks and applies; the pipeline tells the core of each block."""

    def __init__(
        self,
        network: SyncNetwork,
        pipeline: Pipeline,
        source: BlockSource,
        proved: Callable[[], int],
        on_diverged: Callable[[Diverged | Unsigned], None],
        is_member: Callable[[str], bool] = lambda member: True,
        signatures: Signatures | None = None,
    ) -> None:
        """`proved`: the highest height that the core has seen a certificate of; `is_member`: by the
        state of this node; `signatures`: checks what clients signed, too, instead of believing the
        quorum that did."""
        self.network, self.pipeline, self.source = network, pipeline, source
        self.proved, self.on_diverged, self.is_member = proved, on_diverged, is_member
        self.signatures = signatures
        self._hint = 0  # a height that somebody spoke of: a reason to ask, never believed
        self._claims: dict[str, int] = {}  # certified heights, by the validators that name them
        self.stopped = False  # halted: what came next would be built on sand
        self.following = False  # an observer: nobody's votes bring us forward, so we keep asking
        self._asked: str | None = None
        self._deadline = self._rest_until = 0.0
        self._turn = 0
        self._offers: dict[str, int] = {}  # member → above which height; one each
        self._offered: dict[str, float] = {}  # when last
        self._offering = asyncio.Event()
        self._arrived: asyncio.Queue[tuple[str, Blocks]] = asyncio.Queue(ARRIVED_MAX)
        self._wake = asyncio.Event()

    @property
    def target(self) -> int:
        """The height that others have, by proof or by the word of f+1 validators (L20)."""
        validators = self.pipeline.epoch.validators
        # Who has left the set said it as a validator of another epoch, and counts no more.
        members = {validator.member for validator in validators.validators}
        heights = sorted((h for m, h in self._claims.items() if m in members), reverse=True)
        weak = validators.weak
        return max(self.proved(), heights[weak - 1] if len(heights) >= weak else 0)

    @property
    def behind(self) -> bool:
        """Others have more, and that is not just a block under way: the core has asked for it, or
        it is more than may be executed ahead."""
        queued = self.pipeline.queued_height
        ahead = self.pipeline.epoch.parameters.execute_ahead_max
        return self.target > (queued if self._hint > queued else queued + ahead)

    def claim(self, member: str, height: int) -> None:
        """A validator says, on its own connection, what it has certified."""
        self._claims[member] = height

    def want(self, height: int) -> None:
        if height > max(self._hint, self.pipeline.queued_height):
            self._hint = height
            self._wake.set()

    async def serve(self, member: str, payload: bytes) -> None:
        """A peer asks for blocks. Reading them blocks on disk, so it happens in a thread."""
        request = decode(payload, GetBlocks)
        answer = await asyncio.to_thread(self.source.answer, request)
        self.network.send(member, Kind.BLOCKS, encode(answer))

    def offer(self, member: str, above: int) -> None:
        """The core saw that a peer is behind: send it what it lacks, unasked, once in a while."""
        now = asyncio.get_running_loop().time()
        if now >= self._offered.get(member, 0) + OFFER_INTERVAL_S:
            self._offered[member] = now
            self._offers[member] = above
            self._offering.set()

    async def offer_blocks(self) -> None:
        """Works off what was offered; reading it blocks on disk, so it happens in a thread."""
        while True:
            await self._offering.wait()
            self._offering.clear()
            while self._offers:
                member = next(iter(self._offers))
                request = GetBlocks(self._offers.pop(member), OFFER_BLOCKS_MAX)
                answer = await asyncio.to_thread(self.source.answer, request)
                if answer.blocks:
                    self.network.send(member, Kind.BLOCKS, encode(answer))

    def receive(self, member: str, payload: bytes) -> None:
        """Blocks arrived, asked for or not; a full queue drops them, they can be asked again."""
        blocks = decode(payload, Blocks)
        if self._arrived.qsize() < ARRIVED_MAX - (member != self._asked):
            self._arrived.put_nowait((member, blocks))

    async def run(self) -> None:
        """Ask while there may be more (or following), apply what comes."""
        loop = asyncio.get_running_loop()
        while True:
            if not self.stopped and self._due(loop.time()):
                self._ask(loop.time())
            member, blocks = await self._next(self._patience_s(loop.time()))
            if member is None:
                if self._asked is not None and loop.time() >= self._deadline:
                    self._asked = None
                continue
            answered = member == self._asked
            if answered:
                self._asked = None
            applied = await self._apply(member, blocks) if blocks.blocks else False
            if applied:
                # Whom we asked ahead shall not pay for what we did meanwhile.
                self._deadline = max(self._deadline, loop.time() + POLL_S)
                # What this peer has, it can prove: go on asking until it is exhausted.
                self.want(blocks.tip)
            elif answered and not blocks.blocks:  # unasked it must not put us to rest
                # It could not show more; whoever speaks of more sets us going again.
                self._hint = self.pipeline.queued_height
                self._rest_until = loop.time() + POLL_S

    def _due(self, now: float) -> bool:
        if self._asked is not None:
            return False
        if self._hint > self.pipeline.queued_height:
            return True
        return self.following and now >= self._rest_until

    def _patience_s(self, now: float) -> float:
        if self._asked is not None:
            return max(0, self._deadline - now)  # However much comes unasked meanwhile.
        return max(0, self._rest_until - now) or POLL_S

    async def _next(self, timeout_s: float) -> tuple[str, Blocks] | tuple[None, Blocks]:
        if not self._arrived.empty():
            return self._arrived.get_nowait()
        getter = asyncio.create_task(self._arrived.get())
        waker = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait(
                (getter, waker) if not self._asked else (getter,),
                timeout=timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            self._wake.clear()
            if getter.done():
                return getter.result()
            return None, Blocks((), 0)
        finally:
            getter.cancel()
            waker.cancel()

    def _ask(self, now: float, above: int | None = None) -> None:
        """For what follows, or follows this height."""
        connected = [peer.member for peer in self.network.peers() if peer.connected]
        # Others, of the configuration only, may be of members that joined after what we have.
        peers = [member for member in connected if self.is_member(member)] or connected
        if not peers:
            return
        self._turn += 1
        self._deadline = now + ANSWER_TIMEOUT_S
        self._asked = peers[self._turn % len(peers)]
        above = self.pipeline.queued_height if above is None else above
        request = GetBlocks(above, BLOCKS_PER_FRAME_MAX)
        self.network.send(self._asked, Kind.GET_BLOCKS, encode(request))

    async def _apply(self, member: str, answer: Blocks) -> bool:
        """Check and execute the blocks that follow ours; True if there was at least one."""
        pipeline = self.pipeline
        if self.stopped:
            return False
        if pipeline.queued_height == pipeline.epoch.end:
            await pipeline.written(pipeline.queued_height)  # Then the next epoch's set is known.
        try:
            blocks = [decode(raw, CertifiedBlock) for raw in answer.blocks]
            blocks = [block for block in blocks if block.header.height > pipeline.queued_height]
            if not blocks or blocks[0].header.height != pipeline.queued_height + 1:
                return False
            # S12's floor needs no word in the journal here: blocks are replayed one by one, what I
            # voted for stands there, and at start the floor is the higher of journal and state.
            checked = self._same_epoch(blocks)
            last = checked[-1].header
            if answer.tip > last.height and len(checked) == len(blocks) and self._asked is None:
                # Believed, by its certificate; of another epoch, the next ones could not be judged yet.
                self._ask(asyncio.get_running_loop().time(), last.height)
            await self._accept(checked)
            await pipeline.written(last.height)
        except (Diverged, Unsigned) as wrong:
            self.on_diverged(wrong)
            return False
        except UpgradeNeeded:
            raise  # Ours, not the peer's: this node ends here.
        except SalusError as error:
            log.warning("bad_blocks", extra={"fields": {"peer": member, "reason": error.message}})
            self.network.penalise(member, GARBAGE_POINTS, error.code)
            return False
        return True

    async def _accept(self, blocks: list[CertifiedBlock]) -> None:
        """One by one; the signatures of the next few are checked meanwhile."""
        pipeline, checks = self.pipeline, deque[Checking]()
        try:
            for at, block in enumerate(blocks):
                await pipeline.room(block.header.height)
                culprit = None
                if self.signatures is not None:
                    for later in blocks[at + len(checks) : at + CHECKED_AHEAD]:
                        checks.append(asyncio.ensure_future(self._unsigned(later)))
                    culprit = await checks.popleft()
                if self.stopped:
                    return
                if block.header.height != pipeline.queued_height + 1:
                    continue  # The core certified it itself in the meantime.
                if culprit is not None:
                    pipeline.check(block)  # Else whoever sent it could halt us.
                    raise Unsigned(block.header.height, culprit)
                pipeline.accept(block, verified=self.signatures is not None)
                await asyncio.sleep(0)  # Votes must not wait for a whole run of blocks (B26).
        finally:
            for check in checks:
                if not check.cancel() and not check.cancelled():
                    check.exception()  # Of a block behind one that was refused: nobody asks.

    async def _unsigned(self, block: CertifiedBlock) -> bytes | None:
        """The first transaction that its sender did not sign."""
        assert self.signatures is not None
        transactions = self.pipeline.parse_proposal(block.proposal).transactions
        valid = await self.signatures.verify(transactions, urgent=True)
        return next((tx.id for tx, ok in zip(transactions, valid, strict=True) if not ok), None)

    def _same_epoch(self, blocks: list[CertifiedBlock]) -> list[CertifiedBlock]:
        """The leading consecutive blocks of the present epoch; its last certificate is checked
        first, so that a liar costs one check and not an execution."""
        epoch = self.pipeline.epoch
        run: list[CertifiedBlock] = []
        for block in blocks:
            expected = run[-1].header.height + 1 if run else block.header.height
            if block.header.epoch != epoch.epoch or block.header.height != expected:
                break
            run.append(block)
            if block.header.ends_epoch:
                break
        if not run:
            raise VerificationError("the next block is not of the present epoch")
        last = run[-1]
        check_certificate(
            last.certificate,
            last.header,
            epoch.validators,
            self.pipeline.domain,
            self.pipeline.verifier,
        )
        return run
