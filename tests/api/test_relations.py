"""The events that relate to an event, and what is bundled with it."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Answer
from tests.support.room_server import BOB, CAROL, RoomClient, RoomServer

V1 = "/_matrix/client/v1"


def relates(rel_type: str, parent: str, **more: Any) -> dict[str, Any]:
    return {"m.relates_to": {"rel_type": rel_type, "event_id": parent, **more}}


async def relate(
    client: RoomClient, room_id: str, rel_type: str, parent: str, kind: str = "m.room.message", **more: Any
) -> str:
    """Send an event that relates to another; its ID."""
    key = {"key": more.pop("key")} if "key" in more else {}
    content = {"msgtype": "m.text", "body": rel_type, **more, **relates(rel_type, parent, **key)}
    event_id: str = (await client.send(room_id, content, kind)).ok()["event_id"]
    return event_id


async def edit(client: RoomClient, room_id: str, parent: str, body: str) -> str:
    return await relate(client, room_id, "m.replace", parent, **{"m.new_content": {"body": body}})


async def asked(client: RoomClient, room_id: str, event_id: str, *kinds: str, **query: Any) -> Answer:
    if "start" in query:
        query["from"] = query.pop("start")
    parts = "/".join(quote(each, safe="") for each in (event_id, *kinds))
    target = f"{V1}/rooms/{quote(room_id)}/relations/{parts}"
    return await client.http.get(target + "?" + "&".join(f"{key}={value}" for key, value in query.items()))


async def related(client: RoomClient, room_id: str, event_id: str, *kinds: str, **query: Any) -> list[str]:
    return ids((await asked(client, room_id, event_id, *kinds, **query)).ok())


def ids(answer: Any) -> list[str]:
    return [event["event_id"] for event in answer["chunk"]]


async def bundled(client: RoomClient, room_id: str, event_id: str) -> Any:
    """`m.relations` of an event, the same wherever it is read; None when there is none."""
    path = f"/rooms/{quote(room_id)}"
    event = (await client.get(f"{path}/event/{quote(event_id)}")).ok()
    context = (await client.get(f"{path}/context/{quote(event_id)}")).ok()
    page = await client.messages(room_id, dir="b", limit=100)
    everywhere = [event, context["event"], *(one for one in page["chunk"] if one["event_id"] == event_id)]
    found = [one["unsigned"].get("m.relations") for one in everywhere]
    assert len(found) == 3 and found[0] == found[1] == found[2], found
    return found[0]


async def ignore(client: RoomClient, *user_ids: str) -> None:
    path = f"/user/{client.user_id}/account_data/m.ignored_user_list"
    (await client.put(path, {"ignored_users": {user_id: {} for user_id in user_ids}})).ok()


async def room_of_two(rooms: RoomServer, **options: Any) -> str:
    room_id = await rooms.alice.create(preset="public_chat", **options)
    await rooms.bob.join(room_id)
    return room_id


async def test_children_by_kind_and_type(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root, other = await alice.say(room_id, "root"), await alice.say(room_id, "other")
    thread = await relate(alice, room_id, "m.thread", root)
    reaction = await relate(rooms.bob, room_id, "m.annotation", root, "m.reaction", key="👍")
    own = await relate(alice, room_id, "org.example/kind", root, "org.example")
    await relate(alice, room_id, "m.thread", other)
    answer = (await asked(rooms.bob, room_id, root)).ok()
    assert ids(answer) == [own, reaction, thread]
    assert answer.keys() == {"chunk"}
    assert answer["chunk"][1]["content"]["m.relates_to"]["key"] == "👍"
    assert await related(alice, room_id, root, dir="f") == [thread, reaction, own]
    assert await related(alice, room_id, root, "m.thread") == [thread]
    assert await related(alice, room_id, root, "org.example/kind") == [own]
    assert await related(alice, room_id, root, "m.annotation", "m.reaction") == [reaction]
    assert await related(alice, room_id, root, "m.annotation", "m.room.message") == []
    assert await related(alice, room_id, thread) == []


async def test_pages_both_ways(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    before = (await alice.sync())["next_batch"]
    sent = [await relate(alice, room_id, "m.thread", root) for _ in range(5)]
    now = (await alice.sync())["next_batch"]
    sent += [await relate(alice, room_id, "m.thread", root) for _ in range(2)]
    for direction, order in (("b", sent[::-1]), ("f", sent)):
        found: list[str] = []
        token: dict[str, Any] = {}
        while True:
            answer = (await asked(alice, room_id, root, dir=direction, limit=3, **token)).ok()
            assert answer.get("prev_batch") == token.get("start")
            found += ids(answer)
            if "next_batch" not in answer:
                break
            assert len(answer["chunk"]) == 3
            token = {"start": answer["next_batch"]}
        assert found == order
    assert await related(alice, room_id, root, start=now) == sent[4::-1]
    assert await related(alice, room_id, root, start=now, to=before) == sent[4::-1]
    assert await related(alice, room_id, root, start=now, dir="f") == sent[5:]
    assert await related(alice, room_id, root, start=before, to=now, dir="f") == sent[:5]
    assert await related(alice, room_id, root, start=before, to=now) == [], "the wrong way round"
    first = (await asked(alice, room_id, root, limit=3)).ok()["next_batch"]
    second = (await asked(alice, room_id, root, limit=2, start=first)).ok()["next_batch"]
    assert await related(alice, room_id, root, start=first, to=second) == [sent[3], sent[2]]
    assert await related(alice, room_id, root, start=second, to=first) == []


async def test_what_relates_to_what_relates(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    chain = [root]
    for _ in range(4):
        chain.append(await relate(alice, room_id, "m.reference", chain[-1]))
    reaction = await relate(alice, room_id, "m.annotation", chain[1], "m.reaction", key="x")
    beyond = await relate(alice, room_id, "m.reference", reaction)
    answer = (await asked(alice, room_id, root, recurse="true")).ok()
    assert ids(answer) == [beyond, reaction, *chain[3:0:-1]], "three generations"
    assert answer["recursion_depth"] == 3
    # "The events returned will match the `relType`", which is not asked of those between them and the parent.
    references = [beyond, *chain[3:0:-1]]
    assert await related(alice, room_id, root, "m.reference", recurse="true") == references
    assert await related(alice, room_id, root, "m.annotation", recurse="true") == [reaction]
    assert await related(alice, room_id, root, "m.annotation", "m.reaction", recurse="true") == [reaction]
    assert await related(alice, room_id, root, "m.annotation", recurse="false") == []
    answer = (await asked(alice, room_id, root, recurse="false")).ok()
    assert (ids(answer), answer["recursion_depth"]) == ([chain[1]], 0)
    assert await related(alice, room_id, root) == [chain[1]]


async def test_a_redacted_child_relates_no_more(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    child = await relate(alice, room_id, "m.thread", root)
    assert (await bundled(alice, room_id, root))["m.thread"]["count"] == 1
    (await alice.put(f"/rooms/{quote(room_id)}/redact/{quote(child)}/t", {})).ok()
    assert await related(alice, room_id, root) == []
    assert await bundled(alice, room_id, root) is None


async def test_a_redacted_parent_keeps_its_children(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    changed = await edit(alice, room_id, root, "changed")
    child = await relate(rooms.bob, room_id, "m.thread", root)
    (await alice.put(f"/rooms/{quote(room_id)}/redact/{quote(root)}/t", {})).ok()
    assert await related(alice, room_id, root) == [child, changed]
    assert (await bundled(alice, room_id, root)).keys() == {"m.thread"}, "no replacement of what is redacted"


async def test_who_may_not_see_the_parent(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await rooms.alice.create(preset="private_chat")
    other = await rooms.alice.create(preset="private_chat")
    root = await alice.say(room_id, "root")
    (await asked(rooms.bob, room_id, root)).refused(404, "M_NOT_FOUND")
    (await asked(alice, other, root)).refused(404, "M_NOT_FOUND")
    (await asked(alice, room_id, "$none", "m.thread")).refused(404, "M_NOT_FOUND")
    (await asked(alice, "!none:ours.test", root, "m.thread", "m.x")).refused(404, "M_NOT_FOUND")


async def test_a_relation_to_another_room_is_ignored(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await rooms.alice.create()
    root = await alice.say(room_id, "root")
    await relate(alice, await alice.create(), "m.reference", root)
    assert await related(alice, room_id, root) == []
    assert await bundled(alice, room_id, root) is None


async def test_children_that_the_reader_may_not_see(rooms: RoomServer) -> None:
    alice, bob, room_id = rooms.alice, rooms.bob, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    first = await relate(alice, room_id, "m.thread", root)
    changed = await edit(alice, room_id, root, "one")
    reference = await relate(alice, room_id, "m.reference", root)
    await bob.leave(room_id)
    rooms.services.clock.now += 1
    await edit(alice, room_id, root, "secret")
    await relate(alice, room_id, "m.thread", root)
    await relate(alice, room_id, "m.reference", root)
    assert await related(bob, room_id, root) == [reference, changed, first]
    shown = await bundled(bob, room_id, root)
    assert shown["m.replace"]["event_id"] == changed
    assert shown["m.reference"] == {"chunk": [{"event_id": reference}]}
    assert (shown["m.thread"]["latest_event"]["event_id"], shown["m.thread"]["count"]) == (first, 1)
    assert (await bundled(alice, room_id, root))["m.thread"]["count"] == 2


@pytest.mark.parametrize(
    "query", [{"start": "x"}, {"to": "t1"}, {"limit": 0}, {"limit": "x"}, {"dir": "c"}, {"recurse": "x"}]
)
async def test_parameters_that_are_none(rooms: RoomServer, query: dict[str, Any]) -> None:
    room_id = await rooms.alice.create()
    root = await rooms.alice.say(room_id, "root")
    (await asked(rooms.alice, room_id, root, **query)).refused(400, "M_INVALID_PARAM")


async def test_the_most_recent_valid_replacement_is_bundled(rooms: RoomServer) -> None:
    alice, bob, clock = rooms.alice, rooms.bob, rooms.services.clock
    room_id = await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    await edit(alice, room_id, root, "first")
    clock.now += 10
    newest = await edit(alice, room_id, root, "newest")
    clock.now -= 5  # "determined by comparing origin_server_ts"
    await edit(alice, room_id, root, "late, and older")
    clock.now += 100
    await edit(bob, room_id, root, "another's")
    await relate(alice, room_id, "m.replace", root)  # no new content
    await relate(alice, room_id, "m.replace", root, "org.example", **{"m.new_content": {}})  # another type
    nested = await edit(alice, room_id, newest, "an edit of an edit")
    shown = await bundled(bob, room_id, root)
    assert shown.keys() == {"m.replace"}
    event = shown["m.replace"]
    assert (event["event_id"], event["content"]["m.new_content"]) == (newest, {"body": "newest"})
    assert event["room_id"] == room_id and event["unsigned"]["age"] >= 0
    assert (await bundled(alice, room_id, newest)) is None
    event = (await alice.get(f"/rooms/{quote(room_id)}/event/{quote(root)}")).ok()
    assert event["content"]["body"] == "root", "servers do not replace the content"
    (await alice.put(f"/rooms/{quote(room_id)}/redact/{quote(newest)}/t", {})).ok()
    assert (await bundled(bob, room_id, root))["m.replace"]["content"]["m.new_content"] == {
        "body": "late, and older"
    }
    assert nested in await related(alice, room_id, newest)


async def test_of_replacements_of_one_time_the_largest_event_id(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    edits = [await edit(alice, room_id, root, str(number)) for number in range(4)]
    assert (await bundled(alice, room_id, root))["m.replace"]["event_id"] == max(edits)


async def test_state_has_nothing_bundled_and_is_not_replaced(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    topic = (await alice.set_state(room_id, "m.room.topic", {"topic": "t"})).ok()["event_id"]
    await relate(alice, room_id, "m.reference", topic)
    await edit(alice, room_id, topic, "x")
    assert await bundled(alice, room_id, topic) is None
    assert len(await related(alice, room_id, topic)) == 2


async def test_references_are_listed(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    sent = [await relate(client, room_id, "m.reference", root) for client in (alice, rooms.bob, alice)]
    await relate(alice, room_id, "m.annotation", root, "m.reaction", key="x")
    expected = {"m.reference": {"chunk": [{"event_id": event_id} for event_id in sent]}}
    assert await bundled(rooms.bob, room_id, root) == expected


async def test_a_thread_in_short(rooms: RoomServer) -> None:
    alice, bob, room_id = rooms.alice, rooms.bob, await room_of_two(rooms)
    await rooms.carol.join(room_id)
    root = await alice.say(room_id, "root")
    await relate(bob, room_id, "m.thread", root)
    last = await relate(bob, room_id, "m.thread", root)
    changed = await edit(bob, room_id, last, "changed")
    thread = (await bundled(alice, room_id, root))["m.thread"]
    assert thread.keys() == {"latest_event", "count", "current_user_participated"}
    assert (thread["count"], thread["current_user_participated"]) == (2, True), "who began it has taken part"
    assert thread["latest_event"]["event_id"] == last
    assert thread["latest_event"]["room_id"] == room_id
    nested = thread["latest_event"]["unsigned"]["m.relations"]
    assert nested["m.replace"]["event_id"] == changed
    assert (await bundled(bob, room_id, root))["m.thread"]["current_user_participated"] is True
    assert (await bundled(rooms.carol, room_id, root))["m.thread"]["current_user_participated"] is False


async def test_ignored_users_count_for_nothing(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    await rooms.carol.join(room_id)
    root = await alice.say(room_id, "root")
    mine = await relate(alice, room_id, "m.thread", root)
    hers = await relate(rooms.carol, room_id, "m.thread", root)
    await relate(rooms.carol, room_id, "m.reference", root)
    await ignore(rooms.bob, CAROL, BOB)
    shown = await bundled(rooms.bob, room_id, root)
    assert shown.keys() == {"m.thread"}
    assert (shown["m.thread"]["latest_event"]["event_id"], shown["m.thread"]["count"]) == (mine, 1)
    assert (await bundled(alice, room_id, root))["m.thread"]["latest_event"]["event_id"] == hers
    await relate(rooms.bob, room_id, "m.thread", root)
    assert (await bundled(rooms.bob, room_id, root))["m.thread"]["count"] == 2, "nobody ignores himself"


async def test_sync_bundles_where_it_leaves_something_out(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    since = (await alice.sync())["next_batch"]
    root = await alice.say(room_id, "root")
    child = await relate(alice, room_id, "m.thread", root)
    for limit, limited in ((2, True), (50, False)):
        query = {"filter": f'{{"room":{{"timeline":{{"limit":{limit}}}}}}}'}
        if limited:
            first = since
        timeline = (await alice.sync(first if not limited else None, **query))["rooms"]["join"][room_id][
            "timeline"
        ]
        assert timeline["limited"] is limited
        found = next(event for event in timeline["events"] if event["event_id"] == root)
        assert ("m.relations" in found["unsigned"]) is limited
        if limited:
            latest = found["unsigned"]["m.relations"]["m.thread"]["latest_event"]
            assert latest["event_id"] == child and "room_id" not in latest, "in the same form as the event"


async def test_children_are_shown_with_what_relates_to_them(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    child = await relate(alice, room_id, "m.thread", root)
    changed = await edit(alice, room_id, child, "changed")
    (found,) = (await asked(alice, room_id, root)).ok()["chunk"]
    assert found["unsigned"]["m.relations"]["m.replace"]["event_id"] == changed


async def test_the_same_annotation_twice_is_refused(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    other = await alice.say(room_id, "other")
    path = f"/rooms/{quote(room_id)}/send/m.reaction/once"
    content = relates("m.annotation", root, key="👍")
    first = (await alice.put(path, content)).ok()
    assert (await alice.put(path, content)).ok() == first, "a repeated request is none"
    (await alice.send(room_id, content, "m.reaction")).refused(400, "M_DUPLICATE_ANNOTATION")
    for client, kind, parent, key in (
        (rooms.bob, "m.reaction", root, "👍"),
        (alice, "org.example", root, "👍"),
        (alice, "m.reaction", other, "👍"),
        (alice, "m.reaction", root, "👎"),
    ):
        (await client.send(room_id, relates("m.annotation", parent, key=key), kind)).ok()
    # without a key, or with one that a database cannot hold, nothing is told apart
    for odd in ({}, {"key": "a\0b"}):
        for _ in range(2):
            (await alice.send(room_id, relates("m.annotation", root, **odd), "m.reaction")).ok()
    await alice.put(f"/rooms/{quote(room_id)}/redact/{quote(first['event_id'])}/t", {})
    (await alice.send(room_id, content, "m.reaction")).ok()


async def test_two_annotations_at_once_are_one(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    content = relates("m.annotation", root, key="x")
    answers = await asyncio.gather(*(alice.send(room_id, content, "m.reaction") for _ in range(5)))
    assert sorted(answer.status for answer in answers) == [200, 400, 400, 400, 400]


async def test_no_thread_starts_in_a_thread(rooms: RoomServer) -> None:
    alice, room_id = rooms.alice, await room_of_two(rooms)
    root = await alice.say(room_id, "root")
    child = await relate(alice, room_id, "m.thread", root)
    reply = {"m.relates_to": {"m.in_reply_to": {"event_id": root}}}
    reply_id = (await alice.send(room_id, {"msgtype": "m.text", "body": "a reply", **reply})).ok()["event_id"]
    (await alice.send(room_id, relates("m.thread", child), "org.example")).refused(400, "M_UNKNOWN")
    (await alice.send(room_id, relates("m.thread", reply_id), "org.example")).ok()
    (await alice.send(room_id, relates("m.thread", "$unknown"), "org.example")).ok()
