"""Who may read what: every membership, under every history visibility, through every endpoint that shows events.

Five messages are sent, `a` to `e`; the tables say which of them each observer sees.
Spec: https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest

from tests.support.client import Answer, Client
from tests.support.whole import V3, WholeServer, create_room, membership, say, sync

# What they do:       after a    after b    after c    after d
COURSES = {
    "never": (),
    "knock": ("knock",),
    "invite": ("invite",),
    "refused": ("invite", "leave"),
    "outside": ("", "ban"),
    "join": ("invite", "join"),
    "leave": ("invite", "join", "leave"),
    "ban": ("invite", "join", "ban"),
    "rejoin": ("invite", "join", "leave", "rejoin"),
}
LAST_OF_STAY = {"leave": "c", "ban": "c"}
"""The last message before they were gone for good: /sync shows no more."""

OUTSIDERS = ("never", "knock", "invite", "refused", "outside")


def seen(outsiders: str, **observers: str) -> dict[str, str]:
    """The messages that each observer sees."""
    return {**dict.fromkeys(OUTSIDERS, outsiders), **observers}


SHARED = seen("", join="abcde", leave="abc", ban="abc", rejoin="abcde")


@dataclass(frozen=True)
class Setting:
    """The history visibility that a room begins with, changes of it after a message, and who sees what of it."""

    first: str | None
    seen: Mapping[str, str]
    change: tuple[str, str] | None = None

    @property
    def last(self) -> str | None:
        """The visibility in the end."""
        return self.change[1] if self.change else self.first


SETTINGS = [
    Setting("world_readable", dict.fromkeys(COURSES, "abcde")),
    Setting("shared", SHARED),
    Setting(None, SHARED),
    Setting("org.example.not_understood", SHARED),
    Setting(
        "invited",
        seen("", invite="bcde", refused="b", join="bcde", leave="bc", ban="bc", rejoin="bce"),
    ),
    Setting("joined", seen("", join="cde", leave="c", ban="c", rejoin="ce")),
    Setting("shared", seen("", join="acde", leave="ac", ban="ac", rejoin="ace"), ("a", "joined")),
    Setting("joined", seen("", join="cde", leave="c", ban="c", rejoin="cde"), ("b", "shared")),
    Setting(
        "world_readable", seen("ab", join="abcde", leave="abc", ban="abc", rejoin="abce"), ("b", "joined")
    ),
    Setting("joined", seen("de", join="cde", leave="cde", ban="cde", rejoin="cde"), ("c", "world_readable")),
    Setting(
        "invited",
        seen("", invite="b", refused="b", join="bcde", leave="bc", ban="bc", rejoin="bcde"),
        ("b", "shared"),
    ),
]


async def act(admin: Client, observer: Client, room_id: str, step: str) -> None:
    """One step of an observer's course."""
    path = f"{V3}/rooms/{quote(room_id)}"
    if step == "knock":
        (await observer.post(f"{V3}/knock/{quote(room_id)}")).ok()
    if step in ("invite", "ban", "rejoin"):
        action = "ban" if step == "ban" else "invite"
        (await admin.post(f"{path}/{action}", {"user_id": observer.user_id})).ok()
    if step in ("join", "leave", "rejoin"):
        (await membership(observer, room_id, "join" if step == "rejoin" else step)).ok()


async def set_visibility(admin: Client, room_id: str, value: str) -> None:
    path = f"{V3}/rooms/{quote(room_id)}/state/m.room.history_visibility"
    (await admin.put(path, {"history_visibility": value})).ok()


async def play(server: WholeServer, setting: Setting) -> tuple[str, dict[str, str], dict[str, Client]]:
    """Let it all happen: the room, the event IDs of the messages, the observers."""
    admin = await server.register("admin")
    observers = {name: await server.register(name) for name in COURSES}
    content = {} if setting.first is None else {"history_visibility": setting.first}
    initial_state = [
        {"type": "m.room.join_rules", "state_key": "", "content": {"join_rule": "knock"}},
        {"type": "m.room.history_visibility", "state_key": "", "content": content},
    ]
    room_id = await create_room(admin, preset="private_chat", initial_state=initial_state)
    messages = {}
    for turn, name in enumerate("abcde"):
        messages[name] = await say(admin, room_id, f"needle {name}")
        if setting.change and setting.change[0] == name:
            await set_visibility(admin, room_id, setting.change[1])
        for observer, course in COURSES.items():
            if turn < len(course):
                await act(admin, observers[observer], room_id, course[turn])
    return room_id, messages, observers


def names(events: Any, messages: Mapping[str, str]) -> str:
    """Which of the messages are among some events."""
    found = {event["event_id"] for event in events}
    return "".join(name for name, event_id in messages.items() if event_id in found)


async def searched(client: Client, room_id: str) -> Any:
    criteria = {"search_term": "needle", "filter": {"rooms": [room_id]}}
    body = {"search_categories": {"room_events": criteria}}
    found = (await client.post(f"{V3}/search", body)).ok()["search_categories"]["room_events"]
    assert found["count"] == len(found["results"])
    return [result["result"] for result in found["results"]]


async def synced(client: Client, room_id: str) -> Any:
    """What an initial sync shows of the room, left or not."""
    wanted = {"room": {"include_leave": True, "timeline": {"limit": 100}}}
    rooms = (await sync(client, filter=json.dumps(wanted))).get("rooms", {})
    shown = [rooms.get(section, {}).get(room_id) for section in ("join", "leave")]
    return [event for room in shown if room for event in room["timeline"]["events"]]


def check(answer: Answer, allowed: bool, refusal: tuple[int, str]) -> None:
    if allowed:
        answer.ok()
    else:
        answer.refused(*refusal)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: f"{setting.first}-{setting.change}")
async def test_what_each_may_see(whole: WholeServer, setting: Setting) -> None:
    room_id, messages, observers = await play(whole, setting)
    path = f"{V3}/rooms/{quote(room_id)}"
    for name, client in observers.items():
        expected = setting.seen[name]
        # Into the room itself only those look who are or were in it, or anybody where the world may.
        may_look = name not in OUTSIDERS or setting.last == "world_readable"
        for message, event_id in messages.items():
            is_seen = message in expected
            answer = await client.get(f"{path}/event/{quote(event_id)}")
            check(answer, is_seen, (404, "M_NOT_FOUND"))
            answer = await client.get(f"{path}/context/{quote(event_id)}?limit=100")
            refusal = (404, "M_NOT_FOUND") if may_look else (403, "M_FORBIDDEN")
            check(answer, is_seen and may_look, refusal)
            if is_seen and may_look:
                around = [*answer.body["events_before"], answer.body["event"], *answer.body["events_after"]]
                assert names(around, messages) == expected, name
        for direction in "bf":
            answer = await client.get(f"{path}/messages?dir={direction}&limit=100")
            check(answer, may_look, (403, "M_FORBIDDEN"))
            if may_look:
                assert names(answer.body["chunk"], messages) == expected, name
        for what in ("state", "members", "initialSync"):
            check(await client.get(f"{path}/{what}"), may_look, (403, "M_FORBIDDEN"))
        assert names(await searched(client, room_id), messages) == (expected if may_look else ""), name
        in_sync = "" if name in OUTSIDERS else expected
        last = LAST_OF_STAY.get(name, "e")
        shown = "".join(message for message in in_sync if message <= last)
        assert names(await synced(client, room_id), messages) == shown, name
