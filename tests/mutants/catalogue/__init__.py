"""All planted bugs, by rule."""

from tests.mutants.catalogue import bounds, chain, consent, liveness, views, voting
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *voting.MUTANTS,
    *views.MUTANTS,
    *chain.MUTANTS,
    *liveness.MUTANTS,
    *bounds.MUTANTS,
    *consent.MUTANTS,
)
