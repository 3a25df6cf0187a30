"""When to try again a server that did not answer. Pure: the caller brings the time and the randomness."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """How long to wait after each failure in a row; all in milliseconds.

    First come the `quick` delays, because most outages are a restart or a dropped connection. Then the wait begins at
    `first_ms` and is multiplied after each further failure, up to `most_ms`. Every wait is spread by up to `jitter` of
    itself either way, so that a peer that comes back is not met by everyone in the same second.
    """

    quick: tuple[int, ...] = (1_000, 5_000, 20_000, 60_000)
    first_ms: int = 10 * 60_000
    multiplier: float = 2.0
    most_ms: int = 24 * 3_600_000
    jitter: float = 0.2


def retry_delay_ms(failures: int, fraction: float, policy: BackoffPolicy) -> int:
    """Milliseconds to wait after `failures` failures in a row (1 or more).

    `fraction` is a random number with 0 <= fraction < 1; it only moves the result within the policy's jitter.
    """
    if failures < 1:
        raise ValueError("there is nothing to wait for before the first failure")
    if failures <= len(policy.quick):
        delay: float = policy.quick[failures - 1]
    else:
        delay = policy.first_ms
        # Multiplied step by step, so that a thousand failures do not overflow.
        for _ in range(failures - len(policy.quick) - 1):
            delay *= policy.multiplier
            if delay >= policy.most_ms:
                break
    delay = min(delay, policy.most_ms)
    return max(1, round(delay * (1 + policy.jitter * (2 * fraction - 1))))
