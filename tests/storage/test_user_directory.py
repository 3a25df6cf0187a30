"""The user directory's tables, on both databases."""

from __future__ import annotations

import pytest

from homeserver.core.name_words import range_of, searched_words, words_of
from homeserver.storage import accounts, memberships, rooms, user_directory
from homeserver.storage.accounts import Account
from homeserver.storage.database import Database, Transaction
from homeserver.storage.memberships import Change
from homeserver.storage.user_directory import Entry, UserSearch

ME = "@me:test"


def entry(user_id: str, name: str | None = None, avatar: str | None = None, is_public: bool = True) -> Entry:
    return Entry(user_id, user_id.endswith(":test"), name, avatar, is_public)


async def put(database: Database, *entries: Entry) -> None:
    with_words = [(each, words_of(each.user_id, each.display_name)) for each in entries]
    await database.write(lambda tx: user_directory.put(tx, with_words))


async def search(database: Database, term: str, limit: int = 10, **options: bool) -> list[str]:
    ranges = [range_of(word) for word in searched_words(term)]
    wanted = UserSearch(ME, ranges, limit, **options)
    return [each.user_id for each in await database.read(lambda tx: user_directory.search(tx, wanted))]


async def test_search(database: Database) -> None:
    await put(
        database,
        entry("@bob:test", "Bob Builder", "mxc://test/a"),
        entry("@bobby:far", "Bobby Tables"),
        entry("@bo:far"),
        entry("@carol:far", "Builder, Bob"),
        entry(ME, "Bob me"),
    )
    # Whole words first, then who has a name and an avatar.
    assert await search(database, "bob") == ["@bob:test", "@carol:far", "@bobby:far"]
    assert await search(database, "bo") == ["@bo:far", "@bob:test", "@bobby:far", "@carol:far"]
    assert await search(database, "bo", 2) == ["@bo:far", "@bob:test"]
    assert await search(database, "BUILDER bob") == ["@bob:test", "@carol:far"]
    assert await search(database, "@bob:t") == ["@bob:test"]
    assert await search(database, "bo", only_local=True) == ["@bob:test"]
    assert await search(database, "bo", local_first=True) == [
        "@bob:test",
        "@bo:far",
        "@bobby:far",
        "@carol:far",
    ]
    assert await search(database, "nobody") == [] and await search(database, "") == []
    await put(database, entry("@bob:test", "Robert"))
    assert await search(database, "builder") == ["@carol:far"]
    assert await search(database, "robert") == ["@bob:test"]
    await database.write(lambda tx: user_directory.remove(tx, ["@bob:test", "@carol:far"]))
    assert await search(database, "b") == ["@bobby:far", "@bo:far"]


async def test_who_is_seen(database: Database) -> None:
    await put(
        database,
        entry("@shared:far", is_public=False),
        entry("@hidden:far", is_public=False),
        entry("@hidden:test", is_public=False),
    )

    async def work(tx: Transaction) -> None:
        one, two = await rooms.create(tx, "!one:test", "10"), await rooms.create(tx, "!two:test", "10")
        me, shared, hidden = [Change(each, "join", "$e", each) for each in (ME, "@shared:far", "@hidden:far")]
        await memberships.apply(tx, one.room_nid, [me, shared], 1)
        await memberships.apply(tx, two.room_nid, [hidden, Change(ME, "invite", "$e", ME)], 2)

    await database.write(work)
    assert await search(database, "shared") == ["@shared:far"]
    assert await search(database, "hidden") == []
    assert await search(database, "hidden", all_local=True) == ["@hidden:test"]
    account = Account("@hidden:test", None, False, False, False, None, 1)
    await database.write(lambda tx: accounts.add(tx, account))
    await database.write(lambda tx: accounts.set_locked(tx, "@hidden:test", True))
    assert await search(database, "hidden", all_local=True) == []
    assert await search(database, "hidden", all_local=True, with_locked=True) == ["@hidden:test"]
    await database.write(lambda tx: accounts.deactivate(tx, "@hidden:test"))
    assert await search(database, "hidden", all_local=True, with_locked=True) == []


async def test_what_changed_is_looked_at_once(database: Database) -> None:
    async def changed(tx: Transaction) -> dict[str, int]:
        return await user_directory.changed_users(tx, 10)

    await database.write(lambda tx: user_directory.users_changed(tx, ["@b:test", "@a:test"]))
    seen = await database.read(changed)
    assert seen == {"@a:test": 0, "@b:test": 0}
    await database.write(lambda tx: user_directory.users_changed(tx, ["@a:test"]))
    await database.write(lambda tx: user_directory.users_seen(tx, seen))
    assert await database.read(changed) == {"@a:test": 1}, "it changed after it was read"
    await database.write(lambda tx: user_directory.users_seen(tx, {"@a:test": 1}))
    assert await database.read(changed) == {}


@pytest.mark.parametrize("membership", ["join", "leave", "invite", None])
async def test_joins_and_leaves_are_changes(database: Database, membership: str | None) -> None:
    async def work(tx: Transaction) -> set[str]:
        room = await rooms.create(tx, "!one:test", "10")
        await memberships.apply(tx, room.room_nid, [Change("@a:test", "join", "$e", "@a:test")], 1)
        await user_directory.users_seen(tx, await user_directory.changed_users(tx, 10))
        changes = [Change(each, membership, "$f", each) for each in ("@a:test", "@b:test")]
        await memberships.apply(tx, room.room_nid, changes, 2)
        return set(await user_directory.changed_users(tx, 10))

    expected = {"@a:test", "@b:test"} if membership == "join" else {"@a:test"}
    assert await database.write(work) == expected


async def test_rooms_that_open_and_close(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        room = await rooms.create(tx, "!one:test", "10")
        nid = room.room_nid
        members = [Change("@a:test", "join", "$a", "@a:test"), Change("@b:test", "leave", "$b", "@b:test")]
        await memberships.apply(tx, nid, members, 1)

        async def look(is_open: bool) -> set[str]:
            await user_directory.users_seen(tx, await user_directory.changed_users(tx, 10))
            await user_directory.set_open(tx, nid, is_open)
            return set(await user_directory.changed_users(tx, 10))

        both = ["@a:test", "@b:test"]
        assert await look(False) == set()
        assert await look(True) == {"@a:test"} and await user_directory.in_open_rooms(tx, both) == {"@a:test"}
        assert await look(True) == set()
        assert await look(False) == {"@a:test"} and await user_directory.in_open_rooms(tx, both) == set()
        await user_directory.room_changed(tx, nid)
        await user_directory.room_changed(tx, nid)
        assert await user_directory.changed_rooms(tx, 10) == {nid: 1}
        await user_directory.room_seen(tx, nid, 0)
        assert await user_directory.changed_rooms(tx, 10) == {nid: 1}
        await user_directory.room_seen(tx, nid, 1)
        assert await user_directory.changed_rooms(tx, 10) == {}

    await database.write(work)
