"""Account data of users, for everything and for single rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, RawJSON, Request, endpoint
from homeserver.services.account_data import AccountData


@endpoint(
    "PUT",
    "/_matrix/client/v3/user/{user_id}/account_data/{type}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/account_data/{type}",),
)
async def set_account_data(
    request: Request, user_id: str, type: str, body: dict[str, Any], account_data: AccountData
) -> dict[str, Any]:
    """Set account data.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype
    """
    await account_data.set(request.requester, user_id, type, body)
    return {}


@endpoint(
    "GET",
    "/_matrix/client/v3/user/{user_id}/account_data/{type}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/account_data/{type}",),
)
async def get_account_data(request: Request, user_id: str, type: str, account_data: AccountData) -> RawJSON:
    """The account data of a type.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
    """
    return RawJSON(await account_data.get(request.requester, user_id, type))


@endpoint(
    "PUT",
    "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/account_data/{type}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/rooms/{room_id}/account_data/{type}",),
)
async def set_account_data_per_room(
    request: Request, user_id: str, room_id: str, type: str, body: dict[str, Any], account_data: AccountData
) -> dict[str, Any]:
    """Set account data of a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidaccount_datatype
    """
    await account_data.set(request.requester, user_id, type, body, room_id)
    return {}


@endpoint(
    "GET",
    "/_matrix/client/v3/user/{user_id}/rooms/{room_id}/account_data/{type}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/user/{user_id}/rooms/{room_id}/account_data/{type}",),
)
async def get_account_data_per_room(
    request: Request, user_id: str, room_id: str, type: str, account_data: AccountData
) -> RawJSON:
    """The account data of a type, of a room.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidaccount_datatype
    """
    return RawJSON(await account_data.get(request.requester, user_id, type, room_id))
