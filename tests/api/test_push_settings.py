"""What `push` in homeserver.yaml changes; and pushes with PostgreSQL beneath."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.storage.conftest import Settings, database_settings, postgresql, templates
from tests.support.certificates import Authority
from tests.support.push_gateway import PushGateway
from tests.support.whole import V3, Conversation, WholeServer, conversation, create_room, say, sync

__all__ = ["database_settings", "postgresql", "templates"]


@asynccontextmanager
async def scene(
    directory: Path, gateway: PushGateway, more: Mapping[str, Any]
) -> AsyncIterator[Conversation]:
    """A room of alice and bob, who has a pusher, on a server with some settings."""
    async with WholeServer(Authority(directory), directory, more=more) as server:
        room = await conversation(server)
        (await room.bob.post(f"{V3}/pushers/set", gateway.pusher())).ok()
        yield room


async def test_without_content(tmp_path: Path, gateway: PushGateway) -> None:
    async with scene(tmp_path, gateway, {"push": {"include_content": False}}) as here:
        await say(here.alice, here.room_id, "a secret")
        (told,) = await gateway.until(1)
        assert "content" not in told and told["sender"] == here.alice.user_id


async def test_messages_are_counted_in_place_of_rooms(tmp_path: Path, gateway: PushGateway) -> None:
    async with scene(tmp_path, gateway, {"push": {"group_unread_count_by_room": False}}) as here:
        for number in range(1, 4):
            last = await say(here.alice, here.room_id, "x")
            assert (await gateway.until(number))[-1]["counts"] == {"unread": number}
        (await here.bob.post(f"{V3}/rooms/{quote(here.room_id)}/receipt/m.read/{quote(last)}", {})).ok()
        assert (await gateway.until(4))[-1]["counts"] == {"unread": 0}


async def test_pushes_may_wait_for_a_random_time(tmp_path: Path, gateway: PushGateway) -> None:
    async with scene(tmp_path, gateway, {"push": {"jitter_delay": "200ms"}}) as here:
        said = await say(here.alice, here.room_id, "x")
        assert [each["event_id"] for each in await gateway.until(1)] == [said]


async def test_without_push_nothing_is_counted(tmp_path: Path, gateway: PushGateway) -> None:
    async with scene(tmp_path, gateway, {"push": {"enabled": False}}) as here:
        await say(here.alice, here.room_id, "x")
        answer = await sync(here.bob)
        unread = answer["rooms"]["join"][here.room_id]["unread_notifications"]
        assert unread == {"notification_count": 0, "highlight_count": 0}
        assert (await here.bob.get(f"{V3}/notifications")).ok() == {"notifications": []}
    assert gateway.told == []


async def test_on_both_databases(tmp_path: Path, gateway: PushGateway, database_settings: Settings) -> None:
    database = {"name": database_settings.name, "args": dict(database_settings.args)}
    async with scene(tmp_path, gateway, {"database": database}) as here:
        said = [await say(here.alice, here.room_id, text) for text in ("one", "two")]
        told = await gateway.until(2)
        assert [each["event_id"] for each in told] == said
        answer = await sync(here.bob)
        unread = answer["rooms"]["join"][here.room_id]["unread_notifications"]
        assert unread == {"notification_count": 2, "highlight_count": 0}
        listed = (await here.bob.get(f"{V3}/notifications?limit=1")).ok()
        assert [each["event"]["event_id"] for each in listed["notifications"]] == said[1:]
        (await here.bob.post(f"{V3}/rooms/{quote(here.room_id)}/receipt/m.read/{quote(said[1])}", {})).ok()
        assert (await gateway.until(3))[2]["counts"] == {"unread": 0}
        invited = await create_room(here.alice, invite=[here.bob.user_id], preset="private_chat")
        assert (await gateway.until(4))[3]["room_id"] == invited
        (await here.bob.post(f"{V3}/logout")).ok()
        await say(here.alice, here.room_id, "three")
    assert len(gateway.told) == 4
