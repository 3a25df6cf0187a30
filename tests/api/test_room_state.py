"""Setting a room's state."""

from typing import Any
from urllib.parse import quote

import pytest

from homeserver.storage.database import Transaction
from tests.support.room_server import ALICE, BOB, CAROL, RoomClient, RoomServer


async def test_state_is_set_and_overwritten(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    first = (await rooms.alice.set_state(room_id, "x.color", {"is": "red"}, "sky")).ok()["event_id"]
    second = (await rooms.alice.set_state(room_id, "x.color", {"is": "blue"}, "sky")).ok()["event_id"]
    assert first != second
    assert (await rooms.alice.state(room_id, "x.color", "sky")).ok() == {"is": "blue"}
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(second)}")).ok()
    assert event["state_key"] == "sky"
    assert event["unsigned"]["prev_content"] == {"is": "red"}
    assert event["unsigned"]["replaces_state"] == first


async def test_setting_what_is_set_already_is_the_same_event(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    first = (await rooms.alice.set_state(room_id, "m.room.name", {"name": "x"})).ok()
    assert (await rooms.alice.set_state(room_id, "m.room.name", {"name": "x"})).ok() == first


@pytest.mark.parametrize("tail", ["/state/m.room.topic", "/state/m.room.topic/"])
async def test_the_trailing_slash_is_optional(rooms: RoomServer, tail: str) -> None:
    room_id = await rooms.alice.create()
    path = f"/rooms/{quote(room_id)}{tail}"
    (await rooms.alice.put(path, {"topic": "x"})).ok()
    assert (await rooms.alice.get(path)).ok() == {"topic": "x"}
    assert (await rooms.alice.http.get("/_matrix/client/r0" + path)).ok() == {"topic": "x"}


@pytest.mark.parametrize("state_key", ["a/b", "%2F", "ä ö", "a\nb", "@alice:ours.test", "x" * 255])
async def test_state_keys_are_any_text(rooms: RoomServer, state_key: str) -> None:
    room_id = await rooms.alice.create(room_version="9")
    if state_key.startswith("@"):
        assert state_key == ALICE, "a state key that is a user ID is that user's"
    (await rooms.alice.set_state(room_id, "x.any", {"n": 1}, state_key)).ok()
    assert (await rooms.alice.state(room_id, "x.any", state_key)).ok() == {"n": 1}


async def test_who_may_not_set_it(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    await rooms.bob.join(room_id)
    (await rooms.bob.set_state(room_id, "m.room.name", {"name": "x"})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.set_state(room_id, "x.own", {}, BOB)).refused(403, "M_FORBIDDEN")
    (await rooms.carol.set_state(room_id, "m.room.name", {"name": "x"})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.set_state("!none:ours.test", "x.y", {})).refused(403, "M_FORBIDDEN")
    (await rooms.alice.set_state(room_id, "m.room.create", {})).refused(403, "M_FORBIDDEN")


@pytest.mark.parametrize(
    ("kind", "state_key", "content", "status", "errcode"),
    [
        ("x" * 256, "", {}, 413, "M_TOO_LARGE"),
        ("x.y", "k" * 256, {}, 413, "M_TOO_LARGE"),
        ("x.y", "a\0b", {}, 400, "M_INVALID_PARAM"),
        ("x.y", "", {"n": 2**53}, 400, "M_BAD_JSON"),
        ("x.y", "", [], 400, "M_BAD_JSON"),
        ("x.y", "", {"long": "x" * 66_000}, 413, "M_TOO_LARGE"),
        ("m.room.power_levels", "", {"ban": "fifty"}, 403, "M_FORBIDDEN"),
        ("m.room.power_levels", "", {"users": {ALICE: 5}}, 403, "M_FORBIDDEN"),
        ("m.room.member", "nobody", {"membership": "ban"}, 400, "M_INVALID_PARAM"),
        ("m.room.member", ALICE, {}, 400, "M_BAD_JSON"),
        ("m.room.member", ALICE, {"membership": 7}, 400, "M_BAD_JSON"),
        ("m.room.member", ALICE, {"membership": "guest"}, 403, "M_FORBIDDEN"),
        ("m.room.member", BOB, {"membership": "join"}, 403, "M_FORBIDDEN"),
        ("m.room.member", "@b\0b:ours.test", {"membership": "ban"}, 400, "M_INVALID_PARAM"),
    ],
)
async def test_what_is_refused(
    rooms: RoomServer, kind: str, state_key: str, content: Any, status: int, errcode: str
) -> None:
    room_id = await rooms.alice.create()
    (await rooms.alice.set_state(room_id, kind, content, state_key)).refused(status, errcode)


async def test_memberships_set_as_state_follow_the_rules_of_memberships(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    member = "m.room.member"
    own = (await rooms.bob.set_state(room_id, member, {"membership": "join", "x": 1}, BOB)).ok()["event_id"]
    event = (await rooms.bob.get(f"/rooms/{quote(room_id)}/event/{quote(own)}")).ok()
    assert event["content"] == {"membership": "join", "x": 1}
    nick = {"membership": "join", "displayname": "Bobby"}
    (await rooms.bob.set_state(room_id, member, nick, BOB)).ok()
    assert (await rooms.bob.state(room_id, member, BOB)).ok() == nick
    (await rooms.alice.set_state(room_id, member, {"membership": "invite", "y": 2}, CAROL)).ok()
    assert (await rooms.alice.state(room_id, member, CAROL)).ok() == {"membership": "invite", "y": 2}
    (await rooms.alice.set_state(room_id, member, {"membership": "ban"}, BOB)).ok()
    (await rooms.bob.set_state(room_id, member, {"membership": "join"}, BOB)).refused(403, "M_FORBIDDEN")
    (await rooms.carol.set_state(room_id, member, {"membership": "leave"}, CAROL)).ok()


async def test_a_user_elsewhere_is_invited_by_state_with_their_servers_signature(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    dan = "@dan:theirs.test"
    (await rooms.alice.set_state(room_id, "m.room.member", {"membership": "invite"}, dan)).ok()
    assert [sent["event"]["state_key"] for sent in rooms.remote.invites] == [dan]


async def test_nobody_vouches_for_their_own_restricted_join(rooms: RoomServer) -> None:
    space = await rooms.alice.create()
    allow = [{"type": "m.room_membership", "room_id": space}]
    rule = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room_id = await rooms.alice.create(initial_state=[rule])
    forged = {"membership": "join", "join_authorised_via_users_server": ALICE}
    (await rooms.bob.set_state(room_id, "m.room.member", forged, BOB)).refused(403, "M_FORBIDDEN")


async def test_canonical_aliases_point_to_the_room(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create(room_alias_name="here", preset="public_chat")
    other = await rooms.alice.create(room_alias_name="there")
    kind = "m.room.canonical_alias"
    rooms.remote.aliases["#remote:theirs.test"] = (room_id, ["theirs.test"])
    content = {"alias": "#here:ours.test", "alt_aliases": ["#remote:theirs.test"]}
    (await rooms.alice.set_state(room_id, kind, content)).ok()
    for wrong in (
        {"alias": "#there:ours.test"},
        {"alias": "#nothing:ours.test"},
        {"alt_aliases": ["#here:ours.test", "#nothing:theirs.test"]},
    ):
        (await rooms.alice.set_state(room_id, kind, wrong)).refused(400, "M_BAD_ALIAS")
    for invalid in (
        {"alias": "here"},
        {"alias": 7},
        {"alt_aliases": "#here:ours.test"},
        {"alt_aliases": ["#here"]},
        {"alt_aliases": ["#here:ours.test", None]},
    ):
        (await rooms.alice.set_state(room_id, kind, invalid)).refused(400, "M_INVALID_PARAM")
    # "Servers do not validate aliases which are being removed or are already present in the state event."
    del rooms.remote.aliases["#remote:theirs.test"]
    (await rooms.alice.set_state(room_id, kind, {"alt_aliases": ["#remote:theirs.test"]})).ok()
    (await rooms.alice.set_state(room_id, kind, {"alias": None})).ok()
    (await rooms.alice.set_state(room_id, kind, {"alias": ""})).ok()
    (await rooms.alice.set_state(room_id, kind, {})).ok()
    await rooms.bob.join(room_id)
    (await rooms.bob.set_state(room_id, kind, {"alias": "nonsense"})).refused(403, "M_FORBIDDEN")
    assert other != room_id


async def test_who_may_not_see_the_state_before_is_not_told_of_its_content(rooms: RoomServer) -> None:
    alice, bob = rooms.alice, rooms.bob
    visibility = [{"type": "m.room.history_visibility", "content": {"history_visibility": "joined"}}]
    room_id = await alice.create(preset="public_chat", initial_state=visibility, topic="secret")
    first = await alice.state(room_id, "m.room.topic")
    assert first.ok()["topic"] == "secret"
    (
        await alice.set_state(room_id, "m.room.history_visibility", {"history_visibility": "world_readable"})
    ).ok()
    (await alice.set_state(room_id, "m.room.topic", {"topic": "open"})).ok()
    (await alice.set_state(room_id, "m.room.topic", {"topic": "more"})).ok()

    async def topics(client: RoomClient) -> list[tuple[Any, Any]]:
        chunk = (await client.messages(room_id, dir="f", limit=50))["chunk"]
        found = [event for event in chunk if event["type"] == "m.room.topic"]
        assert all("replaces_state" in event["unsigned"] for event in found[-2:])
        return [
            (event["content"]["topic"], event["unsigned"].get("prev_content", {}).get("topic"))
            for event in found
        ]

    # "only returned if [...] the client has permission to see the previous event"
    assert await topics(bob) == [("open", None), ("more", "open")]
    assert await topics(alice) == [("secret", None), ("open", "secret"), ("more", "open")]


async def test_content_before_that_no_64_bits_hold(rooms: RoomServer) -> None:
    """Room versions 1 to 5 have events of other servers with such numbers; here one is put in place by hand."""
    room_id = await rooms.alice.create(room_version="5")
    first = (await rooms.alice.set_state(room_id, "org.example", {"n": 1111111})).ok()["event_id"]
    second = (await rooms.alice.set_state(room_id, "org.example", {"n": 2})).ok()["event_id"]

    async def enlarge(tx: Transaction) -> None:
        canonical = bytes(await tx.fetch_value("SELECT canonical FROM events WHERE event_id = $1", first))
        larger = canonical.replace(b"1111111", str(2**70).encode())
        await tx.execute("UPDATE events SET canonical = $1 WHERE event_id = $2", larger, first)

    await rooms.services.database.write(enlarge)
    event = (await rooms.alice.get(f"/rooms/{quote(room_id)}/event/{quote(second)}")).ok()
    assert event["unsigned"]["prev_content"] == {"n": 2**70}


async def test_nobody_shuts_out_the_own_server(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    for acl in ({}, {"allow": ["theirs.test"]}, {"allow": ["*"], "deny": ["ours.*"]}):
        (await rooms.alice.set_state(room_id, "m.room.server_acl", acl)).refused(400, "M_UNKNOWN")
    acl = {"allow": ["*"], "deny": ["evil.test"], "allow_ip_literals": False}
    (await rooms.alice.set_state(room_id, "m.room.server_acl", acl)).ok()


async def test_state_is_listed_with_its_age(rooms: RoomServer) -> None:
    room_id = await rooms.alice.create()
    rooms.services.clock.now += 7
    path = f"/rooms/{quote(room_id)}"
    events = (await rooms.alice.get(f"{path}/state")).ok()
    events += (await rooms.alice.get(f"{path}/members")).ok()["chunk"]
    events += (await rooms.alice.get(f"{path}/context/{quote(events[0]['event_id'])}")).ok()["state"]
    assert {event["unsigned"]["age"] for event in events} == {7}
