"""Who this node is to others: its organisation, its keys and its chain."""

from dataclasses import dataclass

from salus.keys import Signer


@dataclass(frozen=True, slots=True)
class Me:
    """`box_secret`: opens what is sealed to the organisation."""

    org: str
    key: Signer
    box_secret: bytes
    chain_id: str
    genesis_hash: bytes
