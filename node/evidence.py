"""Evidence that a validator lied: what is passed on, and what of a peer's is believed (L23).

Two kinds: two signed messages of one sender that contradict each other, and a NEW-VIEW that
contradicts the VIEW-CHANGEs it carries. Law of the file: a pair is checked in full before it
travels on; a NEW-VIEW is for the core to judge, and travels only from who judged it. One piece a
culprit, kind and epoch travels: a liar can make them without end, and one says it all (B25).
"""

from collections.abc import Callable

from consensus.messages import (
    Checkpoint,
    Commit,
    NewView,
    Prepare,
    PrePrepare,
    SignedMessage,
    ViewChange,
    content_digest,
    decode_message,
    encode_message,
    payload,
    vote_type,
)
from node.errors import BadFrame
from node.net.frames import PAYLOAD_BYTES_MAX, EvidenceFrame, Kind
from salus.codec import encode
from salus.epoch import EpochRecord
from salus.keys import Verifier
from salus.vote import VoteDomain

Vote = PrePrepare | Prepare | Commit | Checkpoint | ViewChange | NewView


class EvidenceDesk:
    def __init__(
        self, domain: VoteDomain, verifier: Verifier, epoch: Callable[[], EpochRecord]
    ) -> None:
        self.domain, self.verifier, self.epoch = domain, verifier, epoch
        self._shown: set[tuple[int, int]] = set()  # (culprit, vote type) of the present epoch
        self._shown_in = 0

    def frame(self, first: SignedMessage, second: SignedMessage | None) -> bytes | None:
        """What to show the others; None if they have it, or cannot take it.

        The core names a NEW-VIEW twice. A VIEW-CHANGE that belies its sender's COMMIT halts whoever
        sees it (S6), and is for the operators. What is too large for the frame was too large for
        anybody to believe."""
        if isinstance(first, NewView) and second in (None, first):
            raw = b""
        elif second is not None and _contradict(first, second):
            raw = encode_message(second)
        else:
            return None
        frame = encode(EvidenceFrame(encode_message(first), raw))
        if len(frame) > PAYLOAD_BYTES_MAX[Kind.EVIDENCE] or not self._news(first):
            return None
        return frame

    def examine(self, frame: EvidenceFrame) -> tuple[Vote, ...]:
        """The messages of a peer's frame, for the core to see: one NEW-VIEW that it has to judge,
        or a proved pair; none when it is of another epoch or known. Raises `BadFrame`."""
        first = decode_message(frame.first)
        second = decode_message(frame.second) if frame.second else None
        if not isinstance(first, Vote):
            raise BadFrame("evidence of what binds nobody", code="BAD_MESSAGE")
        if second is None:
            if not isinstance(first, NewView):
                raise BadFrame("a single message contradicts nothing", code="BAD_MESSAGE")
            return (first,)
        if not isinstance(second, Vote) or not _contradict(first, second):
            raise BadFrame("two messages that contradict nothing", code="BAD_MESSAGE")
        if first.epoch != self.epoch().epoch:
            return ()  # Void, or not to be judged yet (S13).
        if self._is_known(first):
            return ()
        if not (self._signed(first) and self._signed(second)):
            raise BadFrame("evidence with a false signature", code="BAD_MESSAGE")
        return first, second

    def passed_on(self, first: Vote) -> bool:
        """True once for each culprit and kind: then it may travel on."""
        return self._news(first)

    def _signed(self, message: Vote) -> bool:
        validators = self.epoch().validators
        if message.sender >= validators.n:
            return False
        key = validators.key(message.sender)
        return self.verifier(key, payload(self.domain, message), message.signature)

    def _is_known(self, message: SignedMessage) -> bool:
        epoch = self.epoch().epoch
        if epoch != self._shown_in:
            self._shown, self._shown_in = set(), epoch
        return (message.sender, int(vote_type(message))) in self._shown

    def _news(self, message: SignedMessage) -> bool:
        if self._is_known(message):
            return False
        self._shown.add((message.sender, int(vote_type(message))))
        return True


def _contradict(first: SignedMessage, second: SignedMessage) -> bool:
    """One sender, one place, two contents: nobody honest signs both (S4)."""
    return (
        type(first) is type(second)
        and isinstance(first, Vote)
        and isinstance(second, Vote)
        and _place(first) == _place(second)
        and _content(first) != _content(second)
    )


def _place(message: Vote) -> tuple[int, int, int, int]:
    sequence = 0 if isinstance(message, ViewChange | NewView) else message.sequence
    return message.sender, message.epoch, message.view, sequence


def _content(message: Vote) -> bytes:
    if isinstance(message, ViewChange | NewView):
        return content_digest(message)
    return message.digest
