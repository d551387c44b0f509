"""The applications of this software. A new one is a file beside this and a line here."""

from contracts import (
    emergency_review,
    emergency_summary,
    enrolment,
    governance_queries,
    governance_turn,
    member_queries,
    offers,
    recovery,
    rotation,
)
from contracts.access import access
from contracts.consent import consent
from contracts.emergency import emergency
from contracts.erasure import erasure
from contracts.governance import governance
from contracts.identity import identity
from contracts.members import MEMBERSHIP, members
from contracts.records import records
from contracts.registry import Registry


def registry() -> Registry:
    """Every contract, in every version that old heights may still need."""
    assert governance.turn is governance_turn.take_turn, "else what was voted would never come"
    # Imported for their queries.
    assert governance.queries["agenda"].answer is governance_queries.agenda
    assert members.queries["key"].answer is member_queries.key
    assert members.methods["offer"].run is offers.offer
    # Imported for their methods: else nobody could rotate a key or accept terms.
    assert identity.methods["rotate_key"].run is rotation.rotate_key
    assert identity.methods["recover_finish"].run is recovery.recover_finish
    assert identity.methods["accept_terms"].run is enrolment.accept_terms
    assert emergency.methods["review"].run is emergency_review.review
    assert emergency.methods["deposit"].run is emergency_summary.deposit
    return Registry(
        (access, consent, emergency, erasure, governance, identity, members, records), MEMBERSHIP
    )
