"""The wallets of a home: a patient's seed under a password, and beside it what the device remembers.

patients/NAME.json     the seed (salus.keystore)          patients/NAME.wallet   sealed under it
custody/NAME.json      the same in a hospital's node home: the hospital holds the key (rule I-6)
"""

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import password_for, read_password, write_secret
from cli.session import Session
from salus import files, keystore, wallet
from salus.keys import SEED_BYTES, Signer
from salus.patient_keys import KeyPair, Relation, handle, owner_keys
from salus.wallet import KnownRelation, Wallet

PATIENT = "patient"  # the kind of the keystore
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


@dataclass
class OpenWallet:
    """A wallet in memory; `update` changes it there and on disk."""

    name: str
    path: Path  # of the sealed file
    seed: bytes
    contents: Wallet

    def update(self, change: Callable[[Wallet], Wallet]) -> None:
        """Change what is on disk now, alone: another command may have added an opening meanwhile."""
        lock = os.open(self.path.with_suffix(".lock"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.contents = change(_contents(self.path, self.seed))
            nonce = os.urandom(wallet.NONCE_BYTES)
            files.replace(self.path, wallet.seal(self.contents, self.seed, nonce))
        finally:
            os.close(lock)

    def owner(self, chain_id: str, relation: KnownRelation, public_key: bytes) -> Signer | None:
        """The owner key of a relation with that public key, of whatever generation."""
        for generation in range(relation.generation, -1, -1):
            key = self.keys(chain_id, relation, generation).signing
            if key.public_key == public_key:
                return key
        return None

    def owns(self, chain_id: str, relation: KnownRelation, public_key: bytes) -> bool:
        return self.owner(chain_id, relation, public_key) is not None

    def keys(
        self, chain_id: str, relation: KnownRelation, generation: int | None = None
    ) -> KeyPair:
        """The owner keys of a relation, of the generation in force or of another."""
        number = relation.generation if generation is None else generation
        return owner_keys(self.seed, Relation(chain_id, relation.org), number)

    def new_relation(self, chain_id: str, org: str, *, custodial: bool) -> KnownRelation:
        """As the seed gives it; not registered yet."""
        return KnownRelation(org, handle(self.seed, Relation(chain_id, org)), custodial, 0)

    def relation(self, org: str | None) -> KnownRelation:
        """At that organisation; without one, the only one."""
        known = self.contents.relations
        if org is None and len(known) == 1:
            return known[0]
        if org is None:
            names = ", ".join(sorted(one.org for one in known)) or "none"
            raise CliError("USAGE", f"at which organisation? known: {names}", next_step="--at ORG")
        found = self.contents.at(org)
        if found is None:
            raise CliError(
                "UNKNOWN_RELATION",
                f"«{self.name}» is not registered at {org}",
                next_step=f"salus patient register {self.name} --at {org}",
            )
        return found


def open_wallet(session: Session, name: str) -> OpenWallet:
    """The wallet of that name, wherever in this home it lies."""
    for folder in _folders(session):
        path = folder / f"{_checked(name)}.json"
        if path.exists():
            return _open(path)
    raise CliError(
        "FILE_NOT_FOUND",
        f"there is no patient «{name}» in this home",
        next_step=f"salus patient register {name} --at ORG",
    )


def make_or_open(session: Session, name: str, custodian: NodeHome | None) -> OpenWallet:
    """The patient's wallet; made if there is none. `custodian`: the hospital that holds the key."""
    folder = custodian.path / "custody" if custodian else session.home.path / "patients"
    path = folder / f"{_checked(name)}.json"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = folder / "password"
        if session.home.is_testnet and not beside.exists():
            write_secret(beside, os.urandom(16).hex() + "\n")  # as testnet keys have one
        keystore.write(path, os.urandom(SEED_BYTES), _password(folder, confirm=True), kind=PATIENT)
    return _open(path)


def _open(path: Path) -> OpenWallet:
    seed = keystore.unlock_seed(path, _password(path.parent))
    sealed = path.with_suffix(".wallet")
    return OpenWallet(path.stem, sealed, seed, _contents(sealed, seed))


def _contents(sealed: Path, seed: bytes) -> Wallet:
    if not sealed.exists():
        return Wallet()
    with sealed.open("rb") as stream:
        return wallet.unseal(stream.read(wallet.WALLET_BYTES_MAX + 1), seed)


def _password(folder: Path, *, confirm: bool = False) -> str:
    beside = folder / "password"
    if beside.exists() and not os.environ.get("SALUS_PASSWORD_FILE"):
        return read_password(beside)
    return password_for(NodeHome(folder), confirm=confirm)


def _folders(session: Session) -> list[Path]:
    found = [session.home.path / "patients"]
    if session.home.is_testnet:
        found += [node.node_home.path / "custody" for node in session.home.testnet.nodes]
    else:
        found.append(session.home.path / "custody")
    return found


def _checked(name: str) -> str:
    if _NAME.fullmatch(name) is None:
        raise CliError("USAGE", "a patient's name here: a-z, 0-9, - and _, at most 32 letters")
    return name
