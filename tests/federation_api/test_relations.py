"""Relations and upgrades across servers: two whole servers."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.network import until
from tests.support.whole import V3, WholeServer, create_room, history, membership, say, send_path

V1 = "/_matrix/client/v1"


async def relate(client: Client, room_id: str, rel_type: str, parent: str, **more: Any) -> str:
    content = {
        "msgtype": "m.text",
        "body": rel_type,
        "m.relates_to": {"rel_type": rel_type, "event_id": parent},
        **more,
    }
    answer = await client.put(send_path(room_id), content)
    event_id: str = answer.ok()["event_id"]
    return event_id


async def related(client: Client, room_id: str, event_id: str) -> list[str]:
    answer = await client.get(f"{V1}/rooms/{quote(room_id)}/relations/{quote(event_id)}")
    return [event["event_id"] for event in answer.ok()["chunk"]] if answer.status == 200 else []


async def join(client: Client, room_id: str, via: str) -> None:
    (await client.post(f"{V3}/join/{quote(room_id)}?via={quote(via)}")).ok()


@pytest.mark.parametrize("version", ["10", "12"])
async def test_relations_come_from_other_servers(
    whole: WholeServer, other: WholeServer, alice: Client, version: str
) -> None:
    bob = await other.register("bob")
    room_id = await create_room(alice, room_version=version)
    root = await say(alice, room_id, "root")
    early = await relate(alice, room_id, "m.thread", root)
    await join(bob, room_id, whole.server_name)
    late = await relate(bob, room_id, "m.thread", root)

    async def arrived() -> bool:
        return await related(alice, room_id, root) == [late, early]

    await until(arrived, "it comes from the other server")
    thread = (await alice.get(f"{V3}/rooms/{quote(room_id)}/event/{quote(root)}")).ok()
    assert thread["unsigned"]["m.relations"]["m.thread"]["count"] == 2
    # To the other server the root and the first answer are history, which it fetches.
    assert root in {event["event_id"] for event in await history(bob, room_id)}
    assert await related(bob, room_id, root) == [late, early]
    (await bob.put(f"{V3}/rooms/{quote(room_id)}/redact/{quote(late)}/t", {})).ok()

    async def is_gone() -> bool:
        return await related(alice, room_id, root) == [early]

    await until(is_gone, "it comes from the other server")
    assert await other.violations() == []


async def test_who_follows_to_the_new_room_of_another_server(
    whole: WholeServer, other: WholeServer, alice: Client
) -> None:
    bob = await other.register("bob")
    old = await create_room(alice, room_version="10")
    await join(bob, old, whole.server_name)
    tags = f"{V3}/user/{quote(bob.user_id)}/rooms/{{}}/tags"
    (await bob.put(f"{tags.format(quote(old))}/m.favourite", {"order": 0.5})).ok()
    (await bob.put(f"{V3}/directory/list/room/{quote(old)}", {"visibility": "public"})).refused(
        403, "M_FORBIDDEN"
    )
    answer = await alice.post(f"{V3}/rooms/{quote(old)}/upgrade", {"new_version": "12"})
    new = answer.ok()["replacement_room"]

    async def tombstone() -> bool:
        found = await bob.get(f"{V3}/rooms/{quote(old)}/state/m.room.tombstone/")
        return found.status == 200 and found.body["replacement_room"] == new

    await until(tombstone, "it comes from the other server")
    await join(bob, new, whole.server_name)
    assert (await bob.get(tags.format(quote(new)))).ok() == {"tags": {"m.favourite": {"order": 0.5}}}
    (await membership(bob, old, "leave")).ok()
    await say(bob, new, "here")
    assert await other.violations() == []
