"""The outbox: patients hear what happened to their relation, from the custodian, without medical content
(health.md §4.10).

    take        events of certified blocks → messages in the boxes of relations that gave a contact
    deliver     what is due, by mail, webhook or print list; tried again, then given up; the patient sees it

Who takes messages slowly, or not at all, keeps those to other destinations waiting for nothing, however
many wait: the chain is read on, for nodes drop old blocks. Law of the file: a message is on disk before the
block that it tells of counts as read, so a crash loses none; one that was sent and whose box was not
written yet is sent twice.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from node.carriers import Carrier, CarrierFailed
from node.contacts import (
    BOX_VERSION,
    MESSAGES_MAX,
    PENDING_MAX,
    Box,
    Boxes,
    CarrierName,
    Contact,
    Delivery,
    Message,
    Progress,
)
from node.feed import Feed, FeedEvent, Pruned
from node.logs import log_event
from node.notices import GATHERED, Notice, NoticeKind, kind_of
from node.record_subject import require_relation
from salus.codec import UINT_MAX
from salus.errors import SalusError
from storage.errors import StorageError
from storage.state import StateStore
from storage.vault import Vault

log = logging.getLogger("salus.outbox")

BLOCKS_PER_STEP = 64  # the feed's short cache
PROGRESS_BLOCKS = 256  # read again at most after a crash, where nobody was told anything
SENDS_PER_DESTINATION_MAX = 4  # at once: a mail server's patience with one client
FAREWELLS_MAX = 4  # to contacts that were changed: later ones are whoever changed them, again
RETRY_FIRST_MS, RETRY_MAX_MS = 30_000, 6 * 3_600_000
ATTEMPTS_MAX = 12  # with these pauses: a day and a half
WAKE_S = 30.0  # what is due is looked for as often, without a block


class Outbox:
    def __init__(
        self,
        vault: Vault,
        state: StateStore,
        org: str,
        feed: Feed,
        carriers: Mapping[CarrierName, Carrier],
        *,
        now_ms: Callable[[], int],
        gather_ms: int,
        count: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """`gather_ms`: so long reads are counted before they are told together. `count`: told of each
        message that is `queued`, `sent`, `retried` or `failed`."""
        self.state, self.org, self.feed, self.carriers = state, org, feed, carriers
        self.boxes, self.now_ms, self.gather_ms = Boxes(vault), now_ms, gather_ms
        self._count = count
        self._lock = asyncio.Lock()  # boxes are read, changed and written by one at a time
        self._height: int | None = None  # read up to here; None: not known yet
        self._kept_height = 0
        # box → destination → when its next message there is due; at most so many as there are boxes
        self._pending: dict[bytes, dict[str, int]] = {}
        self._sending: dict[tuple[bytes, str], asyncio.Task[None]] = {}  # by box and destination
        self._sent = False  # since the progress was kept
        self._nudged = asyncio.Event()

    # -- what a patient asks ---------------------------------------------------------------------

    async def set_contact(self, handle: bytes, contact: Contact | None) -> None:
        """From now on by this contact, or none; the one before is told so, for a thief of the node's token
        would change it first. Raises `SalusError` (UNKNOWN_RELATION, NOT_ENABLED, BAD_CONTACT)."""
        require_relation(self.state, self.org, handle)
        if contact is not None:
            carrier = self.carriers.get(contact.carrier)
            if carrier is None:
                raise SalusError(
                    f"this node sends no messages by {contact.carrier.value}", code="NOT_ENABLED"
                )
            if not carrier.accepts(contact.address):
                raise SalusError("no message could go to this address", code="BAD_CONTACT")
        async with self._lock:
            if self._height is None:
                self._height = await self._begin()  # else what waits now would be forgotten by it
            name = self.boxes.name(handle)
            box = await asyncio.to_thread(self.boxes.read, name)
            if box is None or box.contact is None:
                # What was before is not told: the patient asked to hear of it from now on.
                left = () if box is None else box.messages
                # All of the newest block is before, read already or not.
                box = Box(BOX_VERSION, handle, contact, self.feed.height, UINT_MAX, left)
            else:
                box = replace(_farewell(box, contact, self.org, self.now_ms()), contact=contact)
            await self._write(box)
            await self._keep()
        self._nudged.set()

    def of_handle(self, handle: bytes) -> Box | None:
        """Contact and messages, the newest last. Raises `VaultDamaged`."""
        return self.boxes.read(self.boxes.name(handle))

    # -- life ------------------------------------------------------------------------------------

    def grew(self) -> None:
        """A block is certified. Where no patient has a contact it is read with others, some time."""
        if self.boxes.names:
            self._nudged.set()

    async def run(self) -> None:
        """For ever: tell what is certified, send what is due."""
        try:
            while True:
                more = await self.step()
                if not more:
                    try:
                        async with asyncio.timeout(WAKE_S):
                            await self._nudged.wait()
                    except TimeoutError:
                        pass
                    self._nudged.clear()
        finally:
            for task in self.sending:
                task.cancel()
            await asyncio.gather(*self.sending, return_exceptions=True)

    async def step(self) -> bool:
        """Read some blocks, begin to send what is due, and wait for nobody who takes it; is there more to
        do at once?"""
        try:
            more = await self._take()
            self._deliver()
        except StorageError as error:
            log_event(log, logging.ERROR, "outbox_damaged", code=error.code)
            return False
        return more

    @property
    def sending(self) -> tuple[asyncio.Task[None], ...]:
        """What is on its way now."""
        return tuple(self._sending.values())

    # -- from the chain --------------------------------------------------------------------------

    async def _take(self) -> bool:
        async with self._lock:
            height = await self._begin() if self._height is None else self._height
            last = min(self.feed.height, height + BLOCKS_PER_STEP)
            told = False
            while height < last:
                height, block_told = await self._block(height + 1)
                told = told or block_told
            self._height = height
            if told or self._sent or height >= self._kept_height + PROGRESS_BLOCKS:
                await self._keep()
            return height < self.feed.height

    async def _begin(self) -> int:
        """Where the last life stopped; the first one begins with the next block."""
        progress = await asyncio.to_thread(self.boxes.progress)
        if progress is None:
            self._height = self.feed.height
            await self._keep()
            return self._height
        # As many as are named may not be all of them.
        full = len(progress.pending) >= PENDING_MAX
        for name in self.boxes if full else progress.pending:
            box = await asyncio.to_thread(self.boxes.readable, name)
            if box is not None:
                self._note(box)
        self._kept_height = progress.height
        return min(progress.height, self.feed.height)

    async def _block(self, height: int) -> tuple[int, bool]:
        """(height that is read now, was anybody told?)"""
        if not self.boxes.names:
            return height, False  # nobody to tell, whatever is in it
        try:
            events = self.feed.events_of(height)
        except Pruned:
            # The node was away for longer than it keeps blocks. Patients see the whole trail by
            # their page; that these messages are missing is for the operator to know.
            log_event(log, logging.WARNING, "outbox_missed_blocks", first=self.feed.first_height)
            return max(height, self.feed.first_height - 1), False
        told = False
        for event in events:
            kind = kind_of(event.kind, event.data)
            handle = event.data.get("handle")
            if kind is None or event.data.get("org") != self.org or not isinstance(handle, str):
                continue
            name = self.boxes.name(bytes.fromhex(handle))
            if name not in self.boxes.names:
                continue
            box = await asyncio.to_thread(self.boxes.readable, name)
            if box is None or box.contact is None:
                continue
            if _position(event) <= (box.seen_height, box.seen_index):
                continue  # told before a crash
            await self._write(self._with(box, Notice(kind, self.org, event.time_ms, 1), event))
            told = True
        return height, told

    def _with(self, box: Box, notice: Notice, event: FeedEvent) -> Box:
        """The box with one notice more: counted in the one that gathers its kind, or of its own."""
        messages = list(box.messages)
        for place, one in enumerate(messages):
            gathers = one.waits and not one.attempts
            if gathers and one.notice.kind is notice.kind and notice.kind in GATHERED:
                counted = replace(one.notice, count=one.notice.count + 1)
                messages[place] = replace(one, notice=counted)
                break
        else:
            now_ms = self.now_ms()
            due_ms = now_ms + (self.gather_ms if notice.kind in GATHERED else 0)
            height, index = _position(event)
            messages.append(Message(notice, None, height, index, Delivery.QUEUED, 0, due_ms, 0))
            self._count("queued")
        height, index = _position(event)
        return replace(box, messages=_kept(messages), seen_height=height, seen_index=index)

    # -- to the patient --------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Begin what is due, the longest due first, so many at a time as a destination is asked."""
        now_ms = self.now_ms()
        busy = Counter(where for _, where in self._sending)
        due = sorted(
            (due_ms, name, where)
            for name, lanes in self._pending.items()
            for where, due_ms in lanes.items()
            if due_ms <= now_ms and (name, where) not in self._sending
        )
        for _, name, where in due:
            if busy[where] < SENDS_PER_DESTINATION_MAX:
                busy[where] += 1
                task = asyncio.create_task(self._send_box(name, where, now_ms))
                self._sending[name, where] = task
                task.add_done_callback(partial(self._done, name, where))

    def _done(self, name: bytes, where: str, task: asyncio.Task[None]) -> None:
        del self._sending[name, where]
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, StorageError):
            log_event(log, logging.ERROR, "outbox_damaged", code=error.code)
        elif error is not None:
            log_event(log, logging.ERROR, "outbox_failed", why=type(error).__name__)
        else:
            self._nudged.set()  # somebody may wait for this place; after an error, WAKE_S passes

    async def _send_box(self, name: bytes, where: str, now_ms: int) -> None:
        """What a box has for one destination, one after the other; the box as it is before each, for the
        patient may have changed his contact meanwhile."""
        for _ in range(MESSAGES_MAX):
            found = await self._next_of(name, where, now_ms)
            if found is None:
                return
            after = await self._send(*found)
            async with self._lock:
                # The chain went on, too.
                fresh = await asyncio.to_thread(self.boxes.read, name)
                if fresh is None:
                    return
                self._sent = True
                await self._write(_exchanged(fresh, found[1], after))

    async def _next_of(
        self, name: bytes, where: str, now_ms: int
    ) -> tuple[Contact, Message] | None:
        box = await asyncio.to_thread(self.boxes.read, name)
        if box is None:
            self._pending.pop(name, None)
            return None
        for contact, message in box.waiting():
            if message.due_ms <= now_ms and self._destination(contact) == where:
                return contact, message
        return None

    def _destination(self, contact: Contact) -> str:
        carrier = self.carriers.get(contact.carrier)
        host = "" if carrier is None else carrier.destination(contact.address)
        return f"{contact.carrier.value} {host}"

    async def _send(self, contact: Contact, message: Message) -> Message:
        """Tried once: as it is afterwards."""
        carrier = self.carriers.get(contact.carrier)
        attempts, now_ms = message.attempts + 1, self.now_ms()
        try:
            if carrier is None:
                raise CarrierFailed("no longer configured")
            await carrier.send(contact, message.notice)
        except Exception as error:  # noqa: BLE001 - one patient's address stops nobody else's news
            given_up = attempts >= ATTEMPTS_MAX
            # Of what no carrier foresaw only the kind: its words may be the address.
            why = str(error) if isinstance(error, CarrierFailed) else type(error).__name__
            log_event(log, logging.WARNING, "notice_not_sent", why=why, given_up=given_up)
            self._count("failed" if given_up else "retried")
            pause_ms = min(RETRY_MAX_MS, RETRY_FIRST_MS << (attempts - 1))
            return replace(
                message,
                delivery=Delivery.FAILED if given_up else Delivery.QUEUED,
                attempts=attempts,
                due_ms=now_ms + pause_ms,
                changed_ms=now_ms,
            )
        self._count("sent")
        return replace(message, delivery=Delivery.SENT, attempts=attempts, changed_ms=now_ms)

    # -- on disk ---------------------------------------------------------------------------------

    async def _write(self, box: Box) -> None:
        if box.contact is None:  # what was told is forgotten, and the rest once it is told
            box = replace(box, messages=tuple(one for one in box.messages if one.waits and one.to))
        if box.contact is None and not box.messages:
            await asyncio.to_thread(self.boxes.drop, box.handle)
        else:
            await asyncio.to_thread(self.boxes.write, box)
        self._note(box)

    def _note(self, box: Box) -> None:
        """When the box has something for whom."""
        lanes: dict[str, int] = {}
        for contact, message in box.waiting():
            where = self._destination(contact)
            lanes[where] = min(message.due_ms, lanes.get(where, message.due_ms))
        name = self.boxes.name(box.handle)
        if lanes:
            self._pending[name] = lanes
        else:
            self._pending.pop(name, None)

    async def _keep(self) -> None:
        assert self._height is not None
        pending = tuple(sorted(self._pending)[:PENDING_MAX])
        progress = Progress(BOX_VERSION, self._height, pending)
        await asyncio.to_thread(self.boxes.keep, progress)
        self._kept_height, self._sent = self._height, False


def _exchanged(box: Box, before: Message, after: Message) -> Box:
    """With this message as it is now; where its count grew while it was sent, the rest is queued."""
    messages = list(box.messages)
    for place, one in enumerate(messages):
        if _identity(one) != _identity(before):
            continue
        grown = one.notice.count - before.notice.count
        if after.delivery is Delivery.SENT and grown:
            rest = replace(one.notice, count=grown)
            messages.append(
                replace(before, notice=rest, height=box.seen_height, index=box.seen_index)
            )
            messages[place] = after
        else:
            messages[place] = replace(after, notice=one.notice)
        break
    return replace(box, messages=_kept(messages))


def _identity(message: Message) -> tuple[int, int, NoticeKind]:
    return message.height, message.index, message.notice.kind


def _farewell(box: Box, contact: Contact | None, org: str, now_ms: int) -> Box:
    """With word of the change to the contact before, where that is another address."""
    old = box.contact
    assert old is not None, "there was one"
    told = [one for one in box.messages if one.notice.kind is NoticeKind.CONTACT]
    same = contact is not None and (old.carrier, old.address) == (contact.carrier, contact.address)
    if same or sum(one.waits for one in told) >= FAREWELLS_MAX:
        return box
    index = 1 + max((one.index for one in told), default=-1)
    notice = Notice(NoticeKind.CONTACT, org, now_ms, 1)
    farewell = Message(notice, old, box.seen_height, index, Delivery.QUEUED, 0, now_ms, 0)
    return replace(box, messages=_kept([*box.messages, farewell]))


def _kept(messages: list[Message]) -> tuple[Message, ...]:
    """As many as a box has room for. What was told goes first; then the oldest of whatever there is
    most: else a stolen key would push the news of a key out by granting."""
    left = list(messages)
    while len(left) > MESSAGES_MAX:
        told = (n for n, one in enumerate(left) if one.delivery is not Delivery.QUEUED)
        place = next(told, None)
        if place is None:
            kinds = (one.notice.kind for one in left if one.notice.kind is not NoticeKind.CONTACT)
            often = Counter(kinds).most_common(1)[0][0]
            place = next(n for n, one in enumerate(left) if one.notice.kind is often)
        del left[place]
    return tuple(left)


def _position(event: FeedEvent) -> tuple[int, int]:
    return event.position.height, event.position.index
