"""Four hospitals have worked on a patient's records; then their disks, logs and lines are searched
by somebody who knows all that went in, and holds no key (docs/privacy.md).
"""

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import aiohttp
import msgpack
import pytest

from cli import peppers
from cli.home import read_testnet
from salus.document import Opening, OpenPart, commitment, split
from salus.genesis import from_json
from salus.identity_tag import PepperScheme, identity_tag, normalise
from salus.patient_keys import Relation
from salus.permit import Purpose, RecordClass
from tests.e2e.consortium import DATA, PATIENCE, Consortium, consortium, document, salus
from tests.privacy.needles import Needle, numbers_of, of_date, of_text, search
from tests.privacy.public import Public, domains, fields_of, unsalted
from tests.privacy.sinks import Sink, database, databases_in, of_databases, of_files, of_texts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FHIR = "application/fhir+json"
VISIT = DATA / "visit-1.json"
NAME = "marisol-lindqvist"  # as a receptionist would call the wallet
BYSTANDER = "otto-wagenknecht"
REASON = "Verwechslung mit Schwester Ingeborg"
WORD_CHARS_MIN = 8
CITIZENS = (NAME, BYSTANDER)
ISSUER = "urn:oid:2.16.840.1.113883.4.1"
NUMBERS = {NAME: "K-4711-0815-Z", BYSTANDER: "L-2342-5771-Q"}  # as they are typed
NOTE = "Photograph shows Cousine Dorothea"


@dataclass
class Story:
    """What happened, and where it left traces."""

    house: Consortium
    urls: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)  # metrics, and what anybody may ask a node
    handles: dict[tuple[str, str], bytes] = field(default_factory=dict)  # name, hospital
    screens: Path = field(init=False)

    def tell(self) -> None:
        for name in CITIZENS:
            for org in ("hosp-a", "hosp-b"):
                registered = self._net(
                    "patient", "register", name, "--at", org, "--identifier",
                    f"{ISSUER}|{NUMBERS[name]}",
                )  # fmt: skip
                self.handles[name, org] = bytes.fromhex(registered["handle"])
        self.screens = self.house.root / "screens"
        self.screens.mkdir()
        for doctor, org in (("dr-cy", "hosp-c"), ("dr-di", "hosp-d")):
            self._net(
                "staff", "add", doctor, "--at", org, "--role", "clinician", "--role", "emergency",
                "--qualification", "licence 4711",
            )  # fmt: skip
        for name in CITIZENS:
            for org in ("hosp-a", "hosp-b"):
                self._visit(name, org)
                self._emergency(name, org)
        for name in CITIZENS:
            self._desk(name)
        for node in read_testnet(self.house.net).nodes:
            for path in ("/metrics", "/v1/status", "/v1/peers", "/v1/mempool", "/v1/consensus"):
                with urllib.request.urlopen(node.api + path, timeout=60) as answer:
                    self.shown.append(answer.read().decode())

    def _visit(self, name: str, org: str) -> None:
        """Each at a moment of his own: what two do at once is told apart by nobody."""
        words = ("--patient", name, "--at-org", org)
        added = self._net("record", "add", VISIT, "--patient", name, "--at", org)
        granted = self._net(
            "consent", "grant", *words, "--to", "hosp-c", "--scope", "Observation,Condition",
            "--until", "90d",
        )  # fmt: skip
        self._read(added["record_id"], 0)
        self._net("consent", "revoke", granted["consent_id"], "--as", name)
        self._read(added["record_id"], 1)
        self._net("audit", "show", "--patient", name, "--at-org", org, "--as", name)
        self._net("consent", "list", *words)
        self._net("record", "retract", added["record_id"], "--reason", REASON, "--node", org)

    def _read(self, record_id: str, code: int) -> None:
        """What comes is on the doctor's screen, and in her own folder alone."""
        output = self.screens / f"{len(list(self.screens.iterdir()))}.json"
        done = salus(
            "record", "get", record_id, "--as", "dr-cy", "--purpose", "TREAT", "--care", REASON,
            "-o", output, "--home", self.house.net, *PATIENCE,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert output.exists() == (code == 0)

    def _emergency(self, name: str, org: str) -> None:
        summary = self.screens / f"{name}-{org}-summary.json"
        summary.write_bytes(VISIT.read_bytes())
        self._net("emergency", "summary", name, summary, "--at-org", org, "--as", name)
        opened = self._net(
            "emergency", "open", "--patient", name, "--at-org", org, "--reason", "unconscious",
            "--place", REASON, "--as", "dr-cy", "-o", self.screens / f"{name}-{org}-opened.json",
        )  # fmt: skip
        case = opened["case_id"]
        self._net("emergency", "cosign", case, "--as", "dr-di")
        self._net("emergency", "justify", case, "--as", "dr-cy", "--text", REASON)
        self._net("emergency", "dispute", case, "--as", name, "--text", REASON)

    def _desk(self, name: str) -> None:
        """Known at hosp-a before, the second registration met itself: a case, and then a search."""
        cases = self._net("patient", "duplicates", "list", "--at", "hosp-b")["items"]
        handle = self.handles[name, "hosp-b"].hex()
        (case,) = (one["case_id"] for one in cases if one["handle"] == handle)
        words = ("--verdict", "same", "--note", NOTE, "--at", "hosp-b")
        self._net("patient", "duplicates", "close", case, *words)
        number = f"{ISSUER}|{NUMBERS[name]}"
        find = ("patient", "find", "--identifier", number, "--reason", REASON, "--as", "dr-cy")
        assert len(self._net(*find)["found"]) == 2
        assert salus("patient", "find", "--identifier", ISSUER, "--reason", "x", "--as", "dr-cy",
                     "--home", self.house.net).returncode != 0  # fmt: skip

    def _net(self, *words: object) -> Any:
        return document(*words, "--home", self.house.net, *PATIENCE)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Told, and all nodes stopped."""
    patch = pytest.MonkeyPatch()
    root = tmp_path_factory.mktemp("privacy")
    temporary = root / "temporary"
    temporary.mkdir()
    patch.setenv("TMPDIR", str(temporary))
    patch.setattr(tempfile, "tempdir", None)
    request = aiohttp.ClientSession._request
    try:
        with consortium(root) as house:
            told = Story(house)

            async def noted(self: Any, method: str, url: Any, **more: Any) -> Any:
                told.urls.append(f"{method} {url} {more.get('params')}")
                return await request(self, method, url, **more)

            patch.setattr(aiohttp.ClientSession, "_request", noted)
            told.tell()
        yield told
    finally:
        patch.undo()


@pytest.fixture(scope="module")
def sinks(story: Story) -> dict[str, Sink]:
    house = story.house
    homes = {name: home.path for name, home in house.homes.items()}
    sealed = {path for home in homes.values() for path in _devices(home)}
    files = [
        path
        for home in homes.values()
        for path in home.rglob("*")
        if not sealed.intersection((path, *path.parents))
    ]
    found = {
        "databases": of_databases(path for home in homes.values() for path in databases_in(home)),
        "files of the nodes, raw": of_files(files),
        "logs": of_files((house.net / "logs").iterdir()),
        "temporary files": of_files((house.root / "temporary").rglob("*")),
        "paths and parameters of requests": of_texts(story.urls),
        "metrics and status": of_texts(story.shown),
    }
    assert found["databases"].pieces
    assert len(found["logs"].pieces) >= len(homes)
    assert len(story.urls) > 10
    return found


def _devices(home: Path) -> Iterator[Path]:
    """Wallets stand for the patients' own devices here, and are named as their owners are."""
    for name in ("patients", "custody"):
        yield home / name


def needles() -> list[Needle]:
    visit = json.loads(VISIT.read_bytes())
    words = {word for word in _texts(visit) if len(word) >= WORD_CHARS_MIN}
    cut = {part for part in REASON.split() if len(part) >= WORD_CHARS_MIN}
    cut |= {part for part in NOTE.split() if len(part) >= WORD_CHARS_MIN}
    numbers = {shape for number in NUMBERS.values() for shape in (number, number.replace("-", ""))}
    texts = {*words, *cut, *numbers, *CITIZENS, REASON, NOTE, "Lindqvist-Okafor", VISIT.name}
    # Six coarse classes and some purposes stand on the chain, for everybody to read.
    public = " ".join((*RecordClass, *Purpose))
    return [needle for text in sorted(texts) if text not in public for needle in of_text(text)]


def _texts(content: Any) -> Iterator[str]:
    """Texts of a document that tell of somebody: no names of vocabularies, which are everybody's."""
    match content:
        case dict():
            for key, value in content.items():
                if key not in ("system", "url", "resourceType", "profile", "meta", "status"):
                    yield from _texts(value)
        case list():
            for value in content:
                yield from _texts(value)
        case str() if not content.startswith("http"):
            yield content


def assert_clean(sink: Sink) -> None:
    assert not search(needles(), sink.pieces)
    born = date.fromisoformat(json.loads(VISIT.read_bytes())["entry"][0]["resource"]["birthDate"])
    assert not search(of_date(born), sink.pieces)
    assert not numbers_of(born) & sink.numbers


def test_nothing_of_the_patients_stands_in_the_databases(sinks: dict[str, Sink]) -> None:
    assert_clean(sinks["databases"])


def test_nothing_of_the_patients_stands_in_the_files(sinks: dict[str, Sink]) -> None:
    assert_clean(sinks["files of the nodes, raw"])


def test_nothing_of_the_patients_stands_in_the_logs(sinks: dict[str, Sink]) -> None:
    assert_clean(sinks["logs"])


def test_nothing_of_the_patients_is_left_in_temporary_files(sinks: dict[str, Sink]) -> None:
    assert_clean(sinks["temporary files"])


def test_nothing_of_the_patients_stands_in_paths(sinks: dict[str, Sink]) -> None:
    assert_clean(sinks["paths and parameters of requests"])


def test_nothing_of_the_patients_stands_in_metrics(sinks: dict[str, Sink]) -> None:
    assert any(b"salus_consensus_height" in piece for piece in sinks["metrics and status"].pieces)
    assert_clean(sinks["metrics and status"])


def test_no_handle_stands_in_a_log_or_a_path(story: Story, sinks: dict[str, Sink]) -> None:
    for name in ("logs", "paths and parameters of requests", "metrics and status"):
        hay = b" ".join(sinks[name].pieces).lower()
        for handle in story.handles.values():
            assert handle.hex().encode() not in hay
            assert handle not in hay


def test_nothing_that_the_chain_has_beside_a_handle_stands_in_a_path(story: Story) -> None:
    """Ids of tickets, permits and cases, keys, commitments: each leads to the handle."""
    public = Public.of(databases_in(story.house.homes["hosp-d"].path))
    hay = " ".join(story.urls).lower()
    beside = frozenset().union(*(public.about(handle) for handle in story.handles.values()))
    assert len(beside) > 100
    assert not {value.hex() for value in beside if len(value) >= 16 and value.hex() in hay}


def pepper_of(story: Story, org: str) -> bytes:
    """As the member itself opens it, with its password."""
    home = story.house.homes[org]
    return peppers.held(home, from_json(home.genesis.read_bytes()))


def test_the_pepper_stands_nowhere_as_it_is(story: Story, sinks: dict[str, Sink]) -> None:
    """Sealed copies in the homes, a commitment in genesis; who finds more can try all numbers."""
    pepper = pepper_of(story, "hosp-a")
    assert pepper == pepper_of(story, "hosp-d")
    needles = list(of_text(pepper.hex()))
    for name, sink in sinks.items():
        assert not search(needles, sink.pieces), name
        assert not any(pepper in piece for piece in sink.pieces), name


def test_a_tag_is_what_the_number_and_the_pepper_make_for_one_hospital(story: Story) -> None:
    """Who has both finds it on the chain, as privacy.md says; who lacks the pepper does not."""
    public = Public.of(databases_in(story.house.homes["hosp-d"].path))
    chain_id = json.loads((story.house.net / "genesis.json").read_text())["chain_id"]
    identifier = normalise(ISSUER, NUMBERS[NAME].lower())
    tags = {
        (right, org): identity_tag(
            PepperScheme(secret).start(identifier).finish(()), Relation(chain_id, org)
        )
        for right, secret in ((True, pepper_of(story, "hosp-a")), (False, bytes(32)))
        for org in ("hosp-a", "hosp-b")
    }
    assert {key for key, tag in tags.items() if tag in public.hashes} == {
        (True, "hosp-a"),
        (True, "hosp-b"),
    }
    assert tags[True, "hosp-a"] != tags[True, "hosp-b"]


def test_the_search_would_have_found_them(story: Story, sinks: dict[str, Sink]) -> None:
    """The handles do stand on the chain, and the wallets are named after their owners."""
    hay = b" ".join(sinks["databases"].pieces)
    assert all(handle in hay for handle in story.handles.values())
    wallets = of_files(
        path for home in (story.house.net, *_homes(story)) for path in home.rglob("patients/*")
    )
    assert search(of_text(NAME), wallets.pieces)


def _homes(story: Story) -> list[Path]:
    return [home.path for home in story.house.homes.values()]


def test_no_public_value_is_an_unsalted_hash_of_what_is_known(story: Story) -> None:
    raw = VISIT.read_bytes()
    visit = json.loads(raw)
    parts = [json.dumps(entry, separators=(",", ":")).encode() for entry in visit["entry"]]
    resources = [
        json.dumps(entry["resource"], separators=(",", ":"), sort_keys=sort).encode()
        for entry in visit["entry"]
        for sort in (False, True)
    ]
    known = {
        raw,
        *split(raw, FHIR),
        *parts,
        *resources,
        *fields_of(visit),
        *(word.encode() for word in (*CITIZENS, REASON, NOTE, ISSUER, VISIT.name)),
        *(form for number in NUMBERS.values() for form in _numbers(number)),
    }
    known |= {msgpack.packb(value) for value in known}
    known |= {msgpack.packb(value.decode()) for value in known if value.isascii()}
    guesses = unsalted(known, domains())
    for salt in (b"", bytes(32)):
        # All of a document's leaves, as the software itself would make them without salts.
        whole = Opening(tuple(OpenPart(salt, part) for part in split(raw, FHIR)))
        guesses[commitment(whole)] = b"the whole document"
    public = Public.of(databases_in(story.house.homes["hosp-d"].path))
    assert len(public.hashes) > 100
    assert not {guesses[digest] for digest in guesses.keys() & public.hashes}


def _numbers(number: str) -> Iterator[bytes]:
    """As typed and as it is hashed; with its issuer, and without."""
    identifier = normalise(ISSUER, number)
    yield from (text.encode() for text in (number, identifier.value, f"{ISSUER}|{number}"))
    yield msgpack.packb([identifier.system, identifier.value])


def test_two_handles_of_one_patient_share_no_value_that_strangers_do_not(story: Story) -> None:
    """In the whole database of a member that is neither's custodian."""
    public = Public.of(databases_in(story.house.homes["hosp-d"].path))
    about = {key: public.about(handle) for key, handle in story.handles.items()}
    assert all(len(found) > 3 for found in about.values())
    common = frozenset.union(
        *(about[NAME, one] & about[BYSTANDER, other] for one in _AT for other in _AT)
    )
    shared = (about[NAME, "hosp-a"] & about[NAME, "hosp-b"]) - common
    assert not shared, [value.hex() for value in shared]


_AT = ("hosp-a", "hosp-b")


def test_a_value_that_joins_two_handles_would_have_been_seen(story: Story) -> None:
    public = Public.of(databases_in(story.house.homes["hosp-d"].path))
    one, other = (story.handles[NAME, org] for org in _AT)
    joining = b"the same guardian's key, 32 byte"
    public.entries += [frozenset({one, joining}), frozenset({other, joining})]
    assert joining in public.about(one) & public.about(other)


def test_every_database_was_opened_whole(story: Story) -> None:
    """Blocks, state and the rest: a store that the attack does not know would hide everything."""
    for home in story.house.homes.values():
        assert {path.name for path in databases_in(home.path)} == {"blocks", "state"}
        for path in databases_in(home.path):
            assert sum(1 for _ in database(path)) > 10
