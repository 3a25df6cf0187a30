"""Small questions: where an alias leads, what a profile says, what software a server runs.

Spec: https://spec.matrix.org/v1.19/server-server-api/#querying-for-information
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from homeserver.core.identifiers import domain_of, is_valid_room_id, is_valid_server_name, is_valid_user_id
from homeserver.federation.remote.answers import as_object, field, invalid, optional
from homeserver.federation.transport import FederationClient

_MAX_SERVERS = 10_000


@dataclass(frozen=True)
class AliasTarget:
    """The room of an alias, and servers that may help to join it."""

    room_id: str
    servers: tuple[str, ...]


@dataclass(frozen=True)
class ServerVersion:
    """The software of a server, by its own account; None where it says nothing."""

    name: str | None
    version: str | None


async def query_directory(client: FederationClient, destination: str, room_alias: str) -> AliasTarget:
    """The room that an alias of that server leads to. 404 M_NOT_FOUND if there is none.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1querydirectory
    """
    answer = as_object(
        destination,
        await client.request(
            destination, "GET", "/_matrix/federation/v1/query/directory", query={"room_alias": room_alias}
        ),
    )
    room_id = field(destination, answer, "room_id", str)
    if not is_valid_room_id(room_id):
        raise invalid(destination, "room_id is not a room ID")
    servers = field(destination, answer, "servers", list)[:_MAX_SERVERS]
    return AliasTarget(room_id, tuple(name for name in servers if is_valid_server_name(name)))


async def query_profile(
    client: FederationClient, destination: str, user_id: str, profile_field: str | None = None
) -> dict[str, Any]:
    """The profile of a user of that server, or one field of it. Values are as the server gave them.

    `displayname` and `avatar_url` are strings if present.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
    """
    query = {"user_id": user_id} | ({} if profile_field is None else {"field": profile_field})
    answer = as_object(
        destination,
        await client.request(destination, "GET", "/_matrix/federation/v1/query/profile", query=query),
    )
    for name in ("displayname", "avatar_url"):
        if optional(destination, answer, name, str) is None:
            answer.pop(name, None)
    return answer


async def get_version(client: FederationClient, destination: str) -> ServerVersion:
    """The software that a server runs. The request is not signed.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
    """
    answer = as_object(
        destination,
        await client.request(
            destination, "GET", "/_matrix/federation/v1/version", signed=False, max_response_bytes=65536
        ),
    )
    server = optional(destination, answer, "server", dict) or {}
    return ServerVersion(
        optional(destination, server, "name", str), optional(destination, server, "version", str)
    )


async def openid_userinfo(client: FederationClient, destination: str, access_token: str) -> str:
    """The user ID that an OpenID token of that server stands for. "The caller MUST validate that the returned
    user ID is on the server they called": done here.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
    """
    answer = as_object(
        destination,
        await client.request(
            destination,
            "GET",
            "/_matrix/federation/v1/openid/userinfo",
            query={"access_token": access_token},
            signed=False,
        ),
    )
    user_id = field(destination, answer, "sub", str)
    if not is_valid_user_id(user_id) or domain_of(user_id) != destination:
        raise invalid(destination, f"sub is not a user of {destination}")
    return str(user_id)
