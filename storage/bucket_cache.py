"""Of buckets by number, what storage/buckets.py holds of each; with a bound in bytes.

Which bucket a block needs is a hash's choice: all are as likely, and when one was last used says nothing.
So no order of use is kept. Room is made by a hand that goes round, bucket by bucket.

While all find room each is answered here. Of a state that is larger a share is, in proportion to the memory:
then less of it is taken, and left to those who do more with it.
"""

from collections.abc import Iterable, Mapping

# The object around a content, and what the allocator loses in a fresh process: resident memory of 220,000
# buckets of 256 bytes, each written four times, CPython 3.11. A dict in order of use takes 190. Where contents grow
# from one size to the next the allocator keeps pages that are half empty: up to 130 bytes more at 10^6 keys.
# The slots of the list are not counted: eight bytes for each bucket of the state, 2 MiB of 2^18.
CONTENT_OVERHEAD_BYTES = 72


class BucketCache:
    def __init__(self, bytes_max: int, share_bytes_max: int | None = None) -> None:
        """`share_bytes_max`: the bound from when not all has found room; None: the same."""
        self.bytes_max = bytes_max
        self._share_bytes_max = bytes_max if share_bytes_max is None else share_bytes_max
        self.bytes = 0
        self._held: list[bytes | None] = []  # by bucket number, as long as the highest that came
        self._hand = 0

    def get(self, index: int) -> bytes | None:
        """None if it is not known here."""
        held = self._held
        return held[index] if index < len(held) else None

    def put(self, index: int, content: bytes) -> None:
        self.put_all({index: content})

    def put_all(self, contents: Mapping[int, bytes]) -> None:
        if not contents:
            return
        held, size = self._held, self.bytes
        short = max(contents) + 1 - len(held)
        if short > 0:
            held.extend([None] * short)
        for index, content in contents.items():
            old = held[index]
            if old is None:
                size += len(content) + CONTENT_OVERHEAD_BYTES
            else:
                size += len(content) - len(old)
            held[index] = content
        self.bytes = size
        if size > self.bytes_max:
            self._make_room()

    def drop_all(self, indices: Iterable[int]) -> None:
        held = self._held
        for index in indices:
            if index < len(held) and (old := held[index]) is not None:
                held[index] = None
                self.bytes -= len(old) + CONTENT_OVERHEAD_BYTES

    @property
    def room(self) -> int:
        """Bytes, overhead included, for which nothing would have to go."""
        return self.bytes_max - self.bytes

    def _make_room(self) -> None:
        self.bytes_max = self._share_bytes_max
        held, hand, size = self._held, self._hand, self.bytes
        while size > self.bytes_max:
            if hand == len(held):
                hand = 0
            old = held[hand]
            if old is not None:
                held[hand] = None
                size -= len(old) + CONTENT_OVERHEAD_BYTES
            hand += 1
        self._hand, self.bytes = hand, size
