"""A newer version of an imported Consent takes the place of the one before, a few acts a transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cli import consent_imports
from cli.consent_imports import Done, carry_out, in_order
from cli.errors import CliError
from cli.session import Session
from cli.wallets import OpenWallet
from contracts.consent import GrantArgs, RevokeArgs
from salus.acts import permits
from salus.client_errors import ClientError, PendingError, RejectedError
from salus.codec import decode
from salus.consent.terms import Effect, Rule
from salus.importing import PERMITS_MAX, Plan
from salus.keys import box_public_key
from salus.relation import Whose
from salus.transaction import Operation
from salus.wallet import ImportedConsent, KnownRelation, Wallet, unseal
from tests import factories
from tests.salus.test_importing import MEMBERS, org, planned, terms_of

WHOSE = Whose("hosp-a", b"h" * 32)
ALL, NONE = Rule(effect=Effect.PERMIT), Rule(effect=Effect.DENY)


@pytest.mark.parametrize(
    "plan",
    [
        planned(terms_of(ALL, Rule(effect=Effect.DENY, actors=org("hosp-a")))),
        planned(terms_of(NONE)),
        planned(terms_of(ALL), custodian="hosp-z"),
    ],
)
def test_wherever_an_import_breaks_off_the_custodians_own_staff_are_denied(plan: Plan) -> None:
    """They need no permit, so a moment without a denial is a moment in which they read."""
    before = planned(terms_of(NONE))
    old = [permits.planned(WHOSE, one, None) for one in before.permits]
    new = [permits.planned(WHOSE, one, lambda _: b"") for one in plan.permits]
    ends = [permits.revoke(WHOSE, one.opening.permit) for one in old]
    acts = in_order(plan, [one.act for one in new], ends)
    assert len(acts) == len(old) + len(new) <= 2 * PERMITS_MAX
    assert {id(act) for act in acts} == {id(act) for act in [*ends, *(one.act for one in new)]}
    places = {id(act): place for place, act in enumerate(acts)}
    first_end = min(places[id(act)] for act in ends)
    for one, made in zip(plan.permits, new, strict=True):
        assert (places[id(made.act)] < first_end) == one.denies


# -- what became of a transaction whose outcome nobody heard -------------------------------------


class Chain:
    """As much of a client as an import uses. `hears`: what the next commits come to: "done"; "taken",
    certified and nobody hears of it; "lost", it waits somewhere; "garbled", that too, and the answer cannot be
    read; else a code of refusal."""

    def __init__(self) -> None:
        self.stands: dict[bytes, bool] = {}  # permits by id: in force?
        self.done: list[bytes] = []
        self.waits: dict[bytes, list[Operation]] = {}
        self.built = 0
        self.hears: list[str] = []
        self.expired: set[bytes] = set()

    async def chain(self) -> Any:
        return SimpleNamespace(genesis=SimpleNamespace(chain_id="net"))

    async def query(self, contract: str, name: str, **arguments: str) -> Any:
        state = self.stands.get(bytes.fromhex(arguments["permit"]))
        return None if state is None else {"permit": {"ended_height": None if state else 9}}

    async def keep_opening(self, *_: str) -> None: ...

    async def build(self, operations: list[Operation]) -> Any:
        self.built += 1
        raw = self.built.to_bytes(4)
        self.waits[raw] = operations
        return SimpleNamespace(raw=raw)

    async def commit(self, transaction: Any) -> Any:
        raw = transaction if isinstance(transaction, bytes) else transaction.raw
        how = self.hears.pop(0) if self.hears else "done"
        if how == "lost":
            raise PendingError("not committed in time", tx_id=raw.hex())
        if how == "garbled":
            raise ClientError("the answer is no document")
        if raw in self.expired:
            del self.waits[raw]
            how = "EXPIRED"
        if how not in ("done", "taken"):
            raise RejectedError("it never commits", code=how, tx_id=raw.hex())
        self.lands(raw)
        if how == "taken":
            raise PendingError("outcome unknown", tx_id=raw.hex())
        return SimpleNamespace(tx_id=raw.hex(), height=len(self.done))

    def lands(self, raw: bytes) -> None:
        if raw in self.done:  # the same bytes have the same id
            return
        self.done.append(raw)
        for operation in self.waits.pop(raw):
            kind = GrantArgs if operation.method == "grant" else RevokeArgs
            self.stands[decode(operation.args, kind).permit] = operation.method == "grant"

    @property
    def in_force(self) -> set[bytes]:
        return {permit for permit, state in self.stands.items() if state}


RELATION = KnownRelation("hosp-a", b"h" * 32, False, 0)
BOXES = {one: box_public_key(factories.seed(one)) for one in MEMBERS}
PLAN = planned(terms_of(ALL, Rule(effect=Effect.DENY, actors=org("hosp-b"))))


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> Chain:
    made = Chain()

    @asynccontextmanager
    async def as_owner(*_: object) -> AsyncIterator[tuple[Chain, str]]:
        yield made, "net"

    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr("cli.consent_imports.as_owner", as_owner)
    monkeypatch.setattr("cli.consent_imports.entry_of", nothing)
    monkeypatch.setattr("cli.consent_imports.relation_there", nothing)
    return made


@pytest.fixture
def wallet(tmp_path: Path) -> OpenWallet:
    made = OpenWallet("kai", tmp_path / "kai.wallet", factories.seed("kai"), Wallet())
    made.remember(RELATION)
    return made


def opened_again(wallet: OpenWallet) -> OpenWallet:
    """As the next command finds it."""
    contents = unseal(wallet.path.read_bytes(), wallet.seed)
    return OpenWallet(wallet.name, wallet.path, wallet.seed, contents)


async def import_(wallet: OpenWallet) -> Done:
    return await carry_out(Session(), wallet, RELATION, PLAN, BOXES, ())


def known(wallet: OpenWallet) -> ImportedConsent | None:
    return wallet.contents.imported(RELATION.org, RELATION.handle, PLAN.name)


def ids(done: Done) -> set[bytes]:
    return {bytes.fromhex(permit) for permit in done.permits}


@pytest.mark.parametrize(
    ("how", "fate"),
    [("taken", "is there"), ("lost", "comes"), ("lost", "expires"), ("lost", "is sent again")],
)
async def test_whatever_became_of_a_pending_import_the_next_one_alone_stands(
    chain: Chain, wallet: OpenWallet, how: str, fate: str
) -> None:
    """The same bytes are sent again, which a chain takes once; nothing is left that could come later."""
    chain.hears = [how]
    with pytest.raises(PendingError):
        await import_(wallet)
    (sent,) = [*chain.waits, *chain.done]
    wallet = opened_again(wallet)
    first = known(wallet)
    assert first is not None
    assert first.pending == sent
    if fate == "comes":
        chain.lands(sent)
    if fate == "expires":
        chain.expired.add(sent)
    done = await import_(wallet)
    assert chain.waits == {}
    assert chain.in_force == ids(done)
    assert {bytes.fromhex(one) for one in done.revoked} == (
        set() if fate == "expires" else set(first.permits)
    )
    assert chain.done.count(sent) == (fate != "expires")
    standing = known(opened_again(wallet))
    assert standing is not None
    assert standing.pending is None
    assert set(standing.permits) == ids(done)


async def test_what_is_pending_still_stays_known_and_nothing_new_is_signed(
    chain: Chain, wallet: OpenWallet
) -> None:
    chain.hears = ["lost", "lost"]
    for _ in range(2):
        with pytest.raises(PendingError):
            await import_(opened_again(wallet))
    assert len(chain.waits) == 1
    after = known(opened_again(wallet))
    assert after is not None
    assert after.pending is not None


async def test_a_revocation_ends_what_a_pending_import_brings_first(
    chain: Chain, wallet: OpenWallet
) -> None:
    chain.hears = ["lost"]
    with pytest.raises(PendingError):
        await import_(wallet)
    wallet = opened_again(wallet)
    imported = known(wallet)
    assert imported is not None
    chain.hears = ["done", "taken"]  # the import's own, then the revocation
    with pytest.raises(PendingError):
        await consent_imports.revoke(Session(), wallet, RELATION, imported, ())
    assert (chain.waits, chain.in_force) == ({}, set())
    wallet = opened_again(wallet)
    imported = known(wallet)
    assert imported is not None, "the revocation's outcome is not known yet"
    done = await consent_imports.revoke(Session(), wallet, RELATION, imported, ())
    assert done.revoked == ()
    assert known(opened_again(wallet)) is None


async def test_what_was_refused_is_not_sent_again(chain: Chain, wallet: OpenWallet) -> None:
    chain.hears = ["WRONG_KEY"]
    with pytest.raises(RejectedError):
        await import_(wallet)
    after = known(opened_again(wallet))
    assert after is not None
    assert after.pending is None


async def test_what_a_node_took_with_an_answer_that_nobody_can_read_is_settled_first(
    chain: Chain, wallet: OpenWallet
) -> None:
    chain.hears = ["garbled"]
    with pytest.raises(ClientError):
        await import_(wallet)
    done = await import_(opened_again(wallet))
    assert chain.waits == {}
    assert chain.in_force == ids(done)


async def test_two_commands_at_once_leave_no_permit_that_the_wallet_does_not_know(
    chain: Chain, wallet: OpenWallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one is told to wait: the list of permits of one would be written over by the other's."""
    other, refused = opened_again(wallet), []

    async def meanwhile(*_: str) -> None:
        imported = known(opened_again(wallet))
        assert imported is not None
        for second in (
            import_(other),
            consent_imports.revoke(Session(), other, RELATION, imported, ()),
        ):
            with pytest.raises(CliError) as caught:
                await second
            refused.append(caught.value.code)

    monkeypatch.setattr(chain, "keep_opening", meanwhile)
    done = await import_(wallet)
    assert set(refused) == {"STORE_LOCKED"}
    standing = known(opened_again(wallet))
    assert standing is not None
    assert chain.in_force == set(standing.permits) == ids(done)


async def test_an_import_ends_what_another_command_granted_after_it_had_opened_the_wallet(
    chain: Chain, wallet: OpenWallet
) -> None:
    stale = opened_again(wallet)
    await import_(wallet)
    done = await import_(stale)
    assert chain.in_force == ids(done)


async def test_a_revocation_ends_what_another_command_granted_after_it_had_opened_the_wallet(
    chain: Chain, wallet: OpenWallet
) -> None:
    await import_(wallet)
    stale = opened_again(wallet)
    imported = known(stale)
    assert imported is not None
    await import_(wallet)
    await consent_imports.revoke(Session(), stale, RELATION, imported, ())
    assert chain.in_force == set()
    assert known(opened_again(wallet)) is None
