"""When to obtain a certificate, how long to wait after a failure, and which challenge to answer first. Pure."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from homeserver.config.settings import ChallengeType

FIRST_WAIT = datetime.timedelta(minutes=15)
LONGEST_WAIT = datetime.timedelta(days=1)
WAIT_WHEN_LIMITED = datetime.timedelta(hours=3)
"""How long to leave an ACME server alone that says that there were too many requests, and not until when."""

Time = datetime.datetime


def renewal_time(not_before: Time, not_after: Time, threshold_days: int) -> Time:
    """When a certificate is to be renewed: `threshold_days` before its end, or a third of its lifetime if that is less."""
    return not_after - min(datetime.timedelta(days=threshold_days), (not_after - not_before) / 3)


def wait_after(failures: int) -> datetime.timedelta:
    """How long to wait after so many failures in a row: 15 minutes, then twice as long each time, up to a day.

    Let's Encrypt permits five failed validations of a name in an hour, and each try may be two.
    """
    doublings = min(failures - 1, 10)  # a limit, so that the number has one
    return min(FIRST_WAIT * (1 << doublings), LONGEST_WAIT)


def wait_when_limited(detail: str, now: Time) -> datetime.timedelta:
    """How long to wait when there were too many requests: Let's Encrypt says `retry after 2026-01-31 12:00:00 UTC`."""
    match = re.search(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?: UTC|Z)", detail)
    if match:
        try:
            until = datetime.datetime.fromisoformat(f"{match[1]}T{match[2]}+00:00")
        except ValueError:
            return WAIT_WHEN_LIMITED
        # A week is the longest of Let's Encrypt's limits.
        return min(max(until - now, FIRST_WAIT), datetime.timedelta(days=8))
    return WAIT_WHEN_LIMITED


def order_of_challenges(
    allowed: Sequence[ChallengeType], tls_ports: Sequence[int], worked: str | None
) -> tuple[ChallengeType, ...]:
    """The challenges to try, one after the other: what worked the last time first.

    TLS-ALPN-01 comes to port 443 from outside. Without a TLS listener on that port it works only if something forwards it here,
    so HTTP-01 is tried first.
    """
    likely = "tls-alpn-01" if 443 in tls_ports else "http-01"
    return tuple(sorted(allowed, key=lambda kind: (kind != worked, kind != likely)))
