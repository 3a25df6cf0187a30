"""Accounts, tokens, devices, profiles and filters, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from homeserver.storage import access_tokens, accounts, filters, profiles
from homeserver.storage.accounts import Account
from homeserver.storage.database import ConstraintViolation, Database, Transaction

ALICE = Account("@alice:test", "hash", True, False, False, "bot", 17)
BOB = Account("@bob:test", None, False, True, False, None, 2**53)


async def add_both(tx: Transaction) -> None:
    assert await accounts.add(tx, ALICE)
    assert await accounts.add(tx, BOB)


async def test_accounts(database: Database) -> None:
    await database.write(add_both)
    assert await database.read(lambda tx: accounts.get(tx, "@alice:test")) == ALICE
    assert await database.read(lambda tx: accounts.get(tx, "@bob:test")) == BOB
    assert await database.read(lambda tx: accounts.get(tx, "@carol:test")) is None
    assert not await database.write(lambda tx: accounts.add(tx, replace(ALICE, password_hash="other")))
    assert await database.read(lambda tx: accounts.get(tx, "@alice:test")) == ALICE
    wanted = ["@alice:test", "@carol:test"]
    assert await database.read(lambda tx: accounts.existing(tx, wanted)) == {"@alice:test"}
    await database.write(lambda tx: accounts.set_password_hash(tx, "@alice:test", None))
    changed = await database.read(lambda tx: accounts.get(tx, "@alice:test"))
    assert changed == replace(ALICE, password_hash=None)


async def test_tokens_and_devices(database: Database) -> None:
    async def work(tx: Transaction) -> int:
        await add_both(tx)
        await access_tokens.ensure_device(tx, "@alice:test", "PHONE", "Phone")
        await access_tokens.ensure_device(tx, "@alice:test", "PHONE", "Another name")
        await access_tokens.ensure_device(tx, "@alice:test", "LAPTOP", None)
        await access_tokens.add(tx, b"3", "@alice:test", "LAPTOP", 5)
        await access_tokens.add(tx, b"2", "@bob:test", None, 5)
        return await access_tokens.add(tx, b"1", "@alice:test", "PHONE", 5)

    token_id = await database.write(work)
    owner = await database.read(lambda tx: access_tokens.owner(tx, b"1"))
    assert owner == access_tokens.TokenOwner(token_id, "@alice:test", "PHONE", False, True)
    bobs = await database.read(lambda tx: access_tokens.owner(tx, b"2"))
    assert bobs is not None and bobs.device_id is None and bobs.is_guest and not bobs.is_admin
    names = await database.read(lambda tx: access_tokens.device_names(tx, "@alice:test"))
    assert names == {"LAPTOP": None, "PHONE": "Phone"}

    await database.write(lambda tx: access_tokens.remove_device(tx, "@alice:test", "PHONE"))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"1")) is None
    assert await database.read(lambda tx: access_tokens.owner(tx, b"3")) is not None
    await database.write(lambda tx: access_tokens.remove_devices(tx, "@alice:test"))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"3")) is None
    assert await database.read(lambda tx: access_tokens.device_names(tx, "@alice:test")) == {}
    await database.write(lambda tx: access_tokens.remove(tx, bobs.token_id))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"2")) is None


async def test_a_token_is_there_once_and_of_an_active_account(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await accounts.add(tx, replace(ALICE, is_deactivated=True))
        await access_tokens.add(tx, b"1", "@alice:test", "PHONE", 5)

    await database.write(work)
    assert await database.read(lambda tx: access_tokens.owner(tx, b"1")) is None
    with pytest.raises(ConstraintViolation):
        await database.write(lambda tx: access_tokens.add(tx, b"1", "@alice:test", "LAPTOP", 5))


async def test_profiles(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await profiles.set_field(tx, "@alice:test", "displayname", b'"Al"')
        await profiles.set_field(tx, "@alice:test", "displayname", '"Älice"'.encode())
        await profiles.set_field(tx, "@alice:test", "org.example.x", b'{"a":null}')
        await profiles.set_field(tx, "@bob:test", "m.tz", b'"UTC"')

    await database.write(work)
    alices = {"displayname": "Älice", "org.example.x": {"a": None}}
    assert await database.read(lambda tx: profiles.get(tx, "@alice:test")) == alices
    wanted = ["@alice:test", "@bob:test", "@carol:test"]
    assert await database.read(lambda tx: profiles.get_many(tx, wanted)) == {
        "@alice:test": alices,
        "@bob:test": {"m.tz": "UTC"},
    }
    assert await database.write(lambda tx: profiles.remove_field(tx, "@bob:test", "m.tz"))
    assert not await database.write(lambda tx: profiles.remove_field(tx, "@bob:test", "m.tz"))
    assert await database.read(lambda tx: profiles.get(tx, "@bob:test")) == {}


async def test_filters(database: Database) -> None:
    for _ in range(2):
        await database.write(lambda tx: filters.put(tx, "@alice:test", "1", b"{}"))
    assert await database.read(lambda tx: filters.get(tx, "@alice:test", "1")) == b"{}"
    assert await database.read(lambda tx: filters.get(tx, "@bob:test", "1")) is None
