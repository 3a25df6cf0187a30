"""From the wire to handlers and back."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from homeserver.config import Duration, ServerName
from homeserver.core.errors import forbidden
from homeserver.http import (
    ACCESS_TOKEN,
    NO_AUTH,
    OPTIONAL_ACCESS_TOKEN,
    SIGNED_REQUEST,
    BindingError,
    RawJSON,
    Request,
    Response,
    build_application,
    endpoint,
)
from homeserver.http.authentication import Authenticators

from .support import SignedRequests, served

ROOM = "/_matrix/client/v3/rooms/{room_id}"


class Inner(msgspec.Struct):
    count: int = 0


class Body(msgspec.Struct):
    reason: str | None = None
    inner: list[Inner] = []


class Needed(msgspec.Struct):
    name: str


class Query(msgspec.Struct):
    limit: int = 10
    full: bool = False
    via: list[str] = []
    since: str | None = None
    kind: str = msgspec.field(name="type", default="none")


class NeededQuery(msgspec.Struct):
    username: str


class Greeter:
    greeting = "hello"


@endpoint("POST", ROOM + "/ban", auth=ACCESS_TOKEN, aliases=("/_matrix/client/r0/rooms/{room_id}/ban",))
async def ban(request: Request, room_id: str, body: Body, greeter: Greeter) -> dict[str, Any]:
    return {
        "room_id": room_id,
        "user_id": request.requester.user_id,
        "reason": body.reason,
        "greeting": greeter.greeting,
    }


@endpoint("PUT", "/_matrix/client/v3/any", auth=NO_AUTH, max_body=1000)
async def put_any(body: dict[str, Any]) -> dict[str, Any]:
    return {"got": body}


@endpoint("PUT", "/_matrix/client/v3/needed", auth=NO_AUTH)
async def put_needed(body: Needed) -> dict[str, Any]:
    return {"got": body.name}


@endpoint("GET", "/_matrix/client/v3/query", auth=NO_AUTH)
async def query_all(query: Query) -> Query:
    return query


@endpoint("GET", "/_matrix/client/v3/needed_query", auth=NO_AUTH)
async def query_needed(query: NeededQuery) -> dict[str, Any]:
    return {"username": query.username}


@endpoint("GET", "/_matrix/client/v3/maybe", auth=OPTIONAL_ACCESS_TOKEN)
async def maybe(request: Request) -> dict[str, Any]:
    requester = request.requester_or_none
    return {"user_id": requester and requester.user_id}


@endpoint("PUT", "/_matrix/federation/v1/send/{txn_id}", auth=SIGNED_REQUEST)
async def send(request: Request, txn_id: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"origin": request.origin, "txn_id": txn_id, "body": body}


@endpoint("GET", "/_matrix/federation/v1/event/{event_id}", auth=SIGNED_REQUEST)
async def get_event(request: Request, event_id: str) -> RawJSON:
    return RawJSON([b'{"origin":"', request.origin.encode(), b'"}'])


@endpoint("GET", "/_matrix/client/v3/fails", auth=NO_AUTH)
async def fails() -> dict[str, Any]:
    raise RuntimeError("secret detail")


@endpoint("GET", "/_matrix/client/v3/forbidden", auth=NO_AUTH)
async def refuses() -> None:
    raise forbidden("no entry")


@endpoint("GET", "/_matrix/client/v3/redirect", auth=NO_AUTH)
async def redirects() -> Response:
    return Response(302, None, {"Location": "/elsewhere"})


@endpoint("GET", "/_matrix/client/v3/raw", auth=NO_AUTH)
async def raw() -> dict[str, Any]:
    return {"events": [msgspec.Raw(b'{"n":10000000000000000000000}')], "huge": 10**30}


@endpoint("GET", "/_matrix/client/v3/values", auth=NO_AUTH)
async def values() -> dict[str, Any]:
    name = ServerName("ours.test")
    return {
        name: name,
        "frozen": MappingProxyType({"a": Duration(5)}),
        "struct": Inner(3),
        "tuple": (1, None),
    }


@endpoint("GET", "/_matrix/client/v3/values_huge", auth=NO_AUTH)
async def values_huge() -> dict[str, Any]:
    return {**await values(), "huge": [10**30]}


@endpoint("POST", "/_matrix/client/v3/nothing", auth=NO_AUTH)
async def nothing() -> None:
    return None


async def test_a_request_reaches_its_handler_with_everything_it_asks_for() -> None:
    async with served(ban, services=(Greeter(),)) as client:
        client = client.with_token("alices")
        for prefix in ("v3", "r0"):
            answer = await client.post(
                f"/_matrix/client/{prefix}/rooms/%21a%2Fb:c/ban", {"reason": "x", "new": 1}
            )
            assert answer.ok() == {
                "room_id": "!a/b:c",
                "user_id": "@alice:test",
                "reason": "x",
                "greeting": "hello",
            }
            assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("content", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"{", "M_NOT_JSON"),
        (b'{"a":1,"a":2}', "M_NOT_JSON"),
        (b'{"a":NaN}', "M_NOT_JSON"),
        (b'{"a":"\\ud800"}', "M_NOT_JSON"),
        (b'{"a":"\xff"}', "M_NOT_JSON"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b"null", "M_BAD_JSON"),
        (b'"text"', "M_BAD_JSON"),
    ],
)
async def test_a_body_must_be_a_json_object(content: bytes, errcode: str) -> None:
    async with served(put_any) as client:
        (await client.put("/_matrix/client/v3/any", content=content)).refused(400, errcode)


async def test_what_is_wrong_in_a_body_is_named_by_its_path() -> None:
    async with served(ban, put_needed, services=(Greeter(),)) as client:
        client = client.with_token("alices")
        answer = await client.post(
            "/_matrix/client/v3/rooms/!a/ban", {"inner": [{"count": 1}, {"count": "2"}]}
        )
        assert "$.inner[1].count" in answer.refused(400, "M_BAD_JSON")["error"]
        answer = await client.put("/_matrix/client/v3/needed", {})
        assert "name" in answer.refused(400, "M_BAD_JSON")["error"]
        # Where nothing is required, an empty body will do; where something is, it is missed.
        (await client.post("/_matrix/client/v3/rooms/!a/ban", content=b"")).ok()
        (await client.put("/_matrix/client/v3/needed", content=b"")).refused(400, "M_BAD_JSON")


async def test_a_large_body_is_refused_whether_announced_or_not() -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 100

    async with served(put_any) as client:
        path = "/_matrix/client/v3/any"
        (await client.put(path, content=b"{" + b" " * 998 + b"}")).ok()
        (await client.put(path, content=b"{" + b" " * 999 + b"}")).refused(413, "M_TOO_LARGE")
        (await client.put(path, content=endless())).refused(413, "M_TOO_LARGE")


async def test_a_large_body_is_decoded_all_the_same() -> None:
    async with served(send) as client:
        body = {"pdus": ["x" * 1000] * 300}
        headers = {"Authorization": "X-Matrix good"}
        answer = await client.put("/_matrix/federation/v1/send/1", body, headers=headers)
        assert answer.ok()["body"] == body


async def test_query_parameters() -> None:
    async with served(query_all, query_needed) as client:
        path = "/_matrix/client/v3/query"
        defaults = {"limit": 10, "full": False, "via": [], "since": None, "type": "none"}
        assert (await client.get(path)).ok() == defaults
        answer = await client.get(path + "?limit=3&full=true&via=a&via=b%2Fc&since=x+y%2Bz&type=t&other=1")
        assert answer.ok() == {"limit": 3, "full": True, "via": ["a", "b/c"], "since": "x y+z", "type": "t"}
        for wrong in ("limit=many", "full=maybe", "limit=", "since=%FF", "since=%00"):
            (await client.get(f"{path}?{wrong}")).refused(400, "M_INVALID_PARAM")
        (await client.get(path + "?" + "&".join(["a=1"] * 2000))).refused(400, "M_INVALID_PARAM")
        (await client.get("/_matrix/client/v3/needed_query")).refused(400, "M_MISSING_PARAM")
        assert (await client.get("/_matrix/client/v3/needed_query?username=")).ok() == {"username": ""}


async def test_access_tokens() -> None:
    async with served(ban, maybe, services=(Greeter(),)) as client:
        path = "/_matrix/client/v3/rooms/!a/ban"
        (await client.post(path)).refused(401, "M_MISSING_TOKEN")
        (await client.post(path, headers={"Authorization": "Basic x"})).refused(401, "M_MISSING_TOKEN")
        (await client.post(path, headers={"Authorization": "Bearer "})).refused(401, "M_MISSING_TOKEN")
        body = (await client.with_token("bobs").post(path)).refused(401, "M_UNKNOWN_TOKEN")
        assert body["soft_logout"] is False
        (await client.post(path, headers={"Authorization": "bearer alices"})).ok()
        (await client.post(path + "?access_token=alices")).ok()
        assert (await client.get("/_matrix/client/v3/maybe")).ok() == {"user_id": None}
        assert (await client.with_token("alices").get("/_matrix/client/v3/maybe")).ok() == {
            "user_id": "@alice:test"
        }
        (await client.with_token("bobs").get("/_matrix/client/v3/maybe")).refused(401, "M_UNKNOWN_TOKEN")


async def test_a_body_is_not_read_for_a_stranger() -> None:
    async with served(ban, services=(Greeter(),)) as client:
        (await client.post("/_matrix/client/v3/rooms/!a/ban", content=b"{")).refused(401, "M_MISSING_TOKEN")


async def test_signed_requests_are_given_what_was_signed() -> None:
    signed = SignedRequests()
    headers = {"Authorization": "X-Matrix good"}
    async with served(send, get_event, signed=signed) as client:
        answer = await client.put("/_matrix/federation/v1/send/a%2Fb?x=%20", {"a": 1}, headers=headers)
        assert answer.ok() == {"origin": "remote.test", "txn_id": "a/b", "body": {"a": 1}}
        answer = await client.get("/_matrix/federation/v1/event/$e", headers=headers)
        assert answer.ok() == {"origin": "remote.test"}
        assert signed.seen == [
            ("PUT", "/_matrix/federation/v1/send/a%2Fb?x=%20", {"a": 1}),
            ("GET", "/_matrix/federation/v1/event/$e", None),
        ]
        (await client.get("/_matrix/federation/v1/event/$e")).refused(401, "M_UNAUTHORIZED")
        answer = await client.put("/_matrix/federation/v1/send/1", content=b"{", headers=headers)
        answer.refused(400, "M_NOT_JSON")
        (await client.put("/_matrix/federation/v1/send/1", [], headers=headers)).refused(400, "M_BAD_JSON")


async def test_errors_are_rendered(caplog: pytest.LogCaptureFixture) -> None:
    async with served(fails, refuses) as client:
        assert (await client.get("/_matrix/client/v3/forbidden")).refused(403, "M_FORBIDDEN")[
            "error"
        ] == "no entry"
        message = (await client.get("/_matrix/client/v3/fails")).refused(500, "M_UNKNOWN")["error"]
        assert "secret detail" not in message
        request_id = message.partition("request ")[2].rstrip(")")
        logged = [record for record in caplog.records if record.exc_info]
        assert len(logged) == 1 and request_id in logged[0].getMessage()


async def test_other_answers() -> None:
    async with served(redirects, raw, nothing) as client:
        answer = await client.session.get(
            client.base_url + "/_matrix/client/v3/redirect", allow_redirects=False
        )
        assert (answer.status, answer.headers["Location"]) == (302, "/elsewhere")
        content = (await client.get("/_matrix/client/v3/raw")).content
        assert b'{"n":10000000000000000000000}' in content and str(10**30).encode() in content
        assert (await client.post("/_matrix/client/v3/nothing")).ok() == {}


async def test_values_that_json_does_not_know_by_itself() -> None:
    async with served(values, values_huge) as client:
        expected = {"ours.test": "ours.test", "frozen": {"a": 5}, "struct": {"count": 3}, "tuple": [1, None]}
        assert (await client.get("/_matrix/client/v3/values")).ok() == expected
        assert (await client.get("/_matrix/client/v3/values_huge")).ok() == {**expected, "huge": [10**30]}


async def test_unknown_paths_and_methods() -> None:
    async with served(maybe) as client:
        for path in ("/", "/_matrix/client/v3/nowhere", "//", "/_matrix/client/v3/maybe/", "/_matrix"):
            (await client.get(path)).refused(404, "M_UNRECOGNIZED")
        answer = await client.post("/_matrix/client/v3/maybe")
        answer.refused(405, "M_UNRECOGNIZED")
        assert answer.headers["Allow"] == "GET"
        (await client.request("PATCH", "/_matrix/client/v3/maybe")).refused(405, "M_UNRECOGNIZED")


async def test_head_has_the_headers_of_get_and_no_body() -> None:
    async with served(maybe) as client:
        answer = await client.request("HEAD", "/_matrix/client/v3/maybe")
        assert (answer.status, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(b'{"user_id":null}'))


async def test_a_handler_that_asks_for_what_is_not_there_stops_the_start() -> None:
    with pytest.raises(BindingError, match="ban: 0 services are a Greeter"):
        build_application(ban.endpoints, [], Authenticators())  # type: ignore[attr-defined]
    with pytest.raises(BindingError, match="2 services"):
        build_application(ban.endpoints, [Greeter(), Greeter()], Authenticators())  # type: ignore[attr-defined]

    @endpoint("GET", "/_matrix/client/v3/{forgotten}", auth=NO_AUTH)
    async def forgets() -> None: ...

    with pytest.raises(BindingError, match="forgotten"):
        build_application(forgets.endpoints, [], Authenticators())  # type: ignore[attr-defined]


def test_aliases_have_the_parameters_of_the_path() -> None:
    with pytest.raises(ValueError, match="has not the path parameters"):

        @endpoint("GET", "/a/{x}", auth=NO_AUTH, aliases=("/b/{y}",))
        async def wrong(x: str) -> None: ...
