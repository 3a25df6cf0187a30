"""Asking a policy server to sign an event.

Spec: https://spec.matrix.org/v1.19/server-server-api/#policy-servers
"""

from __future__ import annotations

from homeserver.core.events import Event
from homeserver.core.signing import POLICY_SERVER_KEY_ID
from homeserver.federation.remote.answers import as_object, field, invalid
from homeserver.federation.transport import FederationClient


async def ask_policy_server_to_sign(client: FederationClient, destination: str, event: Event) -> str:
    """The policy server's signature of the event (unverified), for `destination` and the key
    ed25519:policy_server.

    A refusal is FederationError with stage "http".

    Spec: https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign
    """
    answer = as_object(
        destination,
        await client.request(destination, "POST", "/_matrix/policy/v1/sign", body=event.canonical),
    )
    signatures = as_object(destination, answer.get(destination), f"the entry of {destination}")
    signature = field(destination, signatures, POLICY_SERVER_KEY_ID, str)
    if not signature:
        raise invalid(destination, "the signature is empty")
    return str(signature)
