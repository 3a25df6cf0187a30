"""From what aiohttp raises, and from error answers, to a `FederationError` that says what happened and what
to do.
"""

from __future__ import annotations

import os
import re
import ssl

import aiohttp

from homeserver.core.canonical_json import CanonicalJSONError, decode_json
from homeserver.federation.addresses import BlockedAddress
from homeserver.federation.discovery import Candidate, Destination
from homeserver.federation.errors import FederationError, Stage
from homeserver.federation.names import UnresolvedName

_ERRNO = re.compile(r"\[Errno (\d+)\]")


def connection_refused(found: Destination, candidate: Candidate, error: Exception) -> FederationError:
    """No connection to `candidate` could be made."""
    where = f"{candidate.host} port {candidate.port}"
    stage, reason = describe(error, where, found.tls_name)
    return FederationError(found.server_name, stage, reason)


def describe(error: Exception, where: str, tls_name: str) -> tuple[Stage, str]:
    """Why there is no connection to `where` (host and port), whose certificate must be valid for `tls_name`."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "tls", f"{where}: {_certificate(tls_name, error.certificate_error)}"
        case aiohttp.ClientConnectorSSLError():
            return "tls", f"{where}: the TLS handshake failed: {error.os_error}; is this an HTTPS port?"
        case aiohttp.ClientConnectorError(os_error=BlockedAddress() as blocked):
            hint = "if that is intended, add it to ip_range_allowlist"
            return (
                "blocked",
                f"{where}: this server does not connect to {blocked.address} ({blocked.network}): {hint}",
            )
        case aiohttp.ClientConnectorError(os_error=UnresolvedName() as unresolved):
            return "dns", f"{where}: {unresolved.reason}"
        case aiohttp.ClientConnectorError():
            return "connect", f"{where}: {_system_words(error.os_error)}"
        case aiohttp.ConnectionTimeoutError():
            return "connect", f"{where}: no TCP and TLS connection in time; a firewall may drop the packets"
        case _:
            return "discovery", f"{where}: {error}"


def _system_words(error: OSError) -> str:
    """What the operating system said, without asyncio's words around it; of several addresses each different thing once."""
    numbers = dict.fromkeys(int(number) for number in _ERRNO.findall(str(error)))
    return ", ".join(os.strerror(number).lower() for number in numbers) or error.strerror or str(error)


def _certificate(tls_name: str, error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid for a server that must be {tls_name!r}: {error.verify_message}"
    return f"the certificate is not valid for a server that must be {tls_name!r}: {error}"


def connection_lost(destination: str, error: Exception) -> FederationError:
    """The connection was there, and failed before the answer was complete."""
    match error:
        case aiohttp.ClientResponseError():
            return FederationError(destination, "http", f"the answer is not valid HTTP: {error.message:.200}")
        case aiohttp.ClientPayloadError():
            return FederationError(
                destination, "http", f"the answer is incomplete or garbled: {error!s:.200}"
            )
        case TimeoutError():
            return FederationError(destination, "timeout", "the connection was silent for too long")
        case _:
            reason = str(error) or type(error).__name__
            return FederationError(destination, "connect", f"the connection was lost: {reason:.200}")


async def answered(destination: str, response: aiohttp.ClientResponse, limit: int) -> FederationError:
    """The error for an answer that is not 2xx. Its body is read up to `limit` bytes, and may be anything."""
    body: dict[str, object] | None = None
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > limit:
            break
    try:
        decoded = decode_json(bytes(content)) if len(content) <= limit else None
    except CanonicalJSONError:
        decoded = None  # an error page of a proxy: the status is all there is to say
    if isinstance(decoded, dict):
        body = decoded
    errcode = body.get("errcode") if body else None
    message = body.get("error") if body else None
    reason = f"answered with status {response.status}"
    if 300 <= response.status < 400:
        reason += f" (a redirect to {response.headers.get('Location', '?'):.200}, not followed here)"
    if isinstance(errcode, str):
        reason += f" {errcode:.100}"
    elif body is None:
        reason += " and no JSON: something in front of the server may have answered"
    if isinstance(message, str):
        reason += f": {message:.300}"
    return FederationError(
        destination,
        "http",
        reason,
        status=response.status,
        errcode=errcode if isinstance(errcode, str) else None,
        body=body,
    )
