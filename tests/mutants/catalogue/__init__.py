"""All planted bugs, by rule."""

from tests.mutants.catalogue import (
    bounds,
    chain,
    consent,
    emergency,
    erasure,
    gate,
    identity,
    keeper,
    liveness,
    pages,
    privacy,
    sealing,
    tags,
    views,
    voting,
)
from tests.mutants.mutant import Mutant

MUTANTS: tuple[Mutant, ...] = (
    *voting.MUTANTS,
    *views.MUTANTS,
    *chain.MUTANTS,
    *liveness.MUTANTS,
    *bounds.MUTANTS,
    *consent.MUTANTS,
    *identity.MUTANTS,
    *gate.MUTANTS,
    *keeper.MUTANTS,
    *sealing.MUTANTS,
    *erasure.MUTANTS,
    *emergency.MUTANTS,
    *privacy.MUTANTS,
    *pages.MUTANTS,
    *tags.MUTANTS,
)
