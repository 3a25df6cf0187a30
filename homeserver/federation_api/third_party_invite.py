"""Invites by third-party identifier.

Spec: https://spec.matrix.org/v1.19/server-server-api/#third-party-invites
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.federation_api.answers import room_id_of
from homeserver.http import NO_AUTH, SIGNED_REQUEST, Request, endpoint
from homeserver.services.third_party_invites import PendingInvite, ThirdPartyInvites


class BoundInvite(msgspec.Struct, frozen=True):
    """One of the invites that waited for the third-party identifier."""

    medium: str
    address: str
    mxid: str
    room_id: str
    sender: str
    signed: dict[str, Any]


class OnBindBody(msgspec.Struct, frozen=True):
    """Which user a third-party identifier has been bound to."""

    medium: str
    address: str
    mxid: str
    invites: list[BoundInvite]


@endpoint("PUT", "/_matrix/federation/v1/exchange_third_party_invite/{room_id}", auth=SIGNED_REQUEST)
async def exchange_third_party_invite(
    request: Request, room_id: str, body: dict[str, Any], invites: ThirdPartyInvites
) -> dict[str, Any]:
    """Make an invite of a third-party invite of a user of ours, for the server of who is invited.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
    """
    await invites.exchange(request.origin, room_id_of(room_id), body)
    return {}


@endpoint("PUT", "/_matrix/federation/v1/3pid/onbind", auth=NO_AUTH, limit="rc_invites.per_issuer")
async def on_bind_third_party_identifier(body: OnBindBody, invites: ThirdPartyInvites) -> dict[str, Any]:
    """An identity server says that a user of ours has bound a third-party identifier, for which invites waited.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind
    """
    await invites.bound(
        body.mxid,
        [PendingInvite(each.mxid, each.room_id, each.sender, each.signed) for each in body.invites],
    )
    return {}
