"""What other servers tell of rooms and spaces that our server is not in, kept for some minutes.

Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from homeserver.core.identifiers import (
    is_valid_mxc,
    is_valid_room_alias,
    is_valid_room_id,
    is_valid_server_name,
)
from homeserver.federation.errors import FederationError
from homeserver.federation.remote.rooms import Hierarchy, get_hierarchy
from homeserver.federation.transport import FederationClient
from homeserver.services.clock import Clock
from homeserver.services.identity import Identity
from homeserver.services.restricted_joins import MAX_CONDITIONS
from homeserver.services.room_summaries import MAX_CHILDREN, MAX_VIA, Summary, in_order

log = logging.getLogger(__name__)

KEPT_MS = 5 * 60_000
FAILURE_KEPT_MS = 60_000
MAX_KEPT = 500
MAX_KEPT_BYTES = 32 * 2**20
SERVER_TIMEOUT_S = 8.0
_STRINGS = ("name", "topic", "join_rule", "room_type", "encryption", "room_version")


@dataclass(frozen=True, slots=True)
class RemoteSummary:
    """summary: the room with its children. rooms: what was told of children, without theirs. inaccessible: children that our
    server cannot have, wherever it asks."""

    summary: Summary
    rooms: Mapping[str, Summary] = field(default_factory=dict)
    inaccessible: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Kept:
    value: RemoteSummary | None
    until: int
    size: int


_Key = tuple[str, bool, tuple[str, ...]]


class RemoteSummaries:
    """Asks other servers about rooms."""

    def __init__(self, client: FederationClient, identity: Identity, clock: Clock) -> None:
        """`client` makes the requests."""
        self._client = client
        self._identity = identity
        self._clock = clock
        self._kept: OrderedDict[_Key, _Kept] = OrderedDict()
        self._size = 0
        self._locks: WeakValueDictionary[_Key, asyncio.Lock] = WeakValueDictionary()

    async def get(
        self, room_id: str, via: Sequence[str], *, suggested_only: bool = False
    ) -> RemoteSummary | None:
        """What the first server of `via` that tells something says of the room; None when none does.

        It is what our server may know; what of it a user may know is for the caller to decide.
        """
        ours = self._identity.server_name
        others = [each for each in dict.fromkeys(via) if each != ours and is_valid_server_name(each)]
        # What one server says must not answer for a question that was to go to another.
        key = (room_id, suggested_only, tuple(others[:MAX_VIA]))
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            kept = self._kept.get(key)
            if kept is None or kept.until <= self._clock():
                value = await self._ask(room_id, key[2], suggested_only)
                kept = self._keep(key, value)
            return kept.value

    def _keep(self, key: _Key, value: RemoteSummary | None) -> _Kept:
        told = [] if value is None else [value.summary.entry, *(room.entry for room in value.rooms.values())]
        children = [] if value is None else [child.stripped for child in value.summary.children]
        until = self._clock() + (FAILURE_KEPT_MS if value is None else KEPT_MS)
        kept = _Kept(value, until, len(msgspec.json.encode([told, children])))
        self._drop(key)
        self._kept[key] = kept
        self._size += kept.size
        while len(self._kept) > MAX_KEPT or self._size > MAX_KEPT_BYTES:
            self._drop(next(iter(self._kept)))
        return kept

    def _drop(self, key: _Key) -> None:
        dropped = self._kept.pop(key, None)
        self._size -= dropped.size if dropped else 0

    async def _ask(self, room_id: str, via: Sequence[str], suggested_only: bool) -> RemoteSummary | None:
        for server in via:
            try:
                async with asyncio.timeout(SERVER_TIMEOUT_S):
                    answer = await get_hierarchy(self._client, server, room_id, suggested_only=suggested_only)
            except (FederationError, TimeoutError) as error:
                log.info("%s tells nothing of the room %s: %s", server, room_id, error)
                continue
            return _checked(answer, suggested_only)
        return None


def _checked(answer: Hierarchy, suggested_only: bool) -> RemoteSummary:
    """An answer with nothing in it that was not asked for: summaries of the room and of rooms that it names alone."""
    room = _summary(answer.room)
    stripped = [
        {name: event[name] for name in ("type", "state_key", "content", "sender", "origin_server_ts")}
        for event in answer.room["children_state"]
    ]
    children = in_order(stripped, suggested_only=suggested_only) if room.is_space else ()
    named = {child.room_id for child in children}
    return RemoteSummary(
        replace(room, children=children),
        {
            told["room_id"]: _summary(told)
            for told in answer.children[:MAX_CHILDREN]
            if told["room_id"] in named
        },
        frozenset(answer.inaccessible_children) & named,
    )


def _summary(told: Mapping[str, Any]) -> Summary:
    """A summary with the fields of the specification, each as it must be or left out."""
    allowed = told.get("allowed_room_ids")
    room_ids = (
        [room_id for room_id in allowed if is_valid_room_id(room_id)] if isinstance(allowed, list) else []
    )
    entry: dict[str, Any] = {
        name: told[name] for name in ("room_id", "num_joined_members", "world_readable", "guest_can_join")
    }
    entry.update((name, told[name]) for name in _STRINGS if isinstance(told.get(name), str) and told[name])
    if is_valid_room_alias(told.get("canonical_alias")):
        entry["canonical_alias"] = told["canonical_alias"]
    if is_valid_mxc(told.get("avatar_url")):
        entry["avatar_url"] = told["avatar_url"]
    if room_ids:
        entry["allowed_room_ids"] = room_ids[:MAX_CONDITIONS]
    # "When not present, the room is assumed to be `public`."
    return Summary(entry, entry.get("join_rule", "public"), tuple(room_ids[:MAX_CONDITIONS]))
