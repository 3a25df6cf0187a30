"""Profiles of users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#profiles
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, NO_AUTH, Request, endpoint
from homeserver.services.profiles import Profiles

FIELD = "/_matrix/client/v3/profile/{user_id}/{key_name}"
# The names that profile fields had before v1.16, and the path of the proposal that brought the others.
FIELD_ALIASES = (
    "/_matrix/client/r0/profile/{user_id}/{key_name}",
    "/_matrix/client/unstable/uk.tcpip.msc4133/profile/{user_id}/{key_name}",
)


@endpoint("PUT", FIELD, auth=ACCESS_TOKEN, aliases=FIELD_ALIASES)
async def set_profile_field(
    request: Request, user_id: str, key_name: str, body: dict[str, Any], profiles: Profiles
) -> dict[str, Any]:
    """Set one field of one's own profile.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3profileuseridkeyname
    """
    await profiles.set_field(request.requester, user_id, key_name, body)
    return {}


@endpoint("GET", FIELD, auth=NO_AUTH, aliases=FIELD_ALIASES)
async def get_profile_field(user_id: str, key_name: str, profiles: Profiles) -> dict[str, Any]:
    """One field of a profile.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuseridkeyname
    """
    return {key_name: await profiles.get_field(user_id, key_name)}


@endpoint("DELETE", FIELD, auth=ACCESS_TOKEN, aliases=FIELD_ALIASES)
async def delete_profile_field(
    request: Request, user_id: str, key_name: str, profiles: Profiles
) -> dict[str, Any]:
    """Remove one field of one's own profile.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3profileuseridkeyname
    """
    await profiles.delete_field(request.requester, user_id, key_name)
    return {}


@endpoint(
    "GET",
    "/_matrix/client/v3/profile/{user_id}",
    auth=NO_AUTH,
    aliases=("/_matrix/client/r0/profile/{user_id}",),
)
async def get_user_profile(user_id: str, profiles: Profiles) -> dict[str, Any]:
    """The whole profile of a user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3profileuserid
    """
    return await profiles.get(user_id)
