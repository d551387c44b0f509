"""Between which heights a transaction may be ordered (S15), seen from the height that stands here."""

from salus.errors import BadMessage
from salus.parameters import Parameters
from salus.transaction import Transaction


def earliest(body: Transaction, parameters: Parameters) -> int:
    """The first height at which a block may hold it."""
    return max(body.first_height, body.expiry_height - parameters.expiry_window_blocks)


def check_heights(body: Transaction, parameters: Parameters, height: int) -> None:
    """For the sequence after `height`, with room for a node that is a little behind; raises
    `BadMessage`."""
    slack = parameters.watermark_window
    if body.expiry_height <= height:
        raise BadMessage(
            f"valid until height {body.expiry_height}, the chain is at {height}", code="EXPIRED"
        )
    if body.first_height > height + slack:
        raise BadMessage(
            f"valid from height {body.first_height}, the chain is at {height}",
            code="NOT_YET_VALID",
        )
    if body.expiry_height > height + parameters.expiry_window_blocks + slack:
        raise BadMessage(
            f"expiry height {body.expiry_height} is more than "
            f"{parameters.expiry_window_blocks} blocks ahead of {height}",
            code="EXPIRY_RANGE",
        )
