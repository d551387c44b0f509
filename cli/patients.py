"""What the commands of a patient read of the chain, and a decision by what his wallet knows."""

from cli.wallets import OpenWallet
from salus.consent.decision import Decision
from salus.consent.terms import Code, decode_terms
from salus.consent.weigh import Opened, citable, weigh
from salus.granting import Grantee, question
from salus.permit import Docket, Purpose
from salus.relation import DAY_MS
from salus.scope import classes_of


def decide_both(
    wallet: OpenWallet,
    docket: Docket,
    grantee: Grantee,
    scopes: tuple[str, ...],
    purpose: Purpose,
    now_ms: int,
    site: Code | None = None,
) -> Decision:
    """Outer permit and inner terms together: what a ticket asked now would get. Raises
    `BadMessage` (OPENING_MISSING)."""
    listed = {permit.id for permit in docket.permits}
    known = {
        one.permit: Opened(one.salt, decode_terms(one.terms))
        for one in wallet.contents.openings
        if one.permit in listed
    }
    classes = classes_of(scopes)
    cited = citable(docket, classes, now_ms // DAY_MS)
    asked = question(grantee, scopes, purpose, site)
    return weigh(docket, known, cited, classes, asked, now_ms).decision
