"""Erasing at the custodian: on the certified state's word, whole, once, and for ever
(rules X-2, X-6 … X-8 of decision 0015)."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from threading import Event

import pytest

from contracts.erasure import ReceiptArgs, RequestArgs, WaitingArgs
from node.api.view import Submitted
from node.erasure_openings import WAITING_PER_HANDLE_MAX
from node.erasures import REFUSED_PAUSE_S, Erasures
from node.keeper_backup import backup, restore
from node.keeper_process import KEY
from node.records import RecordService
from salus import keystore
from salus.codec import decode
from salus.erasure import (
    ErasureCase,
    ErasureHolder,
    Reply,
    Stage,
    case_key,
    holder_key,
    records_commitment,
)
from salus.errors import SalusError, VerificationError
from salus.forms import TransactionState
from salus.genesis import to_json
from salus.parameters import Parameters
from salus.record import record_leaf, tag_hash
from salus.sealed_key import SEALED_KEY_BYTES, KeyOwner, open_key
from salus.statemap import SALT_BYTES
from salus.transaction import parse
from storage.errors import DocumentMissing, StorageError, StoreUnavailable, VaultDamaged
from storage.vault import Vault
from tests import factories
from tests.contracts.lab import Lab, h
from tests.contracts.patients import Patient, cosign
from tests.ledger import Ledger
from tests.node.test_record_seals import content, found, opened
from tests.node.test_records import KEEPER, TEXT, TYPE, commit, make_service

SALT = h("salt")
ORG = "hosp-a"


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(factories.genesis(parameters=Parameters(state_bucket_bits=4)))


class Custodian:
    """hosp-a's records and erasures over a vault on disk; what its node sends goes into a block."""

    def __init__(self, ledger: Ledger, directory: Path, *, automatic: bool = True) -> None:
        self.ledger, self.directory = ledger, directory
        self.records: RecordService = make_service(ledger, directory)
        self.records.now_ms = lambda: self.now_ms
        self.now_ms = ledger.state.head.time_ms
        self.later_ms = 0  # of block time
        self.erasures = Erasures(
            self.records,
            factories.key(f"node {ORG}"),
            ledger.genesis.chain_id,
            ledger.genesis_hash,
            self.submit,
            automatic=automatic,
        )
        self.lost = False  # what the node sends never arrives
        self.sent: list[str] = []  # codes of receipts

    async def submit(self, transactions: Sequence[bytes]) -> Sequence[Submitted]:
        (raw,) = transactions
        if self.lost:
            return [Submitted(TransactionState.PENDING)]
        parameters = self.ledger.genesis.parameters
        tx = parse(raw, self.ledger.genesis.chain_id, self.ledger.genesis_hash, parameters)
        raw = factories.proposal(self.ledger.height + 1, tx, later_ms=self.later_ms)
        (receipt,) = self.ledger.propose(raw)
        self.sent.append(receipt.code)
        state = TransactionState.COMMITTED if receipt.ok else TransactionState.REJECTED
        return [Submitted(state, tx.id, self.ledger.height)]

    async def add(self, patient: Patient, content: bytes = TEXT) -> str:
        staged = await self.records.stage(content, TYPE, handle=patient.handle)
        commit(self.ledger, staged)
        return staged.record_id

    async def want(self, patient: Patient, *record_ids: str, case: str = "case") -> bytes:
        """The commitment for the request."""
        ids = [bytes.fromhex(one) for one in record_ids]
        leaves = await self.erasures.want(h(case), patient.handle, ids, SALT, "moved away", h("r"))
        return records_commitment(SALT, leaves)

    async def step(self, now_s: float = 0.0) -> None:
        await self.erasures.step(now_s)

    def reply(self, case: str = "case") -> Reply | None:
        stored = self.ledger.state.get(holder_key(ORG, h(case), ORG))
        assert stored is not None
        return decode(stored[SALT_BYTES:], ErasureHolder).reply


def entered(ledger: Ledger, name: str = "ada") -> Patient:
    patient = Patient(Lab(ledger.genesis), name)
    (receipt,) = ledger.block(factories.transaction(ledger.genesis, patient.register()))
    assert receipt.code == "OK"
    return patient


def ask(
    ledger: Ledger,
    patient: Patient,
    records: bytes,
    case: str = "case",
    by: str | None = "operator hosp-b",
) -> None:
    """`by`: who co-signs, and so it begins at once; None: it waits (X-9)."""
    args = RequestArgs(ORG, patient.handle, h(case), records, h("reason"), None, None)
    operation = patient.op("erasure", "request", cosign(args, "erasure", "request", by))
    (receipt,) = ledger.block(
        factories.transaction(ledger.genesis, operation, signer=patient.owner)
    )
    assert receipt.code == "OK"


def code_of(error: pytest.ExceptionInfo[SalusError]) -> str:
    return error.value.code


async def test_what_is_certified_is_erased_and_the_chain_hears_of_it(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone, stays = await hospital.add(ada), await hospital.add(ada, b"stays\n")
    records = await hospital.want(ada, gone)
    await hospital.step()
    assert content(hospital.records, gone) == TEXT  # on nobody's word alone
    ask(ledger, ada, records)
    await hospital.step()
    assert hospital.sent == ["OK"]
    assert hospital.reply() is Reply.ERASED
    for look in (hospital.records.show, hospital.records.operations):
        with pytest.raises(SalusError) as shown:
            look(gone)
        assert code_of(shown) == "ERASED"
    with pytest.raises(SalusError) as read:
        hospital.records.sealed(gone)
    assert code_of(read) == "ERASED"
    with pytest.raises(SalusError) as amended:
        await hospital.records.stage(TEXT, TYPE, gone)
    assert code_of(amended) == "ERASED"
    listed, _ = hospital.records.list(None, 9)
    assert [form.record_id for form in listed] == [stays]
    assert content(hospital.records, stays) == b"stays\n"
    # Once is enough; and after a restart it is still known.
    await hospital.step()
    assert hospital.sent == ["OK"]
    again = Custodian(ledger, tmp_path)
    with pytest.raises(SalusError) as after:
        again.records.show(gone)
    assert code_of(after) == "ERASED"
    await again.step()
    assert again.sent == []


async def test_all_versions_go_one_that_came_after_the_request_was_opened_too(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone = await hospital.add(ada)
    commit(ledger, await hospital.records.stage(b"second\n", TYPE, gone))
    records = await hospital.want(ada, gone)
    commit(ledger, await hospital.records.stage(b"third\n", TYPE, gone))
    ask(ledger, ada, records)
    assert len(list(hospital.records.vault.documents())) == 3
    await hospital.step()
    assert list(hospital.records.vault.documents()) == []


async def test_files_from_before_and_the_keys_of_today_open_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    """X-8, health.md §4.11: every old file, a backup by the rules, and all keys from after."""
    ada, home, aside = entered(ledger), tmp_path / "home", tmp_path / "aside"
    hospital = Custodian(ledger, home)
    gone = await hospital.add(ada)
    await hospital.add(ada, b"stays\n")
    file = hospital.records.files.find(gone)
    assert file is not None
    version, document = file.versions[0], file.versions[0].document
    assert file.subject is not None
    owner = KeyOwner(
        ledger.genesis.chain_id,
        ORG,
        ada.handle,
        file.subject.classes,
        version.commitment,
        document,
    )
    sealed = hospital.records.vault.sealed_key(document)
    assert sealed is not None
    assert open_key(owner, sealed, KEEPER)  # before; so what fails below has been seen to work
    # operating.md: the vault's backup leaves epochs/ out; the keeper is copied too.
    shutil.copytree(home, aside, ignore=shutil.ignore_patterns("epochs"))
    keystore.write(tmp_path / "was" / KEY, KEEPER, "a password", kind=keystore.BOX)
    (tmp_path / "was" / "genesis.json").write_text(to_json(ledger.genesis))
    (tmp_path / "was" / "member").write_text(f"{ORG}\n")
    backup(tmp_path / "was", tmp_path / "safe", "a password", "a copy's")
    ask(ledger, ada, await hospital.want(ada, gone))
    await hospital.step()
    restore(tmp_path / "safe", tmp_path / "keeper", "a copy's", "another")
    await hospital.step()  # the request's own opening goes, too
    assert hospital.reply() is Reply.ERASED
    # Everything that was, over everything that is: only the newest epoch key is left.
    shutil.copytree(aside, home, dirs_exist_ok=True)
    assert [one.name for one in (home / "vault" / "epochs").iterdir()] == ["00000003"]
    vault = Vault.open(str(home / "vault"), factories.seed("vault lock"))
    assert document in vault
    with pytest.raises(VaultDamaged, match="vault epoch 1"):
        b"".join(vault.get(document))
    with pytest.raises(VaultDamaged, match="vault epoch 1"):
        vault.record(bytes.fromhex(gone))  # its salts: no guess of the content can be tried
    # Nor by hand: no 32 bytes in what is left today open the wrap of its key or of its record.
    assert try_everything(home / "vault", aside / "vault") == set()
    # Nor does the keeper's key, nor one from a copy of before: what is sealed to it lay under that wrap.
    restored = keystore.unlock_seed(tmp_path / "keeper" / KEY, "another")
    assert restored == KEEPER
    old = (aside / "vault" / "keys" / f"{document.hex()}.key").read_bytes()
    assert len(old) > SEALED_KEY_BYTES
    for at in range(len(old) - SEALED_KEY_BYTES + 1):
        with pytest.raises(VerificationError):
            open_key(owner, old[at : at + SEALED_KEY_BYTES], restored)


def try_everything(today: Path, before: Path) -> set[str]:
    """Names of old key and record files that a key of today opens."""
    keys = Vault.open(str(today), factories.seed("vault lock"))._keys
    opened = set()
    for kind in ("keys", "records"):
        for path in (before / kind).iterdir():
            owner = bytes.fromhex(path.name.partition(".")[0])
            data = path.read_bytes()
            for epoch, key in tuple(keys._keys.items()):
                for claimed in range(1, epoch + 1):  # as if it were of that epoch
                    keys._keys = {claimed: key}
                    for end in (92, len(data)):  # a record's wrap; a key file is all wrap
                        try:
                            keys.unwrap(data[:end], kind, owner)
                            opened.add(path.name)
                        except StorageError:
                            pass
                keys._keys = {epoch: key}
    return opened


async def test_a_backup_that_broke_the_rule_is_what_the_test_above_would_catch(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The attack works where it must: with the old epoch key kept aside, the old files open."""
    ada, home, aside = entered(ledger), tmp_path / "home", tmp_path / "aside"
    hospital = Custodian(ledger, home)
    gone = await hospital.add(ada)
    sealed = found(hospital.records, gone)
    shutil.copytree(home, aside)
    ask(ledger, ada, await hospital.want(ada, gone))
    await hospital.step()
    with pytest.raises(DocumentMissing):
        hospital.records.vault.get(sealed.private.document)
    vault = Vault.open(str(aside / "vault"), factories.seed("vault lock"))
    assert vault.sealed_key(sealed.private.document) == sealed.key
    assert opened(hospital.records, sealed, vault=vault) == TEXT


async def test_a_request_that_names_something_else_erases_nothing(
    ledger: Ledger, tmp_path: Path
) -> None:
    """X-2: the certified commitment decides, not what the custodian was told beside it."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone = await hospital.add(ada)
    await hospital.want(ada, gone)
    ask(ledger, ada, h("something else"))
    await hospital.step()
    assert content(hospital.records, gone) == TEXT
    assert hospital.reply() is None
    assert hospital.erasures.openings.cases() == ()  # it can never fit: what it says of her goes
    # And a case that nobody has opened here is not answered.
    ask(ledger, ada, h("other"), case="unopened")
    await hospital.step()
    assert hospital.reply("unopened") is None
    assert hospital.sent == []


async def test_another_patients_record_is_not_even_known_here(
    ledger: Ledger, tmp_path: Path
) -> None:
    hospital = Custodian(ledger, tmp_path)
    ada, bea = entered(ledger, "ada"), entered(ledger, "bea")
    hers = await hospital.add(bea)
    nobodys = await hospital.records.stage(TEXT, TYPE)
    for record_id in (hers, nobodys.record_id, "07" * 16):
        with pytest.raises(SalusError) as told:
            await hospital.want(ada, record_id)
        assert code_of(told) == "UNKNOWN_RECORD"


@pytest.mark.parametrize("cut", range(4))
async def test_a_crash_on_the_way_is_finished_at_the_next_start(
    ledger: Ledger, tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """X-6: after the tombstones, within the vault's erase, before the receipt, after it was sent."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone = await hospital.add(ada)
    stays = await hospital.add(ada, b"stays\n")
    records = await hospital.want(ada, gone)
    ask(ledger, ada, records)

    class Cut(Exception):
        pass

    def power_cut(*_: object, **__: object) -> None:
        raise Cut

    with monkeypatch.context() as patch:
        if cut == 0:
            patch.setattr(Vault, "erase", power_cut)
        elif cut == 1:
            patch.setattr(Vault, "_rewrap", power_cut)
        elif cut == 2:
            patch.setattr("node.erasures._Receipt.send", power_cut)
        else:
            hospital.lost = True
        if cut < 3:
            with pytest.raises(Cut):
                await hospital.step()
        else:
            await hospital.step()
    assert hospital.reply() is None
    again = Custodian(ledger, tmp_path)
    with pytest.raises(SalusError) as shown:
        again.records.show(gone)
    assert code_of(shown) == "ERASED"
    await again.step()
    assert again.reply() is Reply.ERASED
    assert len(list(again.records.vault.documents())) == 1
    assert content(again.records, stays) == b"stays\n"


async def test_a_second_case_may_name_what_the_first_one_erased_meanwhile(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    both, only = await hospital.add(ada), await hospital.add(ada, b"only\n")
    first = await hospital.want(ada, both)
    second = await hospital.want(ada, both, only, case="second")
    ask(ledger, ada, first)
    await hospital.step()
    ask(ledger, ada, second, case="second")
    await hospital.step()
    assert hospital.reply("second") is Reply.ERASED
    with pytest.raises(SalusError) as shown:
        hospital.records.show(only)
    assert code_of(shown) == "ERASED"


async def test_a_hospital_bound_to_keep_waits_for_its_operator(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path, automatic=False)
    gone = await hospital.add(ada)
    records = await hospital.want(ada, gone)
    with pytest.raises(SalusError) as early:
        await hospital.erasures.carry_out(h("case"))
    assert code_of(early) == "UNKNOWN_CASE"
    ask(ledger, ada, records)
    await hospital.step()
    assert content(hospital.records, gone) == TEXT
    await hospital.erasures.carry_out(h("case"))
    await hospital.step()
    assert hospital.reply() is Reply.ERASED


async def test_what_the_operator_said_is_retained_goes_by_his_word_alone(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A law's period, told while it waited: the node does not burn what its own house must keep."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    kept = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, kept), by=None)
    args = ReceiptArgs(ORG, h("case"), Reply.RETAINED, h("ten years"))
    operation = ada.op("erasure", "receipt", args)
    operator = factories.key(f"operator {ORG}")
    (said,) = ledger.block(factories.transaction(ledger.genesis, operation, signer=operator))
    assert said.code == "OK"
    hospital.now_ms = ledger.state.head.time_ms + ledger.genesis.parameters.erasure_wait_ms
    hospital.later_ms = ledger.genesis.parameters.erasure_wait_ms
    for now_s in (1.0, 2.0, 3.0):
        await hospital.step(now_s)
    assert (hospital.sent, content(hospital.records, kept)) == (["OK"], TEXT)  # it has begun
    assert hospital.erasures._pause_s() is None
    await hospital.erasures.carry_out(h("case"))
    for now_s in (4.0, 5.0):
        await hospital.step(now_s)
    assert hospital.reply() is Reply.ERASED


async def test_what_the_operator_agreed_to_is_known_after_a_restart(
    ledger: Ledger, tmp_path: Path
) -> None:
    """He agreed while it waited: nobody is there to say it again when it begins."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path, automatic=False)
    gone = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, gone), by=None)
    await hospital.erasures.carry_out(h("case"))
    again = Custodian(ledger, tmp_path, automatic=False)
    again.later_ms = ledger.genesis.parameters.erasure_wait_ms
    again.now_ms = ledger.state.head.time_ms + again.later_ms
    for now_s in (1.0, 2.0):
        await again.step(now_s)
    assert again.reply() is Reply.ERASED


async def test_who_agreed_and_then_said_that_a_law_keeps_it_has_to_agree_anew(
    ledger: Ledger, tmp_path: Path
) -> None:
    """The newest word counts: what was agreed to before is no leave to burn what is retained now."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    kept = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, kept), by=None)
    await hospital.erasures.carry_out(h("case"))
    args = ReceiptArgs(ORG, h("case"), Reply.RETAINED, h("ten years"))
    operation = ada.op("erasure", "receipt", args)
    operator = factories.key(f"operator {ORG}")
    (said,) = ledger.block(factories.transaction(ledger.genesis, operation, signer=operator))
    assert said.code == "OK"
    hospital.later_ms = ledger.genesis.parameters.erasure_wait_ms
    hospital.now_ms = ledger.state.head.time_ms + hospital.later_ms
    for now_s in (1.0, 2.0):
        await hospital.step(now_s)
    assert (hospital.sent, content(hospital.records, kept)) == (["OK"], TEXT)  # it has begun
    await hospital.erasures.carry_out(h("case"))
    await hospital.step(3.0)
    assert hospital.reply() is Reply.ERASED


async def test_a_case_begins_for_the_others_where_the_custodian_keeps_its_own(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path, automatic=False)
    kept = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, kept), by=None)
    hospital.later_ms = ledger.genesis.parameters.erasure_wait_ms
    hospital.now_ms = ledger.state.head.time_ms + hospital.later_ms
    for now_s in (1.0, 2.0):
        await hospital.step(now_s)
    assert hospital.sent == ["OK"]
    stored = ledger.state.get(case_key(ORG, h("case")))
    assert stored is not None
    assert decode(stored[SALT_BYTES:], ErasureCase).stage is Stage.BEGUN
    assert (hospital.reply(), content(hospital.records, kept)) == (None, TEXT)


async def test_a_receipt_that_the_ledger_refuses_is_not_sent_with_every_block(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, gone))
    refused = Submitted(TransactionState.REJECTED, h("tx"), 9, "NOT_AUTHORISED")
    tries: list[Sequence[bytes]] = []

    async def submit(transactions: Sequence[bytes]) -> Sequence[Submitted]:
        tries.append(transactions)
        return [refused]

    hospital.erasures._sender = (*hospital.erasures._sender[:3], submit)
    for now_s in (1.0, 2.0, 3.0, REFUSED_PAUSE_S + 1.5):
        await hospital.step(now_s)
    assert len(tries) == 2


# -- the waiting time (X-9) ------------------------------------------------------------------


async def test_what_one_key_asked_for_is_erased_when_its_time_is_over_and_the_chain_has_said_so(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    wait_ms = ledger.genesis.parameters.erasure_wait_ms
    gone = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, gone), by=None)
    began_ms = ledger.state.head.time_ms
    hospital.now_ms = began_ms + wait_ms - 1
    await hospital.step()
    assert hospital.sent == []
    assert hospital.erasures._pause_s() == 0.001  # no block need come: an idle chain makes none
    hospital.now_ms += 1
    await hospital.step(1.0)
    # Its own clock alone does not do: the chain's block came before that time.
    assert hospital.sent == ["TOO_EARLY"]
    assert content(hospital.records, gone) == TEXT
    await hospital.step(2.0)
    assert hospital.sent == ["TOO_EARLY"]  # and is not asked over and over
    hospital.later_ms = wait_ms
    await hospital.step(REFUSED_PAUSE_S + 1.0)
    assert content(hospital.records, gone) == TEXT  # certified first
    await hospital.step(REFUSED_PAUSE_S + 2.0)
    assert hospital.sent == ["TOO_EARLY", "OK", "OK"]
    assert hospital.reply() is Reply.ERASED
    with pytest.raises(SalusError) as shown:
        hospital.records.show(gone)
    assert code_of(shown) == "ERASED"
    await hospital.step(REFUSED_PAUSE_S + 3.0)
    assert hospital.erasures._pause_s() is None


async def test_what_was_stopped_is_never_erased_and_its_opening_goes(
    ledger: Ledger, tmp_path: Path
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    stays = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, stays), by=None)
    await hospital.step()
    operation = ada.op("erasure", "cancel", WaitingArgs(ORG, h("case")))
    ledger.block(factories.transaction(ledger.genesis, operation, signer=ada.owner))
    hospital.now_ms = hospital.later_ms = ledger.genesis.parameters.erasure_wait_ms * 2
    for now_s in (1.0, 2.0):
        await hospital.step(now_s)
    assert (hospital.sent, content(hospital.records, stays)) == ([], TEXT)
    assert hospital.erasures._pause_s() is None
    again = Custodian(ledger, tmp_path)
    assert again.erasures.openings.cases() == ()
    # Asking and stopping is free: it must not make the vault wrap all its keys anew.
    assert [one.name for one in (tmp_path / "vault" / "epochs").iterdir()] == ["00000001"]


async def test_an_opening_that_is_not_on_disk_yet_is_not_read(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its request may be certified already; a block comes while the opening is written."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone = await hospital.add(ada)
    leaves = [
        record_leaf(one.commitment, tag_hash(one.tag))
        for one in (found(hospital.records, gone).private,)
    ]
    ask(ledger, ada, records_commitment(SALT, leaves))
    put, slow = Vault.put_record, Event()

    def waits(vault: Vault, name: bytes, stored: bytes) -> None:
        assert slow.wait(60)
        put(vault, name, stored)

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "put_record", waits)
        wanting = asyncio.create_task(hospital.want(ada, gone))
        await asyncio.sleep(0)
        await hospital.step()
        with pytest.raises(SalusError) as twice:
            await hospital.want(ada, gone)
        assert code_of(twice) == "DUPLICATE_CASE"
        slow.set()
        await wanting
    await hospital.step(1.0)
    assert hospital.reply() is Reply.ERASED


async def test_what_goes_while_the_operator_agrees_does_not_come_back(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known without a file, it would end the task that carries out all the others."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path, automatic=False)
    gone = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, gone), by=None)
    openings, replace = hospital.erasures.openings, Vault.replace_record

    def slow(vault: Vault, name: bytes, stored: bytes) -> bool:
        """Written; and before the loop hears of it the case is over."""
        kept = replace(vault, name, stored)
        vault.drop_record(name)
        openings.forget(h("case"))
        return kept

    monkeypatch.setattr(Vault, "replace_record", slow)
    with pytest.raises(SalusError) as caught:
        await hospital.erasures.carry_out(h("case"))
    assert code_of(caught) == "UNKNOWN_CASE"
    await hospital.step()
    assert openings.cases() == ()


async def test_an_opening_whose_request_can_no_longer_come_goes(tmp_path: Path) -> None:
    """X-10: what could be signed when it came has expired; nobody's case waits for it."""
    window = 128
    parameters = Parameters(state_bucket_bits=4, expiry_window_blocks=window)
    ledger = Ledger(factories.genesis(parameters=parameters))
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    stays, gone = await hospital.add(ada), await hospital.add(ada, b"gone\n")
    until_height = ledger.height + window
    await hospital.want(ada, stays, case="never sent")
    ask(ledger, ada, await hospital.want(ada, gone, case="waits"), case="waits", by=None)
    while ledger.height < until_height:
        ledger.null_block()
    await hospital.step()
    both = tuple(sorted((h("never sent"), h("waits"))))
    assert hospital.erasures.openings.cases() == both  # by one block
    ledger.null_block()
    again = Custodian(ledger, tmp_path)
    for custodian in (hospital, again):
        await custodian.step()
        assert custodian.erasures.openings.cases() == (h("waits"),)
    assert content(again.records, stays) == TEXT
    # Asking is free: it must not make the vault wrap all its keys anew.
    assert [one.name for one in (tmp_path / "vault" / "epochs").iterdir()] == ["00000001"]


async def test_one_patients_openings_leave_room_for_the_others(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.erasure_openings.WAITING_MAX", WAITING_PER_HANDLE_MAX + 1)
    ada, bea = entered(ledger, "ada"), entered(ledger, "bea")
    hospital = Custodian(ledger, tmp_path)
    hers, other = await hospital.add(ada), await hospital.add(bea)
    for number in range(WAITING_PER_HANDLE_MAX):
        records = await hospital.want(ada, hers, case=f"case {number}")
    hospital = Custodian(ledger, tmp_path)
    with pytest.raises(SalusError) as full:
        await hospital.want(ada, hers, case="one more")
    assert code_of(full) == "BUSY"
    await hospital.want(bea, other, case="another's")
    with pytest.raises(SalusError) as everybody:
        await hospital.want(entered(ledger, "cleo"), case="yet another's")
    assert code_of(everybody) == "BUSY"
    # What stands on the chain waits for no request: it takes nobody's room.
    ask(ledger, ada, records, case=f"case {WAITING_PER_HANDLE_MAX - 1}", by=None)
    await hospital.want(ada, hers, case="one more")


async def test_an_opening_that_could_not_be_written_may_come_again(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    gone = await hospital.add(ada)

    def full(*_: object) -> None:
        raise StoreUnavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "put_record", full)
        with pytest.raises(StoreUnavailable):
            await hospital.want(ada, gone)
    ask(ledger, ada, await hospital.want(ada, gone))
    await hospital.step()
    assert hospital.reply() is Reply.ERASED


async def test_a_case_that_cannot_begin_makes_no_transactions(
    ledger: Ledger, tmp_path: Path
) -> None:
    """A recovery is approved: the chain would refuse each of them."""
    ada, hospital = entered(ledger), Custodian(ledger, tmp_path)
    stays = await hospital.add(ada)
    ask(ledger, ada, await hospital.want(ada, stays), by=None)
    new_key = factories.key("ada again").public_key
    named = {"org": ORG, "handle": ada.handle, "new_key": new_key}
    for operation, by in (
        (ada.recover("ada again"), f"operator {ORG}"),
        (ada.chain.op("identity", "recover_approve", **named), "operator hosp-b"),
    ):
        (done,) = ledger.block(
            factories.transaction(ledger.genesis, operation, signer=factories.key(by))
        )
        assert done.code == "OK"
    hospital.later_ms = ledger.genesis.parameters.erasure_wait_ms
    hospital.now_ms = ledger.state.head.time_ms + hospital.later_ms
    await hospital.step()
    assert (hospital.sent, content(hospital.records, stays)) == ([], TEXT)
    assert hospital.erasures._pause_s() == REFUSED_PAUSE_S
    # It is looked at now and then, and hides none that is due before.
    hospital.erasures._due_ms[h("another")] = hospital.now_ms + 2_000
    assert hospital.erasures._pause_s() == 2.0
