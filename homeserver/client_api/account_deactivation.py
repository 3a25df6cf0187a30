"""Deactivating one's account.

Spec: https://spec.matrix.org/v1.19/client-server-api/#account-deactivation
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from homeserver.http import OPTIONAL_ACCESS_TOKEN, Request, endpoint
from homeserver.services.deactivation import Deactivation


class DeactivateBody(Struct):
    """`id_server` is of no use: no account here is bound to an identity server."""

    auth: dict[str, Any] | None = None
    erase: bool = False
    id_server: str | None = None


@endpoint(
    "POST",
    "/_matrix/client/v3/account/deactivate",
    auth=OPTIONAL_ACCESS_TOKEN,
    aliases=("/_matrix/client/r0/account/deactivate",),
)
async def deactivate_account(
    request: Request, body: DeactivateBody, deactivation: Deactivation
) -> dict[str, Any]:
    """Deactivate the account, for good.

    Spec: https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
    """
    await deactivation.deactivate(erase=body.erase, auth=body.auth, requester=request.requester_or_none)
    # "This must be success if the homeserver has no identifiers to unbind for the user."
    return {"id_server_unbind_result": "success"}
