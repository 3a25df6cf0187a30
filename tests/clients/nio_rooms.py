"""What matrix-nio does with more than one room: upgrades, spaces, knocks."""

import nio
from nio.responses import RoomUpgradeResponse

from .nio_person import Person, expect


async def upgrade(alice: Person, bob: Person) -> None:
    """Nio's way to upgrade, by single requests; bob follows the tombstone, and the alias, into the new room."""
    created = await alice.client.room_create(
        alias="to-be-upgraded",
        name="Upgraded",
        room_version="10",
        preset=nio.RoomPreset.public_chat,
        invite=[bob.user_id],
    )
    old = expect(created, nio.RoomCreateResponse).room_id
    alias = f"#to-be-upgraded:{alice.user_id.split(':', 1)[1]}"
    expect(await bob.client.join(alias), nio.JoinResponse)
    await alice.until(lambda: old in alice.client.rooms and alice.client.rooms[old].joined_count == 2, "bob")
    new = expect(await alice.client.room_upgrade(old, "11"), RoomUpgradeResponse).room_id

    def tombstone() -> nio.RoomUpgradeEvent | None:
        found = [event for event in bob.seen if isinstance(event, nio.RoomUpgradeEvent)]
        return found[-1] if found else None

    seen = await bob.until(tombstone, "the tombstone")
    assert seen.replacement_room == new
    resolved = expect(await bob.client.room_resolve_alias(alias), nio.RoomResolveAliasResponse)
    assert resolved.room_id == new
    expect(await bob.client.join(new), nio.JoinResponse)
    room = await bob.until(lambda: bob.client.rooms.get(new), "the new room")
    assert (room.name, room.room_version, room.canonical_alias) == ("Upgraded", "11", alias)
    create = await bob.client.room_get_state_event(new, "m.room.create", "")
    assert expect(create, nio.RoomGetStateEventResponse).content["predecessor"]["room_id"] == old
    for room_id in (old, new):
        expect(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)


async def make_a_space(alice: Person, bob: Person) -> None:
    """A space with two rooms and a space in it; bob, who is in none of them, looks through it page by page."""
    server_name = alice.user_id.split(":", 1)[1]

    async def make(name: str, *, space: bool = False) -> str:
        created = await alice.client.room_create(name=name, space=space, preset=nio.RoomPreset.public_chat)
        return expect(created, nio.RoomCreateResponse).room_id

    async def put(parent: str, child: str, **content: object) -> None:
        answer = await alice.client.room_put_state(
            parent, "m.space.child", {"via": [server_name], **content}, child
        )
        expect(answer, nio.RoomPutStateResponse)

    space, inner = await make("The space", space=True), await make("The inner space", space=True)
    first, second, deep = await make("First"), await make("Second"), await make("Deep")
    await put(space, second, order="b")
    await put(space, first, order="a", suggested=True)
    await put(space, inner, order="c")
    await put(inner, deep)

    async def look(**options: object) -> list[str]:
        found: list[str] = []
        page: str | None = ""
        while page is not None:
            answer = await bob.client.space_get_hierarchy(space, from_page=page or None, limit=2, **options)
            answer = expect(answer, nio.SpaceGetHierarchyResponse)
            found += [room["room_id"] for room in answer.rooms]
            page = answer.next_batch
        return found

    assert await look() == [space, first, second, inner, deep]
    assert await look(max_depth=1) == [space, first, second, inner]
    assert await look(suggested_only=True) == [space, first]
    expect(await bob.client.space_get_hierarchy("!nothing:nowhere"), nio.SpaceGetHierarchyError)


async def knock(alice: Person, bob: Person) -> None:
    """Bob asks to be let in, and is."""
    created = await alice.client.room_create(name="Knock first", preset=nio.RoomPreset.private_chat)
    room_id = expect(created, nio.RoomCreateResponse).room_id
    assert expect(await bob.client.room_knock(room_id), nio.RoomKnockError).status_code == "M_FORBIDDEN"
    rule = await alice.client.room_put_state(room_id, "m.room.join_rules", {"join_rule": "knock"})
    expect(rule, nio.RoomPutStateResponse)
    expect(await bob.client.room_knock(room_id, "let me in"), nio.RoomKnockResponse)

    def knocked() -> bool:
        return any(
            isinstance(event, nio.RoomMemberEvent)
            and (event.state_key, event.membership) == (bob.user_id, "knock")
            and event.content["reason"] == "let me in"
            for event in alice.seen
        )

    await alice.until(knocked, "the knock")
    expect(await alice.client.room_invite(room_id, bob.user_id), nio.RoomInviteResponse)
    await bob.until(lambda: room_id in bob.client.invited_rooms, "the invite that answers it")
    expect(await bob.client.join(room_id), nio.JoinResponse)
    await bob.until(lambda: room_id in bob.client.rooms, "the room")
    expect(await bob.client.room_leave(room_id), nio.RoomLeaveResponse)
