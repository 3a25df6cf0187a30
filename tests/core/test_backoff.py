"""When a server that does not answer is tried again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.backoff import BackoffPolicy, retry_delay_ms

HOUR = 3_600_000


def test_quick_at_first_then_ever_slower() -> None:
    policy = BackoffPolicy(quick=(1_000, 5_000), first_ms=600_000, multiplier=2, most_ms=24 * HOUR, jitter=0)
    delays = [retry_delay_ms(failures, 0.5, policy) for failures in range(1, 13)]
    assert delays[:5] == [1_000, 5_000, 600_000, 1_200_000, 2_400_000]
    assert delays[-1] == 24 * HOUR
    assert retry_delay_ms(10**6, 0.5, policy) == 24 * HOUR


def test_no_failure_no_delay() -> None:
    with pytest.raises(ValueError, match="nothing to wait for"):
        retry_delay_ms(0, 0.5, BackoffPolicy())


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_the_jitter_stays_within_its_bounds(failures: int, fraction: float) -> None:
    policy = BackoffPolicy()
    middle = retry_delay_ms(failures, 0.5, policy)
    delay = retry_delay_ms(failures, fraction, policy)
    assert 0.8 * middle - 1 <= delay <= 1.2 * middle + 1
    assert delay >= 1


@given(st.integers(1, 1_000))
def test_it_never_becomes_quicker(failures: int) -> None:
    policy = BackoffPolicy(jitter=0)
    assert retry_delay_ms(failures + 1, 0, policy) >= retry_delay_ms(failures, 0, policy)
