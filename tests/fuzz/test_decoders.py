"""Every decoder of bytes from outside, with a bounded share of inputs; `./scripts/fuzz` has no end.

Only documented errors, the same answer twice, one encoding for one value (rule S2)."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.decoder import Decoder, check, check_valid
from tests.fuzz.decoders import ALL

EXAMPLES, EXAMPLES_SLOW = 25, 8
# Of those that share their function with one that comes before (paths, methods, answers).
EXAMPLES_ALIKE = 6

FIRST = {decoder.covers: decoder for decoder in reversed(ALL)}


@pytest.mark.parametrize("decoder", ALL, ids=lambda decoder: decoder.name)
def test_valid_inputs_are_decoded(decoder: Decoder) -> None:
    for data in decoder.seeds:
        check_valid(decoder, data)


@pytest.mark.parametrize("decoder", ALL, ids=lambda decoder: decoder.name)
def test_only_documented_errors_come_out(decoder: Decoder) -> None:
    assert decoder.seeds

    @settings(
        max_examples=_share(decoder),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(decoder.inputs())
    def run(data: bytes) -> None:
        check(decoder, data)

    run()


def _share(decoder: Decoder) -> int:
    if decoder.covers and FIRST[decoder.covers] is not decoder:
        return EXAMPLES_ALIKE
    return EXAMPLES_SLOW if decoder.slow else EXAMPLES
