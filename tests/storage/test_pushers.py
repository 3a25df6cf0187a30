"""Pushers, on both databases."""

from __future__ import annotations

from dataclasses import replace

from homeserver.storage import pushers
from homeserver.storage.database import Database
from homeserver.storage.pushers import Progress, Pusher

ALICE, BOB = "@alice:test", "@bob:test"


def pusher(
    user_id: str = ALICE, pushkey: str = "key", device_id: str | None = None, **changes: str
) -> Pusher:
    one = Pusher(user_id, "app", pushkey, "http", "App", "Phone", None, "en", {"url": "u"}, device_id, 5)
    return replace(one, **changes)  # type: ignore[arg-type]


async def put(database: Database, given: Pusher, position: int = 7) -> int:
    return await database.write(lambda tx: pushers.put(tx, given, position))


async def of(database: Database, user_id: str) -> list[Pusher]:
    return [each.pusher for each in await database.read(lambda tx: pushers.of_user(tx, user_id))]


async def test_what_is_put_is_there(database: Database) -> None:
    first, second = (
        await put(database, pusher()),
        await put(database, pusher(pushkey="other", profile_tag="tag")),
    )
    await put(database, pusher(BOB))
    assert await of(database, ALICE) == [pusher(), pusher(pushkey="other", profile_tag="tag")]
    assert await put(database, pusher(lang="de"), 9) == first
    stored = await database.read(lambda tx: pushers.get(tx, first))
    assert stored is not None
    assert (stored.pusher, stored.progress) == (pusher(lang="de"), Progress(7))
    assert await database.read(lambda tx: pushers.get(tx, 999)) is None
    assert await database.write(lambda tx: pushers.remove(tx, ALICE, "app", "other")) == second
    assert await database.write(lambda tx: pushers.remove(tx, ALICE, "app", "other")) is None
    await database.write(lambda tx: pushers.remove_of_others(tx, ALICE, "app", "key"))
    assert (await of(database, ALICE), await of(database, BOB)) == ([pusher(lang="de")], [])


async def test_progress_is_kept_until_it_is_set_anew(database: Database) -> None:
    number = await put(database, pusher())
    failing = Progress(8, 3, 2, 100, 200)
    await database.write(lambda tx: pushers.set_progress(tx, number, failing))
    assert await database.read(pushers.every) == [(number, ALICE, 200)]
    await put(database, pusher(), 20)
    stored = await database.read(lambda tx: pushers.get(tx, number))
    assert stored is not None and stored.progress == Progress(8, 3)


async def test_pushers_go_with_their_devices(database: Database) -> None:
    for name in ("PHONE", "TABLET", None):
        await put(database, pusher(pushkey=f"of {name}", device_id=name))
    await put(database, pusher(BOB, device_id="PHONE"))
    await database.write(lambda tx: pushers.remove_of_devices(tx, ALICE, ["PHONE", "OTHER"]))
    assert [each.pushkey for each in await of(database, ALICE)] == ["of TABLET", "of None"]
    assert len(await of(database, BOB)) == 1
