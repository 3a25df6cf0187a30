"""Two people with matrix-nio: `python -m tests.clients.nio_journey BASE_URL SERVER_NAME`, run by test_nio.py.

Ends with 0 when everything was as it should be; otherwise the traceback says what was not.
"""

import asyncio
import sys
from typing import Any

import nio
from nio.responses import PublicRoomsResponse

from .nio_account import look_after_devices, set_push_rules
from .nio_conversation import be_present, mark_as_read, relate, type_something
from .nio_person import LAZY, NO_RETRIES, PASSWORD, Person, expect
from .nio_rooms import knock, make_a_space, upgrade


async def create_and_invite(alice: Person, bob: Person) -> str:
    """A public room with everything a client gives it; bob is invited and comes by its alias."""
    created = await alice.client.room_create(
        visibility=nio.RoomVisibility.public,
        alias="nio",
        name="The nio room",
        topic="All that matrix-nio does",
        preset=nio.RoomPreset.public_chat,
        invite=[bob.user_id],
        initial_state=[
            {"type": "m.room.history_visibility", "content": {"history_visibility": "shared"}},
        ],
    )
    room_id = expect(created, nio.RoomCreateResponse).room_id

    invited = await bob.until(lambda: bob.client.invited_rooms.get(room_id), "the invite")
    assert (invited.inviter, invited.name) == (alice.user_id, "The nio room")
    alias = invited.canonical_alias
    assert alias == f"#nio:{alice.user_id.split(':', 1)[1]}"
    resolved = expect(await bob.client.room_resolve_alias(alias), nio.RoomResolveAliasResponse)
    assert resolved.room_id == room_id
    assert expect(await bob.client.join(alias), nio.JoinResponse).room_id == room_id

    room = await bob.until(lambda: bob.client.rooms.get(room_id), "the room among the joined ones")
    assert room_id not in bob.client.invited_rooms
    assert (room.name, room.topic, room.canonical_alias) == (
        "The nio room",
        "All that matrix-nio does",
        alias,
    )
    seen_by_alice = await alice.until(lambda: alice.client.rooms.get(room_id), "the room")
    await alice.until(lambda: seen_by_alice.joined_count == 2, "bob's join in the room's summary")
    assert seen_by_alice.power_levels.get_user_level(bob.user_id) == 0
    joined = expect(await alice.client.joined_rooms(), nio.JoinedRoomsResponse)
    assert joined.rooms == [room_id]
    return room_id


async def talk(alice: Person, bob: Person, room_id: str) -> list[str]:
    """Messages both ways, a redaction, and the room's history; the event IDs of the messages, oldest first."""
    sent = [await alice.say(room_id, "hello bob"), await bob.say(room_id, "hello alice")]
    for person in (alice, bob):
        first, second = [await person.until_event(event_id, "a message") for event_id in sent]
        assert (first.sender, first.body) == (alice.user_id, "hello bob")
        assert (second.sender, second.body) == (bob.user_id, "hello alice")
    sent += [await alice.say(room_id, f"number {number}") for number in range(25)]

    redaction = await alice.client.room_redact(room_id, sent[5], reason="a slip")
    redaction_id = expect(redaction, nio.RoomRedactResponse).event_id
    seen = await bob.until_event(redaction_id, "the redaction")
    assert (seen.redacts, seen.reason) == (sent[5], "a slip")

    history: list[Any] = []
    start = ""
    while True:
        page = await bob.client.room_messages(room_id, start, limit=10)
        page = expect(page, nio.RoomMessagesResponse)
        history += page.chunk
        if not page.end:
            break
        start = page.end
    messages = [event for event in history if event.event_id in sent]
    assert [event.event_id for event in messages] == sent[::-1]
    assert isinstance(messages[-6], nio.RedactedEvent) and messages[-6].redacter == alice.user_id
    assert isinstance(history[-1], nio.RoomCreateEvent), "history ends with the room's beginning"

    context = await bob.client.room_context(room_id, sent[10], limit=6)
    context = expect(context, nio.RoomContextResponse)
    assert context.event.event_id == sent[10]
    assert [event.event_id for event in context.events_before] == sent[9:6:-1]
    assert [event.event_id for event in context.events_after] == sent[11:14]
    assert any(isinstance(event, nio.RoomCreateEvent) for event in context.state)
    after = await bob.client.room_messages(
        room_id, context.end, direction=nio.MessageDirection.front, limit=3
    )
    after = expect(after, nio.RoomMessagesResponse)
    assert [event.event_id for event in after.chunk] == sent[14:17]

    single = expect(await bob.client.room_get_event(room_id, sent[0]), nio.RoomGetEventResponse)
    assert single.event.body == "hello bob"
    expect(await bob.client.room_get_event(room_id, "$nothing"), nio.RoomGetEventError)
    return sent


async def change_state(alice: Person, bob: Person, room_id: str) -> None:
    """State events: standard ones, one of our own, and one that is not allowed."""
    put = await alice.client.room_put_state(room_id, "m.room.topic", {"topic": "Another topic"})
    expect(put, nio.RoomPutStateResponse)
    await bob.until(lambda: bob.client.rooms[room_id].topic == "Another topic", "the new topic")
    put = await alice.client.room_put_state(room_id, "org.example.state", {"a": 1}, "a key/with ? and ü")
    own = expect(put, nio.RoomPutStateResponse)
    await bob.until_event(own.event_id, "the state event")
    got = await bob.client.room_get_state_event(room_id, "org.example.state", "a key/with ? and ü")
    assert expect(got, nio.RoomGetStateEventResponse).content == {"a": 1}
    missing = await bob.client.room_get_state_event(room_id, "org.example.state", "no such key")
    assert expect(missing, nio.RoomGetStateEventError).status_code == "M_NOT_FOUND"
    state = expect(await bob.client.room_get_state(room_id), nio.RoomGetStateResponse)
    kinds = {(event["type"], event["state_key"]) for event in state.events}
    assert {("m.room.create", ""), ("m.room.member", bob.user_id), ("m.room.name", "")} <= kinds
    refused = await bob.client.room_put_state(room_id, "m.room.name", {"name": "Mine"})
    assert expect(refused, nio.RoomPutStateError).status_code == "M_FORBIDDEN"
    assert not bob.client.rooms[room_id].power_levels.can_user_ban(bob.user_id)


async def change_profile(alice: Person, bob: Person, room_id: str) -> None:
    """A display name and an avatar reach the profile, the room, and the members' list."""
    expect(await bob.client.set_displayname("Bob the Builder"), nio.ProfileSetDisplayNameResponse)
    expect(await bob.client.set_avatar("mxc://example.org/bob"), nio.ProfileSetAvatarResponse)
    profile = expect(await alice.client.get_profile(bob.user_id), nio.ProfileGetResponse)
    assert (profile.displayname, profile.avatar_url) == ("Bob the Builder", "mxc://example.org/bob")
    name = await alice.client.get_displayname(bob.user_id)
    assert expect(name, nio.ProfileGetDisplayNameResponse).displayname == "Bob the Builder"
    avatar = await alice.client.get_avatar(bob.user_id)
    assert expect(avatar, nio.ProfileGetAvatarResponse).avatar_url == "mxc://example.org/bob"
    expect(await alice.client.get_profile("@nobody:" + bob.user_id.split(":", 1)[1]), nio.ProfileGetError)

    room = alice.client.rooms[room_id]
    await alice.until(
        lambda: (
            (room.user_name(bob.user_id), room.avatar_url(bob.user_id))
            == ("Bob the Builder", "mxc://example.org/bob")
        ),
        "bob's name and avatar in the room",
    )
    members = expect(await alice.client.joined_members(room_id), nio.JoinedMembersResponse).members
    assert {(member.user_id, member.display_name, member.avatar_url) for member in members} == {
        (alice.user_id, alice.localpart, None),
        (bob.user_id, "Bob the Builder", "mxc://example.org/bob"),
    }


async def look_in_the_directory(alice: Person, room_id: str) -> None:
    """The room is listed, found by a search, and has an alias more."""
    listed = expect(await alice.client.list_public_rooms(limit=10), PublicRoomsResponse)
    assert [(room.room_id, room.num_joined_members) for room in listed.public_rooms] == [(room_id, 2)]
    for term, found in (("nio ROOM", [room_id]), ("no such room", [])):
        answer = await alice.client.list_public_rooms(filter_generic_search_term=term)
        answer = expect(answer, PublicRoomsResponse)
        assert [room.room_id for room in answer.public_rooms] == found
    visibility = expect(await alice.client.room_get_visibility(room_id), nio.RoomGetVisibilityResponse)
    assert visibility.visibility == "public"
    another = "#another:" + alice.user_id.split(":", 1)[1]
    expect(await alice.client.room_put_alias(another, room_id), nio.RoomPutAliasResponse)
    resolved = expect(await alice.client.room_resolve_alias(another), nio.RoomResolveAliasResponse)
    assert resolved.room_id == room_id
    expect(await alice.client.room_delete_alias(another), nio.RoomDeleteAliasResponse)
    expect(await alice.client.room_resolve_alias(another), nio.RoomResolveAliasError)


async def filter_lazily(base_url: str, alice: Person, bob: Person, room_id: str) -> None:
    """A second session of alice's with an uploaded filter: a short timeline, and only the members in it."""
    second = nio.AsyncClient(base_url, alice.user_id, config=NO_RETRIES)
    try:
        expect(await second.login(PASSWORD), nio.LoginResponse)
        definition = {"timeline": {"limit": 2, **LAZY}, "state": LAZY}
        uploaded = expect(await second.upload_filter(room=definition), nio.UploadFilterResponse)
        last = [await bob.say(room_id, f"lazy {number}") for number in range(3)]
        answer = expect(await second.sync(sync_filter=uploaded.filter_id), nio.SyncResponse)
        joined = answer.rooms.join[room_id]
        assert [event.event_id for event in joined.timeline.events] == last[1:]
        assert joined.timeline.limited
        members = [event.state_key for event in joined.state if isinstance(event, nio.RoomMemberEvent)]
        assert bob.user_id in members and set(members) <= {alice.user_id, bob.user_id}
        page = await second.room_messages(room_id, joined.timeline.prev_batch, limit=1)
        assert [event.event_id for event in expect(page, nio.RoomMessagesResponse).chunk] == last[:1]
        expect(await second.logout(), nio.LogoutResponse)
    finally:
        await second.close()


async def be_thrown_out(alice: Person, bob: Person, room_id: str) -> None:
    """Kick, ban, unban; each reaches bob, and a ban keeps him out until it ends."""

    async def bob_hears(membership: str, reason: str | None) -> None:
        def heard() -> bool:
            last = [
                event
                for event in bob.seen
                if isinstance(event, nio.RoomMemberEvent) and event.state_key == bob.user_id
            ][-1]
            return (last.membership, last.content.get("reason")) == (membership, reason)

        await bob.until(heard, f"his own {membership}")

    expect(await alice.client.room_kick(room_id, bob.user_id, "out"), nio.RoomKickResponse)
    await bob_hears("leave", "out")
    await bob.until(lambda: room_id in bob.left, "the room to go")
    expect(await bob.client.room_send(room_id, "m.room.message", {"body": "?"}), nio.RoomSendError)
    expect(await bob.client.join(room_id), nio.JoinResponse)
    await bob_hears("join", None)

    expect(await alice.client.room_ban(room_id, bob.user_id, "stay out"), nio.RoomBanResponse)
    await bob_hears("ban", "stay out")
    assert expect(await bob.client.join(room_id), nio.JoinError).status_code == "M_FORBIDDEN"
    expect(await alice.client.room_unban(room_id, bob.user_id), nio.RoomUnbanResponse)
    expect(await alice.client.room_invite(room_id, bob.user_id), nio.RoomInviteResponse)
    await bob.until(lambda: room_id in bob.client.invited_rooms, "the invite after the ban")
    expect(await bob.client.join(room_id), nio.JoinResponse)
    await bob_hears("join", None)


async def leave(alice: Person, bob: Person, room_id: str) -> None:
    """Bob leaves, forgets, and may not read the room any more."""
    expect(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
    await bob.until(lambda: room_id in bob.left, "the room to go")
    await alice.until(lambda: alice.client.rooms[room_id].joined_count == 1, "bob to be gone")
    expect(await bob.client.room_forget(room_id), nio.RoomForgetResponse)
    expect(await bob.client.room_messages(room_id, ""), nio.RoomMessagesError)
    joined = expect(await bob.client.joined_rooms(), nio.JoinedRoomsResponse)
    assert room_id not in joined.rooms


async def log_out(person: Person) -> None:
    """The token ends with the session."""
    await person.stop_syncing()
    token = person.client.access_token
    expect(await person.client.logout(), nio.LogoutResponse)
    person.client.access_token = token
    assert expect(await person.client.whoami(), nio.WhoamiError).status_code == "M_UNKNOWN_TOKEN"


async def main(base_url: str, server_name: str) -> None:
    """The whole journey."""
    alice, bob = (Person(base_url, localpart, server_name) for localpart in ("nio-alice", "nio-bob"))
    try:
        for person in (alice, bob):
            await person.register_and_log_in()
        alice.start_syncing()
        bob.start_syncing({"room": {"state": LAZY}})
        room_id = await create_and_invite(alice, bob)
        await talk(alice, bob, room_id)
        await change_state(alice, bob, room_id)
        await change_profile(alice, bob, room_id)
        await look_in_the_directory(alice, room_id)
        await relate(alice, bob, room_id)
        await mark_as_read(alice, bob, room_id)
        await type_something(alice, bob, room_id)
        await be_present(alice, bob)
        await set_push_rules(alice, bob, room_id)
        await look_after_devices(base_url, alice)
        await upgrade(alice, bob)
        await make_a_space(alice, bob)
        await knock(alice, bob)
        await filter_lazily(base_url, alice, bob, room_id)
        await be_thrown_out(alice, bob, room_id)
        await leave(alice, bob, room_id)
        for person in (alice, bob):
            await log_out(person)
    finally:
        for person in (alice, bob):
            try:
                await person.stop_syncing()
            finally:
                await person.client.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
