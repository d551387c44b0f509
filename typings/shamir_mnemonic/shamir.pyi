from collections.abc import Iterable, Sequence

class Share:
    identifier: int
    extendable: bool
    iteration_exponent: int
    group_index: int
    group_threshold: int
    group_count: int
    index: int
    member_threshold: int
    value: bytes
    @classmethod
    def from_mnemonic(cls, mnemonic: str) -> Share: ...
    def mnemonic(self) -> str: ...
    def common_parameters(self) -> tuple[int, ...]: ...
    def group_parameters(self) -> tuple[int, ...]: ...

class ShareGroup:
    def add(self, share: Share) -> None: ...

class EncryptedMasterSecret:
    ciphertext: bytes
    def __init__(
        self, identifier: int, extendable: bool, iteration_exponent: int, ciphertext: bytes
    ) -> None: ...
    def decrypt(self, passphrase: bytes) -> bytes: ...

def recover_ems(groups: dict[int, ShareGroup]) -> EncryptedMasterSecret: ...
def split_ems(
    group_threshold: int,
    groups: Sequence[tuple[int, int]],
    encrypted_master_secret: EncryptedMasterSecret,
) -> list[list[Share]]: ...
def decode_mnemonics(mnemonics: Iterable[str]) -> dict[int, ShareGroup]: ...
