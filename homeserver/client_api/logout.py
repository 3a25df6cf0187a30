"""Logging out.

Spec: https://spec.matrix.org/v1.19/client-server-api/#legacy-login
"""

from __future__ import annotations

from typing import Any

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.devices import Devices


@endpoint("POST", "/_matrix/client/v3/logout", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/logout",))
async def logout(request: Request, devices: Devices) -> dict[str, Any]:
    """End the access token of this request, and its device.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
    """
    await devices.log_out(request.requester)
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/logout/all",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/logout/all",),
)
async def logout_all(request: Request, devices: Devices) -> dict[str, Any]:
    """End all access tokens and devices of the user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
    """
    await devices.log_out_everywhere(request.requester.user_id)
    return {}
