"""Server administration: whose devices are where, locking and suspending accounts.

Spec: https://spec.matrix.org/v1.19/client-server-api/#server-administration
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.administration import Administration
from homeserver.services.devices import Device


class SuspendBody(Struct):
    """Whether the user is to be suspended."""

    suspended: bool


class LockBody(Struct):
    """Whether the user is to be locked out."""

    locked: bool


@endpoint(
    "GET",
    "/_matrix/client/v3/admin/whois/{user_id}",
    auth=ACCESS_TOKEN,
    aliases=(
        "/_matrix/client/r0/admin/whois/{user_id}",
        "/_synapse/admin/v1/whois/{user_id}",
    ),
)
async def get_who_is(request: Request, user_id: str, administration: Administration) -> dict[str, Any]:
    """From where a user's devices were last seen.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid
    """
    devices = await administration.who_is(request.requester, user_id)
    return {
        "user_id": user_id,
        "devices": {device.device_id: {"sessions": [_session(device)]} for device in devices},
    }


def _session(device: Device) -> dict[str, Any]:
    if device.last_seen_ts is None:
        return {"connections": []}
    connection = {"ip": device.last_seen_ip, "last_seen": device.last_seen_ts}
    if device.last_seen_user_agent is not None:
        connection["user_agent"] = device.last_seen_user_agent
    return {"connections": [connection]}


@endpoint("GET", "/_matrix/client/v1/admin/suspend/{user_id}", auth=ACCESS_TOKEN)
async def get_admin_suspend_user(
    request: Request, user_id: str, administration: Administration
) -> dict[str, Any]:
    """Whether a user is suspended.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminsuspenduserid
    """
    return {"suspended": (await administration.account(request.requester, user_id)).is_suspended}


@endpoint("PUT", "/_matrix/client/v1/admin/suspend/{user_id}", auth=ACCESS_TOKEN)
async def set_admin_suspend_user(
    request: Request, user_id: str, body: SuspendBody, administration: Administration
) -> dict[str, Any]:
    """Suspend a user, or no longer.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminsuspenduserid
    """
    await administration.set_suspended(request.requester, user_id, body.suspended)
    return {"suspended": body.suspended}


@endpoint("GET", "/_matrix/client/v1/admin/lock/{user_id}", auth=ACCESS_TOKEN)
async def get_admin_lock_user(
    request: Request, user_id: str, administration: Administration
) -> dict[str, Any]:
    """Whether a user is locked out.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid
    """
    return {"locked": (await administration.account(request.requester, user_id)).is_locked}


@endpoint("PUT", "/_matrix/client/v1/admin/lock/{user_id}", auth=ACCESS_TOKEN)
async def set_admin_lock_user(
    request: Request, user_id: str, body: LockBody, administration: Administration
) -> dict[str, Any]:
    """Lock a user out, or no longer.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid
    """
    await administration.set_locked(request.requester, user_id, body.locked)
    return {"locked": body.locked}
