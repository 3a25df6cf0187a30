"""Filters: read, validated, stored under an ID made from their content.

Spec: https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import Any, TypeVar

import msgspec

from homeserver.core.canonical_json import CanonicalJSONError, decode_json, encode_canonical
from homeserver.core.errors import bad_json, forbidden, invalid_param, not_found, not_json, too_large
from homeserver.core.filters import EventFilter, Filter, RoomEventFilter, RoomFilter
from homeserver.core.identifiers import is_opaque_id
from homeserver.core.requester import Requester
from homeserver.storage import filters
from homeserver.storage.database import Database, Transaction

MAX_FILTER_BYTES = 64 * 1024
MAX_FILTERS = 1_000
"""Of a user. The same filter again is no other one, so a client needs a few."""
MAX_CACHED = 2_000

F = TypeVar("F", Filter, RoomEventFilter)


class Filters:
    """Stores the filters of users and makes `Filter` objects of them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # A stored filter never changes, so what is remembered is never stale.
        self._cache: OrderedDict[tuple[str, str], Filter] = OrderedDict()

    async def define(self, requester: Requester, user_id: str, definition: dict[str, Any]) -> str:
        """Store a filter for the requester; returns its ID, the same for the same filter.

        Raises M_FORBIDDEN for another user, M_BAD_JSON with the JSON path of what is wrong, M_TOO_LARGE for one too many.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
        """
        _check_own(requester, user_id)
        parse_filter(definition)
        try:
            encoded = encode_canonical(definition)
        except CanonicalJSONError as error:
            raise bad_json(error.reason) from error
        if len(encoded) > MAX_FILTER_BYTES:
            raise bad_json(f"A filter has at most {MAX_FILTER_BYTES} bytes")
        filter_id = hashlib.sha256(encoded).hexdigest()[:32]

        async def work(tx: Transaction) -> None:
            if await filters.get(tx, user_id, filter_id) is not None:
                return
            if await filters.count(tx, user_id) >= MAX_FILTERS:
                raise too_large(f"A user has at most {MAX_FILTERS} filters")
            await filters.put(tx, user_id, filter_id, encoded)

        await self._database.write(work)
        return filter_id

    async def get(self, requester: Requester, user_id: str, filter_id: str) -> bytes:
        """The JSON of a stored filter. Raises M_FORBIDDEN, M_NOT_FOUND.

        Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
        """
        _check_own(requester, user_id)
        definition = await self._load(user_id, filter_id)
        if definition is None:
            raise not_found("Unknown filter")
        return definition

    async def resolve(self, user_id: str, given: str | None) -> Filter:
        """The filter that /sync was given: inline JSON, the ID of a stored one, or none.

        Raises M_INVALID_PARAM for an unknown ID, M_NOT_JSON and M_BAD_JSON for inline JSON that is not a
        filter.
        """
        if not given:
            return Filter()
        if given.startswith("{"):
            return parse_filter(_decode(given))
        cached = self._cache.get((user_id, given))
        if cached is not None:
            return cached
        definition = await self._load(user_id, given)
        if definition is None:
            raise invalid_param("The filter is neither JSON nor the ID of a filter of this user")
        found = parse_filter(decode_json(definition))
        self._cache[user_id, given] = found
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return found

    async def _load(self, user_id: str, filter_id: str) -> bytes | None:
        if not is_opaque_id(filter_id):
            return None
        return await self._database.read(lambda tx: filters.get(tx, user_id, filter_id))


def parse_filter(definition: Any) -> Filter:
    """Decoded JSON as a Filter. Unknown keys are ignored. Raises M_BAD_JSON with the JSON path of what is
    wrong.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
    """
    parsed = _convert(definition, Filter)
    _check_event_filter(parsed.presence, "$.presence")
    _check_event_filter(parsed.account_data, "$.account_data")
    _check_rooms(parsed.room, "$.room")
    for section in ("state", "timeline", "ephemeral", "account_data"):
        _check_event_filter(getattr(parsed.room, section), f"$.room.{section}")
    return parsed


def parse_room_event_filter(given: str | None) -> RoomEventFilter:
    """The `filter` query parameter of /messages and /context. Raises M_NOT_JSON, M_BAD_JSON.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
    """
    return room_event_filter(_decode(given)) if given else RoomEventFilter()


def room_event_filter(definition: Any) -> RoomEventFilter:
    """Decoded JSON as a RoomEventFilter. Raises M_BAD_JSON with the JSON path of what is wrong."""
    parsed = _convert(definition, RoomEventFilter)
    _check_event_filter(parsed, "$")
    return parsed


def _decode(text: str) -> Any:
    try:
        return decode_json(text)
    except CanonicalJSONError as error:
        raise not_json(f"The filter is not JSON: {error.reason}") from error


def _convert(value: Any, kind: type[F]) -> F:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise bad_json(f"Not a filter: {error}") from error


def _check_event_filter(parsed: EventFilter | RoomEventFilter, path: str) -> None:
    if parsed.limit is not None and parsed.limit < 0:
        raise bad_json(f"Not a filter: `limit` must not be negative - at `{path}.limit`")
    _check_sigil(parsed.senders, "@", f"{path}.senders")
    _check_sigil(parsed.not_senders, "@", f"{path}.not_senders")
    if isinstance(parsed, RoomEventFilter):
        _check_rooms(parsed, path)


def _check_rooms(parsed: RoomEventFilter | RoomFilter, path: str) -> None:
    _check_sigil(parsed.rooms, "!", f"{path}.rooms")
    _check_sigil(parsed.not_rooms, "!", f"{path}.not_rooms")


def _check_sigil(identifiers: tuple[str, ...] | None, sigil: str, path: str) -> None:
    for index, identifier in enumerate(identifiers or ()):
        if not identifier.startswith(sigil):
            raise bad_json(f"Not a filter: expected an identifier with `{sigil}` - at `{path}[{index}]`")


def _check_own(requester: Requester, user_id: str) -> None:
    if requester.user_id != user_id:
        raise forbidden("The filters of another user cannot be used")
