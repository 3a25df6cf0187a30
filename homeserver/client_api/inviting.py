"""Inviting users.

Spec: https://spec.matrix.org/v1.19/client-server-api/#joining-rooms
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.core.errors import bad_json
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.membership import Membership
from homeserver.services.room_creation import refuse_third_party_invites

# What an invite by third-party identifier has instead of `user_id`.
THIRD_PARTY = ("address", "medium", "id_server", "id_access_token")


class InviteBody(Struct):
    """Who is invited, and why; or the third-party identifier of whom."""

    user_id: str | None = None
    reason: str | None = None
    address: str | None = None
    medium: str | None = None
    id_server: str | None = None
    id_access_token: str | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/rooms/{room_id}/invite",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/rooms/{room_id}/invite",),
)
async def invite_user(
    request: Request, room_id: str, body: InviteBody, membership: Membership
) -> dict[str, Any]:
    """Invite a user by user ID. The form with a third-party identifier is refused.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidinvite
    """
    if body.user_id is None:
        given = {name: getattr(body, name) for name in THIRD_PARTY if getattr(body, name) is not None}
        refuse_third_party_invites([given] if given else [])
        raise bad_json("The body names nobody to invite - at `$.user_id`")
    await membership.invite(request.requester.user_id, room_id, body.user_id, body.reason)
    return {}
