"""The key of an emergency summary in shares, k of n, by SLIP-39 (rule E-2 of decision 0014).

SLIP-39 tells a wrong set of shares from a right one by a digest of its own. Devices of patients and
clinicians use this; a node keeps one share and never puts any together. Not pure: polynomials are
drawn here.
"""

import os
from collections.abc import Iterable

from shamir_mnemonic import EncryptedMasterSecret, MnemonicError, recover_ems
from shamir_mnemonic.shamir import decode_mnemonics, split_ems

from salus.emergency_share import KEY_BYTES
from salus.errors import VerificationError

_IDENTIFIER_BITS = 15  # of SLIP-39: tells shares of different secrets apart


def split(key: bytes, threshold: int, holders: int) -> tuple[bytes, ...]:
    """The words of each share; any `threshold` of them give the key."""
    assert len(key) == KEY_BYTES
    identifier = int.from_bytes(os.urandom(2)) & ((1 << _IDENTIFIER_BITS) - 1)
    # The key is random: no passphrase, and no work to guess one, is to be added.
    secret = EncryptedMasterSecret(identifier, True, 0, key)
    ((*shares,),) = split_ems(1, [(threshold, holders)], secret)
    return tuple(share.mnemonic().encode("ascii") for share in shares)


def join(shares: Iterable[bytes]) -> bytes:
    """The key. Raises `VerificationError`: too few, of different keys, or one that was changed."""
    try:
        found = recover_ems(decode_mnemonics([share.decode("ascii") for share in shares]))
    except (MnemonicError, UnicodeDecodeError, ValueError):
        raise VerificationError("these shares do not make a key") from None
    if len(found.ciphertext) != KEY_BYTES:
        raise VerificationError("these shares make no key of a summary")
    return found.ciphertext
