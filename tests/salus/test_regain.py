"""Terms of permits come back from the custodian, who is not believed (rule P-13)."""

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from salus.client import Trust
from salus.client_errors import ClientError
from salus.consent.terms import encode_terms, terms_commitment
from salus.errors import VerificationError
from salus.forms_me import OpeningForm, OpeningPage
from salus.forms_records import PermitListRequest
from salus.granting import Grantee, say
from salus.permit import Purpose, place_key
from salus.permit_list import Stands
from salus.regain import Regained, opened, regain
from salus.relation import Whose
from salus.state_file import read_state_file, write_state_file
from salus.wallet import GrantOpening, Wallet
from tests.contracts.lab import h
from tests.salus.test_trail import ORG, Chain

WHOSE = Whose("hosp-a", bytes(32))
SAID = say(Grantee("hosp-b"), ("Observation",), Purpose.TREATMENT, 1, 2**40)
OTHER = say(Grantee("hosp-b"), ("Condition",), Purpose.TREATMENT, 1, 2**40)
SALT = b"\x5a" * 32
IDS = tuple(bytes([number]) * 32 for number in range(1, 4))
PERMIT = Stands(IDS[0], "hosp-b", Purpose.TREATMENT, terms_commitment(SALT, SAID.terms))
FORM = OpeningForm(IDS[0].hex(), SALT.hex(), encode_terms(SAID.terms).hex())
OPENING = GrantOpening(
    "hosp-a", bytes(32), IDS[0], "hosp-b", Purpose.TREATMENT, SALT, encode_terms(SAID.terms)
)


def test_what_opens_the_permits_own_commitment_is_taken() -> None:
    assert opened(WHOSE, PERMIT, FORM) == OPENING


@pytest.mark.parametrize(
    "form",
    [
        None,
        replace(FORM, terms=encode_terms(OTHER.terms).hex()),
        replace(FORM, salt="11" * 32),
        replace(FORM, salt="11"),
        replace(FORM, terms="no hex"),
        replace(FORM, terms="c1"),
        replace(FORM, terms=""),
    ],
)
def test_what_does_not_is_missing(form: OpeningForm | None) -> None:
    assert opened(WHOSE, PERMIT, form) is None


class Custodian(Chain):
    """Of Ada's permits at hosp-a: the oldest nobody opens, and so the next; of the
    newest it shows the opening. What it says without proof is invented."""

    def __init__(self) -> None:
        super().__init__("ada")
        self.ada = self.patients["ada"]
        self.run(self.ada.grant("q"), self.ada.grant("r", terms=PERMIT.terms), by="ada")
        self.endless = False
        self.forms = [replace(FORM, consent_id=h("r").hex())]
        self.trust: Trust | None = Trust(self.ledger.genesis_hash.hex())

    @property
    def whose(self) -> Whose:
        return Whose(ORG, self.ada.handle)

    async def query(self, contract: str, name: str, **arguments: str) -> Any:
        if name == "newest":
            return {"newest": IDS[0].hex(), "count": 1}
        permit = {"terms": PERMIT.terms.hex()}
        return {"grantee": "hosp-b", "purpose": "treatment", "before": None, "permit": permit}

    async def api(self, method: str, path: str, body: bytes) -> Any:
        assert (method, path) == ("POST", "/v1/audit/permits")
        wanted = msgspec.json.decode(body, type=PermitListRequest)
        start = None if wanted.start is None else bytes.fromhex(wanted.start)
        return SimpleNamespace(body=await self.shown(start))

    async def shown(self, start: bytes | None) -> bytes:
        return await self.files.permits(ORG, self.ada.handle, start)

    async def openings(self, after: str | None = None) -> OpeningPage:
        if after is None:
            return OpeningPage(tuple(self.forms), "more", 2, 9)
        wrong = replace(FORM, consent_id=h("p").hex(), salt="11" * 32)
        return OpeningPage((wrong,), "more" if self.endless else None, 2, 9)


async def found(custodian: Custodian) -> Regained:
    node: Any = custodian
    return await regain(node, node, custodian.whose)


async def test_what_is_proved_to_stand_is_regained_and_what_nobody_opens_is_named() -> None:
    custodian = Custodian()
    regained = await found(custodian)
    assert [one.permit for one in regained.openings] == [h("r")]
    assert regained.openings[0].terms == OPENING.terms
    assert regained.missing == (h("q"), h("p"))
    assert regained.relation.owner_key == custodian.ada.owner.public_key
    assert regained.height == custodian.ledger.height


async def test_a_permit_that_only_the_custodian_says_there_is_does_not_stand() -> None:
    """It opens what it invented: without a proof that convinced."""
    custodian = Custodian()
    custodian.forms = [FORM]
    regained = await found(custodian)
    assert regained.openings == ()
    assert regained.missing == (h("r"), h("q"), h("p"))


async def test_without_a_trust_nothing_is_regained() -> None:
    custodian = Custodian()
    custodian.trust = None
    with pytest.raises(ClientError) as caught:
        await found(custodian)
    assert caught.value.code == "NO_ANCHOR"


async def test_another_chains_state_is_refused() -> None:
    custodian = Custodian()
    custodian.trust = Trust("5a" * 32)
    with pytest.raises(VerificationError):
        await found(custodian)


async def test_a_list_that_was_cut_is_refused() -> None:
    class Cutter(Custodian):
        async def shown(self, start: bytes | None) -> bytes:
            bundle = read_state_file(await super().shown(start))
            oldest = place_key(ORG, self.ada.handle, h("p"))
            values = tuple(one for one in bundle.values if one.key != oldest)
            assert len(values) < len(bundle.values)
            return write_state_file(replace(bundle, values=values))

    with pytest.raises(VerificationError):
        await found(Cutter())


async def test_another_patients_list_is_refused() -> None:
    class Mixer(Custodian):
        async def shown(self, start: bytes | None) -> bytes:
            return await self.files.permits(ORG, bytes(32), start)

    with pytest.raises(VerificationError):
        await found(Mixer())


async def test_a_longer_list_comes_in_files_none_of_an_older_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("salus.permit_list.PERMITS_PER_FILE", 2)
    custodian = Custodian()
    regained = await found(custodian)
    assert (len(regained.openings), regained.missing) == (1, (h("q"), h("p")))

    class Older(Custodian):
        """Shows the second file from before a revocation."""

        kept = b""

        async def shown(self, start: bytes | None) -> bytes:
            return await super().shown(start) if start is None else self.kept

    older = Older()
    older.kept = await older.files.permits(ORG, older.ada.handle, h("p"))
    assert (await found(older)).missing == (h("q"), h("p"))
    older.run(older.ada.revoke("p"), by="ada")
    with pytest.raises(VerificationError):
        await found(older)


async def test_openings_without_end_are_no_answer() -> None:
    custodian = Custodian()
    custodian.endless = True
    with pytest.raises(ClientError) as caught:
        await found(custodian)
    assert caught.value.code == "BAD_ANSWER"


def test_a_wallet_takes_each_opening_once_and_keeps_its_own() -> None:
    own = replace(OPENING, permit=IDS[1])
    wallet = Wallet().with_opening(own).regained((OPENING, replace(own, salt=bytes(32))))
    assert wallet.openings == (OPENING, own)
    assert wallet.regained((OPENING,)) == wallet
