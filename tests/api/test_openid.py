"""Transcripts: OpenID tokens, for clients and for those who ask about them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#openid
"""

from __future__ import annotations

from .conftest import Server

USERINFO = "/_matrix/federation/v1/openid/userinfo"


def path(user_id: str) -> str:
    return f"/_matrix/client/v3/user/{user_id}/openid/request_token"


async def test_a_user_proves_to_a_service_who_it_is(server: Server) -> None:
    alice = await server.user("alice")
    given = (await alice.post(path(alice.user_id))).ok()
    token = given["access_token"]
    assert given == {
        "access_token": token,
        "token_type": "Bearer",
        "matrix_server_name": "ours.test",
        "expires_in": 3600,
    }
    assert (await server.client.get(f"{USERINFO}?access_token={token}")).ok() == {"sub": "@alice:ours.test"}
    # It is good for nothing else.
    client = server.client.with_token(token)
    (await client.get("/_matrix/client/v3/account/whoami")).refused(401, "M_UNKNOWN_TOKEN")
    (await client.post(path(alice.user_id))).refused(401, "M_UNKNOWN_TOKEN")
    server.clock.seconds += 3600
    (await server.client.get(f"{USERINFO}?access_token={token}")).refused(401, "M_UNKNOWN_TOKEN")


async def test_what_is_no_token(server: Server) -> None:
    alice = await server.user("alice")
    (await server.client.get(USERINFO)).refused(400, "M_MISSING_PARAM")
    for token in ("x", str(alice.access_token)):
        (await server.client.get(f"{USERINFO}?access_token={token}")).refused(401, "M_UNKNOWN_TOKEN")


async def test_a_token_is_for_oneself(server: Server) -> None:
    alice = await server.user("alice")
    (await alice.post(path("@bob:ours.test"))).refused(403, "M_FORBIDDEN")
    (await server.client.post(path(alice.user_id))).refused(401, "M_MISSING_TOKEN")
    (await alice.post(path(alice.user_id), content=b"x")).ok()
