"""A secret key at rest: a JSON file, opened by a password (argon2id, XChaCha20-Poly1305).

◆ {"version": 1, "kind", "address", "kdf": {"name": "argon2id", "passes", "memory_bytes"},
   "salt", "nonce", "ciphertext"}; bytes in lower-case hex. Everything but the ciphertext is
   authenticated with it, so no field can be changed unnoticed.

Law of the file: a keystore is never overwritten, is readable by its owner only, and is on disk
wholly or not at all.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_pwhash_alg,
    crypto_pwhash_ALG_ARGON2ID13,
)
from nacl.exceptions import CryptoError

from salus.codec import encode
from salus.errors import SalusError
from salus.files import write_new
from salus.hashing import domain
from salus.keys import SEED_BYTES, SigningKey, address, box_public_key

KEYSTORE_VERSION = 1
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 24, 32
SEAL_BYTES = 16  # what the authenticated encryption adds
FILE_BYTES_MAX = 16 * 1024

NODE, OPERATOR, BOX = "node", "operator", "box"

_CONTEXT = domain("keystore")


class KeystoreError(SalusError):
    """A keystore that cannot be opened or made; `hint` is the next step."""

    code = "BAD_KEYSTORE"

    def __init__(self, message: str, *, code: str, hint: str) -> None:
        super().__init__(message, code=code)
        self.hint = hint


class Kdf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cost of one guess. Bounded, so that a file from elsewhere cannot eat the memory."""

    name: str = "argon2id"
    # libsodium's «interactive»: 64 MiB and about 0.1 s, so that four nodes start fast on one
    # machine. A stronger setting is stored with the file that uses it.
    passes: Annotated[int, msgspec.Meta(ge=1, le=16)] = 2
    memory_bytes: Annotated[int, msgspec.Meta(ge=8192, le=2**30)] = 64 * 2**20


INTERACTIVE = Kdf()

# Where the password is random (144 bits) and lies beside the file, in a test network: there is
# nothing to guess, and each start and command would pay. The profile `prod` refuses it.
TESTNET = Kdf(passes=1, memory_bytes=8192)


class KeystoreFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON document."""

    version: int
    kind: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9-]{0,31}\Z")]
    address: str  # of a box key: its public key in hex, since it signs nothing
    kdf: Kdf
    salt: str
    nonce: str
    ciphertext: str


class Keystore:
    """A `Signer` over an unlocked keystore file; its `repr` shows the address only."""

    def __init__(self, path: str | Path, password: str) -> None:
        """Raises `KeystoreError`."""
        self.path = Path(path)
        self._key = Keystore.unlock(path, password)

    @property
    def public_key(self) -> bytes:
        return self._key.public_key

    @property
    def address(self) -> str:
        return address(self._key.public_key)

    def sign(self, payload: bytes) -> bytes:
        return self._key.sign(payload)

    def __repr__(self) -> str:
        return f"Keystore({self.address})"

    @staticmethod
    def unlock(path: str | Path, password: str) -> SigningKey:
        """The signing key in the file. Raises `KeystoreError`: WRONG_PASSWORD, BAD_KEYSTORE,
        NOT_FOUND or UNSUPPORTED_VERSION."""
        return SigningKey.from_seed(unlock_seed(path, password))


def unlock_seed(path: str | Path, password: str, *, anywhere: bool = False) -> bytes:
    """The 32 secret bytes: an Ed25519 seed, or the X25519 secret of a box key.

    `anywhere`: a backup on a medium that knows no owners; else others must not read the file."""
    file = read(path)
    if not anywhere and Path(path).stat().st_mode & 0o077:
        raise KeystoreError(
            f"{path} can be read by other users of this machine",
            code="BAD_KEYSTORE",
            hint=f"chmod 600 {path}; who has copied it can guess its password at leisure.",
        )
    kdf = _derive(password, bytes.fromhex(file.salt), file.kdf)
    try:
        seed: bytes = crypto_aead_xchacha20poly1305_ietf_decrypt(
            bytes.fromhex(file.ciphertext), _context(file), bytes.fromhex(file.nonce), kdf
        )
    except CryptoError:
        raise KeystoreError(
            f"wrong password for {path} (or the file was changed)",
            code="WRONG_PASSWORD",
            hint="Try again; a forgotten password can only be replaced by a backup of the key.",
        ) from None
    if len(seed) != SEED_BYTES or _public_name(file.kind, seed) != file.address:
        raise _bad(path, "the key inside is not that of its address")
    return seed


def read(path: str | Path) -> KeystoreFile:
    """The file without its secret: kind, address, cost of a guess. Raises `KeystoreError`."""
    try:
        with Path(path).open("rb") as stream:
            text = stream.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        raise KeystoreError(
            f"there is no keystore at {path}",
            code="NOT_FOUND",
            hint="Check the path; «salus keys list» shows the keys of this home.",
        ) from None
    if len(text) > FILE_BYTES_MAX:
        raise _bad(path, "too large")
    try:
        file = msgspec.json.decode(text, type=KeystoreFile)
        sizes = [len(bytes.fromhex(field)) for field in (file.salt, file.nonce, file.ciphertext)]
    except (ValueError, RecursionError):
        raise _bad(path, "not the JSON document of a keystore") from None
    if file.version != KEYSTORE_VERSION:
        raise KeystoreError(
            f"{path} has keystore version {file.version}",
            code="UNSUPPORTED_VERSION",
            hint="It was made by other software or a newer version: use that one.",
        )
    sealed_bytes = SEED_BYTES + SEAL_BYTES
    if file.kdf.name != "argon2id" or sizes != [SALT_BYTES, NONCE_BYTES, sealed_bytes]:
        raise _bad(path, "unknown key derivation, or a field of the wrong size")
    return file


def write(
    path: str | Path,
    seed: bytes,
    password: str,
    *,
    kind: str,
    kdf: Kdf = INTERACTIVE,
    random: Callable[[int], bytes] = os.urandom,
) -> KeystoreFile:
    """Make a new keystore, mode 0600. Raises `KeystoreError` (REFUSES_OVERWRITE) if it exists."""
    assert len(seed) == SEED_BYTES
    path = Path(path)
    salt, nonce = random(SALT_BYTES), random(NONCE_BYTES)
    file = KeystoreFile(
        KEYSTORE_VERSION, kind, _public_name(kind, seed), kdf, salt.hex(), nonce.hex(), ""
    )
    ciphertext = crypto_aead_xchacha20poly1305_ietf_encrypt(
        seed, _context(file), nonce, _derive(password, salt, kdf)
    )
    file = msgspec.structs.replace(file, ciphertext=ciphertext.hex())
    text = json.dumps(msgspec.to_builtins(file), indent=2) + "\n"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        write_new(path, text.encode(), random=random)
    except FileExistsError:
        raise KeystoreError(
            f"{path} exists",
            code="REFUSES_OVERWRITE",
            hint="A key is never overwritten: choose another name or move the old file away.",
        ) from None
    return file


def _derive(password: str, salt: bytes, kdf: Kdf) -> bytes:
    try:
        secret = password.encode()
    except UnicodeEncodeError:
        raise KeystoreError(
            "the password has letters that are no text in UTF-8",
            code="WRONG_PASSWORD",
            hint="Check the encoding of the password file or of the terminal.",
        ) from None
    key: bytes = crypto_pwhash_alg(
        KEY_BYTES,
        secret,
        salt,
        kdf.passes,
        kdf.memory_bytes,
        crypto_pwhash_ALG_ARGON2ID13,
    )
    return key


def _context(file: KeystoreFile) -> bytes:
    kdf = (file.kdf.name, file.kdf.passes, file.kdf.memory_bytes)
    return _CONTEXT + encode((file.version, file.kind, file.address, kdf, file.salt, file.nonce))


def _public_name(kind: str, seed: bytes) -> str:
    if kind == BOX:
        return box_public_key(seed).hex()
    return address(SigningKey.from_seed(seed).public_key)


def _bad(path: str | Path, why: str) -> KeystoreError:
    return KeystoreError(
        f"{path} is not a usable keystore: {why}",
        code="BAD_KEYSTORE",
        hint="Restore it from a backup; the file must not be edited.",
    )
