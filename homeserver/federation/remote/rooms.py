"""Published rooms and spaces of other servers.

Spec: https://spec.matrix.org/v1.19/server-server-api/#published-room-directory
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.core.identifiers import is_valid_room_id
from homeserver.federation.remote.answers import as_object, field, invalid, optional, valid_items
from homeserver.federation.transport import FederationClient, matrix_path

_MAX_ROOMS = 50_000


@dataclass(frozen=True)
class PublicRooms:
    """A page of a server's published rooms. Entries of `chunk` without the required fields are left out."""

    chunk: tuple[dict[str, Any], ...]
    next_batch: str | None
    prev_batch: str | None
    total_room_count_estimate: int | None


@dataclass(frozen=True)
class Hierarchy:
    """A space and its children, as summaries of rooms. `room` has its `children_state`."""

    room: dict[str, Any]
    children: tuple[dict[str, Any], ...]
    inaccessible_children: tuple[str, ...]


async def public_rooms(
    client: FederationClient,
    destination: str,
    *,
    limit: int | None = None,
    since: str | None = None,
    search_filter: Mapping[str, Any] | None = None,
    include_all_networks: bool = False,
    third_party_instance_id: str | None = None,
) -> PublicRooms:
    """A page of the published rooms; `search_filter` is the `filter` of the specification.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
    """
    body: dict[str, Any] = {
        "limit": limit,
        "since": since,
        "filter": search_filter,
        "include_all_networks": include_all_networks or None,
        "third_party_instance_id": third_party_instance_id,
    }
    body = {name: value for name, value in body.items() if value is not None}
    answer = as_object(
        destination,
        await client.request(destination, "POST", "/_matrix/federation/v1/publicRooms", body=body),
    )
    return PublicRooms(
        valid_items(destination, answer, "chunk", _is_room, _MAX_ROOMS),
        optional(destination, answer, "next_batch", str),
        optional(destination, answer, "prev_batch", str),
        optional(destination, answer, "total_room_count_estimate", int),
    )


async def get_hierarchy(
    client: FederationClient, destination: str, room_id: str, *, suggested_only: bool = False
) -> Hierarchy:
    """A space and its direct children. 404 M_NOT_FOUND if the server does not know it or we may not see it.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
    """
    path = matrix_path("_matrix", "federation", "v1", "hierarchy", room_id)
    query = {"suggested_only": "true" if suggested_only else "false"}
    answer = as_object(destination, await client.request(destination, "GET", path, query=query))
    room = field(destination, answer, "room", dict)
    if not _is_room(room) or room["room_id"] != room_id:
        raise invalid(destination, "room is not the summary of the room that was asked for")
    children_state = valid_items(destination, room, "children_state", _is_stripped_child, _MAX_ROOMS)
    children = valid_items(destination, answer, "children", _is_room, _MAX_ROOMS)
    inaccessible: tuple[str, ...] = ()
    if answer.get("inaccessible_children") is not None:
        inaccessible = valid_items(destination, answer, "inaccessible_children", is_valid_room_id, _MAX_ROOMS)
    return Hierarchy({**room, "children_state": list(children_state)}, children, inaccessible)


_OPTIONAL_STRINGS = ("name", "topic", "avatar_url", "canonical_alias", "join_rule", "room_type")


def _is_room(value: object) -> bool:
    """Whether this has the required fields of a room's summary, and the optional ones in their types."""
    return (
        isinstance(value, dict)
        and is_valid_room_id(value.get("room_id"))
        and isinstance(value.get("num_joined_members"), int)
        and isinstance(value.get("world_readable"), bool)
        and isinstance(value.get("guest_can_join"), bool)
        and all(isinstance(value.get(name), str | None) for name in _OPTIONAL_STRINGS)
    )


def _is_stripped_child(value: object) -> bool:
    return (
        isinstance(value, dict)
        and all(isinstance(value.get(name), str) for name in ("type", "state_key", "sender"))
        and isinstance(value.get("content"), dict)
        and isinstance(value.get("origin_server_ts"), int)
    )
