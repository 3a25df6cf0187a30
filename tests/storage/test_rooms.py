"""Rooms, the compare-and-swap of their graphs, their states over time, and the ends and gaps of their graphs."""

import pytest

from homeserver.core.room_versions import rules_for
from homeserver.core.state_map import EMPTY
from homeserver.storage import rooms
from homeserver.storage.database import ConstraintViolation, Database
from homeserver.storage.rooms import Room, RoomMoved

ONE, TWO = b"1" * 16, b"2" * 16


async def make(database: Database, room_id: str = "!a:ours.test", version: str = "11") -> Room:
    return await database.write(lambda tx: rooms.create(tx, room_id, version))


async def test_a_new_room(database: Database) -> None:
    room = await make(database)
    assert (room.graph_version, room.current_state, room.published) == (0, EMPTY, False)
    assert room.rules is rules_for("11")
    assert await database.read(lambda tx: rooms.get(tx, room.room_id)) == room


async def test_a_room_exists_once(database: Database) -> None:
    await make(database)
    with pytest.raises(ConstraintViolation):
        await make(database)


@pytest.mark.parametrize("room_id", ["!none:ours.test", "", "!nul\0:ours.test", "!lone\ud800:ours.test"])
async def test_any_text_may_be_asked_for(database: Database, room_id: str) -> None:
    assert await database.read(lambda tx: rooms.get(tx, room_id)) is None
    assert await database.read(lambda tx: rooms.get_many(tx, [room_id])) == {}


async def test_several_rooms_at_once(database: Database) -> None:
    first, second = await make(database), await make(database, "!b:ours.test", "12")
    wanted = [first.room_id, second.room_id, "!none:ours.test", "!nul\0"]
    found = await database.read(lambda tx: rooms.get_many(tx, wanted))
    assert found == {first.room_id: first, second.room_id: second}
    by_nid = await database.read(lambda tx: rooms.by_nids(tx, [first.room_nid, second.room_nid, 99]))
    assert by_nid == {first.room_nid: first, second.room_nid: second}
    assert await database.read(lambda tx: rooms.get_many(tx, [])) == {}
    assert await database.read(lambda tx: rooms.by_nids(tx, [])) == {}


async def test_publishing(database: Database) -> None:
    first, second = await make(database), await make(database, "!b:ours.test")
    for room in (second, first):
        await database.write(lambda tx, nid=room.room_nid: rooms.set_published(tx, nid, True))
    assert [each.room_id for each in await database.read(rooms.published)] == [first.room_id, second.room_id]
    await database.write(lambda tx: rooms.set_published(tx, first.room_nid, False))
    assert [each.room_id for each in await database.read(rooms.published)] == [second.room_id]


async def test_who_read_an_older_version_does_not_move_the_room(database: Database) -> None:
    old = await make(database)
    new = await database.write(lambda tx: rooms.advance(tx, old, ONE))
    assert (new.graph_version, new.current_state) == (1, ONE)
    assert await database.read(lambda tx: rooms.get(tx, old.room_id)) == new
    with pytest.raises(RoomMoved):
        await database.write(lambda tx: rooms.advance(tx, old, TWO))
    assert await database.read(lambda tx: rooms.get(tx, old.room_id)) == new


async def test_the_state_at_a_position(database: Database) -> None:
    nid = (await make(database)).room_nid
    await database.write(lambda tx: rooms.record_state(tx, nid, 3, ONE))
    await database.write(lambda tx: rooms.record_state(tx, nid, 7, ONE))
    await database.write(
        lambda tx: rooms.record_state(tx, nid, 7, TWO)
    )  # the last word within a unit of work

    async def at(position: int) -> bytes:
        return await database.read(lambda tx: rooms.state_at_position(tx, nid, position))

    assert [await at(position) for position in (0, 2, 3, 6, 7, 100)] == [EMPTY, EMPTY, ONE, ONE, TWO, TWO]

    async def changed(after: int, up_to: int) -> set[int]:
        return await database.read(lambda tx: rooms.states_changed(tx, [nid, 99], after, up_to))

    assert [await changed(*span) for span in ((0, 2), (2, 3), (3, 6), (3, 7))] == [set(), {nid}, set(), {nid}]
    assert await database.read(lambda tx: rooms.states_changed(tx, [], 0, 100)) == set()


async def test_forward_extremities(database: Database) -> None:
    nid = (await make(database)).room_nid
    other = (await make(database, "!b:ours.test")).room_nid

    async def change(room_nid: int, add: list[str], remove: list[str]) -> list[str]:
        await database.write(
            lambda tx: rooms.change_forward_extremities(tx, room_nid, add=add, remove=remove)
        )
        return await database.read(lambda tx: rooms.forward_extremities(tx, room_nid))

    assert await change(nid, ["$a"], []) == ["$a"]
    assert await change(other, ["$z"], []) == ["$z"]
    assert await change(nid, ["$b"], ["$a"]) == ["$b"]
    assert await change(nid, ["$c"], ["$unknown"]) == ["$b", "$c"]
    assert await change(nid, ["$d", "$e"], ["$b", "$c"]) == ["$d", "$e"]
    assert await change(nid, ["$d"], []) == ["$d", "$e"]
    assert await change(nid, ["$f"], ["$d", "$e"]) == ["$f"]
    assert await change(nid, [], []) == ["$f"]
    assert await change(nid, [], ["$f"]) == []
    assert await change(other, [], []) == ["$z"]


async def test_backward_extremities(database: Database) -> None:
    nid = (await make(database)).room_nid

    async def change(add: dict[str, int], remove: list[str]) -> dict[str, int]:
        await database.write(lambda tx: rooms.change_backward_extremities(tx, nid, add=add, remove=remove))
        return await database.read(lambda tx: rooms.backward_extremities(tx, nid))

    assert await change({"$a": 5, "$b": 6}, []) == {"$a": 5, "$b": 6}
    assert await change({"$a": 9}, []) == {"$a": 5, "$b": 6}
    assert await database.read(lambda tx: rooms.is_backward_extremity(tx, nid, "$a"))
    assert not await database.read(lambda tx: rooms.is_backward_extremity(tx, nid + 1, "$a"))
    assert await change({"$c": 2}, ["$a", "$none"]) == {"$b": 6, "$c": 2}
    assert not await database.read(lambda tx: rooms.is_backward_extremity(tx, nid, "$a"))
    assert await change({}, []) == {"$b": 6, "$c": 2}
