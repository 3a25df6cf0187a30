"""The threads of a room."""

from typing import Any
from urllib.parse import quote, urlencode

import pytest

from tests.api.test_relations import asked, ignore, relate, room_of_two
from tests.support.client import Answer
from tests.support.room_server import BOB, CAROL, RoomClient, RoomServer


async def ask(client: RoomClient, room_id: str, **query: Any) -> Answer:
    if "start" in query:
        query["from"] = query.pop("start")
    return await client.http.get(f"/_matrix/client/v1/rooms/{quote(room_id)}/threads?{urlencode(query)}")


async def roots(client: RoomClient, room_id: str, **query: Any) -> list[str]:
    return [event["event_id"] for event in (await ask(client, room_id, **query)).ok()["chunk"]]


async def begin(client: RoomClient, room_id: str, text: str = "root") -> str:
    """A thread with one event; its root."""
    root = await client.say(room_id, text)
    await relate(client, room_id, "m.thread", root)
    return root


async def test_the_thread_with_the_latest_event_comes_first(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    assert (await ask(alice, room_id)).ok() == {"chunk": []}
    one, two, three = [await begin(alice, room_id, name) for name in ("one", "two", "three")]
    await begin(alice, await room_of_two(rooms))
    await relate(alice, room_id, "m.reference", await alice.say(room_id, "no thread"))
    assert await roots(rooms.bob, room_id) == [three, two, one]
    latest = await relate(rooms.bob, room_id, "m.thread", two)
    answer = (await ask(alice, room_id)).ok()
    assert [event["event_id"] for event in answer["chunk"]] == [two, three, one]
    assert "next_batch" not in answer
    thread = answer["chunk"][0]["unsigned"]["m.relations"]["m.thread"]
    assert (thread["count"], thread["latest_event"]["event_id"]) == (2, latest)
    (await rooms.bob.put(f"/rooms/{quote(room_id)}/redact/{quote(latest)}/t", {})).ok()
    assert await roots(alice, room_id) == [three, two, one]


async def test_pages(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    made = [await begin(alice, room_id, str(number)) for number in range(5)]
    for root in made[1::2]:
        await relate(alice, room_id, "m.thread", root)
    found: list[str] = []
    token: dict[str, str] = {}
    while True:
        answer = (await ask(alice, room_id, limit=2, **token)).ok()
        found += [event["event_id"] for event in answer["chunk"]]
        if "next_batch" not in answer:
            break
        token = {"start": answer["next_batch"]}
    assert found == [made[3], made[1], made[4], made[2], made[0]]


async def test_those_that_one_has_taken_part_in(rooms: RoomServer) -> None:
    alice, bob, room_id = rooms.alice, rooms.bob, await room_of_two(rooms)
    hers, his, both = await begin(alice, room_id), await begin(bob, room_id), await begin(alice, room_id)
    await relate(bob, room_id, "m.thread", both)
    assert await roots(bob, room_id, include="participated") == [both, his]
    assert await roots(alice, room_id, include="participated") == [both, hers]
    assert await roots(bob, room_id, include="all") == [both, his, hers]


async def test_ignored_users(rooms: RoomServer) -> None:
    alice, bob, room_id = rooms.alice, rooms.bob, await room_of_two(rooms)
    await rooms.carol.join(room_id)
    old, new = await begin(alice, room_id), await begin(alice, room_id)
    await relate(rooms.carol, room_id, "m.thread", old)
    hers = await rooms.carol.say(room_id, "spam")
    await relate(rooms.carol, room_id, "m.thread", await alice.say(room_id, "only she answered"))
    await relate(bob, room_id, "m.thread", hers)
    await ignore(bob, CAROL)
    answer = (await ask(bob, room_id)).ok()
    assert [event["event_id"] for event in answer["chunk"]] == [hers, new, old]
    assert answer["chunk"][0]["content"] == {} and answer["chunk"][1]["content"]["body"] == "root"


async def test_who_has_left_sees_what_was_before(rooms: RoomServer) -> None:
    alice, bob, room_id = rooms.alice, rooms.bob, await room_of_two(rooms)
    old, new = await begin(alice, room_id), await begin(alice, room_id)
    await bob.leave(room_id)
    await relate(alice, room_id, "m.thread", old)
    await begin(alice, room_id)
    assert await roots(bob, room_id) == [new, old]


async def test_a_root_that_the_reader_may_not_see(rooms: RoomServer) -> None:
    alice = rooms.alice
    hidden = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room_id = await alice.create(preset="public_chat", initial_state=hidden)
    early = [await begin(alice, room_id) for _ in range(3)]
    await rooms.bob.join(room_id)
    late = await begin(alice, room_id)
    await relate(alice, room_id, "m.thread", early[0])
    assert await roots(rooms.bob, room_id, limit=1) == [late]
    assert await roots(alice, room_id) == [early[0], late, early[2], early[1]]


async def test_what_is_refused(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await rooms.alice.create()
    (await ask(rooms.bob, room_id)).refused(403, "M_FORBIDDEN")
    (await ask(alice, "!none:ours.test")).refused(403, "M_FORBIDDEN")
    await alice.invite(room_id, BOB)
    await rooms.bob.join(room_id)
    (await alice.post(f"/rooms/{quote(room_id)}/ban", {"user_id": BOB})).ok()
    (await ask(rooms.bob, room_id)).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    "query", [{"start": "x"}, {"start": "s1"}, {"limit": 0}, {"limit": "x"}, {"include": "none"}]
)
async def test_parameters_that_are_none(rooms: RoomServer, query: dict[str, Any]) -> None:
    room_id = await rooms.alice.create()
    (await ask(rooms.alice, room_id, **query)).refused(400, "M_INVALID_PARAM")


async def test_a_page_of_what_the_reader_may_not_see_leads_on(
    rooms: RoomServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("homeserver.services.threads_list.MAX_READS", 1)
    monkeypatch.setattr("homeserver.services.relations.MAX_READS", 1)
    alice = rooms.alice
    hidden = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room_id = await alice.create(preset="public_chat", initial_state=hidden)
    await rooms.bob.join(room_id)
    seen = await begin(alice, room_id)
    await rooms.bob.leave(room_id)
    secret = [await begin(alice, room_id) for _ in range(3)]
    await relate(alice, room_id, "m.thread", seen)
    await rooms.bob.join(room_id)
    for root in secret:
        await relate(alice, room_id, "m.thread", root)
    found: list[str] = []
    token: dict[str, str] = {}
    for _ in range(4):
        answer = (await ask(rooms.bob, room_id, limit=1, **token)).ok()
        found += [event["event_id"] for event in answer["chunk"]]
        if "next_batch" not in answer:
            break
        token = {"start": answer["next_batch"]}
    assert found == [seen]
    answer = (await asked(rooms.bob, room_id, seen, limit=1, dir="f")).ok()
    assert len(answer["chunk"]) == 1 and "next_batch" in answer
    answer = (await asked(rooms.bob, room_id, seen, limit=1, dir="f", start=answer["next_batch"])).ok()
    assert answer["chunk"] == [] and "next_batch" not in answer
