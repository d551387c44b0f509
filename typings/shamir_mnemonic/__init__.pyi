"""The part of shamir-mnemonic that `salus/seed_backup.py` and `salus/emergency_share.py` use; the package ships no marker."""

from collections.abc import Sequence

from .shamir import EncryptedMasterSecret as EncryptedMasterSecret
from .shamir import Share as Share
from .shamir import recover_ems as recover_ems

class MnemonicError(Exception): ...

def generate_mnemonics(
    group_threshold: int,
    groups: Sequence[tuple[int, int]],
    master_secret: bytes,
    passphrase: bytes = b"",
    extendable: bool = True,
    iteration_exponent: int = 1,
) -> list[list[str]]: ...
