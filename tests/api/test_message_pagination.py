"""A room's history, page by page."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.core.stream_tokens import Place
from homeserver.storage import rooms as stored_rooms
from tests.support.room_server import ALICE, BOB, RoomServer


def texts(page: Any) -> list[str]:
    return [event["content"]["body"] for event in page["chunk"] if event["type"] == "m.room.message"]


async def filled(rooms: RoomServer, count: int = 12) -> str:
    """A room with messages "0" to "11" behind its first six events."""
    room_id = await rooms.alice.create(preset="public_chat")
    for number in range(count):
        await rooms.alice.say(room_id, str(number))
    return room_id


async def test_backwards_to_the_beginning(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    page = await rooms.alice.messages(room_id, dir="b")
    assert texts(page) == [str(number) for number in range(11, 1, -1)], "ten, the newest first"
    assert all(event["room_id"] == room_id and "age" in event["unsigned"] for event in page["chunk"])
    second = await rooms.alice.messages(room_id, dir="b", start=page["end"], limit=5)
    assert texts(second) == ["1", "0"] and second["start"] == page["end"]
    third = await rooms.alice.messages(room_id, dir="b", start=second["end"], limit=5)
    assert third["chunk"][-1]["type"] == "m.room.create"
    assert "end" not in third


async def test_forwards_from_the_beginning(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    page = await rooms.alice.messages(room_id, dir="f", limit=8)
    assert page["chunk"][0]["type"] == "m.room.create"
    assert texts(page) == ["0", "1"]
    rest = await rooms.alice.messages(room_id, dir="f", start=page["end"], limit=100)
    assert texts(rest) == [str(number) for number in range(2, 12)]
    assert "end" not in rest


async def test_a_token_is_between_events(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    back = await rooms.alice.messages(room_id, dir="b", limit=3)
    forth = await rooms.alice.messages(room_id, dir="f", start=back["end"], limit=3)
    assert texts(forth) == list(reversed(texts(back)))
    again = await rooms.alice.messages(room_id, dir="b", start=forth["end"], limit=3)
    assert texts(again) == texts(back)
    assert texts(await rooms.alice.messages(room_id, dir="b", start=back["start"], limit=3)) == texts(back)


async def test_tokens_of_sync(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    answer = await rooms.alice.sync(filter='{"room":{"timeline":{"limit":4}}}')
    section = answer["rooms"]["join"][room_id]["timeline"]
    assert [event["content"]["body"] for event in section["events"]] == ["8", "9", "10", "11"]
    before = await rooms.alice.messages(room_id, dir="b", start=section["prev_batch"], limit=3)
    assert texts(before) == ["7", "6", "5"]
    shown = await rooms.alice.messages(room_id, dir="f", start=section["prev_batch"], limit=3)
    assert texts(shown) == ["8", "9", "10"]
    newest = await rooms.alice.messages(room_id, dir="b", start=answer["next_batch"], limit=2)
    assert texts(newest) == ["11", "10"]
    await rooms.alice.say(room_id, "new")
    later = await rooms.alice.messages(room_id, dir="f", start=answer["next_batch"])
    assert texts(later) == ["new"]
    still = await rooms.alice.messages(room_id, dir="b", start=answer["next_batch"], limit=1)
    assert texts(still) == ["11"]


async def test_up_to_a_token(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    page = await rooms.alice.messages(room_id, dir="b", limit=4)
    upto = await rooms.alice.messages(room_id, dir="b", to=page["end"], limit=100)
    assert texts(upto) == texts(page) and upto["end"] == page["end"]
    nothing = await rooms.alice.messages(room_id, dir="b", start=page["end"], to=page["end"])
    assert nothing["chunk"] == [] and "end" not in nothing
    forth = await rooms.alice.messages(room_id, dir="f", to=page["end"], limit=100)
    assert texts(forth) == [str(number) for number in range(8)]
    part = await rooms.alice.messages(room_id, dir="b", to=page["end"], limit=2)
    rest = await rooms.alice.messages(room_id, dir="b", start=part["end"], to=page["end"], limit=100)
    assert texts(part) + texts(rest) == texts(page)


async def test_limits(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    assert len((await rooms.alice.messages(room_id, dir="b", limit=10**6))["chunk"]) == 18
    assert len((await rooms.alice.messages(room_id, dir="b", limit=10**30))["chunk"]) == 18
    assert (await rooms.alice.messages(room_id, dir="b", limit=0))["chunk"] == []
    path = f"/rooms/{quote(room_id)}/messages"
    (await rooms.alice.get(path, dir="b", limit=-1)).refused(400, "M_INVALID_PARAM")
    (await rooms.alice.get(path, dir="b", limit="many")).refused(400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    ("query", "errcode"),
    [
        ({}, "M_MISSING_PARAM"),
        ({"dir": "up"}, "M_INVALID_PARAM"),
        ({"dir": "b", "from": "nonsense"}, "M_INVALID_PARAM"),
        ({"dir": "b", "from": "t99999999999999999999_1"}, "M_INVALID_PARAM"),
        ({"dir": "b", "to": "s1_2_3"}, "M_INVALID_PARAM"),
        ({"dir": "b", "from": "s999999999999999999"}, "M_INVALID_PARAM"),
        ({"dir": "f", "from": "s999999999999999999"}, "M_INVALID_PARAM"),
        ({"dir": "b", "to": "s999999999999999999"}, "M_INVALID_PARAM"),
        ({"dir": "b", "filter": "{"}, "M_NOT_JSON"),
        ({"dir": "b", "filter": '{"types": 7}'}, "M_BAD_JSON"),
    ],
)
async def test_queries_that_are_refused(rooms: RoomServer, query: dict[str, Any], errcode: str) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.get(f"/rooms/{quote(room_id)}/messages", **query)).refused(400, errcode)


async def test_tokens_of_any_size_do_no_harm(rooms: RoomServer) -> None:
    room_id = await filled(rooms, 2)
    for token in ("s0", "t0_0", "t9223372036854775807_999999999999999999", "t0_-1"):
        for direction in ("b", "f"):
            await rooms.alice.messages(room_id, dir=direction, start=token, to=token)
            await rooms.alice.messages(room_id, dir=direction, start=token)


async def test_filters(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    await rooms.bob.join(room_id)
    await rooms.bob.send(room_id, {"msgtype": "m.image", "body": "picture", "url": "mxc://ours.test/x"})
    for number in range(30):
        await rooms.alice.send(room_id, {"n": number}, "x.noise")

    async def found(**wanted: Any) -> list[str]:
        page = await rooms.alice.messages(room_id, dir="b", limit=100, filter=json.dumps(wanted))
        return texts(page)

    assert await found(types=["m.room.message"], senders=[BOB]) == ["picture"]
    assert await found(contains_url=True) == ["picture"]
    assert await found(not_senders=[ALICE]) == ["picture"]
    assert len(await found(not_types=["x.*"])) == 13
    assert await found(rooms=["!other:ours.test"]) == []
    assert await found(not_rooms=[room_id]) == []
    few = await rooms.alice.messages(room_id, dir="b", filter='{"types":["m.room.message"],"limit":2}')
    assert texts(few) == ["picture", "11"], "the filter's limit, where the query has none"
    first = await rooms.alice.messages(room_id, dir="b", limit=1, filter='{"types":["m.room.message"]}')
    second = await rooms.alice.messages(
        room_id, dir="b", limit=1, filter='{"types":["m.room.message"]}', start=first["end"]
    )
    assert texts(first) + texts(second) == ["picture", "11"]


async def test_members_are_loaded_lazily(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    await rooms.bob.join(room_id)
    await rooms.carol.join(room_id)
    await rooms.bob.say(room_id, "from bob")
    lazy = '{"lazy_load_members":true}'
    page = await rooms.alice.messages(room_id, dir="b", limit=1, filter=lazy)
    assert [event["state_key"] for event in page["state"]] == [BOB]
    assert page["state"][0]["room_id"] == room_id
    page = await rooms.alice.messages(room_id, dir="b", limit=5, start=page["end"], filter=lazy)
    assert {event["state_key"] for event in page["state"]} == {ALICE, BOB, "@carol:ours.test"}
    assert "state" not in await rooms.alice.messages(room_id, dir="b", limit=1)


async def test_history_is_for_whom_it_is_for(rooms: RoomServer) -> None:
    room_id = await filled(rooms, 2)
    visibility = "m.room.history_visibility"
    (await rooms.alice.set_state(room_id, visibility, {"history_visibility": "joined"})).ok()
    await rooms.alice.say(room_id, "for members")
    await rooms.bob.join(room_id)
    await rooms.alice.say(room_id, "for bob too")
    page = await rooms.bob.messages(room_id, dir="b", limit=100)
    assert texts(page) == ["for bob too", "1", "0"]
    forth = await rooms.bob.messages(room_id, dir="f", limit=100)
    assert texts(forth) == ["0", "1", "for bob too"]
    (await rooms.carol.get(f"/rooms/{quote(room_id)}/messages?dir=b")).refused(403, "M_FORBIDDEN")
    (await rooms.carol.get("/rooms/!none:ours.test/messages?dir=b")).refused(403, "M_FORBIDDEN")


async def test_who_looks_in_sees_what_all_the_world_may_see(rooms: RoomServer) -> None:
    room_id = await filled(rooms, 2)
    visibility = "m.room.history_visibility"
    (await rooms.alice.set_state(room_id, visibility, {"history_visibility": "world_readable"})).ok()
    await rooms.alice.say(room_id, "for all")
    assert texts(await rooms.carol.messages(room_id, dir="b", limit=100)) == ["for all"]


async def test_a_gap_in_history_is_filled_by_other_servers(rooms: RoomServer) -> None:
    room_id = await filled(rooms, 20)
    nid_of = rooms.services.database.read

    async def open_gap(depth: int) -> None:
        room = await nid_of(lambda tx: stored_rooms.get(tx, room_id))
        assert room is not None
        await rooms.services.database.write(
            lambda tx: stored_rooms.change_backward_extremities(
                tx, room.room_nid, add={"$missing": depth}, remove=()
            )
        )

    await open_gap(1)
    page = await rooms.alice.messages(room_id, dir="b", limit=5)
    assert rooms.remote.gaps == [], "it is far from here"
    last = await rooms.alice.messages(room_id, dir="b", start=page["end"], limit=100)
    ((asked, place, limit),) = rooms.remote.gaps
    assert (asked, place.depth, limit) == (room_id, 0, 100) and isinstance(place, Place)
    assert last["chunk"][-1]["type"] == "m.room.create" and "end" in last, "there may be more"
    nothing = await rooms.alice.messages(room_id, dir="b", start=last["end"], limit=100)
    assert nothing["chunk"] == [] and "end" not in nothing, "nobody had it"
    rooms.remote.gaps.clear()
    await rooms.alice.messages(room_id, dir="f", limit=100)
    assert rooms.remote.gaps == [], "forwards there is no gap"


async def test_a_page_stops_at_a_gap_in_its_middle(rooms: RoomServer) -> None:
    room_id = await filled(rooms, 20)
    room = await rooms.services.database.read(lambda tx: stored_rooms.get(tx, room_id))
    assert room is not None
    newest = (await rooms.alice.messages(room_id, dir="b", limit=1))["end"]
    depth = int(newest[1:].partition("_")[0])
    await rooms.services.database.write(
        lambda tx: stored_rooms.change_backward_extremities(
            tx, room.room_nid, add={"$missing": depth - 3}, remove=()
        )
    )
    await rooms.alice.messages(room_id, dir="b", limit=3)
    assert rooms.remote.gaps == []
    await rooms.alice.messages(room_id, dir="b", limit=10)
    assert [place.depth for _, place, _ in rooms.remote.gaps] == [depth - 9]


async def test_back_from_a_token_of_sync_comes_what_sync_did_not_show(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    token = (await rooms.alice.sync())["next_batch"]
    late = await rooms.alice.say(room_id, "late, from a branch far back")
    await rooms.services.database.write(
        lambda tx: tx.execute("UPDATE events SET depth = 3 WHERE event_id = $1", late)
    )
    shown: list[str] = []
    start = token
    while start is not None:
        page = await rooms.alice.messages(room_id, dir="b", start=start, limit=4)
        shown += texts(page)
        start = page.get("end")
    assert shown == [str(number) for number in range(11, -1, -1)]
    assert "late, from a branch far back" in texts(await rooms.alice.messages(room_id, dir="b", limit=100))


async def test_a_gap_behind_a_token_of_sync_may_be_deeper_than_all_that_is_known(rooms: RoomServer) -> None:
    room_id = await filled(rooms)
    token = (await rooms.alice.sync())["next_batch"]
    room = await rooms.services.database.read(lambda tx: stored_rooms.get(tx, room_id))
    assert room is not None
    await rooms.services.database.write(
        lambda tx: stored_rooms.change_backward_extremities(
            tx, room.room_nid, add={"$missing": 1_000}, remove=()
        )
    )
    await rooms.alice.messages(room_id, dir="b", start=token, limit=3)
    assert len(rooms.remote.gaps) == 1
