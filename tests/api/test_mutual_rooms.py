"""Rooms that two users are in, over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest

from homeserver.services import mutual_rooms
from tests.support.client import Answer, Client
from tests.support.whole import WholeServer, create_room, membership


async def ask(client: Client, **query: Any) -> Answer:
    return await client.get(f"/_matrix/client/v1/mutual_rooms?{urlencode(query)}")


async def test_joined_rooms_of_both(whole: WholeServer) -> None:
    alice, bob = await whole.register("alice"), await whole.register("bob")
    shared, left, hers, invited = [await create_room(alice, invite=[bob.user_id]) for _ in range(4)]
    for room_id in (shared, left):
        (await membership(bob, room_id, "join")).ok()
    (await membership(bob, left, "leave")).ok()
    expected = {"joined": [shared], "count": 1}
    assert (await ask(alice, user_id=bob.user_id)).ok() == expected
    assert (await ask(bob, user_id=alice.user_id)).ok() == expected
    (await membership(alice, shared, "leave")).ok()
    assert (await ask(bob, user_id=alice.user_id)).ok() == {"joined": [], "count": 0}
    assert hers != invited


async def test_pages(whole: WholeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutual_rooms, "PAGE", 2)
    alice, bob = await whole.register("alice"), await whole.register("bob")
    every = [await create_room(alice) for _ in range(5)]
    for room_id in every:
        (await membership(bob, room_id, "join")).ok()
    found: list[str] = []
    query = {"user_id": bob.user_id}
    for size in (2, 2, 1):
        page = (await ask(alice, **query)).ok()
        assert (len(page["joined"]), page["count"]) == (size, 5)
        found += page["joined"]
        assert ("next_batch" in page) is (size == 2)
        query["from"] = page.get("next_batch", "")
    assert sorted(found) == sorted(every)


async def test_what_is_refused(whole: WholeServer) -> None:
    alice = await whole.register("alice")
    (await ask(alice, user_id=alice.user_id)).refused(400, "M_INVALID_PARAM")
    (await ask(alice)).refused(400, "M_MISSING_PARAM")
    (await ask(alice, user_id="@böb:other.test")).refused(400, "M_INVALID_PARAM")
    for token in ("", "x", "m", "m-1", "m1x", "m" + "9" * 30, "m²"):
        (await ask(alice, user_id="@bob:other.test", **{"from": token})).refused(400, "M_INVALID_PARAM")
    (await ask(whole.client, user_id="@bob:other.test")).refused(401, "M_MISSING_TOKEN")
    for nobody in ("@nobody:other.test", whole.user_id("nobody"), "nobody", ""):
        assert (await ask(alice, user_id=nobody)).ok() == {"joined": [], "count": 0}
