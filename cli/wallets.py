"""The wallets of a home: a patient's seed under a password, and beside it what the device remembers.

patients/NAME.json     the seed (salus.keystore)          patients/NAME.wallet   sealed under it
custody/NAME.json      the same in a hospital's node home: the hospital holds the key (rule I-6)
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CliError
from cli.home import NodeHome
from cli.keyfiles import password_for, read_password, write_secret
from cli.session import Session
from salus import files, keystore, wallet
from salus.errors import BadMessage
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

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For what is several changes and hears of the chain between them: no other command does it with
        this wallet meanwhile, and `contents` are those of now. Raises `CliError` (STORE_LOCKED)."""
        lock = os.open(self.path.with_suffix(".busy"), os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CliError(
                    "STORE_LOCKED", f"another command imports or revokes a Consent of «{self.name}»"
                ) from None
            self.contents = _contents(self.path, self.seed)
            yield
        finally:
            os.close(lock)

    def owner(self, chain_id: str, relation: KnownRelation, public_key: bytes) -> Signer | None:
        """The owner key of a relation with that public key, of whatever generation."""
        for generation in range(relation.generation, -1, -1):
            key = self.keys(chain_id, relation, generation).signing
            if key.public_key == public_key:
                return key
        return None

    def remember(self, relation: KnownRelation) -> None:
        self.update(lambda contents: contents.with_relation(relation))

    def take_over(self, relation: KnownRelation) -> KnownRelation:
        """Remember a relation that began elsewhere and gets a key of this seed; as it is known then.
        Raises `CliError` (DUPLICATE_HANDLE)."""
        known = self.contents.at(relation.org)
        if known is not None and known.handle != relation.handle:
            raise CliError(
                "DUPLICATE_HANDLE",
                f"«{self.name}» has another relation at {relation.org}",
                next_step="take another wallet for this one",
            )
        self.remember(relation)
        taken = self.contents.at(relation.org)
        assert taken is not None, "it was put there"
        return taken

    def next_generation(self, relation: KnownRelation) -> None:
        """Count the next owner key, before it is sent, for the answer may be lost: a key that stands
        on the chain and that the wallet does not look for would lock its owner out."""
        newer = KnownRelation(
            relation.org, relation.handle, relation.custodial, relation.generation + 1
        )
        self.remember(newer)

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
    found = _files(session, name)
    if len(found) > 1:
        raise _two(name, found)
    if found:
        return _open(found[0])
    raise CliError(
        "FILE_NOT_FOUND",
        f"there is no patient «{name}» in this home",
        next_step=f"salus patient register {name} --at ORG",
    )


def make_or_open(session: Session, name: str, custodian: NodeHome | None) -> OpenWallet:
    """The patient's wallet; made if there is none. `custodian`: the hospital that holds the key."""
    folder = custodian.path / "custody" if custodian else session.home.path / "patients"
    path = folder / f"{_checked(name)}.json"
    others = [one for one in _files(session, name) if one != path]
    if others:
        # Two persons, or one with two seeds: a command could not tell which is meant.
        raise _two(name, [*others, path])
    if not path.exists():
        _make(session, path, os.urandom(SEED_BYTES))
    return _open(path)


def restore(session: Session, name: str, seed: bytes) -> OpenWallet:
    """A patient's wallet made anew from its seed. Raises `CliError` (REFUSES_OVERWRITE)."""
    path = session.home.path / "patients" / f"{_checked(name)}.json"
    if _files(session, name):
        raise CliError("REFUSES_OVERWRITE", f"there is a patient «{name}» in this home")
    _make(session, path, seed)
    return _open(path)


def _make(session: Session, path: Path, seed: bytes) -> None:
    folder = path.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = folder / "password"
    if session.home.is_testnet and not beside.exists():
        write_secret(beside, os.urandom(16).hex() + "\n")  # as testnet keys have one
    keystore.write(path, seed, _password(folder, confirm=True), kind=PATIENT)


def has_wallet(session: Session, name: str) -> bool:
    return _NAME.fullmatch(name) is not None and bool(_files(session, name))


def _files(session: Session, name: str) -> list[Path]:
    file = f"{_checked(name)}.json"
    return [folder / file for folder in _folders(session) if (folder / file).exists()]


def _two(name: str, paths: list[Path]) -> CliError:
    folders = " and ".join(str(path.parent) for path in paths)
    return CliError("NAME_TAKEN", f"«{name}» is, or would be, a patient in {folders}")


def _open(path: Path) -> OpenWallet:
    seed = keystore.unlock_seed(path, _password(path.parent))
    sealed = path.with_suffix(".wallet")
    return OpenWallet(path.stem, sealed, seed, _contents(sealed, seed))


def _contents(sealed: Path, seed: bytes) -> Wallet:
    if not sealed.exists():
        return Wallet()
    with sealed.open("rb") as stream:
        raw = stream.read(wallet.WALLET_BYTES_MAX + 1)
    try:
        return wallet.unseal(raw, seed)
    except BadMessage as error:
        # All but which permits an imported Consent became comes back from the chain and the custodians.
        again = f"move it away and keep it, then: salus patient rebuild {sealed.stem}"
        newer = int(error.facts.get("version", 0)) > wallet.WALLET_VERSION
        raise CliError(
            error.code,
            f"{sealed}: {error.message}",
            next_step="use the Salus that wrote it (salus version)" if newer else again,
        ) from None


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
