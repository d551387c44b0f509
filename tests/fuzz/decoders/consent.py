"""What a patient agreed to, and who asks: salus/consent/."""

import json
from typing import Any

from salus.consent.derivative import derive
from salus.consent.fhir import import_consents
from salus.consent.query import read_query
from salus.consent.redact import withheld
from salus.consent.terms import decode_terms, encode_terms
from salus.document import split
from tests.fuzz.decoder import Decoder
from tests.salus.consent.test_fhir import ORG, actor, consent
from tests.salus.consent.test_query import QUERY
from tests.salus.consent.test_redact import FHIR, HIV, bundle, composition, resource, without
from tests.salus.consent.world import DENY_ALL, LABELS, PERMIT_ALL, terms, terms_of

PARTY = json.dumps(ORG).encode()
LABEL = {"system": LABELS[0].system, "code": LABELS[0].code}
FULL = consent(
    {
        "type": "permit",
        "period": {"start": "2019-11-01", "end": "2029"},
        "provision": [
            {"type": "deny", "securityLabel": [LABEL], "provision": [{"type": "permit"}]},
            {"type": "deny", "actor": [actor()], "class": [LABEL]},
        ],
    },
    id="c-1",
)


def consents() -> list[bytes]:
    inside = consent({"type": "permit", "actor": [actor("#1")]}, contained=[ORG])
    return [
        json.dumps(each).encode() for each in (FULL, inside, consent(), consent({"type": "deny"}))
    ]


def parties(data: bytes) -> Any:
    return import_consents([json.dumps(FULL).encode()], [data])


def documents() -> list[bytes]:
    inside = resource("Observation", contained=[resource("Medication", id="m")])
    whole = bundle(composition("Condition/c"), resource("Condition", HIV, id="c"), inside)
    return [json.dumps(each).encode() for each in (whole, inside)]


DECODERS = (
    Decoder(
        "consent-terms",
        ("salus.consent.terms:decode_terms",),
        decode_terms,
        lambda: [
            encode_terms(terms_of(*rules)) for rules in ((PERMIT_ALL,), (DENY_ALL, PERMIT_ALL))
        ],
        values=terms.map(encode_terms),
        encode=encode_terms,
    ),
    Decoder(
        "consent-fhir",
        (
            "salus.consent.fhir_forms:read_json",
            "salus.consent.fhir_forms:read_form",
            "salus.consent.fhir_forms:code_of",
        ),
        lambda data: import_consents([data], [PARTY]),
        consents,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "consent-parties",
        (),
        parties,
        lambda: [PARTY],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "consent-query",
        ("salus.consent.query:read_query",),
        read_query,
        lambda: [
            json.dumps(QUERY).encode(),
            json.dumps(QUERY | {"class": [LABEL], "role": [LABEL]}).encode(),
        ],
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "consent-redact",
        ("salus.consent.redact:withheld", "salus.consent.redact:read_json"),
        lambda data: withheld(split(data, FHIR), without(HIV)),
        documents,
        form="json",
        memory_factor=160,
    ),
    Decoder(
        "consent-derive",
        (),
        lambda data: derive(data, without(HIV)),
        documents,
        form="json",
        memory_factor=160,
    ),
)
