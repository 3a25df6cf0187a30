"""Tags of rooms over HTTP."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import no_news
from tests.support.room_server import ALICE, RoomServer


def path(room_id: str, tag: str | None = None) -> str:
    return f"/user/{ALICE}/rooms/{quote(room_id)}/tags" + ("" if tag is None else f"/{quote(tag, safe='')}")


async def test_a_life_of_tags(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await rooms.alice.create()
    since = (await alice.sync())["next_batch"]
    assert (await alice.get(path(room_id))).ok() == {"tags": {}}
    assert (await alice.put(path(room_id, "m.favourite"), {"order": 0.1})).ok() == {}
    assert (await alice.put(path(room_id, "u.a/b ü"), {})).ok() == {}
    tags: dict[str, Any] = {"m.favourite": {"order": 0.1}, "u.a/b ü": {}}
    assert (await alice.get(path(room_id))).ok() == {"tags": tags}
    for first in (await alice.sync(since), await alice.sync()):
        events = first["rooms"]["join"][room_id]["account_data"]["events"]
        assert events == [{"type": "m.tag", "content": {"tags": tags}}]
    assert (await alice.put(path(room_id, "m.favourite"), {"order": 1, "org.example": True})).ok() == {}
    assert (await alice.delete(path(room_id, "u.a/b ü"))).ok() == {}
    assert (await alice.delete(path(room_id, "u.never"))).ok() == {}
    tags = {"m.favourite": {"order": 1, "org.example": True}}
    assert (await alice.get(path(room_id))).ok() == {"tags": tags}
    assert (await alice.delete(path(room_id, "m.favourite"))).ok() == {}
    last = await alice.sync(first["next_batch"])
    events = last["rooms"]["join"][room_id]["account_data"]["events"]
    assert events == [{"type": "m.tag", "content": {"tags": {}}}]
    assert "rooms" in await rooms.alice.sync() and (await rooms.bob.sync()).get("rooms") is None


async def test_old_paths(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    target = f"/_matrix/client/r0{path(room_id)}"
    assert (await rooms.alice.http.put(f"{target}/u.x", {"order": 0})).ok() == {}
    assert (await rooms.alice.http.get(target)).ok() == {"tags": {"u.x": {"order": 0}}}
    assert (await rooms.alice.http.delete(f"{target}/u.x")).ok() == {}


async def test_what_does_not_change_is_no_news(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.put(path(room_id, "u.x"), {})).ok()
    since = (await rooms.alice.sync())["next_batch"]
    (await rooms.alice.put(path(room_id, "u.x"), {})).ok()
    (await rooms.alice.delete(path(room_id, "u.y"))).ok()
    assert await rooms.alice.sync(since) == no_news(since)


@pytest.mark.parametrize("order", ["0.5", -0.1, 1.1, True, None, [0.5]])
async def test_orders_that_are_none(rooms: RoomServer, order: Any) -> None:
    (await rooms.alice.put(path("!r:ours.test", "u.x"), {"order": order})).refused(400, "M_BAD_JSON")
    assert (await rooms.alice.get(path("!r:ours.test"))).ok() == {"tags": {}}


async def test_what_is_refused(rooms: RoomServer) -> None:
    room_id = "!r:ours.test"
    (await rooms.bob.get(path(room_id))).refused(403, "M_FORBIDDEN")
    (await rooms.bob.put(path(room_id, "u.x"), {})).refused(403, "M_FORBIDDEN")
    (await rooms.bob.delete(path(room_id, "u.x"))).refused(403, "M_FORBIDDEN")
    (await rooms.alice.get(path("x"))).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.put(path("x", "u.x"), {})).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.delete(path("x", "u.x"))).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.put(path(room_id, "ü" * 128), {})).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.put(path(room_id, ""), {})).refused(400, "M_INVALID_PARAM")
    assert (await rooms.alice.put(path(room_id, "ü" * 127), {})).ok() == {}
    target = f"/_matrix/client/v3{path(room_id, 'u.x')}"
    (await rooms.alice.http.put(target, content=b"[]")).refused(400, "M_BAD_JSON")
    (await rooms.alice.http.put(target, content=b"x")).refused(400, "M_NOT_JSON")
    for method in ("GET", "PUT", "DELETE"):
        asked = f"/_matrix/client/v3{path(room_id, None if method == 'GET' else 'u.x')}"
        (await rooms.client.request(method, asked, {})).refused(401, "M_MISSING_TOKEN")


async def test_what_a_client_has_made_of_the_event_itself(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    event = f"/user/{ALICE}/rooms/{quote(room_id)}/account_data/m.tag"
    for content, tags in (({"tags": {"u.x": {}}}, {"u.x": {}}), ({"tags": 7}, {}), ({}, {})):
        (await rooms.alice.put(event, content)).ok()
        assert (await rooms.alice.get(path(room_id))).ok() == {"tags": tags}
    (await rooms.alice.put(path(room_id, "u.y"), {})).ok()
    assert (await rooms.alice.get(event)).ok() == {"tags": {"u.y": {}}}
