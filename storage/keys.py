"""The one table of keys in the two LevelDB stores; grammar in docs/formats-disk.md.

◆ One letter says what a key is, heights are 8 bytes big-endian, so that order is height. Do not
reuse a letter: an old store would be read as something else.
"""

META = b"m"  # ‖ name → see the names below; in both stores
META_FORMAT = META + b"format"  # version of the store's format (storage/schema.py)
META_GENESIS = META + b"genesis"  # genesis hash
META_NODE = META + b"node/"  # ‖ name → small things that the node keeps (state store)

# store «blocks»
BODY = b"b"  # ‖ height ‖ digest → bytes of the proposal

# store «state»
META_HEIGHT = META + b"height"  # certified height, 8 bytes: written with every block
HEADER = b"h"  # ‖ height → header
HASH = b"i"  # ‖ header hash → height
CERTIFICATE = b"c"  # ‖ height → certificate
RECEIPTS = b"r"  # ‖ height → all receipts of the block
REPLAY = b"x"  # ‖ height → per transaction: first 8 bytes of its id ‖ expiry height
TRANSACTION = b"t"  # ‖ transaction id → height ‖ index (4 bytes) where it was first executed
EPOCH = b"e"  # ‖ epoch (8 bytes) → epoch record
VALUE = b"s"  # ‖ raw state key → salt ‖ value
WRITE_SET = b"w"  # ‖ height → seal ‖ changes of the block; of the last 2L heights (L24)
PLACES = b"l"  # ‖ number of the row → where buckets lie in the log (storage/place_rows.py)
BUCKET = b"k"  # ‖ bucket number (4 bytes) → its entries, if they do not lie there
PLACE = b"p"  # ‖ bucket number → where its entries lie, of an older version
CHANGED = b"d"  # ‖ bucket number → entries written since row k was, of an older version


def number(value: int) -> bytes:
    """8 bytes, so that keys sort as numbers do."""
    return value.to_bytes(8)


def body_key(height: int, digest: bytes) -> bytes:
    return BODY + number(height) + digest


def places_key(row: int) -> bytes:
    return PLACES + number(row)


def bucket_key(index: int) -> bytes:
    return BUCKET + index.to_bytes(4)


def place_key(index: int) -> bytes:
    return PLACE + index.to_bytes(4)


def changed_key(index: int) -> bytes:
    return CHANGED + index.to_bytes(4)
