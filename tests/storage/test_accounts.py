"""Accounts, tokens, devices, profiles and filters, on both databases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from homeserver.storage import (
    access_tokens,
    accounts,
    devices,
    expiring_tokens,
    filters,
    profiles,
    refresh_tokens,
    registration_tokens,
)
from homeserver.storage.access_tokens import NewToken, TokenOwner
from homeserver.storage.accounts import Account
from homeserver.storage.database import ConstraintViolation, Database, Transaction
from homeserver.storage.devices import Device
from homeserver.storage.refresh_tokens import RefreshToken
from homeserver.storage.registration_tokens import RegistrationToken

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


def new_token(token_hash: bytes, user_id: str, device_id: str | None, **more: Any) -> NewToken:
    return NewToken(token_hash, user_id, device_id, 5, **more)


async def test_tokens_and_devices(database: Database) -> None:
    async def work(tx: Transaction) -> int:
        await add_both(tx)
        await devices.ensure(tx, "@alice:test", "PHONE", "Phone")
        await devices.ensure(tx, "@alice:test", "PHONE", "Another name")
        await devices.ensure(tx, "@alice:test", "LAPTOP", None)
        await access_tokens.add(tx, new_token(b"3", "@alice:test", "LAPTOP"))
        await access_tokens.add(tx, new_token(b"2", "@bob:test", None, valid_until_ts=2**50))
        return await access_tokens.add(tx, new_token(b"1", "@alice:test", "PHONE"))

    token_id = await database.write(work)
    owner = await database.read(lambda tx: access_tokens.owner(tx, b"1"))
    assert owner == TokenOwner(token_id, "@alice:test", "PHONE", False, True)
    bobs = await database.read(lambda tx: access_tokens.owner(tx, b"2"))
    assert bobs is not None and bobs.device_id is None and bobs.is_guest and not bobs.is_admin
    assert bobs.valid_until_ts == 2**50
    found = await database.read(lambda tx: devices.of_user(tx, "@alice:test"))
    assert found == [Device("LAPTOP", None), Device("PHONE", "Phone")]

    await database.write(lambda tx: devices.remove(tx, "@alice:test", ["PHONE", "TABLET"]))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"1")) is None
    laptop = await database.read(lambda tx: access_tokens.owner(tx, b"3"))
    assert laptop is not None
    await database.write(lambda tx: access_tokens.remove_of_user(tx, "@alice:test", but=laptop.token_id))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"3")) == laptop
    await database.write(lambda tx: access_tokens.remove_of_user(tx, "@alice:test"))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"3")) is None
    await database.write(lambda tx: access_tokens.remove(tx, bobs.token_id))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"2")) is None


async def test_devices_are_named_and_seen(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await devices.ensure(tx, "@alice:test", "PHONE", None)
        assert await devices.rename(tx, "@alice:test", "PHONE", "New")
        assert not await devices.rename(tx, "@alice:test", "TABLET", "New")
        assert not await devices.rename(tx, "@bob:test", "PHONE", "New")
        assert await devices.exists(tx, "@alice:test", "PHONE")
        assert not await devices.exists(tx, "@bob:test", "PHONE")
        sightings = [
            devices.Sighting("@alice:test", "PHONE", 2**50, "::1", "agent"),
            devices.Sighting("@alice:test", "GONE", 1, "::1", None),
        ]
        await devices.seen(tx, sightings)

    await database.write(work)
    found = await database.read(lambda tx: devices.of_user(tx, "@alice:test"))
    assert found == [Device("PHONE", "New", 2**50, "::1", "agent")]


async def test_a_token_is_there_once_and_of_an_active_account(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await accounts.add(tx, replace(ALICE, is_deactivated=True))
        await access_tokens.add(tx, new_token(b"1", "@alice:test", "PHONE"))

    await database.write(work)
    assert await database.read(lambda tx: access_tokens.owner(tx, b"1")) is None
    with pytest.raises(ConstraintViolation):
        await database.write(lambda tx: access_tokens.add(tx, new_token(b"1", "@alice:test", "LAPTOP")))


async def test_refresh_tokens(database: Database) -> None:
    async def add(tx: Transaction, token_hash: bytes, replaces: int | None = None) -> int:
        return await refresh_tokens.add(
            tx,
            token_hash,
            "@alice:test",
            "PHONE",
            expires_ts=2**50,
            session_expires_ts=None,
            replaces=replaces,
        )

    async def work(tx: Transaction) -> tuple[int, int, int]:
        await add_both(tx)
        first = await add(tx, b"1")
        second, third = await add(tx, b"2", first), await add(tx, b"3", first)
        await access_tokens.add(tx, new_token(b"a", "@alice:test", "PHONE", refresh_token_id=first))
        await access_tokens.add(tx, new_token(b"b", "@alice:test", "PHONE", refresh_token_id=second))
        return first, second, third

    first, second, third = await database.write(work)
    stored = await database.read(lambda tx: refresh_tokens.get(tx, b"1"))
    assert stored == RefreshToken(first, "@alice:test", "PHONE", 2**50, None, None, False)
    assert set(await database.read(lambda tx: refresh_tokens.replacements(tx, stored))) == {second, third}
    owner = await database.read(lambda tx: access_tokens.owner(tx, b"b"))
    assert owner is not None
    assert (owner.refresh_token_id, owner.replaced_refresh_token_id) == (second, first)
    await database.write(lambda tx: access_tokens.remove_of_refresh_token(tx, first))
    assert await database.read(lambda tx: access_tokens.owner(tx, b"a")) is None

    await database.write(lambda tx: refresh_tokens.take_over(tx, "@alice:test", "PHONE", second, first))
    assert await database.read(lambda tx: refresh_tokens.get(tx, b"1")) == replace(stored, is_used=True)
    newer = await database.read(lambda tx: refresh_tokens.get(tx, b"2"))
    assert newer is not None and newer.replaces is None and not newer.is_used
    # Of those used up only the last is kept.
    await database.write(lambda tx: refresh_tokens.take_over(tx, "@alice:test", "PHONE", third, second))
    assert await database.read(lambda tx: refresh_tokens.get(tx, b"1")) is None
    await database.write(lambda tx: refresh_tokens.remove(tx, second))
    assert await database.read(lambda tx: refresh_tokens.get(tx, b"2")) is None
    await database.write(lambda tx: refresh_tokens.remove_of_device(tx, "@alice:test", "PHONE"))
    assert await database.read(lambda tx: refresh_tokens.get(tx, b"3")) is None


async def test_expiring_tokens(database: Database) -> None:
    async def work(tx: Transaction) -> None:
        await expiring_tokens.add(tx, "login", b"1", "@alice:test", expires_ts=10, now=0)
        await expiring_tokens.add(tx, "openid", b"2", "@alice:test", expires_ts=10, now=0)
        await expiring_tokens.add(tx, "openid", b"3", "@bob:test", expires_ts=30, now=0)

    await database.write(work)
    assert await database.read(lambda tx: expiring_tokens.owner(tx, "openid", b"2", 9)) == "@alice:test"
    assert await database.read(lambda tx: expiring_tokens.owner(tx, "openid", b"2", 10)) is None
    assert await database.read(lambda tx: expiring_tokens.owner(tx, "openid", b"1", 0)) is None
    assert await database.write(lambda tx: expiring_tokens.take(tx, "login", b"1", 10)) is None
    assert await database.write(lambda tx: expiring_tokens.take(tx, "login", b"1", 9)) == "@alice:test"
    assert await database.write(lambda tx: expiring_tokens.take(tx, "login", b"1", 9)) is None
    # What has expired goes when another is added.
    await database.write(
        lambda tx: expiring_tokens.add(tx, "login", b"4", "@bob:test", expires_ts=50, now=20)
    )
    assert await database.read(lambda tx: expiring_tokens.owner(tx, "openid", b"2", 0)) is None
    await database.write(lambda tx: expiring_tokens.remove_of_user(tx, "@bob:test"))
    assert await database.read(lambda tx: expiring_tokens.owner(tx, "openid", b"3", 0)) is None


async def test_registration_tokens(database: Database) -> None:
    once, always = RegistrationToken("once", 1, 0, 2**50), RegistrationToken("always", None, 0, None)

    async def work(tx: Transaction) -> None:
        assert await registration_tokens.add(tx, once)
        assert await registration_tokens.add(tx, always)
        assert not await registration_tokens.add(tx, RegistrationToken("once", 7, 0, None))

    await database.write(work)
    assert await database.read(registration_tokens.get_all) == [always, once]
    uses = [await database.write(lambda tx: registration_tokens.use(tx, "once")) for _ in range(2)]
    assert uses == [True, False]
    assert not await database.write(lambda tx: registration_tokens.use(tx, "unknown"))
    assert await database.read(lambda tx: registration_tokens.get(tx, "once")) == replace(once, completed=1)
    await database.write(lambda tx: registration_tokens.limit(tx, "once", 2, None))
    changed = await database.read(lambda tx: registration_tokens.get(tx, "once"))
    assert changed == RegistrationToken("once", 2, 1, None)
    assert await database.write(lambda tx: registration_tokens.remove(tx, "once"))
    assert not await database.write(lambda tx: registration_tokens.remove(tx, "once"))


async def test_moderation_and_the_end_of_accounts(database: Database) -> None:
    async def get(user_id: str) -> Account:
        found = await database.read(lambda tx: accounts.get(tx, user_id))
        assert found is not None
        return found

    await database.write(add_both)
    await database.write(lambda tx: accounts.set_locked(tx, "@alice:test", True))
    await database.write(lambda tx: accounts.set_suspended(tx, "@bob:test", True))
    assert (await get("@alice:test")).is_locked and not (await get("@alice:test")).is_suspended
    assert (await get("@bob:test")).is_suspended and not (await get("@bob:test")).is_locked
    assert await database.write(lambda tx: accounts.end_guest(tx, "@bob:test", "hash"))
    assert not await database.write(lambda tx: accounts.end_guest(tx, "@bob:test", "other"))
    bob = await get("@bob:test")
    assert bob.password_hash == "hash" and not bob.is_guest
    for expected in (True, False):
        assert await database.write(lambda tx: accounts.deactivate(tx, "@bob:test")) is expected
    await database.write(lambda tx: accounts.erase(tx, "@bob:test", 7))
    await database.write(lambda tx: accounts.deactivate(tx, "@alice:test"))
    assert (await get("@bob:test")).is_deactivated and (await get("@bob:test")).password_hash is None
    assert await database.read(accounts.leaving) == ["@alice:test", "@bob:test"]
    await database.write(lambda tx: accounts.has_left(tx, "@bob:test"))
    assert await database.read(accounts.leaving) == ["@alice:test"]
    both = ["@alice:test", "@bob:test"]
    assert await database.read(lambda tx: accounts.erased(tx, both)) == {"@bob:test": 7}


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
    assert await database.read(lambda tx: filters.count(tx, "@alice:test")) == 1
    assert await database.read(lambda tx: filters.count(tx, "@bob:test")) == 0
