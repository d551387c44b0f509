"""What a patient allows, and what follows for one request: terms, decision, redaction, FHIR import.

    terms.py      the inner terms of a consent: rules and exceptions, canonical bytes, commitment
    request.py    who asks, for what, for which classes
    decide.py     terms, request, time → decision; the one function that gate, page and auditor use
    weigh.py      outer permits and inner terms together
    weighing.py   what was weighed for one ticket, and the commitment to it
    decision.py   verdict, reason, obligations
    fhir.py       FHIR R4 Consent → terms
    query.py      a question as JSON → request
    redact.py     obligations → which parts of a document are withheld
    derivative.py obligations → the document without what must go, a finer cut

Pure: time is a number that arrives, and nothing here reads a file. docs/consent.md says it in
plain words.
"""
