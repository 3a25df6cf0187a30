"""Transcripts: registration tokens, and Synapse's API by which administrators make them.

Spec: https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.client import Answer, Client

from .conftest import Server, StartServer

REGISTER = "/_matrix/client/v3/register"
VALIDITY = "/_matrix/client/v1/register/m.login.registration_token/validity?token="
ADMIN = "/_synapse/admin/v1/registration_tokens"
STAGE = "m.login.registration_token"


@pytest.fixture
async def server(start_server: StartServer) -> Server:
    """A server on which registration needs a token."""
    return await start_server(
        registration_requires_token=True,
        rc_registration_token_validity={"per_second": 1000, "burst_count": 1000},
    )


@pytest.fixture
async def root(server: Server) -> Client:
    """Its administrator."""
    return await server.user("root", is_admin=True)


async def new_token(root: Client, **how: Any) -> str:
    token: str = (await root.post(f"{ADMIN}/new", how)).ok()["token"]
    return token


async def register(server: Server, name: str, token: Any, session: str | None = None) -> Answer:
    auth = {"type": STAGE, "token": token, **({"session": session} if session else {})}
    return await server.client.post(REGISTER, {"username": name, "password": "x", "auth": auth})


async def validity(server: Server, token: str) -> Any:
    return (await server.client.get(VALIDITY + token)).ok()["valid"]


async def test_registering_with_a_token(server: Server, root: Client) -> None:
    token = await new_token(root, token="fBVFdqVE", uses_allowed=1)
    assert token == "fBVFdqVE"
    answer = await server.client.post(REGISTER, {"username": "alice", "password": "x"})
    assert answer.status == 401 and answer.body["flows"] == [{"stages": [STAGE]}]
    session = answer.body["session"]
    refused = await register(server, "alice", "wrong", session)
    assert refused.refused(401, "M_FORBIDDEN")["session"] == session
    for missing in (None, 7):
        (await register(server, "alice", missing, session)).refused(401, "M_MISSING_PARAM")
    dummy = {"type": "m.login.dummy", "session": session}
    answer = await server.client.post(REGISTER, {"username": "alice", "password": "x", "auth": dummy})
    answer.refused(401, "M_UNRECOGNIZED")
    assert await validity(server, token) is True
    assert (await register(server, "alice", token, session)).ok()["user_id"] == "@alice:ours.test"
    assert await validity(server, token) is False
    (await register(server, "bob", token)).refused(401, "M_FORBIDDEN")


async def test_a_registration_under_way_takes_a_use(server: Server, root: Client) -> None:
    token = await new_token(root, uses_allowed=1)
    auth = {"type": STAGE, "token": token}
    # The stage is complete, but the registration is not: it lacks its password.
    (await server.client.post(REGISTER, {"username": "alice", "auth": auth})).refused(400, "M_MISSING_PARAM")
    assert (await root.get(f"{ADMIN}/{token}")).ok()["pending"] == 1
    assert await validity(server, token) is False
    (await register(server, "bob", token)).refused(401, "M_FORBIDDEN")
    server.clock.seconds += 3600
    assert (await root.get(f"{ADMIN}/{token}")).ok()["pending"] == 0
    assert await validity(server, token) is True


async def test_a_token_is_used_no_more_often_than_it_allows(server: Server, root: Client) -> None:
    token = await new_token(root, uses_allowed=2)
    answers = await asyncio.gather(*(register(server, f"user{n}", token) for n in range(6)))
    assert sorted(answer.status for answer in answers)[:3] == [200, 200, 401]
    used = (await root.get(f"{ADMIN}/{token}")).ok()
    assert (used["completed"], used["pending"]) == (2, 0)


async def test_a_token_that_is_used_up_meanwhile_makes_no_account(server: Server, root: Client) -> None:
    token = await new_token(root, uses_allowed=1)
    session = (await server.client.post(REGISTER, {"username": "alice"})).body["session"]
    auth = {"type": STAGE, "token": token, "session": session}
    (await server.client.post(REGISTER, {"username": "alice", "auth": auth})).refused(400, "M_MISSING_PARAM")
    (await root.put(f"{ADMIN}/{token}", {"uses_allowed": 0})).ok()
    alice = {"username": "alice", "password": "x", "auth": {"session": session}}
    (await server.client.post(REGISTER, alice)).refused(403, "M_FORBIDDEN")
    (await server.client.get("/_matrix/client/v3/register/available?username=alice")).ok()
    # Nothing can come of that session any more.
    assert (await root.get(f"{ADMIN}/{token}")).ok()["pending"] == 0


async def test_a_token_expires(server: Server, root: Client) -> None:
    now = server.clock.now_ms()
    token = await new_token(root, expiry_time=now + 1000)
    assert await validity(server, token) is True
    server.clock.seconds += 1
    assert await validity(server, token) is False
    (await register(server, "alice", token)).refused(401, "M_FORBIDDEN")


@pytest.mark.parametrize("token", ["unknown", "%C3%A4", "x" * 65, ""])
async def test_what_is_no_token_is_not_valid(server: Server, token: str) -> None:
    assert await validity(server, token) is False


async def test_the_query_of_validity(server: Server) -> None:
    (await server.client.get(VALIDITY.partition("?")[0])).refused(400, "M_MISSING_PARAM")


async def test_closed_registration(start_server: StartServer) -> None:
    server = await start_server(enable_registration=False)
    (await server.client.get(VALIDITY + "x")).refused(403, "M_FORBIDDEN")


async def test_guessing_is_limited(start_server: StartServer) -> None:
    server = await start_server(
        registration_requires_token=True,
        rc_registration_token_validity={"per_second": 0.1, "burst_count": 3},
    )
    for _ in range(2):
        assert await validity(server, "guess") is False
    (await register(server, "alice", "guess")).refused(401, "M_FORBIDDEN")
    assert (await register(server, "alice", "guess")).refused(429, "M_LIMIT_EXCEEDED")[
        "retry_after_ms"
    ] == 10_000
    (await server.client.get(VALIDITY + "guess")).refused(429, "M_LIMIT_EXCEEDED")


async def test_a_life_of_tokens(server: Server, root: Client) -> None:
    now = server.clock.now_ms()
    assert (await root.get(ADMIN)).ok() == {"registration_tokens": []}
    made = (await root.post(f"{ADMIN}/new", {})).ok()
    assert len(made["token"]) == 16
    assert made == {
        "token": made["token"],
        "uses_allowed": None,
        "pending": 0,
        "completed": 0,
        "expiry_time": None,
    }
    assert len(await new_token(root, length=64)) == 64
    wanted = {"token": "abcd", "uses_allowed": 0, "expiry_time": now + 5000}
    limited = {**wanted, "pending": 0, "completed": 0}
    assert (await root.post(f"{ADMIN}/new", wanted)).ok() == limited
    assert (await root.get(f"{ADMIN}/abcd")).ok() == limited
    listed = (await root.get(f"{ADMIN}?valid=false")).ok()["registration_tokens"]
    assert listed == [limited]
    assert len((await root.get(f"{ADMIN}?valid=true")).ok()["registration_tokens"]) == 2
    assert len((await root.get(ADMIN)).ok()["registration_tokens"]) == 3
    changed = (await root.put(f"{ADMIN}/abcd", {"uses_allowed": 5})).ok()
    assert changed == {**limited, "uses_allowed": 5}
    changed = (await root.put(f"{ADMIN}/abcd", {"expiry_time": None, "uses_allowed": None})).ok()
    assert changed == {**limited, "uses_allowed": None, "expiry_time": None}
    assert (await root.put(f"{ADMIN}/abcd", {})).ok() == changed
    assert (await root.delete(f"{ADMIN}/abcd")).ok() == {}
    for method in ("GET", "PUT", "DELETE"):
        (await root.request(method, f"{ADMIN}/abcd", {})).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    "wanted",
    [
        {"token": "a b"},
        {"token": ""},
        {"token": "x" * 65},
        {"length": 0},
        {"length": 65},
        {"uses_allowed": -1},
        {"uses_allowed": 2**60},
        {"expiry_time": 1},
        {"token": "taken"},
    ],
)
async def test_tokens_that_cannot_be(server: Server, root: Client, wanted: dict[str, Any]) -> None:
    await new_token(root, token="taken")
    (await root.post(f"{ADMIN}/new", wanted)).refused(400, "M_INVALID_PARAM")
    if "uses_allowed" in wanted or "expiry_time" in wanted:
        (await root.put(f"{ADMIN}/taken", wanted)).refused(400, "M_INVALID_PARAM")


async def test_only_administrators_have_to_do_with_tokens(server: Server, root: Client) -> None:
    alice = await server.user("alice")
    paths = [("GET", ""), ("POST", "/new"), ("GET", "/x"), ("PUT", "/x"), ("DELETE", "/x")]
    for method, path in paths:
        (await alice.request(method, ADMIN + path, {})).refused(403, "M_FORBIDDEN")
        (await server.client.request(method, ADMIN + path, {})).refused(401, "M_MISSING_TOKEN")
