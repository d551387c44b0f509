"""The vault's epoch keys, and how every other key of the vault is wrapped under them.

◆ epochs/NNNNNNNN = magic ‖ version u32 ‖ epoch u64 ‖ sealed(lock, epoch key)
  wrap            = magic ‖ version u32 ‖ epoch u64 ‖ sealed(epoch key, key)

A key is 32 bytes, or the 80 of one that is sealed to the keeper (salus/sealed_key.py).
What a wrapped key opens is part of the seal, so no key file serves for another document. In
rest there is exactly one epoch key; a second one exists only while survivors are re-wrapped.
Backups of the vault leave `epochs/` out: else an erased document could be had back from one.
"""

import re
import struct
from collections.abc import Callable

from storage.disk import Disk, sweep_temps, write_atomic
from storage.errors import VaultDamaged
from storage.schema import VERSIONS, check_version
from storage.sealing import KEY_BYTES, NONCE_BYTES, TAG_BYTES, seal, unseal

Random = Callable[[int], bytes]  # so many random bytes, fit for keys

EPOCHS = "epochs"

_EPOCH_MAGIC = b"SALUSEPO"  # Do not change.
_WRAP_MAGIC = b"SALUSKEY"
_NAME = re.compile(r"[0-9]{8,20}")
_PREFIX = struct.Struct(">8sIQ")

WRAP_BYTES = _PREFIX.size + NONCE_BYTES + KEY_BYTES + TAG_BYTES  # of a key of 32 bytes


class EpochKeys:
    def __init__(self, disk: Disk, directory: str, lock: bytes, random: Random) -> None:
        self._disk, self._directory, self._lock, self._random = disk, directory, lock, random
        self._keys: dict[int, bytes] = {}
        self._older: list[int] = []  # epochs whose file an older version of the software wrote

    @classmethod
    def open(cls, disk: Disk, directory: str, lock: bytes, random: Random) -> "EpochKeys":
        """The epoch keys in `directory`/epochs; none yet in a new vault."""
        keys = cls(disk, f"{directory}/{EPOCHS}", lock, random)
        disk.make_directory(keys._directory)
        sweep_temps(disk, keys._directory)
        for name in disk.names(keys._directory):
            if _NAME.fullmatch(name):  # file managers and backups leave names of their own
                keys._load(name)
        keys._stamp()
        return keys

    @property
    def current(self) -> int:
        """The epoch under which new keys are wrapped; 0 in a new vault."""
        return max(self._keys, default=0)

    def advance(self, epoch: int) -> None:
        """Make sure that `epoch`, the next one or the present one, has its key on disk."""
        if epoch in self._keys:
            return
        assert epoch == self.current + 1
        key = self._random(KEY_BYTES)
        self._write(epoch, key)
        self._keys[epoch] = key

    def destroy_older(self) -> None:
        """Forget every epoch key but the present one, on disk too."""
        for epoch in [epoch for epoch in self._keys if epoch < self.current]:
            self._disk.remove(f"{self._directory}/{_name(epoch)}")
            del self._keys[epoch]
        self._disk.sync_directory(self._directory)

    def wrap(self, key: bytes, kind: str, owner: bytes) -> bytes:
        """Bytes that give `key` back to whoever names the same kind and owner."""
        prefix = _prefix(_WRAP_MAGIC, self.current)
        context = _context(prefix, kind, owner)
        return prefix + seal(self._keys[self.current], self._random(NONCE_BYTES), key, context)

    def unwrap(self, wrapped: bytes, kind: str, owner: bytes) -> bytes:
        """`wrapped`: all of it and no more. Raises `VaultDamaged`."""
        what = f"the key in {kind}/{owner.hex()}"
        epoch = wrap_epoch(wrapped, what)
        key = self._keys.get(epoch)
        if key is None:
            raise VaultDamaged(
                f"{what} is wrapped under vault epoch {epoch}, which has no key here"
            )
        prefix, sealed = wrapped[: _PREFIX.size], wrapped[_PREFIX.size :]
        return unseal(key, sealed, _context(prefix, kind, owner), what)

    def _write(self, epoch: int, key: bytes) -> None:
        prefix = _prefix(_EPOCH_MAGIC, epoch)
        sealed = seal(self._lock, self._random(NONCE_BYTES), key, prefix)
        write_atomic(self._disk, self._directory, _name(epoch), prefix + sealed)

    def _stamp(self) -> None:
        """Older software, which reads epochs/ first of all, must stop there: it would take sealed
        keys for damaged ones, not re-wrap them, and so lose them in its next erasure."""
        for epoch in self._older:
            self._write(epoch, self._keys[epoch])
        self._older.clear()

    def _load(self, name: str) -> None:
        what = f"{EPOCHS}/{name}"
        data = self._disk.read(f"{self._directory}/{name}") or b""
        epoch = _parse_prefix(data, _EPOCH_MAGIC, what)
        if data[: _PREFIX.size] != _prefix(_EPOCH_MAGIC, epoch):
            self._older.append(epoch)
        if name != _name(epoch):
            raise VaultDamaged(f"{what} was renamed: it is vault epoch {epoch}")
        try:
            self._keys[epoch] = unseal(self._lock, data[_PREFIX.size :], data[: _PREFIX.size], what)
        except VaultDamaged:
            raise VaultDamaged(
                f"{what} does not open: it is damaged, or this is not the key of this vault",
                hint="Use the keystore with which this vault was made, or restore the file.",
            ) from None


def wrap_epoch(wrapped: bytes, what: str) -> int:
    """The vault epoch that a wrapped key needs; raises `VaultDamaged`."""
    if len(wrapped) < WRAP_BYTES:
        raise VaultDamaged(f"{what} is too short")
    return _parse_prefix(wrapped, _WRAP_MAGIC, what)


def _prefix(magic: bytes, epoch: int) -> bytes:
    return _PREFIX.pack(magic, VERSIONS["vault"], epoch)


def _parse_prefix(data: bytes, magic: bytes, what: str) -> int:
    if len(data) < _PREFIX.size:
        raise VaultDamaged(f"{what} is too short")
    found, version, epoch = _PREFIX.unpack_from(data)
    if found != magic:
        raise VaultDamaged(f"{what} does not begin as its kind of file")
    check_version("vault", version)
    return int(epoch)


def _name(epoch: int) -> str:
    return f"{epoch:08d}"


def _context(prefix: bytes, kind: str, owner: bytes) -> bytes:
    return prefix + kind.encode("ascii") + b"\0" + owner
