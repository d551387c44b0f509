"""The demonstration's second story: a patient decides, and an ambulance does not have to wait.

Told by the commands that people type, each in a process of its own. Law of the file: as in cli/demo.py,
nothing is told that was not checked.
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cli.story import Story
from cli.typed import Done, salus
from salus.ips.document import summary
from salus.ips.joined import JoinedView, Source
from salus.ips.results import ResultCode, results
from salus.ips.sections import codings
from salus.report import utc

PATIENT = "p1"
PURPOSE = "TREAT"
ANSWER_S = 60.0  # for what another hospital's node does by itself
POLL_S = 0.2

# name, hospital, role
_STAFF = (
    ("dr-amara", "hosp-a", "clinician"),
    ("dr-bo", "hosp-b", "clinician"),
    ("dr-cleo", "hosp-c", "emergency"),
    ("dr-dov", "hosp-d", "clinician"),
)


@dataclass
class Care:
    """The cast and the acts of the second story; `run` is the table of contents."""

    story: Story
    home: Path  # of the testnet
    history: bytes  # a FHIR document
    folder: Path = field(init=False)
    record: str = ""
    reads: int = 0  # at hospital A

    def __post_init__(self) -> None:
        self.folder = self.home / "care"

    async def run(self) -> Path:
        """Returns the patient's proof file, made while the record was there."""
        self.folder.mkdir()
        await self._people()
        await self._history_at_a()
        card = await self._in_case_of_emergency()
        await self._refused_without_consent()
        consent = await self._grant()
        await self._visit_at_b()
        await self._revoke(consent)
        case = await self._night_at_c(card)
        await self._afterwards(case)
        await self._trail()
        await self._erase()
        return self.folder / "history.proof"

    # ── act 1: who is who ────────────────────────────────────────────────────

    async def _people(self) -> None:
        for name, org, role in _STAFF:
            await self._ok("staff", "add", name, "--at", org, "--role", role)
        at_a = await self._ok("patient", "register", PATIENT, "--at", "hosp-a")
        at_b = await self._ok("patient", "register", PATIENT, "--at", "hosp-b")
        self.story.expect(at_a["handle"] != at_b["handle"], "two handles")
        self.story.tell(
            "A patient registered at hospitals A and B with a key of his own; four doctors got keys",
            "His two handles have nothing in common: nobody joins them by reading the chain",
        )

    async def _history_at_a(self) -> None:
        file = self.folder / "history.json"
        file.write_bytes(self.history)
        added = await self._ok("record", "add", file, "--patient", PATIENT, "--at", "hosp-a")
        self.record = added["record_id"]
        straight = await self._salus("record", "get", self.record, "--node", "hosp-a")
        self.story.expect(straight.code != 0, "nobody reads it without a ticket, A neither")
        self.story.tell(
            f"Hospital A stored his history and anchored commitment {added['commitment'][:12]}…",
            "Its key is sealed to A's keeper: without a ticket on the chain A's own node cannot open it",
        )

    async def _in_case_of_emergency(self) -> str:
        view = JoinedView()
        source = Source("hosp-a", self.record, 1, "", None)
        view.add(b'{"resourceType":"Patient"}', source)  # a document of one's own may name nobody
        view.add(self.history, source)
        file = self.folder / "summary.json"
        file.write_bytes(summary(view, utc(time.time_ns() // 1_000_000)).document)
        await self._ok("emergency", "summary", PATIENT, file, "--at-org", "hosp-a", "--as", PATIENT)
        card = await self._ok("patient", "card", "issue", PATIENT, "--at", "hosp-a")
        self.story.tell(
            "He left an emergency summary (IPS) with the members, sealed, its key in shares, and carries a card",
            "No single hospital can open it; the card leads to his handle and names nobody",
        )
        return str(card["payload"])

    # ── act 2: consent ───────────────────────────────────────────────────────

    async def _refused_without_consent(self) -> None:
        refused = await self._read("dr-bo", "nothing.json")
        self.story.expect(refused.code == 1, "exit 1")
        self.story.expect(not (self.folder / "nothing.json").exists(), "no file")
        self.story.tell(
            f"A doctor at hospital B asked for the history and was refused ({refused.document['reason']})",
            "He had permitted nothing, and the default is no; that she asked is on record",
        )

    async def _grant(self) -> str:
        granted = await self._ok(
            "consent", "grant", "--patient", PATIENT, "--at-org", "hosp-a", "--to", "hosp-b",
            "--scope", "summary,conditions,medications,results,documents,other",
            "--purpose", PURPOSE, "--until", "90d",
        )  # fmt: skip
        self.story.tell(
            f"He permitted hospital B to read for treatment, for 90 days (block {granted['height']})",
            "Whom, why and until when stand on the chain; what is finer only as a salted hash",
        )
        return str(granted["consent_id"])

    async def _visit_at_b(self) -> None:
        known, searched = _examined(self.history), 0
        avoided = ""
        if known is not None:
            found = await self._ok(
                "record", "find", "--patient", PATIENT, "--code", known.code, "--as", "dr-bo",
                "--purpose", PURPOSE,
            )  # fmt: skip
            self.story.expect(found["avoidable"], "exit 0 says that an order can be avoided")
            newest = found["found"][0]
            self.story.expect(newest["record_id"] == self.record, "in the record of hospital A")
            self.story.expect(newest["when"][:10] == known.day, "and it is the newest")
            searched = found["reads"] + sum(
                one["custodian"] == "hosp-a" and one["decision"] == "PERMIT"
                for one in found["lists"]
            )
            avoided = f"; «{known.name}» of {known.day} was found before it was ordered again"
        read = await self._read("dr-bo", "at-b.json", "--proof", self.folder / "history.proof")
        self.story.expect(read.code == 0, "exit 0")
        self.story.expect(read.document["decision"] == "PERMIT", "PERMIT")
        content = (self.folder / "at-b.json").read_bytes()
        self.story.expect(content == self.history, "every byte that hospital A stored")
        self.reads = 1 + searched
        self.story.tell(
            f"Now she read it, under a ticket in block {read.document['ticket_height']}{avoided}",
            "No byte left hospital A before the ticket was certified: who looks is on record first",
        )

    async def _revoke(self, consent: str) -> None:
        revoked = await self._ok("consent", "revoke", consent, "--as", PATIENT)
        refused = await self._read("dr-bo", "again.json")
        self.story.expect(refused.code == 1, "exit 1 after the revocation")
        self.story.expect(not (self.folder / "again.json").exists(), "no file")
        self.story.tell(
            f"He revoked (block {revoked['height']}); her next request was refused "
            f"({refused.document['reason']})",
            "Effective with the block: nobody is called, no list is brought up to date",
        )

    # ── act 3: unconscious at C, at night ────────────────────────────────────

    async def _night_at_c(self, card: str) -> str:
        opened = await self._ok(
            "emergency", "open", "--card", card, "--at-org", "hosp-a", "--reason", "unconscious",
            "--as", "dr-cleo", "-o", self.folder / "at-night.json",
        )  # fmt: skip
        case = str(opened["case_id"])
        seen = json.loads((self.folder / "at-night.json").read_bytes())
        self.story.expect(seen["type"] == "document", "the summary and nothing else")
        await self._ok("emergency", "cosign", case, "--as", "dr-dov")
        self.story.tell(
            "At night he lay unconscious at hospital C: a doctor opened his summary by the card, a colleague "
            "of hospital D agreed",
            "The case stood on the chain before a share was given; hospital A was not asked for anything",
        )
        return case

    async def _afterwards(self, case: str) -> None:
        await self._ok(
            "emergency",
            "justify",
            case,
            "--as",
            "dr-cleo",
            "--text",
            "unconscious, allergy unknown",
        )
        shown = await self._until(
            "a reviewer is drawn",
            lambda: self._ok("emergency", "show", case),
            lambda document: bool(document["reviewers"]),
        )
        reviewer = str(shown["reviewers"][0])
        self.story.expect(reviewer == "hosp-b", "the only hospital without a part in it")
        await self._ok("emergency", "review", case, "--as", reviewer, "--verdict", "justified")
        self.story.tell(
            f"She justified it, and {reviewer}, drawn because it had no part in it, found it justified",
            "Who opens without need loses the right to open alone; who does not answer for it too",
        )

    # ── act 4: what he sees, and what he ends ────────────────────────────────

    async def _trail(self) -> None:
        shown = await self._ok(
            "audit", "show", "--patient", PATIENT, "--at-org", "hosp-a", "--as", PATIENT
        )
        (trail,) = shown["trails"]
        kinds = [entry["kind"] for entry in trail["entries"]]
        self.story.expect(trail["complete"] and trail["clean"], "complete, and as the tickets say")
        self.story.expect(kinds.count("denied") == 2, "both refusals")
        self.story.expect(kinds.count("read") == self.reads, "every read, the search too")
        self.story.expect("emergency" in kinds, "the night at C")
        export = self.folder / "trail.zip"
        await self._ok(
            "audit", "export", "--patient", PATIENT, "--at-org", "hosp-a", "--as", PATIENT,
            "--format", "fhir", "-o", export,
        )  # fmt: skip
        self.story.tell(
            f"He looked who had looked: {len(kinds)} entries, the list proved complete, and took it along as FHIR "
            "AuditEvents with proofs",
            "Each ticket names the one before: nobody can leave one out unseen",
        )

    async def _erase(self) -> None:
        asked = await self._ok(
            "erasure", "request", "--patient", PATIENT, "--at-org", "hosp-a", "--record",
            self.record, "--yes",
        )  # fmt: skip
        case = str(asked["case_id"])
        shown = await self._until(
            "hospital A has erased",
            lambda: self._ok("erasure", "show", case, "--at-org", "hosp-a"),
            lambda document: _reply(document, "hosp-a") == "erased",
        )
        gone = await self._read("dr-amara", "gone.json")
        self.story.expect(gone.code == 5, "exit 5")
        self.story.expect(gone.document["error"]["code"] == "ERASED", "ERASED")
        waits = ", ".join(shown["unanswered"])
        self.story.tell(
            f"He had the record erased at A: key, salts and file are gone; still to answer: {waits}",
            "Who read it is asked as well; an answer is a signed claim, and the chain shows who owes one",
        )

    # ── the tools ────────────────────────────────────────────────────────────

    async def _read(self, staff: str, name: str, *more: object) -> Done:
        return await self._salus(
            "record", "get", self.record, "--as", staff, "--purpose", PURPOSE,
            "-o", self.folder / name, *more,
        )  # fmt: skip

    async def _until(
        self,
        what: str,
        ask: Callable[[], Any],
        holds: Callable[[dict[str, Any]], bool],
    ) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_S
        while True:
            document: dict[str, Any] = await ask()
            if holds(document):
                return document
            self.story.expect(time.monotonic() < deadline, what)
            await asyncio.sleep(POLL_S)

    async def _ok(self, *words: object) -> dict[str, Any]:
        done = await self._salus(*words)
        said = " ".join(done.words[:2])
        self.story.expect(done.code == 0, f"salus {said} ends well ({done.document.get('error')})")
        return done.document

    async def _salus(self, *words: object) -> Done:
        return await salus(self.home, words)


class _Known(NamedTuple):
    """A result of a document."""

    name: str
    code: str
    day: str


def _examined(content: bytes) -> _Known | None:
    """The newest result with a code and a time."""
    view = JoinedView()
    view.add(content, Source("hosp-a", "", 1, "", None))
    newest: _Known | None = None
    for held in view.of_kinds("Observation"):
        for system, code in codings(held.content.get("code")):
            wanted = f"{system}|{code}" if system else code
            for result in results(view, ResultCode.parse(wanted), 0)[:1]:
                if newest is None or result.at[:10] >= newest.day:
                    name = str(held.content["code"].get("text") or code)
                    newest = _Known(name, wanted, result.at[:10])
    return newest


def _reply(case: dict[str, Any], member: str) -> str | None:
    return next((one["reply"] for one in case["holders"] if one["member"] == member), None)
