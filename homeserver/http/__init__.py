"""The HTTP side: endpoints, authentication, decoding, errors and rate limits. Knows nothing of Matrix's use
cases.
"""

from homeserver.http.application import build_application, make_runner
from homeserver.http.authentication import Authenticators
from homeserver.http.binding import BindingError, Services
from homeserver.http.endpoint import (
    ACCESS_TOKEN,
    NO_AUTH,
    OPTIONAL_ACCESS_TOKEN,
    SIGNED_REQUEST,
    Auth,
    Endpoint,
    endpoint,
    endpoints_in,
    endpoints_of,
)
from homeserver.http.forwarded import TrustedProxies
from homeserver.http.peer_limits import PeerLimits
from homeserver.http.rate_limits import RateLimiter
from homeserver.http.request import Request
from homeserver.http.responses import RawJSON, Response

__all__ = [
    "ACCESS_TOKEN",
    "NO_AUTH",
    "OPTIONAL_ACCESS_TOKEN",
    "SIGNED_REQUEST",
    "Auth",
    "Authenticators",
    "BindingError",
    "Endpoint",
    "PeerLimits",
    "RateLimiter",
    "RawJSON",
    "Request",
    "Response",
    "Services",
    "TrustedProxies",
    "build_application",
    "endpoint",
    "endpoints_in",
    "endpoints_of",
    "make_runner",
]
