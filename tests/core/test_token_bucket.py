"""Token buckets: bursts, refilling, forgetting."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.token_bucket import TokenBuckets


@dataclass(frozen=True)
class Limit:
    per_second: float
    burst_count: int


def test_a_burst_and_then_so_many_a_second() -> None:
    buckets = TokenBuckets(Limit(2, 3))
    assert [buckets.take("a", 0.0) for _ in range(5)] == [0, 0, 0, 500, 500]
    assert buckets.take("b", 0.0) == 0
    assert buckets.take("a", 0.4) == 100
    assert buckets.take("a", 0.5) == 0
    assert [buckets.take("a", 100.0) for _ in range(4)] == [0, 0, 0, 500]


def test_to_look_takes_nothing_and_what_is_given_back_is_there_again() -> None:
    buckets = TokenBuckets(Limit(1, 1))
    assert buckets.wait_ms("a", 0.0) == buckets.wait_ms("a", 0.0) == 0
    assert buckets.take("a", 0.0) == 0
    assert buckets.wait_ms("a", 0.0) == 1000
    buckets.give_back("a", 0.0)
    buckets.give_back("a", 0.0)
    assert [buckets.take("a", 0.0) for _ in range(2)] == [0, 1000]


def test_a_bucket_that_is_never_refilled() -> None:
    buckets = TokenBuckets(Limit(0, 1))
    assert buckets.take("a", 0.0) == 0
    assert buckets.take("a", 1e9) > 0
    assert TokenBuckets(Limit(0, 0)).take("a", 0.0) > 0


def test_the_bucket_unused_for_longest_is_forgotten() -> None:
    buckets = TokenBuckets(Limit(0, 1), max_keys=2)
    assert [buckets.take(key, 0.0) for key in "abc"] == [0, 0, 0]
    assert buckets.take("c", 0.0) > 0 and buckets.take("b", 0.0) > 0
    assert buckets.take("a", 0.0) == 0


@given(
    st.floats(0.001, 50),
    st.integers(1, 20),
    st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=60),
)
def test_never_more_than_the_burst_and_what_was_refilled(
    rate: float, burst: int, pauses: list[float]
) -> None:
    buckets = TokenBuckets(Limit(rate, burst))
    now, taken = 0.0, 0
    for pause in pauses:
        now += pause
        wait = buckets.take("a", now)
        taken += wait == 0
        assert taken <= burst + rate * now + 1e-6
        # What is promised holds: after the wait there is a token.
        assert buckets.wait_ms("a", now + wait / 1000) == 0 or wait == 0
