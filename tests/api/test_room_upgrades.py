"""Upgrading rooms."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.storage.database import Transaction
from tests.support.client import Answer
from tests.support.room_server import ALICE, BOB, CAROL, RoomClient, RoomServer

STATE = {
    "m.room.name": {"name": "n"},
    "m.room.topic": {"topic": "t"},
    "m.room.avatar": {"url": "mxc://ours.test/a"},
    "m.room.encryption": {"algorithm": "m.megolm.v1.aes-sha2"},
    "m.room.server_acl": {"allow": ["*"], "deny": ["evil.test"], "allow_ip_literals": False},
    "m.room.history_visibility": {"history_visibility": "invited"},
    "m.room.guest_access": {"guest_access": "forbidden"},
    "m.room.join_rules": {"join_rule": "knock"},
}


async def upgrade(client: RoomClient, room_id: str, version: str = "12", **body: Any) -> Answer:
    return await client.post(f"/rooms/{quote(room_id)}/upgrade", {"new_version": version, **body})


async def upgraded(client: RoomClient, room_id: str, version: str = "12", **body: Any) -> str:
    new: str = (await upgrade(client, room_id, version, **body)).ok()["replacement_room"]
    return new


async def content(client: RoomClient, room_id: str, kind: str, state_key: str = "") -> Any:
    answer = await client.state(room_id, kind, state_key)
    return answer.body if answer.status == 200 else None


async def whole_state(client: RoomClient, room_id: str) -> dict[tuple[str, str], Any]:
    events = (await client.get(f"/rooms/{quote(room_id)}/state")).ok()
    return {(event["type"], event["state_key"]): event["content"] for event in events}


def initial(**more: Any) -> list[dict[str, Any]]:
    return [{"type": kind, "content": each, "state_key": ""} for kind, each in {**STATE, **more}.items()]


@pytest.mark.parametrize(
    ("before", "after"), [("7", "10"), ("9", "11"), ("10", "12"), ("12", "12"), ("12", "11")]
)
async def test_a_room_takes_the_place_of_another(rooms: RoomServer, before: str, after: str) -> None:
    alice = rooms.alice
    old = await alice.create(room_version=before, initial_state=initial(), room_alias_name="alias")
    await alice.say(old, "hello")
    last = (await alice.messages(old, dir="b", limit=1))["chunk"][0]["event_id"]
    custom = (await alice.set_state(old, "org.example", {"a": 1})).ok()["event_id"]
    assert last != custom
    (await alice.put(f"/directory/list/room/{quote(old)}", {"visibility": "public"})).ok()
    levels = await content(alice, old, "m.room.power_levels")
    since = (await alice.sync())["next_batch"]
    new = await upgraded(alice, old, after)
    assert new != old
    state = await whole_state(alice, new)
    create = state.pop(("m.room.create", ""))
    assert create["room_version"] == after
    assert create["predecessor"] == {"room_id": old, "event_id": custom}, "the last known event"
    assert "additional_creators" not in create and "type" not in create
    assert state.pop(("m.room.member", ALICE))["membership"] == "join"
    new_levels = state.pop(("m.room.power_levels", ""))
    assert state == {(kind, ""): each for kind, each in STATE.items()} | {
        ("m.room.canonical_alias", ""): {"alias": "#alias:ours.test"}
    }, "nothing that is sensitive to who sent it"
    assert new_levels["users"] == ({} if after == "12" else {ALICE: 150 if before == "12" else 100})
    assert new_levels["events"]["m.room.tombstone"] == (150 if "12" in (before, after) else 100)
    tombstone = await content(alice, old, "m.room.tombstone")
    assert tombstone["replacement_room"] == new and tombstone["body"]
    assert await content(alice, old, "m.room.power_levels") == {**levels, "events_default": 50, "invite": 50}
    found = (await alice.get(f"/directory/room/{quote('#alias:ours.test', safe='')}")).ok()
    assert found["room_id"] == new
    for room_id, visibility in ((old, "private"), (new, "public")):
        listed = (await alice.get(f"/directory/list/room/{quote(room_id)}")).ok()
        assert listed["visibility"] == visibility
    told = (await alice.sync(since))["rooms"]["join"]
    assert told.keys() == {old, new}
    assert [event["type"] for event in told[old]["timeline"]["events"]] == [
        "m.room.tombstone",
        "m.room.canonical_alias",
        "m.room.power_levels",
    ]
    assert await content(alice, old, "m.room.canonical_alias") == {}
    assert (await alice.state(new, "m.room.create")).status == 200
    await alice.say(new, "on")


async def test_who_may_not(rooms: RoomServer) -> None:
    alice, bob = rooms.alice, rooms.bob
    room_id = await alice.create(preset="public_chat")
    (await upgrade(bob, room_id)).refused(403, "M_FORBIDDEN")
    await bob.join(room_id)
    (await upgrade(bob, room_id)).refused(403, "M_FORBIDDEN")
    (await upgrade(alice, "!none:ours.test")).refused(403, "M_FORBIDDEN")
    await alice.leave(room_id)
    (await upgrade(alice, room_id)).refused(403, "M_FORBIDDEN")
    assert await content(bob, room_id, "m.room.tombstone") is None


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"new_version": "no such"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"new_version": ""}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({}, "M_BAD_JSON"),
        ({"new_version": 12}, "M_BAD_JSON"),
        ({"new_version": "12", "additional_creators": "@bob:ours.test"}, "M_BAD_JSON"),
        ({"new_version": "12", "additional_creators": ["bob"]}, "M_INVALID_PARAM"),
        ({"new_version": "12", "additional_creators": ["@b:ours.test"] * 101}, "M_INVALID_PARAM"),
    ],
)
async def test_questions_that_cannot_be(rooms: RoomServer, body: dict[str, Any], errcode: str) -> None:
    room_id = await rooms.alice.create()
    before = await whole_state(rooms.alice, room_id)
    (await rooms.alice.post(f"/rooms/{quote(room_id)}/upgrade", body)).refused(400, errcode)
    assert await whole_state(rooms.alice, room_id) == before
    assert (await rooms.alice.get("/joined_rooms")).ok() == {"joined_rooms": [room_id]}


async def test_creators(rooms: RoomServer) -> None:
    alice = rooms.alice
    levels = {"users": {ALICE: 100, BOB: 100, CAROL: 50}}
    old = await alice.create(room_version="11", power_level_content_override=levels)
    new = await upgraded(alice, old, additional_creators=[BOB, ALICE, BOB])
    assert (await content(alice, new, "m.room.create"))["additional_creators"] == [BOB]
    assert (await content(alice, new, "m.room.power_levels"))["users"] == {CAROL: 50}
    # "they are *not* automatically copied to the new room", but they do not lose everything either
    newest = await upgraded(alice, new)
    assert "additional_creators" not in await content(alice, newest, "m.room.create")
    assert (await content(alice, newest, "m.room.power_levels"))["users"] == {CAROL: 50, BOB: 100}
    # "this field is ignored", whatever it holds
    older = await upgraded(alice, newest, "11", additional_creators=["bob"])
    assert "additional_creators" not in await content(alice, older, "m.room.create")
    assert (await content(alice, older, "m.room.power_levels"))["users"] == {CAROL: 50, BOB: 100, ALICE: 150}


async def test_whose_level_is_enough_for_the_tombstone_alone(rooms: RoomServer) -> None:
    alice, bob = rooms.alice, rooms.bob
    levels = {
        "users": {ALICE: 100, BOB: 40},
        "events": {"m.room.tombstone": 40, "m.room.name": 90},
        "ban": 70,
    }
    old = await alice.create(
        room_version="10",
        preset="public_chat",
        initial_state=initial(**{"m.room.join_rules": {"join_rule": "public"}}),
        power_level_content_override=levels,
    )
    await bob.join(old)
    (await alice.post(f"/rooms/{quote(old)}/ban", {"user_id": CAROL, "reason": "spam"})).ok()
    before = await content(alice, old, "m.room.power_levels")
    new = await upgraded(bob, old, "11")
    state = await whole_state(bob, new)
    assert state["m.room.power_levels", ""] == before, (
        "the level was raised for the time of the upgrade alone"
    )
    assert state["m.room.name", ""] == STATE["m.room.name"]
    assert state["m.room.member", CAROL] == {"membership": "ban", "reason": "spam"}
    assert await content(alice, old, "m.room.power_levels") == before, "this he may not change"
    assert (await content(alice, old, "m.room.tombstone"))["replacement_room"] == new
    (await bob.set_state(new, "m.room.name", {"name": "his"})).refused(403, "M_FORBIDDEN")


async def test_who_is_banned_stays_out(rooms: RoomServer) -> None:
    alice = rooms.alice
    old = await alice.create(preset="public_chat")
    remote = "@spam:elsewhere.test"
    for user_id in (CAROL, remote):
        (await alice.post(f"/rooms/{quote(old)}/ban", {"user_id": user_id})).ok()
    (await alice.post(f"/rooms/{quote(old)}/ban", {"user_id": BOB})).ok()
    (await alice.post(f"/rooms/{quote(old)}/unban", {"user_id": BOB})).ok()
    rooms.services.committed.clear()
    new = await upgraded(alice, old)
    (await rooms.carol.post(f"/rooms/{quote(new)}/join")).refused(403, "M_FORBIDDEN")
    assert (await content(alice, new, "m.room.member", remote)) == {"membership": "ban"}
    # whoever was never in the new room is not told of a ban from it
    assert not any(committed.destinations for committed in rooms.services.committed)
    await rooms.bob.join(new)


async def test_a_space_keeps_its_children(rooms: RoomServer) -> None:
    alice = rooms.alice
    child, gone = await alice.create(), await alice.create()
    creation = {"type": "m.space", "m.federate": False}
    old = await alice.create(room_version="10", creation_content=creation)
    there = {"via": ["ours.test"], "order": "a"}
    (await alice.set_state(old, "m.space.child", there, child)).ok()
    (await alice.set_state(old, "m.space.child", {}, gone)).ok()
    new = await upgraded(alice, old)
    create = await content(alice, new, "m.room.create")
    assert (create["type"], create["m.federate"]) == ("m.space", False)
    assert await content(alice, new, "m.space.child", child) == there
    assert await content(alice, new, "m.space.child", gone) is None


async def test_very_many_are_banned(rooms: RoomServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.services.upgrade_plan.AT_ONCE", 2)
    monkeypatch.setattr("homeserver.services.room_upgrades.BATCH", 3)
    alice = rooms.alice
    old = await alice.create()
    banned = {f"@spam{number}:elsewhere.test" for number in range(9)}
    for user_id in banned:
        (await alice.post(f"/rooms/{quote(old)}/ban", {"user_id": user_id})).ok()
    state = await whole_state(alice, await upgraded(alice, old))
    assert {user_id for (kind, user_id) in state if kind == "m.room.member"} == banned | {ALICE}


@pytest.mark.parametrize(
    ("join_rule", "after", "expected"),
    [
        ("knock", "6", "invite"),
        ("restricted", "7", "invite"),
        ("restricted", "8", "restricted"),
        ("knock_restricted", "9", "invite"),
        ("knock_restricted", "10", "knock_restricted"),
        ("public", "1", "public"),
    ],
)
async def test_join_rules_that_the_version_does_not_know(
    rooms: RoomServer, join_rule: str, after: str, expected: str
) -> None:
    rule = [{"type": "m.room.join_rules", "content": {"join_rule": join_rule}}]
    new = await upgraded(rooms.alice, await rooms.alice.create(initial_state=rule), after)
    assert (await content(rooms.alice, new, "m.room.join_rules"))["join_rule"] == expected


async def test_levels_in_the_form_of_old_versions(rooms: RoomServer) -> None:
    levels = {"users": {ALICE: "100", BOB: " 7 "}, "events": {"m.room.topic": "20"}, "kick": "30"}
    old = await rooms.alice.create(room_version="5", power_level_content_override=levels)
    new = await content(rooms.alice, await upgraded(rooms.alice, old, "11"), "m.room.power_levels")
    assert (new["users"], new["events"], new["kick"]) == ({ALICE: 100, BOB: 7}, {"m.room.topic": 20}, 30)


async def test_state_that_no_new_event_can_hold_is_left_out(rooms: RoomServer) -> None:
    alice = rooms.alice
    old = await alice.create(room_version="5", initial_state=initial(), preset="private_chat")
    levels = await content(alice, old, "m.room.power_levels")
    (await alice.set_state(old, "m.room.topic", {"topic": "t", "n": 1111111})).ok()
    (await alice.set_state(old, "m.room.power_levels", {**levels, "x": 1111111})).ok()

    async def enlarge(tx: Transaction) -> None:
        """As other servers could send it, in this room version."""
        rows = await tx.fetch("SELECT event_id, canonical FROM events WHERE state_key = ''")
        for event_id, canonical in rows:
            odd = bytes(canonical).replace(b"1111111", b"1.5")
            await tx.execute("UPDATE events SET canonical = $1 WHERE event_id = $2", odd, event_id)

    await rooms.services.database.write(enlarge)
    state = await whole_state(alice, await upgraded(alice, old))
    assert ("m.room.topic", "") not in state and ("m.room.name", "") in state
    assert state["m.room.power_levels", ""]["x"] == 1, "up to version 5 they are cut"
    assert (await content(alice, old, "m.room.tombstone"))["body"]


async def test_two_requests_at_once_have_one_answer(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    answers = await asyncio.gather(*(upgraded(rooms.alice, room_id) for _ in range(3)))
    assert len(set(answers)) == 1
    assert len((await rooms.alice.get("/joined_rooms")).ok()["joined_rooms"]) == 2


async def settle(client: RoomClient, room_id: str) -> None:
    """What a user sets for a room."""
    user = f"/user/{client.user_id}"
    (await client.put(f"{user}/rooms/{quote(room_id)}/tags/m.favourite", {"order": 0.5})).ok()
    (await client.put(f"{user}/account_data/m.direct", {BOB: [room_id], CAROL: ["!other:ours.test"]})).ok()
    condition = {"kind": "event_match", "key": "room_id", "pattern": room_id}
    (await client.put(f"/pushrules/global/room/{quote(room_id)}", {"actions": ["notify"]})).ok()
    rule = {"actions": [], "conditions": [condition]}
    (await client.put(f"/pushrules/global/override/{quote(room_id)}", rule)).ok()
    (await client.put("/pushrules/global/override/own", rule)).ok()
    (await client.put("/pushrules/global/override/own/enabled", {"enabled": False})).ok()


async def settings(client: RoomClient, room_id: str) -> dict[str, Any]:
    """What of it holds for a room."""
    user = f"/user/{client.user_id}"
    tags = (await client.get(f"{user}/rooms/{quote(room_id)}/tags")).ok()["tags"]
    direct = (await client.get(f"{user}/account_data/m.direct")).body
    rules = (await client.get("/pushrules/global/")).ok()
    return {
        "tags": tags,
        "direct": [other for other, ids in direct.items() if isinstance(ids, list) and room_id in ids],
        "room rules": [rule["actions"] for rule in rules["room"] if rule["rule_id"] == room_id],
        "overrides": [
            rule["enabled"]
            for rule in rules["override"]
            if any(each.get("pattern") == room_id for each in rule["conditions"])
        ],
    }


async def test_what_users_have_set_holds_for_the_new_room(rooms: RoomServer) -> None:
    alice, bob = rooms.alice, rooms.bob
    old = await alice.create(preset="public_chat")
    await bob.join(old)
    for client in (alice, bob):
        await settle(client, old)
    new = await upgraded(alice, old)
    before = await settings(alice, old)
    assert before == {
        "tags": {"m.favourite": {"order": 0.5}},
        "direct": [BOB],
        "room rules": [["notify"]],
        "overrides": [False, True],
    }
    assert await settings(alice, new) == before
    since = (await bob.sync())["next_batch"]
    await bob.join(new)
    assert await settings(bob, new) == await settings(bob, old) == before
    told = await bob.sync(since)
    assert {event["type"] for event in told["account_data"]["events"]} == {"m.direct", "m.push_rules"}
    assert [event["type"] for event in told["rooms"]["join"][new]["account_data"]["events"]] == ["m.tag"]
    # What is set for the new room stays when one comes again.
    (await bob.delete(f"/user/{BOB}/rooms/{quote(new)}/tags/m.favourite")).ok()
    await bob.leave(new)
    await bob.join(new)
    assert (await settings(bob, new)) == {**before, "tags": {}}


async def test_a_room_that_only_says_it_replaces_another(rooms: RoomServer) -> None:
    alice, bob = rooms.alice, rooms.bob
    old = await alice.create(preset="public_chat", visibility="public")
    await bob.join(old)
    await settle(bob, old)
    creation = {"predecessor": {"room_id": old, "event_id": "$x"}}
    false = await rooms.carol.create(preset="public_chat", creation_content=creation)
    odd = await rooms.carol.create(preset="public_chat", creation_content={"predecessor": [1]})
    for room_id in (false, odd):
        await bob.join(room_id)
        assert (await settings(bob, room_id)) == {
            "tags": {},
            "direct": [],
            "room rules": [],
            "overrides": [],
        }
    assert (await alice.get(f"/directory/list/room/{quote(old)}")).ok() == {"visibility": "public"}
