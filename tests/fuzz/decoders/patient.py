"""What a patient types, and what a requester receives of a custodian."""

from salus import seed_backup
from tests.fuzz.decoder import Decoder
from tests.salus.test_seed_backup import ON_PAPER


def shares(data: bytes) -> bytes:
    """One share per line, as somebody typed them."""
    return seed_backup.combine(data.decode(errors="replace").split("\n"))


DECODERS = (
    Decoder(
        "seed-shares",
        ("salus.seed_backup:_parsed",),
        shares,
        lambda: ["\n".join(ON_PAPER).encode(), "\n".join(ON_PAPER[::-1]).encode()],
        form="text",
        slow=True,
    ),
)
