"""A list of a patient's records, as a ticket permits it: made for one answer, signed like a derivative.

That somebody has records of a class, and how many, is already a patient's secret, so a list is asked
for, decided and told like a document. It needs no keeper: it opens none. Law of the file: coarse
classes only. Where the terms withhold anything finer, nobody could say of an unopened record whether
it is among it; then nothing is listed. A list says what it leaves out by the question alone, never whether
or how many there are (rule G-14).
"""

import json
from collections.abc import Callable

from node.record_reader import RecordReader
from node.shown import Shown
from salus.consent.decision import Decision
from salus.disclosure import of_opening
from salus.document import SALT_BYTES, commitment, open_all, split
from salus.errors import SalusError
from salus.forms_records import RecordForm
from salus.permit import RecordClass
from salus.reading import FINER_TERMS, OTHER_CLASSES, RECORD_LIST, TOO_MANY, Ask, record_list

LISTED_MAX = 10_000  # the newest; some 200 bytes each, held while the ticket lives
MEDIA_TYPE = "application/json"


def is_list(ask: Ask) -> bool:
    """Does it ask for the list, and not for a record?"""
    return any(one.record_id == RECORD_LIST for one in ask.versions)


def check_list(org: str, ask: Ask) -> None:
    """Raises `SalusError` (BAD_ASK) unless it asks for the list alone, of these very classes."""
    request = ask.request
    wanted = record_list(org, request.handle, request.classes)
    if ask.versions != (wanted,) or ask.records() != request.records:
        raise SalusError("a list is asked for alone, by its commitment", code="BAD_ASK")


def listed(
    records: RecordReader, ask: Ask, decision: Decision, random: Callable[[int], bytes]
) -> Shown:
    """In a thread. Reads the record files of the patient, and no document."""
    allowed, finer = set(ask.request.classes), bool(decision.obligations)
    found = [] if finer else records.of_handle(ask.request.handle)
    rows = [row for form in found if allowed.issuperset(form.classes) for row in _row(form)]
    left_out = {
        OTHER_CLASSES: allowed != set(RecordClass),
        FINER_TERMS: finer,
        TOO_MANY: len(rows) > LISTED_MAX,
    }
    document = {
        "custodian": records.org,
        "handle": ask.request.handle.hex(),
        "height": records.state.height(),
        "classes": [kind.value for kind in ask.request.classes],
        "complete": not any(left_out.values()),
        "left_out": [word for word, so in left_out.items() if so],
        "records": rows[:LISTED_MAX],
    }
    parts = split(json.dumps(document).encode(), MEDIA_TYPE)
    opening = open_all(parts, random(SALT_BYTES))
    return Shown(of_opening(opening), commitment(opening), (b"".join(parts),), derived=True)


def _row(form: RecordForm) -> list[dict[str, object]]:
    """The newest version that is on the chain; none of a record that is not, or was retracted."""
    for version in reversed(form.versions):
        if version.state == "anchored":
            return [
                {
                    "record_id": form.record_id,
                    "version": version.version,
                    "classes": list(form.classes),
                    "media_type": form.media_type,
                    "height": version.height,
                }
            ]
    return []
