"""Every file of the public FHIR sets through the real import: what becomes of it is on record.

The lists under fhir_expected/ hold a line for each file: its name and `accepted`, `schema-less` or
`refused:CODE`. A refused one has its reviewed reason in reviewed.txt. `pytest --rewrite` writes the
lists anew; read the difference.
"""

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from node.fhir import BadFhir, check_fhir
from node.records import RecordService
from salus.document import join, split
from tests.ledger import Ledger
from tests.node.test_records import ledger, make_service  # noqa: F401  the fixture
from tests.salus import data

FHIR, NDJSON = "application/fhir+json", "application/fhir+ndjson"
SETS = ("fhir-r4-examples", "fhir-ips", "synthea-bundles")
EXPECTED = Path(__file__).parent / "fhir_expected"
REFUSED_SHARE_MAX = 0.02  # of the valid R4 examples


def files(name: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(data.path(name).iterdir()):
        raw = path.read_bytes()
        if path.suffix == ".gz":
            yield path.name, gzip.decompress(raw)
        elif path.suffix == ".json":
            yield path.name, raw


def reviewed() -> dict[str, str]:
    rows = (EXPECTED / "reviewed.txt").read_text().splitlines()
    return dict(row.split(": ", 1) for row in rows if row and not row.startswith("#"))


def expected(name: str) -> dict[str, str]:
    rows = (EXPECTED / f"{name}.txt").read_text().splitlines()
    return dict(row.rsplit(" ", 1) for row in rows)


async def imported(service: RecordService, raw: bytes) -> str:
    try:
        staged = await service.stage(raw, FHIR)
    except BadFhir as error:
        return f"refused:{error.code}"
    document = await service.document(staged.record_id)
    assert document is not None
    assert document.content == raw, "the bytes that came are the bytes that are kept"
    return "schema-less" if staged.notices else "accepted"


@pytest.mark.parametrize("name", SETS)
async def test_every_file_is_imported_as_expected(
    name: str,
    ledger: Ledger,  # noqa: F811
    tmp_path: Path,
    rewrite: bool,
) -> None:
    service = make_service(ledger, tmp_path)
    found = {file: await imported(service, raw) for file, raw in files(name)}
    if rewrite:
        rows = (f"{file} {verdict}\n" for file, verdict in found.items())
        (EXPECTED / f"{name}.txt").write_text("".join(rows))
    assert found == expected(name)


def test_at_most_two_percent_are_refused_and_each_has_its_reason() -> None:
    """This holds without the data: the lists are checked in."""
    verdicts = {file: verdict for name in SETS for file, verdict in expected(name).items()}
    refused = {file for file, verdict in verdicts.items() if verdict.startswith("refused:")}
    assert refused == set(reviewed())
    examples = expected("fhir-r4-examples")
    assert len(refused & set(examples)) <= REFUSED_SHARE_MAX * len(examples)
    assert all(len(reason) > 40 for reason in reviewed().values())


def test_documents_are_cut_without_loss() -> None:
    for _, raw in files("fhir-ips"):
        parts = split(raw, FHIR)
        assert join(parts) == (FHIR, raw)
        if b'"Bundle"' in raw:
            assert len(parts) == 1 + len(json.loads(raw)["entry"])


def test_bulk_exports_are_taken_line_by_line() -> None:
    """Synthetic cohorts as FHIR Bulk Data writes them."""
    found = {}
    for path in sorted(data.path("synthea-cohort").glob("*.ndjson.gz")):
        raw = gzip.decompress(path.read_bytes())
        checked = check_fhir(raw, NDJSON)
        assert checked is not None
        assert checked.resources == len(raw.splitlines()) == len(split(raw, NDJSON)) - 1
        found[path.name] = checked.resources
    assert sum(found.values()) == 3_883, found


# -- held against the models' own validation ---------------------------------------------------

# What R4's JSON asks for and the models do not (json.html): there we are the stricter ones.
STRICTER = (
    "must not be empty",
    "must not be null",
    "no field of R4 has this name",  # the library's own names of fields
    "has a form that R4 does not allow here",  # ids above 64, blanks in uris, bad base64
    "required, and not there",  # an `_status` that says only its id
    "is no code of the list that R4 sets",
    # One kind of JSON for another, as in test_fhir.py.
    "must be text",
    "must be an object",
    "must be a number",
    "must be a whole number",
    "must be true or false",
)


def by_models(content: dict[str, Any]) -> bool:
    from fhir.resources.R4B import get_fhir_model_class

    try:
        get_fhir_model_class(content["resourceType"]).model_validate(content)
    except ValidationError:
        return False
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
        return False
    return True


def spoiled(value: Any, chance: random.Random) -> Any:
    """A copy with one place changed: a field lost, doubled, renamed, of another kind."""
    copy = json.loads(json.dumps(value))
    places = [copy]
    for place in places:
        inside = place.values() if isinstance(place, dict) else place
        places += [one for one in inside if isinstance(one, (dict, list)) and one]
    place = chance.choice([one for one in places if one and one is not value])
    key = chance.choice(sorted(place)) if isinstance(place, dict) else chance.randrange(len(place))
    act = chance.randrange(5)
    if act == 0 and isinstance(place, dict):
        del place[key]
    elif act == 1 and isinstance(place, dict):
        place["unheard"] = place.pop(key)
    elif act == 2:
        place[key] = [place[key]]
    elif act == 3:
        place[key] = chance.choice(
            ["", "x", 7, -1, 2.5, True, None, [], {}, {"x": 1}, "2020-13-01"]
        )
    else:
        place[key] = place[key][0] if isinstance(place[key], list) else {"value": place[key]}
    return copy


def test_verdicts_are_those_of_the_model_library_or_stricter_by_a_named_rule() -> None:
    """The shapes are read from the models: whoever reads them wrongly is found here."""
    chance = random.Random(4)
    examples = [raw for name in SETS[:2] for _, raw in files(name) if len(raw) < 20_000]
    refused = 0
    for raw in chance.sample(examples, 120):
        content = json.loads(raw)
        for _ in range(12):
            one = spoiled(content, chance)
            if not isinstance(one.get("resourceType"), str):
                continue
            try:
                checked = check_fhir(json.dumps(one).encode(), FHIR)
            except BadFhir as error:
                refused += 1
                if by_models(one):
                    rules = [fault.rule for fault in error.faults]
                    assert any(rule.startswith(STRICTER) for rule in rules), rules
                continue
            assert checked is not None
            assert checked.schemaless or by_models(one), (
                content["resourceType"],
                content.get("id"),
            )
    assert refused > 600
