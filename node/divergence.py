"""Which key is it? A halted node fetches the others' write sets and names the first difference.

Rule L24. Its header differs from theirs, so its execution or its disk differs; height and key
hash are where a search begins. Law of the file: nothing here is needed to go on, so everything
is small and slow on purpose; one member is asked at a time, and what it says counts once f+1 say
the same. Names of keys do not leave: a hash, and the words before it.
"""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.executor import Executor
from node.logs import log_event
from node.net.frames import CHANGES_PER_FRAME_MAX, GetWrites, Kind, Writes
from node.uncertified import Executed
from salus.block import Header
from salus.codec import decode, encode
from salus.epoch import EpochRecord
from salus.errors import BadMessage, SalusError
from salus.statemap import CHANGE_BYTES, key_hash
from salus.writeset import Change, first_difference
from storage.errors import StorageError
from storage.state import StateStore

log = logging.getLogger("salus.divergence")

ANSWER_TIMEOUT_S = 5.0  # for one page; the member may be executing
ACCOUNT_TIMEOUT_S = 30.0  # for all that one member says in its turn; then the next one is asked
ROUND_S = 2.0  # until who had nothing to say is asked again
WRITE_SET_BYTES_MAX = 64 * 2**20  # of one block; one of the default size has about 0.1 MiB

_NAMESPACE = re.compile(rb"[a-z_]{1,32}/[a-z_]{1,32}(?=/|$)")

Send = Callable[[str, Kind, bytes], bool]


@dataclass(frozen=True, slots=True)
class Difference:
    """The first block and, in it, the first key in which another node differs from this one."""

    height: int
    theirs: bytes  # the hash of their header
    fields: tuple[str, ...]  # of the header, that differ
    key_hash: bytes | None  # None: the same was written, so state is not to blame
    namespace: str  # contract and kind of the key, if I wrote it
    how: str

    def __str__(self) -> str:
        if self.key_hash is None:
            return f"{self.how}; the headers of {self.height} differ in {', '.join(self.fields)}"
        kind = f" ({self.namespace})" if self.namespace else ""
        return f"first differing key of {self.height}: {self.key_hash.hex()}{kind}, {self.how}"


class Divergence:
    def __init__(
        self,
        executor: Executor,
        state: StateStore,
        send: Send,
        epoch: Callable[[], EpochRecord],
        me: Callable[[], int | None],
        on_found: Callable[[Difference], None],
        damaged: Callable[[StorageError], None],
    ) -> None:
        self.executor, self.state, self.send = executor, state, send
        self.epoch, self.me, self.on_found, self.damaged = epoch, me, on_found, damaged
        self._requests: dict[str, GetWrites] = {}  # the newest of each member
        self._serving = asyncio.Event()
        self._halted = asyncio.Event()
        self._asked: tuple[str, GetWrites] | None = None
        self._answer: asyncio.Future[Writes] | None = None

    # -- for others ---------------------------------------------------------------------------

    def serve(self, member: str, payload: bytes) -> None:
        """A halted peer asks; it asks again for what gets no answer."""
        self._requests[member] = decode(payload, GetWrites)
        self._serving.set()

    async def answer(self) -> None:
        """Works off what was asked. Reading blocks on disk, so it happens in a thread; what cannot
        be read is as good as not held, and the rest of the node goes on."""
        while True:
            await self._serving.wait()
            self._serving.clear()
            while self._requests:
                member = next(iter(self._requests))
                request = self._requests.pop(member)
                executed = self.executor.executed(request.height)
                if executed is not None:
                    answer = _page(request, executed.header, executed.write_set)
                else:
                    try:
                        answer = await asyncio.to_thread(self._stored, request)
                    except StorageError as error:
                        self.damaged(error)
                        log_event(
                            log,
                            logging.ERROR,
                            "write_set_damaged",
                            code=error.code,
                            reason=error.message,
                        )
                        answer = _not_held(request)
                self.send(member, Kind.WRITES, encode(answer))

    def _stored(self, request: GetWrites) -> Writes:
        """Raises `StorageError`."""
        write_set = self.state.write_set(request.height)
        if write_set is None:
            return _not_held(request)
        return _page(request, self.state.header(request.height), write_set)

    # -- for me -------------------------------------------------------------------------------

    def begin(self) -> None:
        """This node has halted."""
        self._halted.set()

    def receive(self, member: str, payload: bytes) -> None:
        answer = decode(payload, Writes)
        waiting = self._answer
        if waiting is None or waiting.done() or self._asked is None:
            return  # Too late.
        asked, request = self._asked
        if (asked, request.height, request.skip) == (member, answer.height, answer.skip):
            waiting.set_result(answer)

    async def run(self) -> None:
        """Once halted: ask until f+1 members name the same difference."""
        await self._halted.wait()
        # Blocks that are certified meanwhile leave the executor: they are not the culprits.
        first = self.executor.certified_head.height + 1
        mine: list[Executed] = []
        while (executed := self.executor.executed(first + len(mine))) is not None:
            mine.append(executed)
        epoch, me = self.epoch(), self.me()
        members = [v.member for i, v in enumerate(epoch.validators.validators) if i != me]
        accounts: dict[str, Difference] = {}
        while mine:
            for member in members:
                found = accounts.get(member) or await self._in_time(member, mine)
                if found is None:
                    continue
                accounts[member] = found
                if list(accounts.values()).count(found) >= epoch.validators.weak:
                    self.on_found(found)
                    return
            await asyncio.sleep(ROUND_S)

    async def _in_time(self, member: str, mine: Sequence[Executed]) -> Difference | None:
        """A member that takes page by page as long as it may must not keep the others waiting."""
        try:
            async with asyncio.timeout(ACCOUNT_TIMEOUT_S):
                return await self._account(member, mine)
        except TimeoutError:
            log_event(log, logging.WARNING, "write_set_late", member=member)
            return None

    async def _account(self, member: str, mine: Sequence[Executed]) -> Difference | None:
        """Where this member differs from me; None if it does not, or does not say."""
        try:
            for executed in mine:
                held = await self._fetch(member, executed)
                if held is None:
                    return None
                theirs, write_set = decode(held[0], Header), held[1]
                if theirs == executed.header:
                    continue
                if theirs.height != executed.header.height:
                    raise BadMessage("the header of another height")
                found = _compare(executed, theirs, write_set)
                log_event(
                    log, logging.WARNING, "divergence_account", member=member, height=found.height
                )
                return found
        except SalusError as error:
            log_event(log, logging.WARNING, "bad_write_set", member=member, code=error.code)
        return None

    async def _fetch(self, member: str, executed: Executed) -> tuple[bytes, bytes] | None:
        """Its header of the height of mine, and its write set: only the first page of it if the
        headers are equal. None if it does not say."""
        height, own = executed.header.height, encode(executed.header)
        header, write_set = b"", bytearray()
        while True:
            page = await self._ask(member, GetWrites(height, len(write_set) // CHANGE_BYTES))
            if page is None or not page.header:
                if header:
                    raise BadMessage("a write set that ends before its end")
                return None
            if header and page.header != header:
                raise BadMessage("pages of two blocks")
            header = page.header
            write_set += page.changes
            if not page.more or header == own:
                return header, bytes(write_set)
            # Else one change a page would make of the bound in bytes a walk of days.
            if len(page.changes) != _page_bytes():
                raise BadMessage("a page that is neither full nor the last")
            if len(write_set) > WRITE_SET_BYTES_MAX:
                raise BadMessage("a write set without end")

    async def _ask(self, member: str, request: GetWrites) -> Writes | None:
        self._asked = member, request
        self._answer = asyncio.get_running_loop().create_future()
        self.send(member, Kind.GET_WRITES, encode(request))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._answer
        except TimeoutError:
            return None
        finally:
            self._asked = self._answer = None


def _not_held(request: GetWrites) -> Writes:
    return Writes(request.height, request.skip, b"", b"", False)


def _page_bytes() -> int:
    return CHANGES_PER_FRAME_MAX * CHANGE_BYTES


def _page(request: GetWrites, header: Header, write_set: bytes) -> Writes:
    start = request.skip * CHANGE_BYTES
    end = start + _page_bytes()
    more = end < len(write_set)
    return Writes(request.height, request.skip, encode(header), write_set[start:end], more)


def _compare(executed: Executed, theirs: Header, write_set: bytes) -> Difference:
    mine = executed.header
    fields = tuple(
        name for name in mine.__struct_fields__ if getattr(mine, name) != getattr(theirs, name)
    )
    names = {key_hash(key): key for key in executed.writes}  # in the order of execution
    found = first_difference(executed.write_set, write_set, tuple(names))
    if found is None:
        how = "the same keys were written"
        if "state_root" in fields:
            how += ", over a state that differs already: run salus db check"
        return Difference(mine.height, theirs.hash(), fields, None, "", how)
    own, other = found
    change = own or other
    assert change is not None
    namespace = _NAMESPACE.match(names.get(change.key_hash, b""))
    return Difference(
        mine.height,
        theirs.hash(),
        fields,
        change.key_hash,
        namespace[0].decode() if namespace else "",
        _how(own, other),
    )


def _how(own: Change | None, other: Change | None) -> str:
    if own is None:
        return "written by them and not by me"
    if other is None:
        return "written by me and not by them"
    if own.old != other.old:
        return "which had another value before this block: run salus db check"
    return "to which I wrote another value"
