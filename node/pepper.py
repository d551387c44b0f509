"""The pepper of identity tags in a node's home; opened with the box key, when it is first needed.

Law of the file: it is read again until there is one, so a member that was given its copy needs no new
start; a pepper that genesis does not name is never used.
"""

from pathlib import Path

from salus import pepper
from salus.errors import SalusError, VerificationError
from salus.genesis import NO_PEPPER, Genesis
from salus.identity_tag import PepperScheme
from salus.pepper import PEPPER_FILE_BYTES_MAX

PEPPER_FILE = "pepper.json"


class PepperKeep:
    """Of one member."""

    def __init__(self, home: Path, genesis: Genesis, org: str, box_seed: bytes) -> None:
        self._path, self._genesis = home / PEPPER_FILE, genesis
        self._org, self._box_seed = org, box_seed
        self._scheme: PepperScheme | None = None

    def scheme(self) -> PepperScheme:
        """Reads the disk until it has one: call it in a thread. Raises `SalusError` (NO_PEPPER,
        BAD_PEPPER_FILE, WRONG_PEPPER)."""
        if self._scheme is None:
            self._scheme = PepperScheme(self._read())
        return self._scheme

    def _read(self) -> bytes:
        if self._genesis.pepper_commitment == NO_PEPPER:
            raise SalusError("this network was founded without a pepper", code="NO_PEPPER")
        try:
            with self._path.open("rb") as stream:
                data = stream.read(PEPPER_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            raise SalusError(
                f"{PEPPER_FILE} is missing in the node's home", code="NO_PEPPER"
            ) from None
        except OSError as error:
            raise SalusError(f"{PEPPER_FILE}: {error.strerror}", code="NO_PEPPER") from None
        file = pepper.read(data)
        try:
            pepper.require(file, self._genesis.chain_id, self._genesis.pepper_commitment, self._org)
            return pepper.opened(file, self._org, self._box_seed)
        except VerificationError as error:
            raise SalusError(f"{PEPPER_FILE}: {error.message}", code=error.code) from None
