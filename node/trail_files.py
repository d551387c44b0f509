"""Makes state files of a relation: its trail, or its permits, each list under one certified header."""

from node.proofs import ProofMaker
from salus import permit_list, trail
from salus.trail import Start


class TrailFiles:
    """Of every organisation's relations: the chain is the same everywhere."""

    def __init__(self, proofs: ProofMaker) -> None:
        self.proofs = proofs

    async def file(self, org: str, handle: bytes, start: Start | None = None) -> bytes:
        """A state file (salus/state_file.py) of the trail, of a relation that is not there too;
        `start`: where the file before has ended. Raises `SalusError` (BUSY, NOT_CERTIFIED)."""
        return await self.proofs.state_file(lambda value: trail.keys_of(org, handle, value, start))

    async def permits(self, org: str, handle: bytes, start: bytes | None = None) -> bytes:
        """The same of the list of permits (salus/permit_list.py); `start`: a permit."""
        return await self.proofs.state_file(
            lambda value: permit_list.keys_of(org, handle, value, start)
        )
