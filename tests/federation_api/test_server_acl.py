"""A server that a room's ACL denies is refused by each endpoint that the specification names.

Spec: https://spec.matrix.org/v1.19/server-server-api/#server-access-control-lists-acls
"""

from typing import Any

import pytest

from homeserver.federation.errors import FederationError
from homeserver.federation.transport import matrix_path
from homeserver.services.timeline import Draft
from tests.support.federating_server import FederatingServer
from tests.support.federation_peer import FederationPeer

ALICE = "<alice>"
EVENT = "<event>"

ENDPOINTS = (
    ("GET", "v1", "make_join", ALICE),
    ("GET", "v1", "make_leave", ALICE),
    ("GET", "v1", "make_knock", ALICE),
    ("PUT", "v1", "send_join", EVENT),
    ("PUT", "v2", "send_join", EVENT),
    ("PUT", "v1", "send_leave", EVENT),
    ("PUT", "v2", "send_leave", EVENT),
    ("PUT", "v1", "send_knock", EVENT),
    ("GET", "v1", "state", None),
    ("GET", "v1", "state_ids", None),
    ("GET", "v1", "backfill", None),
    ("GET", "v1", "event_auth", EVENT),
    ("POST", "v1", "get_missing_events", None),
)
"""Those of the list that name a room of ours; invites and transactions have tests beside their others."""

QUERIES = {
    "make_join": [("ver", "10")],
    "make_knock": [("ver", "10")],
    "state": [("event_id", EVENT)],
    "state_ids": [("event_id", EVENT)],
    "backfill": [("v", EVENT), ("limit", "1")],
}

ACLS: dict[str, dict[str, Any]] = {
    "denied by a wildcard": {"allow": ["*"], "deny": ["12?.*"]},
    "not allowed": {"allow": ["*.example.org"]},
    "an IP literal": {"allow": ["*"], "allow_ip_literals": False},
}


@pytest.mark.parametrize("acl", ACLS.values(), ids=ACLS.keys())
async def test_each_endpoint_refuses_a_denied_server(
    ours: FederatingServer, peer: FederationPeer, acl: dict[str, Any]
) -> None:
    room_id, alice = await ours.room("10"), peer.user("alice")
    room = await peer.join(ours.server_name, room_id, alice, "10")
    event_id = room.heads[0]
    names = {ALICE: alice, EVENT: event_id}
    pdu = dict(room.events[event_id].pdu)

    async def ask(method: str, version: str, name: str, last: str | None) -> FederationError | None:
        tail = [names[last]] if last else []
        body: Any = pdu if method == "PUT" else None
        if method == "POST":
            body = {"earliest_events": [], "latest_events": [event_id], "limit": 1}
        query = [(key, names.get(value, value)) for key, value in QUERIES.get(name, [])]
        path = matrix_path("_matrix", "federation", version, name, room_id, *tail)
        try:
            await peer.client.request(ours.server_name, method, path, query=query, body=body)  # type: ignore[arg-type]
        except FederationError as error:
            return error
        return None

    before = {endpoint[1:3]: await ask(*endpoint) for endpoint in ENDPOINTS}
    assert not [error for error in before.values() if error and "ACL" in error.reason]
    assert sum(error is None for error in before.values()) >= 8  # the others do not fit the room
    await ours.timeline.send(room_id, Draft(ours.user("ours"), "m.room.server_acl", acl, ""))
    for endpoint in ENDPOINTS:
        problem = await ask(*endpoint)
        assert problem is not None, endpoint
        assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN"), endpoint
        assert "ACL" in problem.reason, endpoint
