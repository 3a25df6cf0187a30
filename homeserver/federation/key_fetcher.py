"""Fetching keys over the network: from the server itself, or through notaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from homeserver.federation import metrics
from homeserver.federation.errors import FederationError
from homeserver.federation.key_responses import (
    InvalidKeys,
    StoredKeys,
    TrustedKeyServer,
    merge,
    parse_notary_response,
    parse_server_keys,
)
from homeserver.federation.transport import FederationClient

DIRECT_TIMEOUT = 15.0
NOTARY_TIMEOUT = 30.0
_DIRECT_LIMIT = 256 * 1024
_NOTARY_LIMIT = 16 * 1024 * 1024
_NOTARY_BATCH = 100

# server name -> key ID -> the time until which the key should be valid, in milliseconds
Wanted = Mapping[str, Mapping[str, int]]


class KeyFetcher:
    """Asks for keys and validates what comes. Keeps nothing."""

    def __init__(self, client: FederationClient, notaries: Sequence[TrustedKeyServer]) -> None:
        self._client = client
        self._notaries = [each for each in notaries if each.server_name != client.server_name]

    @property
    def has_notaries(self) -> bool:
        """Whether there is anybody else to ask."""
        return bool(self._notaries)

    async def direct(self, server_name: str, now_ms: int) -> StoredKeys:
        """The keys as the server itself publishes them. Raises FederationError or InvalidKeys.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
        """
        try:
            response = await self._client.request(
                server_name,
                "GET",
                "/_matrix/key/v2/server",
                signed=False,
                timeout=DIRECT_TIMEOUT,
                max_response_bytes=_DIRECT_LIMIT,
            )
            keys = parse_server_keys(response, now_ms, server_name)
        except FederationError as error:
            metrics.key_fetches.labels("direct", error.stage).inc()
            raise
        except InvalidKeys:
            metrics.key_fetches.labels("direct", "invalid").inc()
            raise
        metrics.key_fetches.labels("direct", "ok").inc()
        return keys

    async def through_notaries(
        self, wanted: Wanted, now_ms: int
    ) -> tuple[dict[str, StoredKeys], dict[str, str]]:
        """What the notaries know of the wanted servers, one notary after the other until all are found.

        Returns the keys by server name, and for the servers that no notary knows the reasons.
        """
        found: dict[str, StoredKeys] = {}
        problems: list[str] = []
        for notary in self._notaries:
            missing = [name for name in wanted if name not in found and name != notary.server_name]
            for start in range(0, len(missing), _NOTARY_BATCH):
                batch = {name: wanted[name] for name in missing[start : start + _NOTARY_BATCH]}
                try:
                    answers, refused = await self._ask(notary, batch, now_ms)
                except (FederationError, InvalidKeys) as error:
                    problems.append(f"notary {notary.server_name}: {error.reason}")
                    break
                problems.extend(f"notary {notary.server_name}: {reason}" for reason in refused)
                for answer in answers:
                    found[answer.server_name] = merge(found.get(answer.server_name), answer)
        reason = "; ".join(problems[:5]) or "the notaries do not know them"
        return found, {name: reason for name in wanted if name not in found}

    async def _ask(
        self, notary: TrustedKeyServer, batch: Wanted, now_ms: int
    ) -> tuple[list[StoredKeys], list[str]]:
        body = {
            "server_keys": {
                name: {key_id: {"minimum_valid_until_ts": until} for key_id, until in keys.items()}
                for name, keys in batch.items()
            }
        }
        try:
            response = await self._client.request(
                notary.server_name,
                "POST",
                "/_matrix/key/v2/query",
                body=body,
                timeout=NOTARY_TIMEOUT,
                max_response_bytes=_NOTARY_LIMIT,
            )
            answers, refused = parse_notary_response(response, notary, batch.keys(), now_ms)
        except FederationError as error:
            metrics.key_fetches.labels("notary", error.stage).inc()
            raise
        except InvalidKeys:
            metrics.key_fetches.labels("notary", "invalid").inc()
            raise
        metrics.key_fetches.labels("notary", "ok" if answers else "unknown").inc()
        return answers, refused
