"""Transactions.

Spec: https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from __future__ import annotations

from typing import Any

import msgspec

from homeserver.http import SIGNED_REQUEST, RawJSON, Request, endpoint
from homeserver.services.incoming import IncomingTransactions


class Transaction(msgspec.Struct, frozen=True):
    """PDUs and EDUs, each of which is judged by itself."""

    pdus: list[Any]
    edus: list[Any] = msgspec.field(default_factory=list)


# Not in turn with the server's other requests: what it has to tell waits for one transaction after the other already.
@endpoint("PUT", "/_matrix/federation/v1/send/{txn_id}", auth=SIGNED_REQUEST, in_turn=False)
async def send_transaction(
    request: Request, txn_id: str, body: Transaction, incoming: IncomingTransactions
) -> RawJSON:
    """Push messages representing live activity to this server.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
    """
    return RawJSON(await incoming.take(request.origin, txn_id, body.pdus, body.edus))
