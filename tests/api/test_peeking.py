"""Looking into a room that all the world may read: who is not in it, and guests.

Spec: https://spec.matrix.org/v1.19/client-server-api/#room-previews
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.api.test_old_sync import WORLD_READABLE
from tests.support.certificates import Authority
from tests.support.client import Client
from tests.support.whole import V3, WholeServer, create_room, say


async def guest(server: WholeServer) -> Client:
    answer = (await server.client.post(f"{V3}/register?kind=guest")).ok()
    return server.client.with_token(answer["access_token"], answer["user_id"], answer["device_id"])


@pytest.mark.parametrize("kind", ["user", "guest"])
async def test_what_who_looks_in_may_read(tmp_path: Path, kind: str) -> None:
    async with WholeServer(Authority(tmp_path), tmp_path, more={"allow_guest_access": True}) as server:
        alice = await server.register("alice")
        observer = await (guest(server) if kind == "guest" else server.register("observer"))
        open_room = await create_room(alice, initial_state=WORLD_READABLE)
        closed = await create_room(alice)
        said = {room_id: await say(alice, room_id, "hello") for room_id in (open_room, closed)}
        for what, refusal in (
            ("state", (403, "M_FORBIDDEN")),
            ("state/m.room.join_rules", (403, "M_FORBIDDEN")),
            ("state/m.room.join_rules/", (403, "M_FORBIDDEN")),
            ("members", (403, "M_FORBIDDEN")),
            ("messages?dir=b", (403, "M_FORBIDDEN")),
            ("initialSync", (403, "M_FORBIDDEN")),
            ("context/{event_id}", (403, "M_FORBIDDEN")),
            ("event/{event_id}", (404, "M_NOT_FOUND")),
        ):
            for room_id, event_id in said.items():
                path = f"{V3}/rooms/{quote(room_id)}/{what.format(event_id=quote(event_id))}"
                answer = await observer.get(path)
                if room_id == open_room:
                    answer.ok()
                else:
                    answer.refused(*refusal)
        shown = (await observer.get(f"{V3}/events?timeout=0&room_id={quote(open_room)}")).ok()
        assert shown["chunk"] == []
        (await observer.get(f"{V3}/events?timeout=0&room_id={quote(closed)}")).refused(403, "M_FORBIDDEN")
        # "The current user must be in the room for it to work"
        refused = await observer.get(f"{V3}/rooms/{quote(open_room)}/joined_members")
        refused.refused(403, "M_GUEST_ACCESS_FORBIDDEN" if kind == "guest" else "M_FORBIDDEN")
        everything = await observer.get(f"{V3}/events?timeout=0")
        if kind == "guest":
            everything.refused(403, "M_GUEST_ACCESS_FORBIDDEN")
        else:
            everything.ok()
