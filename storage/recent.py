"""At the start: are the newest blocks whole, as far back as LevelDB may have lost them unseen?

LevelDB replays its write-ahead log when it opens, and drops without a word what does not match its
checksum; it has to, since a power cut may tear the log's end. But what a certified block needs was
synced before it counted (S3), so a gap below the newest block is never a torn end: it is damage.
"""

from storage import keys
from storage.blocks import BlockStore
from storage.errors import StoreDamaged
from storage.kv import STATE_WRITE_BUFFER_BYTES
from storage.state import StateStore

# A log is begun anew when a write buffer is full, so it holds that and one batch more, half of it at most.
# Older rows lie in files whose checksums are verified when they are read.
LOG_BYTES_MAX = STATE_WRITE_BUFFER_BYTES + STATE_WRITE_BUFFER_BYTES // 2
# What a block costs the state store's log at least: header, certificate, hash, replay record.
ROWS_BYTES_MIN = 700


def check_recent(blocks: BlockStore, state: StateStore, *, log_bytes: int = LOG_BYTES_MAX) -> None:
    """Raises `StoreDamaged` with the height of a gap. At most 0.5 s, however long the chain."""
    newest = state.height()
    lowest = max(0, newest - log_bytes // ROWS_BYTES_MIN)
    bodies_bytes = 0
    for height in range(newest, lowest, -1):
        # All rows of a block are one batch: there together, or gone together.
        if state.kv.get(keys.HEADER + keys.number(height)) is None:
            raise StoreDamaged(f"the state store lacks block {height}, and has block {newest}")
        if bodies_bytes < log_bytes:
            body = blocks.body(height, state.header(height).proposal_digest)
            if body is None:
                raise StoreDamaged(f"the block store lacks the body of block {height}")
            bodies_bytes += len(body)
