"""User-interactive authentication with several flows and stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.core.errors import forbidden
from homeserver.services import user_interactive
from homeserver.services.user_interactive import AuthenticationRequired, UserInteractive

FOO, BAR, BAZ = "example.type.foo", "example.type.bar", "example.type.baz"
FLOWS = [[FOO, BAR], [FOO, BAZ]]


async def knows_the_secret(auth: Mapping[str, Any]) -> None:
    if auth.get("example_credential") != "verypoorsharedsecret":
        raise forbidden("Invalid credential")


STAGES = dict.fromkeys((FOO, BAR, BAZ), knows_the_secret)


class Client:
    """Repeats one operation with one auth dict after another."""

    def __init__(self) -> None:
        self.now = 0
        self.service = UserInteractive(lambda: self.now)
        self.session: str | None = None

    async def attempt(
        self, stage: str | None, secret: str = "verypoorsharedsecret", **how: Any
    ) -> dict[str, Any]:
        """What the 401 says; {} when the authentication is complete."""
        auth: dict[str, Any] = {"example_credential": secret}
        if stage is not None:
            auth["type"] = stage
        if self.session is not None:
            auth["session"] = self.session
        try:
            operation = how.get("operation", "op")
            given = None if how.get("no_auth") else auth
            done = await self.service.authenticate(operation, given, FLOWS, STAGES)
        except AuthenticationRequired as required:
            assert required.status == 401
            body = required.body()
            assert body["flows"] == [{"stages": flow} for flow in FLOWS]
            self.session = body["session"]
            return body
        assert done == self.session
        return {}


async def test_the_example_of_the_specification() -> None:
    client = Client()
    first = await client.attempt(None, no_auth=True)
    assert first == {
        "flows": [{"stages": [FOO, BAR]}, {"stages": [FOO, BAZ]}],
        "params": {},
        "session": client.session,
    }
    assert await client.attempt(FOO) == {**first, "completed": [FOO]}
    refused = await client.attempt(BAZ, "wrong")
    assert refused == {**first, "completed": [FOO], "errcode": "M_FORBIDDEN", "error": "Invalid credential"}
    # "Completed stages cannot be retried by clients": it is answered with what is complete.
    assert await client.attempt(FOO, "wrong") == {**first, "completed": [FOO]}
    assert await client.attempt(BAZ) == {}
    # All is complete: the operation may be tried again until it is done.
    assert await client.attempt(None) == {}
    assert client.session is not None
    client.service.finish(client.session)
    assert "completed" not in await client.attempt(None)


async def test_stages_must_be_completed_in_order() -> None:
    client = Client()
    refused = await client.attempt(BAR)
    assert refused["errcode"] == "M_UNRECOGNIZED" and "completed" not in refused
    assert (await client.attempt("m.login.unknown"))["errcode"] == "M_UNRECOGNIZED"


async def test_a_session_is_good_for_one_operation() -> None:
    client = Client()
    await client.attempt(FOO)
    session = client.session
    answer = await client.attempt(BAR, operation="another")
    assert answer["session"] != session and "completed" not in answer


async def test_a_session_ends_when_it_is_not_used() -> None:
    client = Client()
    await client.attempt(FOO)
    client.now += user_interactive.SESSION_MS - 1
    assert (await client.attempt(None))["completed"] == [FOO]
    client.now += user_interactive.SESSION_MS
    assert "completed" not in await client.attempt(None)


async def test_the_number_of_sessions_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_interactive, "MAX_SESSIONS", 3)
    client = Client()
    await client.attempt(FOO)
    first, client.session = client.session, None
    for _ in range(3):
        await client.attempt(None, no_auth=True)
    client.session = first
    assert "completed" not in await client.attempt(None)
