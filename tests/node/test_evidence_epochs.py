"""Evidence names its culprit by a seat, and seats are those of one epoch (S13, L23)."""

from collections.abc import Callable

import msgspec
import pytest

from consensus.messages import Prepare, encode_message, payload
from node.errors import BadFrame
from node.evidence import EvidenceDesk
from node.net.frames import EvidenceFrame
from salus.epoch import EpochRecord
from salus.keys import verify
from tests import factories
from tests.contracts.lab import Lab
from tests.contracts.test_governance import boundary, decide, lab


def pair(chain: Lab, name: str, *, epoch: int, seat: int) -> EvidenceFrame:
    """Two PREPAREs of one place that contradict each other, by the node key of that name."""
    domain, signer = chain.genesis.vote_domain(), factories.key(name)

    def vote(digest: bytes) -> bytes:
        unsigned = Prepare(epoch, 0, 20, digest, seat, bytes(64))
        signature = signer.sign(payload(domain, unsigned))
        return encode_message(msgspec.structs.replace(unsigned, signature=signature))

    return EvidenceFrame(vote(bytes(32)), vote(bytes([1]) * 32))


def desk_of(chain: Lab, epoch: Callable[[], EpochRecord]) -> EvidenceDesk:
    return EvidenceDesk(chain.genesis.vote_domain(), verify, epoch)


def test_a_seat_is_judged_by_the_set_of_its_own_epoch() -> None:
    chain = lab()
    desk = desk_of(chain, lambda: chain.executor.epoch)
    first, _ = desk.examine(pair(chain, "node hosp-a", epoch=0, seat=0))
    assert desk.passed_on(first), "once"
    assert desk.examine(pair(chain, "node hosp-a", epoch=0, seat=0)) == ()
    decide(chain, "remove_validator", member="hosp-a")
    boundary(chain)

    assert desk.examine(pair(chain, "node hosp-a", epoch=0, seat=0)) == (), "void by now"
    with pytest.raises(BadFrame, match="false signature"):
        desk.examine(pair(chain, "node hosp-a", epoch=1, seat=0))  # the seat is hosp-b's
    with pytest.raises(BadFrame, match="false signature"):
        desk.examine(pair(chain, "node hosp-d", epoch=1, seat=3))  # there are three seats
    found = desk.examine(pair(chain, "node hosp-b", epoch=1, seat=0))
    assert len(found) == 2, "what was known of the seat's last owner hides nothing"
