"""The loop's own histograms say what prometheus_client's would."""

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from node.tally import Tally

BOUNDS = (0.001, 0.5, 1, 10)
VALUES = (0.0, 0.0005, 0.001, 0.0011, 0.5, 3.25, 10, 11)


def lines(registry: CollectorRegistry) -> list[str]:
    return [
        line for line in generate_latest(registry).decode().splitlines() if "_created" not in line
    ]


def test_it_exports_what_prometheus_client_would() -> None:
    mine, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("salus_a_seconds", "A.", BOUNDS, ["phase"])
    mine.register(tally)
    histogram = Histogram("salus_a_seconds", "A.", ["phase"], buckets=BOUNDS, registry=theirs)
    for phase in ("order", "write"):
        for value in VALUES:
            tally.labels(phase).observe(value)
            histogram.labels(phase).observe(value)
    assert lines(mine) == lines(theirs)


def test_without_labels_it_is_there_before_the_first_value() -> None:
    registry = CollectorRegistry()
    registry.register(Tally("salus_b", "B.", BOUNDS))
    assert 'salus_b_bucket{le="+Inf"} 0.0' in lines(registry)
    assert "salus_b_count 0.0" in lines(registry)


def test_equal_values_are_one_observation() -> None:
    once, often = Tally("a", "A.", BOUNDS), Tally("a", "A.", BOUNDS)
    once.observe(2, 500)
    for _ in range(500):
        often.observe(2)
    assert once.labels().counts == often.labels().counts
    assert once.labels().sum == often.labels().sum
    assert once.labels().count == 500
