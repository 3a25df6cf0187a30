"""Devices and encryption keys of other servers' users.

The answers go to clients, which verify the signatures in them. Here is checked that they speak of the users
that were asked for, in the form the specification has.

Spec: https://spec.matrix.org/v1.19/server-server-api/#device-management
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from homeserver.federation.remote.answers import as_object, field, invalid, optional, valid_items
from homeserver.federation.transport import FederationClient, matrix_path

_MAX_DEVICES = 10_000


@dataclass(frozen=True)
class UserDevices:
    """The devices of a user that have encryption keys of their own: each has `device_id`, `keys` and perhaps
    `device_display_name`.

    `stream_id` is where in the sequence of m.device_list_update EDUs this stands.
    """

    user_id: str
    stream_id: int
    devices: tuple[dict[str, Any], ...]
    master_key: dict[str, Any] | None
    self_signing_key: dict[str, Any] | None


@dataclass(frozen=True)
class QueriedKeys:
    """`device_keys`: user ID to device ID to keys. The others: user ID to key."""

    device_keys: dict[str, dict[str, dict[str, Any]]]
    master_keys: dict[str, dict[str, Any]]
    self_signing_keys: dict[str, dict[str, Any]]


async def get_user_devices(client: FederationClient, destination: str, user_id: str) -> UserDevices:
    """All devices of a user of that server.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
    """
    path = matrix_path("_matrix", "federation", "v1", "user", "devices", user_id)
    answer = as_object(destination, await client.request(destination, "GET", path))
    if answer.get("user_id") != user_id:
        raise invalid(destination, f"it has the devices of {answer.get('user_id')!r:.300}, not of {user_id}")

    def is_device(value: object) -> bool:
        return (
            isinstance(value, dict)
            and isinstance(value.get("device_id"), str)
            and isinstance(value.get("device_display_name"), str | None)
            and isinstance(value.get("keys"), dict)
            and value["keys"].get("user_id") == user_id
            and value["keys"].get("device_id") == value["device_id"]
        )

    return UserDevices(
        user_id,
        field(destination, answer, "stream_id", int),
        valid_items(destination, answer, "devices", is_device, _MAX_DEVICES),
        _cross_signing_key(destination, answer, "master_key", user_id),
        _cross_signing_key(destination, answer, "self_signing_key", user_id),
    )


async def query_user_keys(
    client: FederationClient,
    destination: str,
    device_keys: Mapping[str, Collection[str]],
    *,
    timeout: float | None = None,
) -> QueriedKeys:
    """The keys of users of that server: user ID to device IDs (none: all). Other users in the answer are left
    out.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
    """
    body = {"device_keys": {user_id: list(devices) for user_id, devices in device_keys.items()}}
    answer = as_object(
        destination,
        await client.request(
            destination, "POST", "/_matrix/federation/v1/user/keys/query", body=body, timeout=timeout
        ),
    )
    devices = field(destination, answer, "device_keys", dict)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for user_id in device_keys:
        if user_id in devices:
            by_device = as_object(destination, devices[user_id], "an entry of device_keys")
            found[user_id] = {
                device_id: keys
                for device_id, keys in by_device.items()
                if isinstance(keys, dict)
                and keys.get("user_id") == user_id
                and keys.get("device_id") == device_id
            }
    return QueriedKeys(
        found,
        _keys_of(destination, answer, "master_keys", device_keys),
        _keys_of(destination, answer, "self_signing_keys", device_keys),
    )


async def claim_user_keys(
    client: FederationClient,
    destination: str,
    one_time_keys: Mapping[str, Mapping[str, str]],
    *,
    timeout: float | None = None,
) -> dict[str, dict[str, dict[str, Any]]]:
    """Claim one-time keys: user ID to device ID to algorithm. Returns user ID to device ID to key ID to key.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
    """
    body = {"one_time_keys": {user_id: dict(devices) for user_id, devices in one_time_keys.items()}}
    answer = as_object(
        destination,
        await client.request(
            destination, "POST", "/_matrix/federation/v1/user/keys/claim", body=body, timeout=timeout
        ),
    )
    claimed = field(destination, answer, "one_time_keys", dict)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for user_id, devices in one_time_keys.items():
        by_device = as_object(destination, claimed.get(user_id, {}), "an entry of one_time_keys")
        for device_id in devices:
            if isinstance(by_device.get(device_id), dict):
                found.setdefault(user_id, {})[device_id] = by_device[device_id]
    return found


def _cross_signing_key(
    destination: str, answer: dict[str, Any], name: str, user_id: str
) -> dict[str, Any] | None:
    key: dict[str, Any] | None = optional(destination, answer, name, dict)
    if key is not None and (key.get("user_id") != user_id or not isinstance(key.get("keys"), dict)):
        raise invalid(destination, f"{name} is not a key of {user_id}")
    return key


def _keys_of(
    destination: str, answer: dict[str, Any], name: str, users: Collection[str]
) -> dict[str, dict[str, Any]]:
    keys = optional(destination, answer, name, dict) or {}
    return {
        user_id: keys[user_id]
        for user_id in users
        if isinstance(keys.get(user_id), dict) and keys[user_id].get("user_id") == user_id
    }
