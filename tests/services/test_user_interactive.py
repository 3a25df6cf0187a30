"""User-interactive authentication with several flows and stages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from homeserver.core.errors import MatrixError, forbidden, limit_exceeded
from homeserver.services import user_interactive
from homeserver.services.user_interactive import AuthenticationRequired, UserInteractive, operation_key

FOO, BAR, BAZ = "example.type.foo", "example.type.bar", "example.type.baz"
FLOWS = [[FOO, BAR], [FOO, BAZ]]


async def knows_the_secret(auth: Mapping[str, Any]) -> str:
    if auth.get("example_credential") == "too often":
        raise limit_exceeded("Too many tries", 1000)
    if auth.get("example_credential") != "verypoorsharedsecret":
        raise forbidden("Invalid credential")
    return f"proof of {auth['type']}"


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
        assert done.session_id == self.session
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


async def test_what_the_stages_have_proved() -> None:
    client = Client()
    await client.attempt(FOO)
    assert client.service.proofs(FOO) == [f"proof of {FOO}"] and client.service.proofs(BAR) == []
    auth = {"session": client.session, "type": BAR, "example_credential": "verypoorsharedsecret"}
    done = await client.service.authenticate("op", auth, FLOWS, STAGES)
    assert done.proved == {FOO: f"proof of {FOO}", BAR: f"proof of {BAR}"}
    client.service.finish(done.session_id)
    assert client.service.proofs(FOO) == []


async def test_too_many_tries_are_no_refused_proof() -> None:
    client = Client()
    with pytest.raises(MatrixError) as refused:
        await client.attempt(FOO, "too often")
    assert refused.value.status == 429


async def test_a_stage_apart_from_the_operation() -> None:
    client = Client()
    await client.attempt(None, no_auth=True)
    assert client.session is not None
    assert client.service.awaits(client.session, FOO)
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        client.service.awaits(client.session, BAR)
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        client.service.awaits("unknown", FOO)
    proof = {"type": FOO, "example_credential": "verypoorsharedsecret"}
    with pytest.raises(MatrixError, match="M_FORBIDDEN"):
        await client.service.attempt(client.session, FOO, {"type": FOO})
    await client.service.attempt(client.session, FOO, proof)
    assert not client.service.awaits(client.session, FOO)
    with pytest.raises(MatrixError, match="M_UNRECOGNIZED"):
        await client.service.attempt(client.session, FOO, proof)
    assert (await client.attempt(None))["completed"] == [FOO]
    client.now += user_interactive.SESSION_MS
    with pytest.raises(MatrixError, match="M_NOT_FOUND"):
        await client.service.attempt(client.session, BAR, proof)


def test_the_key_of_an_operation_tells_its_parameters_apart() -> None:
    key = operation_key("op", "@alice:test", {"a": 1, "b": "secret"})
    assert key == operation_key("op", "@alice:test", {"b": "secret", "a": 1}) and "secret" not in key
    others = [("other", "@alice:test", {"a": 1, "b": "secret"}), ("op", "@bob:test", {"a": 1, "b": "secret"})]
    others += [("op", "@alice:test", {"a": 1}), ("op", "@alice:test", {})]
    assert len({key, *(operation_key(*other) for other in others)}) == 5
