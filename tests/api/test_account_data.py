"""Account data over HTTP: setting and reading it, what is refused, and how /sync tells of it."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import no_news
from tests.support.room_server import ALICE, BOB, RoomClient, RoomServer

ROOM = "!somewhere:ours.test"
PLACES = [f"/user/{ALICE}/account_data", f"/user/{ALICE}/rooms/{quote(ROOM)}/account_data"]


def shown(answer: Any) -> dict[str, Any]:
    """The global account data of an answer of /sync; the push rules, which are always there, left out."""
    events = answer.get("account_data", {"events": []})["events"]
    return {event["type"]: event["content"] for event in events if event["type"] != "m.push_rules"}


def shown_in(answer: Any, room_id: str, section: str = "join") -> dict[str, Any]:
    events = answer["rooms"][section][room_id]["account_data"]["events"]
    assert all(set(event) == {"type", "content"} for event in events)
    return {event["type"]: event["content"] for event in events}


async def put(client: RoomClient, kind: str, content: Any, room_id: str | None = None) -> None:
    room = "" if room_id is None else f"/rooms/{quote(room_id)}"
    assert (await client.put(f"/user/{client.user_id}{room}/account_data/{kind}", content)).ok() == {}


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_set_is_there(rooms: RoomServer, place: str) -> None:
    alice = rooms.alice
    assert (await alice.put(f"{place}/org.example.a%2Fb", {"k": [1, 0.5, "ü", None]})).ok() == {}
    assert (await alice.put(f"{place}/other", {})).ok() == {}
    assert (await alice.get(f"{place}/org.example.a%2Fb")).ok() == {"k": [1, 0.5, "ü", None]}
    assert (await alice.get(f"{place}/other")).ok() == {}
    (await alice.put(f"{place}/other", {"n": 1})).ok()
    assert (await alice.get(f"{place}/other")).ok() == {"n": 1}
    r0 = await alice.http.get(f"/_matrix/client/r0{place}/other")
    assert r0.ok() == {"n": 1}
    elsewhere = next(other for other in PLACES if other != place)
    (await alice.get(f"{elsewhere}/other")).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_refused(rooms: RoomServer, place: str) -> None:
    alice, path = rooms.alice, f"{place}/org.example"
    (await alice.get(path)).refused(404, "M_NOT_FOUND")
    (await rooms.bob.get(path)).refused(403, "M_FORBIDDEN")
    (await rooms.bob.put(path, {})).refused(403, "M_FORBIDDEN")
    (await rooms.client.get(f"/_matrix/client/v3{path}")).refused(401, "M_MISSING_TOKEN")
    (await rooms.client.put(f"/_matrix/client/v3{path}", {})).refused(401, "M_MISSING_TOKEN")
    full = f"/_matrix/client/v3{path}"
    (await alice.http.put(full, content=b"[]")).refused(400, "M_BAD_JSON")
    (await alice.http.put(full, content=b"{")).refused(400, "M_NOT_JSON")
    (await alice.http.put(full, content=b"")).refused(400, "M_NOT_JSON")
    (await alice.put(path, {"x": "x" * 270_000})).refused(413, "M_TOO_LARGE")
    (await alice.put(f"{place}/{'x' * 256}", {})).refused(400, "M_INVALID_PARAM")
    (await alice.put(f"{place}/", {})).refused(400, "M_INVALID_PARAM")
    for managed in ("m.fully_read", "m.push_rules"):
        answer = await alice.put(f"{place}/{managed}", {"global": {}})
        assert managed in answer.refused(405, "M_BAD_JSON")["error"]
    (await alice.get(path)).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize("room_id", ["@notaroomid:example.org", "%23alias:ours.test", "!", "x"])
async def test_what_is_no_room(rooms: RoomServer, room_id: str) -> None:
    path = f"/user/{ALICE}/rooms/{room_id}/account_data/x"
    (await rooms.alice.get(path)).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.put(path, {})).refused(400, "M_INVALID_PARAM")


async def test_push_rules_are_read_as_account_data(rooms: RoomServer) -> None:
    content = (await rooms.alice.get(f"/user/{ALICE}/account_data/m.push_rules")).ok()
    assert content == (await rooms.alice.get("/pushrules/")).ok()
    (await rooms.alice.get(f"{PLACES[1]}/m.push_rules")).refused(404, "M_NOT_FOUND")


async def test_sync_brings_it(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await rooms.alice.create()
    quiet = await alice.create()
    await put(alice, "before", {"n": 1})
    await put(alice, "m.fully_noted", {"n": 2}, room_id)
    first = await alice.sync()
    assert shown(first) == {"before": {"n": 1}}
    assert shown_in(first, room_id) == {"m.fully_noted": {"n": 2}} and shown_in(first, quiet) == {}
    nothing = await alice.sync(first["next_batch"])
    assert nothing == no_news(first["next_batch"])
    await put(alice, "after", {"n": 3})
    await put(alice, "before", {"n": 4})
    second = await alice.sync(first["next_batch"])
    assert shown(second) == {"after": {"n": 3}, "before": {"n": 4}} and "rooms" not in second
    await put(alice, "more", {"n": 5}, room_id)
    third = await alice.sync(second["next_batch"])
    assert "account_data" not in third and list(third["rooms"]["join"]) == [room_id]
    assert shown_in(third, room_id) == {"more": {"n": 5}}
    assert third["rooms"]["join"][room_id]["timeline"]["events"] == []
    assert third["rooms"]["join"][room_id]["state"]["events"] == []
    # An answer that was lost is asked for again.
    assert await alice.sync(second["next_batch"]) == third
    assert shown(await rooms.bob.sync()) == {}


async def test_what_stays_the_same_is_no_news(rooms: RoomServer) -> None:
    await put(rooms.alice, "x", {"a": 1, "b": 2})
    since = (await rooms.alice.sync())["next_batch"]
    await put(rooms.alice, "x", {"b": 2, "a": 1})
    assert await rooms.alice.sync(since) == no_news(since)


async def test_a_long_poll_wakes_at_once(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    room_id, notifier = await rooms.alice.create(), rooms.services.notifier
    waits, wait = asyncio.Event(), notifier.wait

    async def noted(*args: Any, **options: Any) -> bool:
        waits.set()
        return await wait(*args, **options)

    monkeypatch.setattr(notifier, "wait", noted)
    for where in (None, room_id):
        since = (await rooms.alice.sync())["next_batch"]
        waits.clear()
        poll = asyncio.create_task(rooms.alice.sync(since, timeout=60_000))
        await waits.wait()
        await put(rooms.bob, "x", {"of": "bob"})
        await put(rooms.alice, "x", {"of": "alice"}, where)
        answer = await asyncio.wait_for(poll, 30)
        assert (shown(answer) if where is None else shown_in(answer, room_id)) == {"x": {"of": "alice"}}


async def test_a_room_that_is_new_brings_all_of_its_data(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(invite=[BOB])
    await put(rooms.bob, "early", {"n": 1}, room_id)
    first = await rooms.bob.sync()
    assert "account_data" not in first["rooms"]["invite"][room_id]
    await rooms.bob.join(room_id)
    second = await rooms.bob.sync(first["next_batch"])
    assert shown_in(second, room_id) == {"early": {"n": 1}}


async def test_rooms_that_were_left(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(invite=[BOB])
    await rooms.bob.join(room_id)
    await put(rooms.bob, "x", {"n": 1}, room_id)
    since = (await rooms.bob.sync())["next_batch"]
    await put(rooms.bob, "y", {"n": 2}, room_id)
    await rooms.bob.leave(room_id)
    assert shown_in(await rooms.bob.sync(since), room_id, "leave") == {"y": {"n": 2}}
    archived = await rooms.bob.sync(filter='{"room":{"include_leave":true}}')
    assert shown_in(archived, room_id, "leave") == {"x": {"n": 1}, "y": {"n": 2}}


@pytest.mark.parametrize(
    ("wanted", "everywhere", "in_room"),
    [
        ({"account_data": {"types": ["a*"]}}, {"a1", "a2"}, {"a1", "a2", "b"}),
        ({"account_data": {"not_types": ["a1"]}}, {"a2", "b", "m.push_rules"}, {"a1", "a2", "b"}),
        ({"account_data": {"types": []}}, set(), {"a1", "a2", "b"}),
        ({"account_data": {"limit": 0}}, set(), {"a1", "a2", "b"}),
        ({"account_data": {"limit": 2}}, {"b", "m.push_rules"}, {"a1", "a2", "b"}),
        ({"account_data": {"senders": [ALICE]}}, set(), {"a1", "a2", "b"}),
        ({"room": {"account_data": {"types": ["a*"]}}}, {"a1", "a2", "b", "m.push_rules"}, {"a1", "a2"}),
        ({"room": {"account_data": {"limit": 1}}}, {"a1", "a2", "b", "m.push_rules"}, {"b"}),
        ({"room": {"account_data": {"contains_url": True}}}, {"a1", "a2", "b", "m.push_rules"}, {"a2"}),
        ({"room": {"account_data": {"rooms": ["!x:y"]}}}, {"a1", "a2", "b", "m.push_rules"}, set()),
    ],
)
async def test_filters(rooms: RoomServer, wanted: Any, everywhere: set[str], in_room: set[str]) -> None:
    alice, room_id = rooms.alice, await rooms.alice.create()
    since = (await alice.sync())["next_batch"]
    for place in (None, room_id):
        await put(alice, "a1", {"url": 7}, place)
        await put(alice, "a2", {"url": "x"}, place)
        await put(alice, "b", {}, place)
    answer = await alice.sync(filter=json.dumps(wanted))
    types = {event["type"] for event in answer.get("account_data", {"events": []})["events"]}
    assert types == everywhere and set(shown_in(answer, room_id)) == in_room
    later = await alice.sync(since, filter=json.dumps(wanted))
    types = {event["type"] for event in later.get("account_data", {"events": []})["events"]}
    if "limit" not in wanted.get("account_data", {}):
        assert types == everywhere - {"m.push_rules"}
    assert (set(shown_in(later, room_id)) if "rooms" in later else set()) == in_room


async def test_a_room_that_the_filter_leaves_out(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    since = (await rooms.alice.sync())["next_batch"]
    await put(rooms.alice, "x", {}, room_id)
    left_out = json.dumps({"room": {"not_rooms": [room_id]}})
    assert "rooms" not in await rooms.alice.sync(since, filter=left_out)
