"""A custodian whole: its ledger in LevelDB, vault, keeper and gate; readers who sign, ask and open.

Blocks come when the gate waits for its ticket, or when a test makes one. `meanwhile` is what others
send for that very block, in front of the ticket.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from contracts.members import StaffRegisterArgs, StaffRevokeArgs
from node.api.view import Submitted, TransactionView
from node.gate import Gate
from node.gate_records import GateRecords
from node.keeper import Keeper, Unwrapping, UnwrapRequest
from node.metrics import Metrics
from node.openings import Openings
from node.records import RecordService
from node.scales import Scales
from node.ticket_files import TicketFiles
from node.ticket_sender import TicketSender
from salus import release
from salus.codec import decode
from salus.consent.terms import Code, Rule, Terms, encode_terms, terms_commitment
from salus.consent.terms import Effect as TermsEffect
from salus.consent.vocabulary import CONFIDENTIALITY, RESOURCE_TYPES
from salus.disclosure import Piece
from salus.disclosure import Reader as ShownReader
from salus.document import join
from salus.errors import SalusError
from salus.forms import TransactionState
from salus.granting import CATEGORY, Grantee, say
from salus.keys import SigningKey, box_public_key, verify
from salus.parameters import Parameters
from salus.permit import Effect, Purpose
from salus.reading import Ask, Asked, Decided, Locate, Part, Range, derived_payload
from salus.relation import DAY_MS
from salus.staff import StaffRole, possession
from salus.statemap import SALT_BYTES as STATE_SALT_BYTES
from salus.ticket import Request, Ticket, own_request, records_commitment, ticket_key
from salus.transaction import Operation, ParsedTransaction, parse
from storage.kv import LevelKV
from storage.vault import Vault
from tests import factories
from tests.contracts.lab import Lab, h
from tests.contracts.patients import Patient
from tests.ledger import Ledger

KEEPER = factories.seed("keeper")
HOSPITALS = ("hosp-a", "hosp-b", "hosp-c")
ROLES = (StaffRole.CLINICIAN,)


@dataclass
class Asker:
    """One who reads: a key, and the secret that a release is sealed to."""

    world: "World"
    name: str
    org: str
    secret: X25519PrivateKey = field(default_factory=X25519PrivateKey.generate)

    @property
    def key(self) -> SigningKey:
        return factories.key(self.name)

    async def build(
        self,
        *record_ids: str,
        permit: str | None = "p",
        patient: Patient | None = None,
        purpose: Purpose = Purpose.TREATMENT,
        own: bool = False,
        **changes: Any,
    ) -> Ask:
        """`own`: by the owner's key, with the purpose of his own view; `changes`: of the request,
        before it is signed."""
        world, patient = self.world, patient or self.world.ada
        found = [
            (one, await world.gate.locate(self.org, Locate(bytes.fromhex(one), None, None)))
            for one in record_ids
        ]
        versions = tuple(
            sorted(
                (Asked(bytes.fromhex(one), it.version, it.commitment) for one, it in found),
                key=lambda asked: asked.commitment,
            )
        )
        salt = os.urandom(32)
        request = Request(
            chain_id=factories.CHAIN_ID,
            custodian="hosp-a",
            handle=patient.handle,
            records=records_commitment(salt, tuple(one.commitment for one in versions)),
            purpose=Purpose.PATIENT_REQUEST if own else purpose,
            classes=tuple(sorted({kind for _, it in found for kind in it.classes})),
            request_id=os.urandom(16),
            expiry_height=world.ledger.height + 10,
            release_key=self.secret.public_key().public_bytes_raw(),
            permit=h(permit) if permit and not own else None,
            requester=self.org,
            key=self.key.public_key,
        )
        request = msgspec.structs.replace(request, **changes)
        signature = self.key.sign(request.payload())
        ask = Ask(
            request, signature, os.urandom(32), salt, versions, os.urandom(32), b"visit", None
        )
        return self.owned(ask) if own else ask

    def owned(self, ask: Ask) -> Ask:
        """With the signature that the chain will see."""
        one = ask.request
        payload = own_request(
            one.chain_id, one.custodian, one.handle, one.request_id, one.requester, one.classes,
            one.expiry_height, one.records, ask.commitment(),
        )  # fmt: skip
        return msgspec.structs.replace(ask, owner_signature=self.key.sign(payload))

    async def ask(self, *record_ids: str, **how: Any) -> tuple[Ask, Decided]:
        ask = await self.build(*record_ids, **how)
        return ask, await self.world.gate.ask(self.org, ask)

    async def read(self, *record_ids: str, **how: Any) -> list[bytes]:
        """The documents, whole and proved."""
        ask, decided = await self.ask(*record_ids, **how)
        assert decided.permitted, decided.reason
        return [join_all(await self.fetch(ask, part)) for part in decided.parts]

    async def chunk(self, ask: Ask, part: Part, number: int) -> bytes:
        wanted = Range(ask.request.request_id, part.commitment, number)
        return await self.world.gate.chunk(self.org, wanted)

    async def fetch(self, ask: Ask, part: Part) -> list[Piece]:
        """All chunks of a version, opened and checked against its commitment."""
        stream = release.open_release(
            release.read(part.envelope),
            self.secret.private_bytes_raw(),
            chain_id=factories.CHAIN_ID,
            custodian="hosp-a",
            request_id=ask.request.request_id,
            commitment=part.commitment,
        )
        proved_by = part.commitment
        if part.derived is not None:
            proved_by = part.derived.commitment
            payload = derived_payload(
                factories.CHAIN_ID, "hosp-a", ask.request.request_id, part.commitment, proved_by
            )
            node_key = factories.key("node hosp-a").public_key
            assert verify(node_key, payload, part.derived.signature)
        terms = release.read(part.envelope).terms
        reader = ShownReader(proved_by, terms.disclosure)
        pieces = []
        for number in range(stream.chunks):
            sealed = await self.chunk(ask, part, number)
            pieces += list(reader.feed(stream.open(number, sealed)))
        assert reader.finish().withheld == part.withheld
        return pieces


def join_all(pieces: Sequence[Piece]) -> bytes:
    """The document of pieces of which none is missing."""
    parts: dict[int, bytes] = {}
    for piece in pieces:
        parts[piece.index] = parts.get(piece.index, b"") + piece.content
    assert list(parts) == list(range(len(parts)))
    return join(list(parts.values()))[1]


class World:
    """hosp-a keeps records of ada and bea; `doctor` works at hosp-b, `surgeon` at hosp-c, `nurse` at
    hosp-a, `clerk` writes bills at hosp-b."""

    def __init__(self, root: Path, watermark_window: int = 64) -> None:
        parameters = Parameters(state_bucket_bits=4, watermark_window=watermark_window)
        self.stores: list[LevelKV] = []
        self.ledger = Ledger(factories.genesis(parameters=parameters), self._kv(root))
        self.later_ms, self.clock_s = 0, 1_000.0
        self.slow_ms = 0  # so far the gate's clock is behind
        self.pool: list[ParsedTransaction] = []
        self.meanwhile: list[ParsedTransaction] = []
        self.ahead: list[tuple[ParsedTransaction, ...]] = []  # blocks that others have already
        self.waited_for: list[int] = []
        self.sent: list[ParsedTransaction] = []
        self.quorum, self.trouble = True, ""
        self.lines: list[Unwrapping] = []
        self.asked_keeper: list[UnwrapRequest] = []
        self.keeper_up = True
        self.vault = Vault.open(str(root / "vault"), factories.seed("vault lock"))
        self.lab = Lab(self.ledger.genesis)
        self.ada, self.bea = Patient(self.lab, "ada"), Patient(self.lab, "bea")
        self.block(self.tx(self.ada.register(), by="operator hosp-a"))
        self.block(self.tx(self.bea.register(), by="operator hosp-a"))
        self.doctor = self.employ("doctor", "hosp-b")
        self.surgeon = self.employ("surgeon", "hosp-c")
        self.nurse = self.employ("nurse", "hosp-a", StaffRole.NURSE)
        self.clerk = self.employ("clerk", "hosp-b", StaffRole.ADMINISTRATION)
        self.start()

    def start(self) -> None:
        """A node's process: what it had in memory before is gone."""
        self.records = RecordService(
            self.vault,
            self.ledger.state,
            self.ledger.proofs,
            "hosp-a",
            random=os.urandom,
            now_ms=lambda: self.now_ms,
            keeper=box_public_key(KEEPER),
        )
        self.openings = Openings(self.vault, self.ledger.state, "hosp-a")
        self.files = TicketFiles(self.vault, self.ledger.state, "hosp-a")
        self.keeper = Keeper(
            self.ledger.genesis, "hosp-a", KEEPER, self.lines.append, lambda: self.now_ms
        )
        self.metrics = Metrics()
        node_key = factories.key("node hosp-a")
        self.gate = Gate(
            factories.CHAIN_ID,
            Scales(self.ledger.state, "hosp-a", self.openings),
            GateRecords(self.records),
            self.files,
            self.ledger.proofs,
            self,
            TicketSender(
                node_key, factories.CHAIN_ID, self.ledger.genesis_hash, self.submit, self.wait
            ),
            node_key,
            self.metrics,
            parameters=lambda: self.ledger.genesis.parameters,
            ready=self.ready,
            reach=self.reach,
            now_ms=lambda: self.now_ms - self.slow_ms,
            clock=lambda: self.clock_s,
        )

    def close(self) -> None:
        for store in self.stores:
            store.close()

    def _kv(self, root: Path) -> Any:
        def make(name: str) -> LevelKV:
            self.stores.append(LevelKV(root / name))
            return self.stores[-1]

        return make

    @property
    def now_ms(self) -> int:
        return self.ledger.state.head.time_ms + self.later_ms

    # -- what the gate stands on ------------------------------------------------------------------

    def ready(self) -> None:
        if self.trouble:
            raise SalusError("not ready", code=self.trouble)

    async def reach(self, height: int, timeout_s: float) -> bool:
        """Waited for, the blocks come that other nodes have already."""
        self.waited_for.append(height)
        while self.ahead and self.ledger.height < height:
            self.block(*self.ahead.pop(0))
        return self.ledger.height >= height

    async def unwrap(self, request: UnwrapRequest) -> tuple[bytes, ...]:
        self.asked_keeper.append(request)
        if not self.keeper_up:
            raise SalusError("the keeper does not answer", code="KEEPER_DOWN")
        return self.keeper.unwrap(request)

    async def submit(self, raws: Sequence[bytes]) -> list[Submitted]:
        answers = []
        for raw in raws:
            tx = parse(
                raw,
                factories.CHAIN_ID,
                self.ledger.genesis_hash,
                self.ledger.genesis.parameters,
            )
            self.sent.append(tx)
            if tx.body.expiry_height <= self.ledger.height:
                answers.append(Submitted(TransactionState.EXPIRED, tx.id, code="EXPIRED"))
                continue
            self.pool = [one for one in self.pool if one.id != tx.id] + [tx]
            answers.append(Submitted(TransactionState.PENDING, tx.id))
        return answers

    async def wait(self, tx_id: bytes, timeout_s: float) -> TransactionView:
        if not self.quorum:
            return TransactionView(tx_id, TransactionState.PENDING)
        self.block(*self.meanwhile, *self.pool)
        self.meanwhile, self.pool = [], []
        found = self.ledger.state.find_transaction(tx_id)
        assert found is not None
        height = found[0]
        receipts = tuple(r for r in self.ledger.state.receipts(height) if r.tx_id == tx_id)
        state = TransactionState.COMMITTED if receipts[0].ok else TransactionState.REJECTED
        return TransactionView(tx_id, state, height=height, receipts=receipts)

    # -- blocks -----------------------------------------------------------------------------------

    def tx(self, *operations: Operation, by: str) -> ParsedTransaction:
        return factories.transaction(
            self.ledger.genesis, *operations, signer=factories.key(by), expiry_height=900
        )

    def block(self, *transactions: ParsedTransaction) -> None:
        height = self.ledger.height + 1
        receipts = self.ledger.propose(
            factories.proposal(height, *transactions, later_ms=self.later_ms)
        )
        self.codes = [receipt.code for receipt in receipts]

    def do(self, *operations: Operation, by: str) -> None:
        self.block(self.tx(*operations, by=by))
        assert self.codes == ["OK"] * len(operations), self.codes

    def ticket(self, ask: Ask) -> Ticket | None:
        stored = self.ledger.state.get(ticket_key("hosp-a", ask.request.request_id))
        return None if stored is None else decode(stored[STATE_SALT_BYTES:], Ticket)

    # -- people -----------------------------------------------------------------------------------

    def employ(self, name: str, org: str, *roles: StaffRole) -> Asker:
        key, handle = factories.key(name), h(f"staff {name}")
        args = StaffRegisterArgs(
            org,
            handle,
            key.public_key,
            roles or ROLES,
            h("qualification"),
            0,
            2**52,
            key.sign(possession(factories.CHAIN_ID, org, handle)),
        )
        self.do(self.lab.op("members", "staff_register", args), by=f"operator {org}")
        return Asker(self, name, org)

    def reader(self, name: str, org: str) -> Asker:
        """Who is no staff: the patient, or somebody nobody knows."""
        return Asker(self, name, org)

    def without_restricted(self) -> Terms:
        """Everything but what is labelled as restricted."""
        label = Code(CONFIDENTIALITY, "R")
        return self._terms(Rule(effect=TermsEffect.DENY, labels=(label,)))

    def without(self, kind: str) -> Terms:
        """Everything but resources of that type."""
        return self._terms(Rule(effect=TermsEffect.DENY, classes=(Code(RESOURCE_TYPES, kind),)))

    def _terms(self, exception: Rule) -> Terms:
        root = Rule(effect=TermsEffect.PERMIT, purposes=("TREAT",))
        return Terms(categories=(CATEGORY,), rules=(root, exception))

    def dismiss(self, asker: Asker) -> Operation:
        return self.lab.op("members", "staff_revoke", StaffRevokeArgs(h(f"staff {asker.name}")))

    async def grant(
        self,
        permit: str,
        *scopes: str,
        to: str = "hosp-b",
        deny: bool = False,
        days: int = 90,
        patient: Patient | None = None,
        opened: bool = True,
        terms: Terms | None = None,
        purpose: Purpose = Purpose.TREATMENT,
        sites: tuple[Code, ...] = (),
    ) -> None:
        """`opened`: the custodian is shown the terms."""
        patient = patient or self.ada
        await self.show_and_send(
            self.granted(permit, *scopes, to=to, deny=deny, days=days, patient=patient,
                         terms=terms, purpose=purpose, sites=sites),
            opened=opened, patient=patient,
        )  # fmt: skip

    async def show_and_send(
        self, made: tuple[Operation, Terms, bytes], *, opened: bool, patient: Patient
    ) -> None:
        operation, terms, salt = made
        if opened:
            await self.openings.keep(patient.handle, salt, encode_terms(terms))
        self.do(operation, by=patient.name)

    def granted(
        self,
        permit: str,
        *scopes: str,
        to: str = "hosp-b",
        deny: bool = False,
        days: int = 90,
        patient: Patient | None = None,
        terms: Terms | None = None,
        purpose: Purpose = Purpose.TREATMENT,
        sites: tuple[Code, ...] = (),
    ) -> tuple[Operation, Terms, bytes]:
        grantee, patient = Grantee.parse(to), patient or self.ada
        said = say(
            grantee, scopes, purpose, self.now_ms - 1_000, self.now_ms + days * DAY_MS, deny=deny,
            sites=sites,
        )  # fmt: skip
        salt = os.urandom(32)
        operation = patient.grant(
            permit,
            grantee.org,
            said.classes,
            effect=Effect.DENY if deny else Effect.PERMIT,
            reach=said.reach,
            purpose=purpose,
            from_day=said.from_day,
            until_day=said.until_day,
            terms=terms_commitment(salt, terms or said.terms),
        )
        return operation, terms or said.terms, salt

    async def keep(self, content: bytes, media_type: str, patient: Patient | None = None) -> str:
        """A record of the patient, anchored; its key sealed to the keeper."""
        patient = patient or self.ada
        staged = await self.records.stage(content, media_type, handle=patient.handle)
        operations = [
            Operation(one.contract, one.method, one.version, bytes.fromhex(one.args))
            for one in staged.operations
        ]
        self.do(*operations, by="operator hosp-a")
        return staged.record_id
