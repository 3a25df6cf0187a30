"""Rooms and events as the storage functions take them, without the services' rules."""

import itertools
from typing import Any

from signedjson.key import generate_signing_key

from homeserver.core.events import Event, make_event
from homeserver.core.room_versions import rules_for

KEY = generate_signing_key("stored")
_times = itertools.count(1_700_000_000_000)


def an_event(
    room_id: str = "!room:ours.test",
    type: str = "m.room.message",
    content: dict[str, Any] | None = None,
    *,
    state_key: str | None = None,
    sender: str = "@alice:ours.test",
    depth: int = 1,
    version: str = "11",
) -> Event:
    """An event of a room; no two are the same."""
    return make_event(
        rules_for(version),
        server_name=sender.partition(":")[2],
        signing_key=KEY,
        room_id=room_id,
        type=type,
        sender=sender,
        content={"body": "hello"} if content is None else content,
        state_key=state_key,
        prev_events=[],
        auth_events=[],
        depth=depth,
        origin_server_ts=next(_times),
    )
