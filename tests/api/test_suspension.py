"""Transcripts: what a suspended user may still do in rooms.

Spec: https://spec.matrix.org/v1.19/client-server-api/#account-suspension
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, membership, say, send_path


class World:
    """A suspended user who is in a room of her own, and invited to another."""

    def __init__(self, root: Client, alice: Client, bob: Client) -> None:
        self.root, self.alice, self.bob = root, alice, bob
        self.own = self.other = self.said = self.heard = ""

    async def build(self) -> World:
        self.own = await create_room(self.alice)
        self.other = await create_room(self.bob)
        (await membership(self.bob, self.own, "join")).ok()
        self.said, self.heard = await say(self.alice, self.own, "a"), await say(self.bob, self.own, "b")
        invite = {"user_id": self.alice.user_id}
        (await self.bob.post(f"{V3}/rooms/{quote(self.other)}/invite", invite)).ok()
        await self.suspend(True)
        return self

    async def suspend(self, suspended: bool) -> None:
        path = f"/_matrix/client/v1/admin/suspend/{self.alice.user_id}"
        (await self.root.put(path, {"suspended": suspended})).ok()

    def redaction(self, event_id: str, number: int) -> str:
        return f"{V3}/rooms/{quote(self.own)}/redact/{quote(event_id)}/{number}"


@pytest.fixture
async def world(whole: WholeServer) -> World:
    """It."""
    root = await whole.register_admin("root")
    return await World(root, await whole.register("alice"), await whole.register("bob")).build()


async def test_reading_leaving_and_taking_back_what_was_said(world: World) -> None:
    alice = world.alice
    assert (await alice.get(f"{V3}/sync")).ok()["rooms"].keys() == {"join", "invite"}
    (await alice.get(f"{V3}/rooms/{quote(world.own)}/messages?dir=b")).ok()
    (await alice.put(world.redaction(world.said, 1))).ok()
    (await alice.put(world.redaction(world.heard, 2))).refused(403, "M_USER_SUSPENDED")
    by_send = send_path(world.own, event_type="m.room.redaction")
    (await alice.put(by_send, {"redacts": world.heard})).refused(403, "M_USER_SUSPENDED")
    (await alice.put(by_send, {"redacts": world.said})).ok()
    (await membership(alice, world.other, "leave")).ok()
    (await membership(alice, world.own, "leave")).ok()


async def test_what_a_suspended_user_may_not(world: World) -> None:
    alice, own, other = world.alice, quote(world.own), quote(world.other)
    bob = {"user_id": world.bob.user_id}
    attempts: list[tuple[str, str, Any]] = [
        ("PUT", send_path(world.own).removeprefix(f"{V3}/"), {"body": "x", "msgtype": "m.text"}),
        ("PUT", f"rooms/{own}/state/m.room.topic", {"topic": "x"}),
        ("POST", f"rooms/{other}/join", {}),
        ("POST", f"join/{other}", {}),
        ("POST", f"knock/{other}", {}),
        ("POST", f"rooms/{own}/invite", bob),
        ("POST", f"rooms/{own}/kick", bob),
        ("POST", f"rooms/{own}/ban", bob),
        ("POST", f"rooms/{own}/unban", bob),
        ("POST", f"rooms/{own}/upgrade", {"new_version": "12"}),
        ("PUT", f"rooms/{own}/typing/{alice.user_id}", {"typing": True}),
        ("PUT", f"presence/{alice.user_id}/status", {"presence": "online", "status_msg": "buy my things"}),
        ("POST", "createRoom", {}),
        ("PUT", f"directory/list/room/{own}", {"visibility": "public"}),
        ("PUT", f"directory/room/{quote('#x:' + alice.user_id.partition(':')[2])}", {"room_id": world.own}),
        ("PUT", f"profile/{alice.user_id}/displayname", {"displayname": "x"}),
    ]
    for method, path, body in attempts:
        answer = await alice.request(method, f"{V3}/{path}", body)
        assert answer.refused(403, "M_USER_SUSPENDED"), path
    await world.suspend(False)
    await say(alice, world.own, "again")
    (await membership(alice, world.other, "join")).ok()
