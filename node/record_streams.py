"""Documents that nobody here reads, as they come: hashed, encrypted and written piece by piece.

Law of the file: never whole in memory; what breaks off on its way leaves nothing behind.
"""

import asyncio
from collections.abc import AsyncIterator, Callable

from node.record_drafts import Kept, Submission
from node.record_seals import RecordSeals
from node.record_subject import Subject
from salus.document import SALT_BYTES, ChunkedCommitment
from salus.errors import SalusError
from salus.permit import RecordClass
from storage.vault import Vault

STREAMS_AT_ONCE = 8  # of 4 MiB of memory each, open for as long as the sender takes
CLASSES = (RecordClass.DOCUMENTS,)  # of what nobody reads


class RecordStreams:
    """Into one vault."""

    def __init__(self, vault: Vault, seals: RecordSeals, random: Callable[[int], bytes]) -> None:
        self._vault, self._seals, self._random = vault, seals, random
        self._room = asyncio.Semaphore(STREAMS_AT_ONCE)

    async def keep(
        self, pieces: AsyncIterator[bytes], submission: Submission, subject: Subject | None
    ) -> Kept:
        """Staged and durable on return. `pieces`: of 1 MiB, the last may be shorter; `subject`: whose it
        is. Raises `SalusError` (BAD_REQUEST if nothing comes, KEEPER_MISSING), what `pieces` raises."""
        seed = self._random(SALT_BYTES)
        made = ChunkedCommitment(submission.media_type, seed)
        if subject is not None:
            self._seals.require()
        async with self._room:
            deposit = await asyncio.to_thread(self._vault.deposit)
            try:
                async for piece in pieces:
                    await asyncio.to_thread(_both, made.add, deposit.write, piece)
                if not made.size:
                    raise SalusError("the document is empty", code="BAD_REQUEST")
                version, seal = made.finish(), None
                if subject is not None:
                    seal = self._seals.sealer(subject.handle, CLASSES, version)
                entry = await asyncio.to_thread(deposit.finish, seal)
            except BaseException:
                deposit.abandon()
                raise
        return Kept(submission, entry, seed, version, CLASSES, seal is not None)


def _both(first: Callable[[bytes], None], second: Callable[[bytes], None], piece: bytes) -> None:
    first(piece)
    second(piece)
