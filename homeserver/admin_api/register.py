"""Registration with the shared secret, as Synapse's administrators know it.

The protocol: https://element-hq.github.io/synapse/latest/admin_api/register_api.html
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import NO_AUTH, endpoint
from homeserver.services.shared_secret import SharedSecretRegistration, SignedRegistration

PATH = "/_synapse/admin/v1/register"


class RegisterBody(Struct):
    """A registration, with the HMAC-SHA1 of its parts."""

    nonce: str
    username: str
    password: str
    mac: str
    admin: bool = False
    user_type: str | None = None
    displayname: str | None = None


@endpoint("GET", PATH, auth=NO_AUTH)
async def get_nonce(registration: SharedSecretRegistration) -> dict[str, Any]:
    """A nonce for one registration.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/register_api.html
    """
    return {"nonce": registration.new_nonce()}


@endpoint("POST", PATH, auth=NO_AUTH)
async def register(body: RegisterBody, registration: SharedSecretRegistration) -> dict[str, Any]:
    """Register an account, an administrator's if wanted, and log it in.

    Protocol: https://element-hq.github.io/synapse/latest/admin_api/register_api.html
    """
    session = await registration.register(
        SignedRegistration(
            nonce=body.nonce,
            username=body.username,
            password=body.password,
            mac=body.mac,
            admin=body.admin,
            user_type=body.user_type,
            display_name=body.displayname,
        )
    )
    return {
        "user_id": session.user_id,
        "access_token": session.access_token,
        "device_id": session.device_id,
        "home_server": session.user_id.partition(":")[2],
    }
