"""`/.well-known/matrix/server`: where it is, which redirects are followed, what an answer says and how long it may be
believed. Pure; `locator` does the IO.

Spec: https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

from homeserver.core.canonical_json import CanonicalJSONError, decode_json
from homeserver.core.identifiers import is_valid_server_name
from homeserver.federation.discovery import WellKnownAnswer

MAX_BODY_BYTES = 50 * 1024
MAX_REDIRECTS = 5
REDIRECTS = frozenset((301, 302, 303, 307, 308))

# Seconds. "The recommended sensible default is 24 hours. Servers should additionally impose a maximum cache
# time for responses: 48 hours is recommended. Errors are recommended to be cached for up to an hour, and
# servers are encouraged to exponentially back off for repeated failures."
DEFAULT_LIFETIME = 24 * 3600.0
MAX_LIFETIME = 48 * 3600.0
MIN_LIFETIME = 5 * 60.0  # whatever the headers say: discovery runs for every new connection
FIRST_ERROR_LIFETIME = 60.0
MAX_ERROR_LIFETIME = 3600.0


class NotFollowed(ValueError):
    """A redirect to where nobody goes. `reason` is for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def well_known_url(hostname: str, port: int = 443, name: str = "server") -> str:
    """Where a host (an IPv6 address without brackets) has it. name: `server`, or `client` for what clients look for."""
    host = f"[{hostname}]" if ":" in hostname else hostname
    return f"https://{host}{'' if port == 443 else f':{port}'}/.well-known/matrix/{name}"


def next_hop(hops: Sequence[str], location: str) -> str:
    """The URL that the last of these redirects to; each was asked for, in this order.

    A redirect to plain HTTP is not followed: the certificates are what makes the delegation trustworthy. Raises NotFollowed, and
    ValueError for a `location` that is no URL.
    """
    target = urljoin(hops[-1], location)
    if urlsplit(target).scheme != "https":
        raise NotFollowed(f"redirected to {target:.200}, which is not HTTPS")
    if target in hops or len(hops) > MAX_REDIRECTS:
        raise NotFollowed(f"redirected in a loop or too often, last to {target:.200}")
    return target


def parse_well_known(body: bytes) -> str:
    """The delegated server name. The content type does not matter. Raises ValueError with the reason."""
    try:
        answer = decode_json(body)
    except CanonicalJSONError as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(answer, dict):
        raise ValueError("not a JSON object")
    if "m.server" not in answer:
        raise ValueError("m.server is missing")
    delegated = answer["m.server"]
    if not isinstance(delegated, str) or not is_valid_server_name(delegated):
        raise ValueError(f"m.server is not a server name: {delegated!r:.100}")
    return delegated


def lifetime(headers: Mapping[str, str], now: float) -> float:
    """Seconds that a successful answer may be used, by its Cache-Control and Expires headers (any case).

    `now` is the time of arrival, in seconds since the epoch.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    return min(max(_requested_lifetime(lowered, now), MIN_LIFETIME), MAX_LIFETIME)


def _requested_lifetime(headers: Mapping[str, str], now: float) -> float:
    directives: dict[str, str] = {}
    for directive in headers.get("cache-control", "").split(","):
        name, _, value = directive.strip().partition("=")
        directives[name.strip().lower()] = value.strip().strip('"')
    if "no-store" in directives or "no-cache" in directives:
        return 0.0
    max_age = directives.get("max-age")
    if max_age is not None:
        # RFC 9111, 4.2.1: invalid freshness information is taken as stale.
        return float(max_age) if max_age.isascii() and max_age.isdigit() and len(max_age) < 12 else 0.0
    if "expires" in headers:
        try:
            return parsedate_to_datetime(headers["expires"]).timestamp() - now
        except (ValueError, OverflowError):
            return 0.0
    return DEFAULT_LIFETIME


@dataclass(frozen=True)
class _Entry:
    answer: WellKnownAnswer
    fetched_at: float
    expires_at: float
    failures: int = 0  # in succession
    valid_until: float = 0.0  # a delegation may outlive a failed refresh until then


class WellKnownCache:
    """What the hosts' .well-known said, at most `capacity` of them. Times are seconds since the epoch."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._capacity = capacity

    def get(self, hostname: str, now: float) -> WellKnownAnswer | None:
        """The answer to use without asking again, if there is one."""
        entry = self._entries.get(hostname)
        return entry.answer if entry is not None and now < entry.expires_at else None

    def expires_at(self, hostname: str) -> float:
        """When the answer must be asked for again; 0 if there is none."""
        entry = self._entries.get(hostname)
        return 0.0 if entry is None else entry.expires_at

    def succeed(
        self, hostname: str, delegated: str, headers: Mapping[str, str], now: float
    ) -> WellKnownAnswer:
        """Keep a valid answer as long as its headers allow."""
        seconds = lifetime(headers, now)
        answer = WellKnownAnswer(delegated, f"may be cached for {seconds:.0f} s")
        self._put(hostname, _Entry(answer, now, now + seconds, valid_until=now + MAX_LIFETIME))
        return answer

    def fail(self, hostname: str, reason: str, now: float, *, temporary: bool) -> WellKnownAnswer:
        """Keep a failure: an hour if the server gave a definite answer, else from a minute on, doubling to an
        hour.

        A delegation that is known and younger than the maximum cache time survives a temporary failure, so
        that a restart of somebody's web server does not send their federation traffic to the wrong place.
        """
        previous = self._entries.get(hostname)
        failures = 1 if previous is None else previous.failures + 1
        seconds = MAX_ERROR_LIFETIME
        if temporary:
            seconds = min(FIRST_ERROR_LIFETIME * 2 ** min(failures - 1, 10), MAX_ERROR_LIFETIME)
        answer = WellKnownAnswer(None, reason)
        valid_until = 0.0
        if temporary and previous is not None and previous.answer.delegated and now < previous.valid_until:
            valid_until = previous.valid_until
            seconds = min(seconds, valid_until - now)
            answer = WellKnownAnswer(previous.answer.delegated, f"the last answer; now: {reason}")
        self._put(hostname, _Entry(answer, now, now + seconds, failures, valid_until))
        return answer

    def expire_if_older(self, hostname: str, age: float, now: float) -> None:
        """Ask again next time if the answer is older than `age` seconds: what it says has turned out not to
        work.
        """
        entry = self._entries.get(hostname)
        if entry is not None and now - entry.fetched_at > age:
            self._put(
                hostname, _Entry(entry.answer, entry.fetched_at, now, entry.failures, entry.valid_until)
            )

    def _put(self, hostname: str, entry: _Entry) -> None:
        self._entries[hostname] = entry
        self._entries.move_to_end(hostname)
        if len(self._entries) > self._capacity:
            self._entries.popitem(last=False)
