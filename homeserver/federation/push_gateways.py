"""Requests to push gateways, which are at places that users choose.

Spec: https://spec.matrix.org/v1.19/push-gateway-api/
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from homeserver.core.canonical_json import CanonicalJSONError, decode_json
from homeserver.federation.addresses import AddressFilter
from homeserver.federation.connector import guarded_connector
from homeserver.federation.failures import describe
from homeserver.federation.names import Names

TIMEOUT_S: Final = 30.0
"""How long a gateway may be silent."""

TOTAL_TIMEOUT_S: Final = 120.0
"""For all of a request, with waiting for others to the same gateway."""

CONNECT_TIMEOUT_S: Final = 10.0
CONNECTIONS: Final = 200
CONNECTIONS_TO_ONE: Final = 20
"""A gateway that lets us wait takes up no more of them than this."""

MAX_ANSWER_BYTES: Final = 256 * 1024


class PushGatewayError(Exception):
    """A gateway did not take a notification. The message says why."""


class PushGateways:
    """Sends notifications. To be built inside a running event loop, and closed."""

    def __init__(self, names: Names, addresses: AddressFilter, user_agent: str) -> None:
        """addresses: those that `ip_range_blocklist` and `ip_range_allowlist` let through. Certificates are checked against
        the system's authorities."""
        self._session = aiohttp.ClientSession(
            connector=guarded_connector(
                names, addresses, limit=CONNECTIONS, limit_per_host=CONNECTIONS_TO_ONE, keepalive_timeout=30.0
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(
                total=TOTAL_TIMEOUT_S, sock_connect=CONNECT_TIMEOUT_S, sock_read=TIMEOUT_S
            ),
            trust_env=False,
        )
        self._tls = ssl.create_default_context()

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def notify(self, url: str, body: Mapping[str, Any]) -> list[str]:
        """Send a notification; returns the pushkeys that the gateway does not want any more.

        Raises PushGatewayError.
        """
        target = URL(url, encoded=True)
        where = f"{target.host} port {target.port}"
        try:
            async with self._session.post(
                target,
                data=json.dumps(body).encode(),
                headers={"Content-Type": "application/json"},
                ssl=self._tls,
                allow_redirects=False,
            ) as response:
                if not 200 <= response.status < 300:
                    raise PushGatewayError(f"{where} answered with status {response.status}")
                return _rejected(await _read(response, where), where)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise PushGatewayError(describe(error, where, str(target.host))[1]) from error
        except TimeoutError as error:
            raise PushGatewayError(f"{where} gave no complete answer in time") from error
        except (aiohttp.ClientError, ConnectionError, ssl.SSLError) as error:
            raise PushGatewayError(f"{where}: {str(error) or type(error).__name__}") from error


async def _read(response: aiohttp.ClientResponse, where: str) -> bytes:
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise PushGatewayError(f"{where} answered with more than {MAX_ANSWER_BYTES} bytes")
    return bytes(content)


def _rejected(content: bytes, where: str) -> list[str]:
    try:
        answer = decode_json(content)
    except CanonicalJSONError as error:
        raise PushGatewayError(f"{where} answered with what is not JSON: {error.reason}") from error
    rejected = answer.get("rejected", []) if isinstance(answer, Mapping) else None
    if not isinstance(rejected, list):
        raise PushGatewayError(f"{where} answered without a list of rejected pushkeys")
    return [each for each in rejected if isinstance(each, str)]
