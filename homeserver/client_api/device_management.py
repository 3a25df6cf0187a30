"""Devices.

Spec: https://spec.matrix.org/v1.19/client-server-api/#device-management
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from homeserver.http import ACCESS_TOKEN, Request, endpoint
from homeserver.services.confirmation import Confirmation
from homeserver.services.devices import MAX_DELETED_AT_ONCE, Device, Devices


class UpdateBody(Struct):
    """The device's new name."""

    display_name: str | None = None


class DeleteBody(Struct):
    """Proof that it is the user who wants it."""

    auth: dict[str, Any] | None = None


class DeleteManyBody(Struct):
    """Which devices."""

    devices: Annotated[list[str], Meta(max_length=MAX_DELETED_AT_ONCE)]
    auth: dict[str, Any] | None = None


@endpoint("GET", "/_matrix/client/v3/devices", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/devices",))
async def get_devices(request: Request, devices: Devices) -> dict[str, Any]:
    """All devices of the user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices
    """
    return {"devices": [_answer(device) for device in await devices.of_user(request.requester.user_id)]}


@endpoint(
    "GET",
    "/_matrix/client/v3/devices/{device_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/devices/{device_id}",),
)
async def get_device(request: Request, device_id: str, devices: Devices) -> dict[str, Any]:
    """One device of the user.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
    """
    return _answer(await devices.get(request.requester.user_id, device_id))


@endpoint(
    "PUT",
    "/_matrix/client/v3/devices/{device_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/devices/{device_id}",),
)
async def update_device(
    request: Request, device_id: str, body: UpdateBody, devices: Devices
) -> dict[str, Any]:
    """Give a device another name.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
    """
    await devices.rename(request.requester.user_id, device_id, body.display_name)
    return {}


@endpoint(
    "DELETE",
    "/_matrix/client/v3/devices/{device_id}",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/devices/{device_id}",),
)
async def delete_device(
    request: Request, device_id: str, body: DeleteBody, devices: Devices, confirmation: Confirmation
) -> dict[str, Any]:
    """Remove a device and its access token.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid
    """
    await _delete(request, [device_id], body.auth, devices, confirmation)
    return {}


@endpoint(
    "POST",
    "/_matrix/client/v3/delete_devices",
    auth=ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/delete_devices",),
)
async def delete_devices(
    request: Request, body: DeleteManyBody, devices: Devices, confirmation: Confirmation
) -> dict[str, Any]:
    """Remove several devices.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
    """
    await _delete(request, body.devices, body.auth, devices, confirmation)
    return {}


async def _delete(
    request: Request,
    device_ids: list[str],
    auth: dict[str, Any] | None,
    devices: Devices,
    confirmation: Confirmation,
) -> None:
    requester = request.requester
    confirmed = await confirmation.confirm(
        "delete_devices", {"devices": device_ids}, auth, requester, by_earlier=True
    )
    await devices.remove(requester.user_id, device_ids)
    confirmation.finish(confirmed)


def _answer(device: Device) -> dict[str, Any]:
    answer = {
        "device_id": device.device_id,
        "display_name": device.display_name,
        "last_seen_ip": device.last_seen_ip,
        "last_seen_ts": device.last_seen_ts,
    }
    return {key: value for key, value in answer.items() if value is not None}
