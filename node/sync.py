"""Catching up: certified blocks from peers, believed only for their certificates (S14, L20).

One request is out at a time, to one peer in turn. What arrives is checked against the set of its
epoch, executed, compared with the certified header and written by the same pipeline that writes
the node's own blocks; so a node that was away, a wiped one and an observer walk the same way.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from node.net.frames import BLOCKS_PER_FRAME_MAX, MIB, Blocks, GetBlocks, Kind
from node.net.peer import PeerInfo
from node.pipeline import Diverged, Pipeline
from salus.certificate import CertifiedBlock, check_certificate
from salus.codec import decode, encode
from salus.errors import SalusError, VerificationError
from storage.blocks import BlockStore
from storage.state import StateStore

log = logging.getLogger("salus.sync")

ANSWER_BYTES_MAX = 4 * MIB  # beside consensus traffic on one link; at least one block always
POLL_S = 1  # an idle observer asks so often whether there is news
ANSWER_TIMEOUT_S = 3  # then the next peer is asked
GARBAGE_POINTS = 50  # a block that does not verify is a lie, not a mistake


class SyncNetwork(Protocol):
    def send(self, member: str, kind: Kind, payload: bytes) -> bool: ...

    def penalise(self, member: str, points: int, reason: str) -> None: ...

    def peers(self) -> list[PeerInfo]: ...


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
        on_diverged: Callable[[Diverged], None],
    ) -> None:
        self.network, self.pipeline, self.source = network, pipeline, source
        self.on_diverged = on_diverged
        self.target = 0  # a height somebody spoke of; a hint, never believed
        self.following = False  # an observer: nobody's votes bring us forward, so we keep asking
        self._asked: str | None = None
        self._turn = 0
        self._arrived: asyncio.Queue[tuple[str, Blocks]] = asyncio.Queue(4)
        self._wake = asyncio.Event()

    @property
    def behind(self) -> bool:
        return self.target > self.pipeline.queued_height

    def want(self, height: int) -> None:
        if height > self.target:
            self.target = height
            self._wake.set()

    async def serve(self, member: str, payload: bytes) -> None:
        """A peer asks for blocks. Reading them blocks on disk, so it happens in a thread."""
        request = decode(payload, GetBlocks)
        answer = await asyncio.to_thread(self.source.answer, request)
        self.network.send(member, Kind.BLOCKS, encode(answer))

    def offer(self, member: str, above: int) -> None:
        """The core saw that a peer is behind: send it what it lacks, unasked."""
        answer = self.source.answer(GetBlocks(above, min(64, BLOCKS_PER_FRAME_MAX)))
        if answer.blocks:
            self.network.send(member, Kind.BLOCKS, encode(answer))

    def receive(self, member: str, payload: bytes) -> None:
        """Blocks arrived, asked for or not; a full queue drops them, they can be asked again."""
        blocks = decode(payload, Blocks)
        if not self._arrived.full():
            self._arrived.put_nowait((member, blocks))

    async def run(self) -> None:
        """Ask while behind (or following), apply what comes."""
        while True:
            if self.behind or self.following:
                self._ask()
            member, blocks = await self._next(ANSWER_TIMEOUT_S if self._asked else POLL_S)
            if member is None:
                self._asked = None
                continue
            if member == self._asked:
                self._asked = None
            applied = await self._apply(member, blocks) if blocks.blocks else False
            if applied:
                # What this peer has, it can prove: go on asking until it is exhausted.
                self.want(blocks.tip)
            elif self.target > self.pipeline.queued_height and not blocks.blocks:
                self.target = self.pipeline.queued_height  # nobody could show it; stop chasing

    async def _next(self, timeout_s: float) -> tuple[str, Blocks] | tuple[None, Blocks]:
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

    def _ask(self) -> None:
        peers = [peer.member for peer in self.network.peers() if peer.connected]
        if not peers or self._asked is not None:
            return
        self._turn += 1
        self._asked = peers[self._turn % len(peers)]
        request = GetBlocks(self.pipeline.queued_height, BLOCKS_PER_FRAME_MAX)
        self.network.send(self._asked, Kind.GET_BLOCKS, encode(request))

    async def _apply(self, member: str, answer: Blocks) -> bool:
        """Check and execute the blocks that follow ours; True if there was at least one."""
        pipeline = self.pipeline
        try:
            blocks = [decode(raw, CertifiedBlock) for raw in answer.blocks]
            blocks = [block for block in blocks if block.header.height > pipeline.queued_height]
            if not blocks or blocks[0].header.height != pipeline.queued_height + 1:
                return False
            # S12's floor needs no word in the journal here: blocks are replayed one by one, what I
            # voted for stands there, and at start the floor is the higher of journal and state.
            checked = self._same_epoch(blocks)
            for block in checked:
                if block.header.height != pipeline.queued_height + 1:
                    continue  # The core certified it itself in the meantime.
                pipeline.accept(block)
                ahead = pipeline.epoch.parameters.execute_ahead_max
                await pipeline.written(block.header.height - ahead // 2)
            await pipeline.written(checked[-1].header.height)
        except Diverged as diverged:
            self.on_diverged(diverged)
            return False
        except SalusError as error:
            log.warning("bad_blocks", extra={"fields": {"peer": member, "reason": error.message}})
            self.network.penalise(member, GARBAGE_POINTS, error.code)
            return False
        return True

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
