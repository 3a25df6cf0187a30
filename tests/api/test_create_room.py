"""createRoom: every key of its body, and what is refused."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.room_server import ALICE, BOB, CAROL, RoomServer


async def state_of(rooms: RoomServer, room_id: str) -> dict[tuple[str, str], Any]:
    events = (await rooms.alice.get(f"/rooms/{quote(room_id)}/state")).ok()
    return {(event["type"], event["state_key"]): event["content"] for event in events}


async def test_a_room_with_nothing_said_is_private(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    state = await state_of(rooms, room_id)
    assert state["m.room.create", ""] == {"room_version": "12"}
    assert state["m.room.member", ALICE] == {"membership": "join"}
    assert state["m.room.join_rules", ""] == {"join_rule": "invite"}
    assert state["m.room.history_visibility", ""] == {"history_visibility": "shared"}
    assert state["m.room.guest_access", ""] == {"guest_access": "can_join"}
    levels = state["m.room.power_levels", ""]
    assert levels["users"] == {}
    assert levels["events"]["m.room.tombstone"] == 150 > levels["state_default"]
    assert set(state) == {
        ("m.room.create", ""),
        ("m.room.member", ALICE),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
    }


async def test_an_empty_body_will_do(rooms: RoomServer) -> None:
    answer = await rooms.alice.http.request("POST", "/_matrix/client/r0/createRoom")
    assert answer.ok()["room_id"].startswith("!")


@pytest.mark.parametrize("version", [str(number) for number in range(1, 13)])
async def test_every_room_version_can_be_made(rooms: RoomServer, version: str) -> None:
    room_id = await rooms.alice.create(room_version=version, name="Lobby", invite=[BOB])
    state = await state_of(rooms, room_id)
    assert state["m.room.create", ""]["room_version"] == version
    assert ("creator" in state["m.room.create", ""]) is (int(version) < 11)
    assert state["m.room.power_levels", ""]["users"] == ({} if version == "12" else {ALICE: 100})
    await rooms.bob.join(room_id)
    assert (await rooms.bob.state(room_id, "m.room.name")).ok() == {"name": "Lobby"}


async def test_the_events_come_in_the_order_of_the_specification(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(
        preset="public_chat",
        room_alias_name="thepub",
        name="The Grand Duke Pub",
        topic="All about happy hour",
        creation_content={"m.federate": False, "creator": "@someone:else.test", "room_version": "1"},
        initial_state=[
            {"type": "m.room.guest_access", "content": {"guest_access": "can_join"}},
            {"type": "x.one", "state_key": "key", "content": {"n": 1}},
            {"type": "m.room.name", "content": {"name": "overridden"}},
            {"type": "x.two", "content": {}},
        ],
        invite=[BOB],
        is_direct=True,
    )
    page = await rooms.alice.messages(room_id, dir="f", limit=100)
    assert [(event["type"], event["state_key"]) for event in page["chunk"]] == [
        ("m.room.create", ""),
        ("m.room.member", ALICE),
        ("m.room.power_levels", ""),
        ("m.room.canonical_alias", ""),
        ("m.room.join_rules", ""),
        ("m.room.history_visibility", ""),
        ("m.room.guest_access", ""),
        ("x.one", "key"),
        ("x.two", ""),
        ("m.room.name", ""),
        ("m.room.topic", ""),
        ("m.room.member", BOB),
    ]
    state = await state_of(rooms, room_id)
    assert state["m.room.create", ""] == {"room_version": "12", "m.federate": False}
    assert state["m.room.canonical_alias", ""] == {"alias": "#thepub:ours.test"}
    assert state["m.room.join_rules", ""] == {"join_rule": "public"}
    assert state["m.room.guest_access", ""] == {"guest_access": "can_join"}
    assert state["m.room.name", ""] == {"name": "The Grand Duke Pub"}
    topic = state["m.room.topic", ""]
    assert topic["topic"] == "All about happy hour"
    assert topic["m.topic"] == {"m.text": [{"body": "All about happy hour", "mimetype": "text/plain"}]}
    assert state["m.room.member", BOB] == {"membership": "invite", "is_direct": True}
    resolved = (await rooms.client.get("/_matrix/client/v3/directory/room/%23thepub:ours.test")).ok()
    assert resolved["room_id"] == room_id


async def test_visibility_public_is_a_public_room_in_the_directory(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(visibility="public")
    assert (await state_of(rooms, room_id))["m.room.join_rules", ""] == {"join_rule": "public"}
    path = f"/_matrix/client/v3/directory/list/room/{quote(room_id)}"
    assert (await rooms.client.get(path)).ok() == {"visibility": "public"}
    hidden = await rooms.alice.create(visibility="private", preset="public_chat")
    path = f"/_matrix/client/v3/directory/list/room/{quote(hidden)}"
    assert (await rooms.client.get(path)).ok() == {"visibility": "private"}


async def test_trusted_private_chat_gives_all_the_same_power(rooms: RoomServer) -> None:
    asked: dict[str, Any] = {"preset": "trusted_private_chat", "invite": [BOB, CAROL, BOB]}
    old = await rooms.alice.create(room_version="11", **asked)
    levels = (await state_of(rooms, old))["m.room.power_levels", ""]
    assert levels["users"] == {ALICE: 100, BOB: 100, CAROL: 100}
    new = await rooms.alice.create(
        room_version="12", **asked, creation_content={"additional_creators": [CAROL, "@dan:theirs.test"]}
    )
    create = (await state_of(rooms, new))["m.room.create", ""]
    assert create["additional_creators"] == [CAROL, "@dan:theirs.test", BOB]


async def test_power_levels_can_be_overridden(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(
        room_version="11", power_level_content_override={"users": {ALICE: 100, BOB: 50}, "kick": 75}
    )
    levels = (await state_of(rooms, room_id))["m.room.power_levels", ""]
    assert (levels["users"], levels["kick"], levels["ban"]) == ({ALICE: 100, BOB: 50}, 75, 50)


async def test_a_room_type_is_kept(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(creation_content={"type": "m.space"})
    assert (await state_of(rooms, room_id))["m.room.create", ""]["type"] == "m.space"


def canonical(**content: Any) -> dict[str, Any]:
    """m.room.canonical_alias in initial_state."""
    return {"type": "m.room.canonical_alias", "content": content}


async def test_aliases_of_the_new_room(rooms: RoomServer) -> None:
    content = {"alias": "#new:ours.test", "alt_aliases": ["#new:ours.test"]}
    room_id = await rooms.alice.create(room_alias_name="new", initial_state=[canonical(**content)])
    assert (await state_of(rooms, room_id))["m.room.canonical_alias", ""] == content


@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        ({"room_version": "99"}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": ""}, "M_UNSUPPORTED_ROOM_VERSION"),
        ({"room_version": 12}, "M_BAD_JSON"),
        ({"preset": "secret_chat"}, "M_BAD_JSON"),
        ({"visibility": "hidden"}, "M_BAD_JSON"),
        ({"invite": "@bob:ours.test"}, "M_BAD_JSON"),
        ({"invite": ["bob"]}, "M_INVALID_PARAM"),
        ({"invite": ["@b\0b:ours.test"]}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a:b"}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a\0b"}, "M_INVALID_PARAM"),
        ({"room_alias_name": ""}, "M_INVALID_PARAM"),
        ({"room_alias_name": "a" * 300}, "M_INVALID_PARAM"),
        ({"initial_state": [{"type": "x"}]}, "M_BAD_JSON"),
        ({"initial_state": [canonical(alias="#other:ours.test")]}, "M_BAD_ALIAS"),
        ({"initial_state": [canonical(alt_aliases=["#other:ours.test"])]}, "M_BAD_ALIAS"),
        ({"initial_state": [canonical(alias="other")]}, "M_INVALID_PARAM"),
        ({"initial_state": [{"type": "m.room.create", "content": {}}]}, "M_INVALID_PARAM"),
        (
            {"initial_state": [{"type": "m.room.member", "state_key": BOB, "content": {"membership": "join"}}]},
            "M_INVALID_PARAM",
        ),
        ({"initial_state": [{"type": "x", "content": {"n": 2**53}}]}, "M_BAD_JSON"),
        ({"initial_state": [{"type": "x", "content": {"n": 1.5}}]}, "M_BAD_JSON"),
        ({"initial_state": [{"type": "x\0y", "content": {}}]}, "M_BAD_JSON"),
        ({"creation_content": {"additional_creators": ["nobody"]}}, "M_INVALID_ROOM_STATE"),
        ({"creation_content": {"additional_creators": 7}, "room_version": "12"}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"users": {ALICE: 0}}, "room_version": "11"}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"users": {ALICE: 100}}, "room_version": "12"}, "M_INVALID_ROOM_STATE"),
        ({"power_level_content_override": {"ban": "50"}, "room_version": "12"}, "M_INVALID_ROOM_STATE"),
    ],
)  # fmt: skip
async def test_what_makes_no_room_is_refused(rooms: RoomServer, body: Any, errcode: str) -> None:
    (await rooms.alice.post("/createRoom", {"name": "x", **body})).refused(400, errcode)
    assert (await rooms.alice.get("/joined_rooms")).ok() == {"joined_rooms": []}


async def test_an_alias_that_is_taken_makes_no_room(rooms: RoomServer) -> None:
    first = await rooms.alice.create(room_alias_name="lobby")
    answer = await rooms.alice.post("/createRoom", {"room_alias_name": "lobby"})
    answer.refused(400, "M_ROOM_IN_USE")
    assert (await rooms.alice.get("/joined_rooms")).ok() == {"joined_rooms": [first]}


async def test_what_is_too_large_makes_no_room(rooms: RoomServer) -> None:
    (await rooms.alice.post("/createRoom", {"topic": "x" * 70_000})).refused(413, "M_TOO_LARGE")
    assert (await rooms.alice.get("/joined_rooms")).ok() == {"joined_rooms": []}


async def test_nobody_is_invited_by_third_party_identifier(rooms: RoomServer) -> None:
    third_party = {"id_server": "id.test", "id_access_token": "t", "medium": "email", "address": "b@x.test"}
    answer = await rooms.alice.post("/createRoom", {"invite_3pid": [third_party]})
    answer.refused(403, "M_THREEPID_DENIED")
    assert (await rooms.alice.get("/joined_rooms")).ok() == {"joined_rooms": []}
    await rooms.alice.create(invite_3pid=[])


async def test_it_needs_an_access_token(rooms: RoomServer) -> None:
    (await rooms.client.post("/_matrix/client/v3/createRoom")).refused(401, "M_MISSING_TOKEN")


async def test_two_rooms_at_the_same_moment_are_two_rooms(rooms: RoomServer) -> None:
    assert await rooms.alice.create() != await rooms.alice.create()
