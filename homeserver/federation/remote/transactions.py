"""Sending events and ephemeral messages.

Spec: https://spec.matrix.org/v1.19/server-server-api/#transactions
"""

from __future__ import annotations

from collections.abc import Sequence

from homeserver.core.canonical_json import encode_canonical
from homeserver.federation.remote.answers import as_object, field
from homeserver.federation.transport import FederationClient, matrix_path

MAX_PDUS = 50
MAX_EDUS = 100


def transaction_body(
    origin: str, origin_server_ts: int, pdus: Sequence[bytes], edus: Sequence[bytes] = ()
) -> bytes:
    """The canonical JSON of a transaction, of events and EDUs that are canonical JSON already.

    Raises ValueError beyond 50 PDUs or 100 EDUs.
    """
    if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
        raise ValueError(f"a transaction cannot have {len(pdus)} PDUs and {len(edus)} EDUs")
    return b'{"edus":[%b],"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
        b",".join(edus),
        encode_canonical(origin),
        origin_server_ts,
        b",".join(pdus),
    )


async def send_transaction(
    client: FederationClient,
    destination: str,
    transaction_id: str,
    body: bytes,
    *,
    timeout: float | None = None,
) -> dict[str, str | None]:
    """Send a transaction (`transaction_body`): event ID to None, or to what the server says went wrong with
    it.

    Spec: https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
    """
    path = matrix_path("_matrix", "federation", "v1", "send", transaction_id)
    answer = as_object(
        destination, await client.request(destination, "PUT", path, body=body, timeout=timeout)
    )
    # The transaction has been taken, whatever the results look like: a server that leaves them out is not
    # asked again.
    results = field(destination, answer, "pdus", dict) if "pdus" in answer else {}
    outcome: dict[str, str | None] = {}
    for event_id, result in results.items():
        error = result.get("error") if isinstance(result, dict) else None
        outcome[event_id] = None if error is None else str(error)[:500]
    return outcome
