"""Every decoder of bytes from outside, with a bounded share of inputs; `./scripts/fuzz` has no end.

Only documented errors, the same answer twice, one encoding for one value (rule S2)."""

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.decoder import Decoder, check, check_valid
from tests.fuzz.decoders import ALL

EXAMPLES, EXAMPLES_SLOW = 40, 12


@pytest.mark.parametrize("decoder", ALL, ids=lambda decoder: decoder.name)
def test_valid_inputs_are_decoded(decoder: Decoder) -> None:
    for data in decoder.seeds:
        check_valid(decoder, data)


@pytest.mark.parametrize("decoder", ALL, ids=lambda decoder: decoder.name)
def test_only_documented_errors_come_out(decoder: Decoder) -> None:
    assert decoder.seeds

    @settings(
        max_examples=EXAMPLES_SLOW if decoder.slow else EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(decoder.inputs())
    def run(data: bytes) -> None:
        check(decoder, data)

    run()
