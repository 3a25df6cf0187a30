"""Account data and push rules, on both databases."""

from __future__ import annotations

from homeserver.storage import account_data, push_rules
from homeserver.storage.account_data import GLOBAL, AccountDatum
from homeserver.storage.database import Database, Transaction
from homeserver.storage.push_rules import StoredRules

ALICE, BOB = "@alice:test", "@bob:test"
DIRECT = AccountDatum(GLOBAL, "m.direct", b'{"a":1}', 3)
TAG = AccountDatum("!one:test", "m.tag", b'{"tags":{}}', 4)
OTHER_TAG = AccountDatum("!two:test", "m.tag", b'{"tags":{"u.x":{}}}', 5)


async def test_what_is_put_is_there(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        for datum in (DIRECT, TAG, OTHER_TAG):
            await account_data.put(tx, ALICE, datum)
        await account_data.put(tx, BOB, AccountDatum(GLOBAL, "m.direct", b"{}", 6))

    await database.write(work)
    for datum in (DIRECT, TAG, OTHER_TAG):
        room_id, kind = datum.room_id, datum.type
        found = await database.read(lambda tx, r=room_id, t=kind: account_data.get(tx, ALICE, r, t))
        assert found == datum.content
    assert await database.read(lambda tx: account_data.get(tx, ALICE, GLOBAL, "m.tag")) is None
    assert await database.read(lambda tx: account_data.get(tx, ALICE, "!one:test", "m.direct")) is None
    contents = len(DIRECT.content + TAG.content + OTHER_TAG.content)
    assert await database.read(lambda tx: account_data.size(tx, ALICE)) == (3, contents)
    assert await database.read(lambda tx: account_data.size(tx, "@nobody:test")) == (0, 0)


async def test_changes_come_in_their_order(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        for datum in (OTHER_TAG, DIRECT, TAG):
            await account_data.put(tx, ALICE, datum)

    await database.write(work)
    assert await database.read(lambda tx: account_data.changed(tx, ALICE, -1)) == [DIRECT, TAG, OTHER_TAG]
    assert await database.read(lambda tx: account_data.changed(tx, ALICE, 4)) == [OTHER_TAG]
    assert await database.read(lambda tx: account_data.changed(tx, BOB, -1)) == []
    again = AccountDatum(GLOBAL, "m.direct", b'{"a":2}', 9)
    await database.write(lambda tx: account_data.put(tx, ALICE, again))
    assert await database.read(lambda tx: account_data.changed(tx, ALICE, 3)) == [TAG, OTHER_TAG, again]
    assert (await database.read(lambda tx: account_data.size(tx, ALICE)))[0] == 3


async def test_the_data_of_rooms(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        for datum in (DIRECT, TAG, OTHER_TAG):
            await account_data.put(tx, ALICE, datum)

    await database.write(work)
    wanted = ["!two:test", "!one:test", "!none:test"]
    assert await database.read(lambda tx: account_data.of_rooms(tx, ALICE, wanted)) == [TAG, OTHER_TAG]
    assert await database.read(lambda tx: account_data.of_rooms(tx, ALICE, ["!two:test"])) == [OTHER_TAG]
    assert await database.read(lambda tx: account_data.of_rooms(tx, BOB, wanted)) == []


async def test_types_of_several_users(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        for datum in (DIRECT, TAG):
            await account_data.put(tx, ALICE, datum)
        await account_data.put(tx, BOB, AccountDatum(GLOBAL, "m.direct", b"{}", 6))
        await account_data.put(tx, BOB, AccountDatum(GLOBAL, "m.other", b"[]", 7))

    await database.write(work)
    wanted = ["m.direct", "m.tag"]
    found = await database.read(lambda tx: account_data.of_types(tx, [ALICE, BOB, "@c:test"], wanted))
    assert found == {(ALICE, "m.direct"): b'{"a":1}', (BOB, "m.direct"): b"{}"}


async def test_push_rules(database: Database) -> None:
    assert await database.read(lambda tx: push_rules.get(tx, ALICE)) is None
    assert await database.read(lambda tx: push_rules.changed_at(tx, ALICE)) is None
    first, second = StoredRules(b'{"a":1}', 3), StoredRules(b'{"a":2}', 8)
    await database.write(lambda tx: push_rules.put(tx, ALICE, first))
    await database.write(lambda tx: push_rules.put(tx, BOB, first))
    await database.write(lambda tx: push_rules.put(tx, ALICE, second))
    assert await database.read(lambda tx: push_rules.get(tx, ALICE)) == second
    assert await database.read(lambda tx: push_rules.changed_at(tx, ALICE)) == 8
    wanted = [ALICE, BOB, "@nobody:test"]
    found = await database.read(lambda tx: push_rules.get_many(tx, wanted))
    assert found == {ALICE: second, BOB: first}
