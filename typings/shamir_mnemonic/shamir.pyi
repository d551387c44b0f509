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
    def common_parameters(self) -> tuple[int, ...]: ...
    def group_parameters(self) -> tuple[int, ...]: ...

class ShareGroup:
    def add(self, share: Share) -> None: ...

class EncryptedMasterSecret:
    ciphertext: bytes
    def decrypt(self, passphrase: bytes) -> bytes: ...

def recover_ems(groups: dict[int, ShareGroup]) -> EncryptedMasterSecret: ...
