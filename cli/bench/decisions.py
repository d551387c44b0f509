"""`salus bench --measure decisions`: how long a gate needs to decide, with real stores under it.

One custodian's state in LevelDB, as blocks write it: every patient with a relation, and permits for
five organisations. The openings of the patients that are asked about lie in a real vault. What is
timed is `Scales.judge`, which the gate calls for each request and each chunk: reader, relation and
docket out of the certified state, openings, inner and outer decision. No signature, network, ticket.
"""

import asyncio
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from cli import testnet
from cli.bench.network import Say
from cli.errors import CliError
from contracts.catalogue import registry
from contracts.context import Capacity
from contracts.members import KeyStanding, StaffEntry, key_place, staff_place
from node.genesis_block import genesis_block
from node.interpreter import tune
from node.openings import Openings
from node.scales import Judged, Scales
from salus.codec import encode
from salus.consent.terms import encode_terms, terms_commitment
from salus.consent.weighing import put
from salus.genesis import from_json
from salus.granting import Grantee, Said, say
from salus.keys import SigningKey, verify
from salus.parameters import Parameters
from salus.permit import Docket, Effect, Permit, Purpose, docket_key
from salus.relation import RelationEntry, relation_key
from salus.staff import StaffRole
from salus.statemap import SALT_BYTES
from salus.ticket import Request
from storage import keys
from storage.kv import Put
from storage.state import StateStore
from storage.vault import Vault

CUSTODIAN = "hosp-a"
GRANTEES = ("hosp-b", "hosp-c", "hosp-d", "hosp-e", "hosp-f")
BATCH_PATIENTS = 500  # of some 2 MB
ASKED_MAX = 200  # patients; with 20 permits each all their openings stay in memory when warm
VERIFIED = 300  # signatures in each round
ROUNDS = 15  # when warm, of which the least disturbed counts
SEED = 20261122
DAYS = 90

# What people permit: single types, a class, several; the chain sees classes.
_SCOPES = (("Observation", "Condition"), ("medications",), ("results",), ("summary", "documents"))


@dataclass(frozen=True, slots=True)
class Summary:
    """Microseconds. Cold: stores opened anew, nothing in the memory of the process, though the system
    may hold the files. Warm: asked before."""

    mode: str
    patients: int
    permits_per_patient: int
    permits_per_docket: int
    asked: int
    denied_share: float
    cold_p50_us: float
    cold_p99_us: float
    warm_p50_us: float
    warm_p99_us: float
    weigh_p50_us: float  # of it the decision alone, docket and openings at hand
    weigh_p99_us: float
    verify_us: float  # one Ed25519 signature in the same turns: what compares machines and minutes
    state_mb: int


@dataclass(frozen=True, slots=True)
class _Question:
    member: str
    request: Request
    permitted: bool


def run(root: Path, patients: int, permits: int, told: Say) -> Summary:
    """Raises `CliError` (BENCH_FAILED) if one decision is not the one that was planted."""
    if permits % len(GRANTEES):
        raise CliError("USAGE", f"--permits: a multiple of {len(GRANTEES)}")
    house = House(root, patients, permits)
    told(f"{patients} patients with {permits} permits each")
    house.fill()
    told(f"asking {len(house.questions)} times")
    tune()  # as a node does
    cold, answers = house.ask()
    turns = [(house.ask()[0], house.weigh(answers), _verify_us()) for _ in range(ROUNDS)]
    warm, alone, verify_us = min(turns, key=lambda turn: turn[0][len(turn[0]) // 2])
    asked = len(house.questions)
    return Summary(
        mode="decisions",
        patients=patients,
        permits_per_patient=permits,
        permits_per_docket=permits // len(GRANTEES),
        asked=asked,
        denied_share=round(sum(not one.permitted for one in house.questions) / asked, 2),
        cold_p50_us=_at(cold, 0.50),
        cold_p99_us=_at(cold, 0.99),
        warm_p50_us=_at(warm, 0.50),
        warm_p99_us=_at(warm, 0.99),
        weigh_p50_us=_at(alone, 0.50),
        weigh_p99_us=_at(alone, 0.99),
        verify_us=verify_us,
        state_mb=sum(file.stat().st_size for file in (root / "state").rglob("*")) >> 20,
    )


class House:
    """A custodian with its patients, and what is asked about some of them."""

    def __init__(self, root: Path, patients: int, permits: int) -> None:
        self.root, self.patients, self.permits = root, patients, permits
        self.random = random.Random(SEED)
        self.now_ms = time.time_ns() // 1_000_000
        names = testnet.node_names(len(GRANTEES) + 1)
        testnet.create(root / "net", len(names), "bench-decisions", Parameters())
        self.genesis = from_json((root / "net" / "genesis.json").read_text())
        self.lock = os.urandom(32)
        self.staff = {org: self._bytes() for org in GRANTEES}
        self.questions: list[_Question] = []
        self._open()
        self.state.initialise(genesis_block(self.genesis, registry()))

    def _open(self) -> None:
        self.state = StateStore.open(self.root / "state", self.genesis.hash())
        vault = Vault.open(str(self.root / "vault"), self.lock)
        self.openings = Openings(vault, self.state, CUSTODIAN)
        self.scales = Scales(self.state, CUSTODIAN, self.openings)

    # ── filling ──────────────────────────────────────────────────────────────

    def fill(self) -> None:
        asked = set(self.random.sample(range(self.patients), min(ASKED_MAX, self.patients)))
        shown: list[tuple[bytes, bytes, bytes]] = []  # handle, salt, terms
        puts: list[Put] = list(self._people())
        for number in range(self.patients):
            puts += self._patient(shown if number in asked else None)
            if number % BATCH_PATIENTS == 0 or number == self.patients - 1:
                self.state.kv.write(puts, sync=False)
                puts = []
        asyncio.run(self._show(shown))
        self.random.shuffle(self.questions)
        self.state.close()
        self._open()

    async def _show(self, shown: list[tuple[bytes, bytes, bytes]]) -> None:
        for handle, salt, terms in shown:
            await self.openings.keep(handle, salt, terms)

    def _people(self) -> Iterator[Put]:
        for org, key in self.staff.items():
            handle = self._bytes()
            entry = StaffEntry(
                org, key, (StaffRole.CLINICIAN,), self._bytes(), 0, 2 * self.now_ms, None
            )
            yield self._value(b"members/" + staff_place(org, handle), encode(entry))
            standing = KeyStanding(org, Capacity.STAFF, handle)
            yield self._value(b"members/" + key_place(key), encode(standing))

    def _patient(self, shown: list[tuple[bytes, bytes, bytes]] | None) -> Iterator[Put]:
        """`shown`: takes the openings, if somebody will ask about this one."""
        handle = self._bytes()
        entry = RelationEntry(
            self._bytes(), self._bytes(), False, (), 0, (), None, None, (), 0, 0, 0, 1
        )
        yield self._value(relation_key(CUSTODIAN, handle), encode(entry))
        for grantee in GRANTEES:
            docket = self._docket(grantee, handle, shown)
            key = docket_key(CUSTODIAN, handle, grantee, Purpose.TREATMENT)
            yield self._value(key, encode(docket))

    def _docket(
        self, grantee: str, handle: bytes, shown: list[tuple[bytes, bytes, bytes]] | None
    ) -> Docket:
        permits = []
        for place in range(self.permits // len(GRANTEES)):
            said = self._said(grantee, place)
            salt = self._bytes()
            commitment = terms_commitment(salt, said.terms) if shown is not None else self._bytes()
            permits.append(self._permit(said, commitment))
            if shown is not None:
                shown.append((handle, salt, encode_terms(said.terms)))
        # Every other time the permit that is cited, the last one, has been ended.
        denied = self.random.random() < 0.5
        if denied:
            permits[-1] = msgspec.structs.replace(permits[-1], ended_height=3)
        if shown is not None:
            self.questions.append(self._question(grantee, handle, permits[-1], denied))
        return Docket(tuple(permits))

    def _said(self, grantee: str, place: int) -> Said:
        day_ms = 86_400_000
        return say(
            Grantee(grantee),
            _SCOPES[place % len(_SCOPES)],
            Purpose.TREATMENT,
            self.now_ms - day_ms,
            self.now_ms + DAYS * day_ms,
        )

    def _permit(self, said: Said, commitment: bytes) -> Permit:
        return Permit(
            self._bytes(),
            Effect.PERMIT,
            said.reach,
            said.classes,
            said.from_day,
            said.until_day,
            commitment,
            2,
            None,
        )

    def _question(self, grantee: str, handle: bytes, cited: Permit, denied: bool) -> _Question:
        request = Request(
            chain_id=self.genesis.chain_id,
            custodian=CUSTODIAN,
            handle=handle,
            records=self._bytes(),
            purpose=Purpose.TREATMENT,
            classes=cited.classes,
            request_id=self._bytes()[:16],
            expiry_height=20,
            release_key=self._bytes(),
            permit=cited.id,
            requester=grantee,
            key=self.staff[grantee],
        )
        return _Question(grantee, request, not denied)

    def _value(self, key: bytes, value: bytes) -> Put:
        return keys.VALUE + key, bytes(SALT_BYTES) + value

    def _bytes(self) -> bytes:
        return self.random.randbytes(32)

    # ── asking ───────────────────────────────────────────────────────────────

    def ask(self) -> tuple[list[float], list[Judged]]:
        """Ascending microseconds, and the answers."""
        answers = []
        times = []
        for question in self.questions:
            began = time.perf_counter_ns()
            judged = self.scales.judge(question.member, question.request, self.now_ms)
            times.append((time.perf_counter_ns() - began) / 1000)
            if judged.outcome.permitted != question.permitted:
                raise CliError(
                    "BENCH_FAILED", f"decided {judged.outcome.reason}, planted otherwise"
                )
            answers.append(judged)
        return sorted(times), answers

    def weigh(self, answers: list[Judged]) -> list[float]:
        """The same decisions once more, with docket and openings at hand."""
        times = []
        for judged in answers:
            began = time.perf_counter_ns()
            put(judged.weighing, judged.openings)
            times.append((time.perf_counter_ns() - began) / 1000)
        return sorted(times)


def _verify_us() -> float:
    key, payload, times = SigningKey.from_seed(bytes(32)), bytes(300), []
    signature = key.sign(payload)
    for _ in range(VERIFIED):
        began = time.perf_counter_ns()
        verify(key.public_key, payload, signature)
        times.append((time.perf_counter_ns() - began) / 1000)
    return _at(sorted(times), 0.50)


def _at(times: list[float], share: float) -> float:
    return round(times[min(len(times) - 1, int(len(times) * share))], 1)
