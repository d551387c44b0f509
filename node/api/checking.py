"""What a request would get now: the outer permits of the chain and the terms that this node knows.

The very functions of the gate (salus/consent/weigh.py), on the openings of the vault. It asks for
nothing, writes nothing, and shows obligations, which name what a patient hides: for the patient, and
for the organisation that keeps the records.
"""

from node.api.problems import ApiError
from node.api.request import Call
from salus.consent.decision import to_json
from salus.consent.weigh import citable, weigh, weigh_own
from salus.consent.weighing import OWN_PURPOSES
from salus.forms_me import CheckAnswer
from salus.granting import Grantee, question
from salus.permit import Docket
from salus.relation import DAY_MS
from salus.scope import classes_of, purpose_of
from salus.site import parse_site
from salus.wire_json import from_json

CHECK_ERRORS = (
    "UNKNOWN_RELATION",
    "OPENING_MISSING",
    "BAD_GRANTEE",
    "BAD_SCOPE",
    "BAD_PURPOSE",
    "BAD_SITE",
    "NOT_ENABLED",
    "UNSUPPORTED_MEDIA_TYPE",
)


def checked(
    call: Call,
    handle: bytes,
    actor: str,
    scopes: tuple[str, ...],
    purpose: str,
    site: str | None = None,
) -> CheckAnswer:
    """For a relation of this node's organisation. Raises `SalusError` (UNKNOWN_RELATION,
    OPENING_MISSING, BAD_GRANTEE, BAD_SCOPE, BAD_PURPOSE, BAD_SITE, NOT_ENABLED)."""
    org, openings = call.view.status().member, call.view.openings
    if org is None or openings is None:
        raise ApiError("NOT_ENABLED", "this node keeps no documents")
    grantee, why, classes = Grantee.parse(actor), purpose_of(purpose), classes_of(scopes)
    where_from = None if site is None else parse_site(site)
    asked, now_ms = question(grantee, scopes, why, where_from), call.sessions.now_ms()
    where = {"org": org, "handle": handle.hex()}
    ask = call.view.contracts.query
    if ask("identity", "relation_of", where)[1] is None:
        raise ApiError("UNKNOWN_RELATION")
    height, found = ask("consent", "docket", where | {"grantee": grantee.org, "purpose": why.value})
    docket = from_json(Docket, found)
    opened = {permit.id: openings.opened(handle, permit.terms) for permit in docket.permits}
    known = {permit: one for permit, one in opened.items() if one is not None}
    cited = citable(docket, classes, now_ms // DAY_MS)
    if cited is None and grantee.org == org and why in OWN_PURPOSES:
        weighed = weigh_own(docket, known, classes, asked, now_ms)
    else:
        weighed = weigh(docket, known, cited, classes, asked, now_ms)
    said = to_json(weighed.decision)
    return CheckAnswer(
        decision=said["decision"],
        reason=said["reason"],
        outer=weighed.outcome.reason.value,
        obligations=tuple(said["obligations"]),
        consents=tuple(said["consents"]),
        height=height,
    )
