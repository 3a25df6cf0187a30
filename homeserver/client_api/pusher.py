"""Pushers: where a user wants notifications to be pushed to.

Spec: https://spec.matrix.org/v1.19/client-server-api/#client-behaviour-8
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct, UnsetType

from homeserver.core.errors import missing_param
from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.push.pushers import Pushers, Wanted


class PusherBody(Struct):
    """A pusher to be set, or to be deleted when `kind` is null."""

    kind: str | None | UnsetType = UNSET
    app_id: str | None = None
    pushkey: str | None = None
    app_display_name: str | None = None
    device_display_name: str | None = None
    profile_tag: str | None = None
    lang: str | None = None
    data: dict[str, Any] | None = None
    append: bool = False


@endpoint("GET", "/_matrix/client/v3/pushers", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/pushers",))
async def get_pushers(request: Request, pushers: Pushers) -> dict[str, Any]:
    """All pushers of the user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
    """
    return {"pushers": await pushers.of(request.requester.user_id)}


@endpoint(
    "POST", "/_matrix/client/v3/pushers/set", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/pushers/set",)
)
async def post_pusher(request: Request, body: PusherBody, pushers: Pushers) -> dict[str, Any]:
    """Set or delete a pusher.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
    """
    if body.app_id is None or body.pushkey is None or isinstance(body.kind, UnsetType):
        raise missing_param("A pusher is set with kind, app_id and pushkey")
    if body.kind is None:
        await pushers.delete(request.requester.user_id, body.app_id, body.pushkey)
        return {}
    wanted = Wanted(
        body.app_id,
        body.pushkey,
        body.kind,
        body.app_display_name,
        body.device_display_name,
        body.profile_tag,
        body.lang,
        body.data,
        body.append,
    )
    await pushers.set(request.requester, wanted)
    return {}
