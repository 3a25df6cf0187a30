"""Our keys for other servers, and what we know of others' keys: the notary.

Spec: https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import Any

from homeserver.core.identifiers import is_valid_server_name
from homeserver.federation.key_ring import KeyRing
from homeserver.federation.own_keys import OwnKeys, server_keys, sign_as_notary
from homeserver.services.clock import Clock

MAX_SERVERS = 100
NOTARY_TIMEOUT_S = 20.0


class PublishedKeys:
    """Answers what verification keys there are."""

    def __init__(self, own: OwnKeys, key_ring: KeyRing, clock: Clock, validity_ms: int) -> None:
        """`key_ring` knows the keys of other servers, and fetches those it does not. `validity_ms`: key_refresh_interval."""
        self._own = own
        self._key_ring = key_ring
        self._clock = clock
        self._validity_ms = validity_ms

    def own(self) -> dict[str, Any]:
        """Our own keys, signed with each that is current.

        Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
        """
        return server_keys(self._own, self._clock(), self._validity_ms)

    async def query(self, wanted: Mapping[str, int | None]) -> list[dict[str, Any]]:
        """The key responses of these servers, each with our signature added; of those that cannot be reached the last that we have.

        `wanted`: for each server until when its keys should be valid, in milliseconds; None: now. At most 100 are looked up.
        Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
        """
        names = [name for name in wanted if is_valid_server_name(name)][:MAX_SERVERS]
        now = self._clock()
        answers = await asyncio.gather(*(self._response(name, wanted[name] or now) for name in names))
        return [answer for answer in answers if answer is not None]

    async def _response(self, server_name: str, valid_until: int) -> dict[str, Any] | None:
        if server_name == self._own.server_name:
            return self.own()
        try:
            async with asyncio.timeout(NOTARY_TIMEOUT_S):
                known = await self._key_ring.stored_keys(server_name, valid_until)
        except TimeoutError:
            return None
        return sign_as_notary(json.loads(known.response), self._own) if known else None


def wanted_keys(server_keys: Mapping[str, Any]) -> dict[str, int | None]:
    """What a bulk query asks for: server name to the latest `minimum_valid_until_ts` of its key IDs."""
    return {
        name: _latest(criteria.values())
        for name, criteria in server_keys.items()
        if isinstance(criteria, Mapping)
    }


def _latest(criteria: Collection[Any]) -> int | None:
    times = [each.get("minimum_valid_until_ts") for each in criteria if isinstance(each, Mapping)]
    return max((time for time in times if type(time) is int), default=None)
