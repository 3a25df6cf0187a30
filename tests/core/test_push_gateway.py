"""Bodies of requests to push gateways."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from homeserver.core.canonical_json import encode_canonical
from homeserver.core.events import Event, load_event
from homeserver.core.push_gateway import (
    About,
    Target,
    badge_notification,
    event_notification,
    is_gateway_url,
)
from homeserver.core.room_versions import rules_for

TARGET = Target("app", "key", 1_700_000_000, {"url": "https://x", "format": "other", "brand": {"a": 1}})
DEVICE = {
    "app_id": "app",
    "pushkey": "key",
    "pushkey_ts": 1_700_000_000,
    "data": {"format": "other", "brand": {"a": 1}},
}


def event(event_type: str = "m.room.message", **more: Any) -> Event:
    pdu = {
        "type": event_type,
        "room_id": "!r:test",
        "sender": "@a:test",
        "content": {"body": "x"},
        "origin_server_ts": 1,
        "depth": 1,
        "prev_events": [],
        "auth_events": [],
        "hashes": {},
        "signatures": {},
        **more,
    }
    return load_event(encode_canonical(pdu), "$e", rules_for("11"))


def body(about: About, unread: int = 1, calls: int = 0, *, include_content: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = event_notification(TARGET, about, unread, calls, include_content=include_content)
    assert set(found) == {"notification"}
    return dict(found["notification"])


def test_an_event() -> None:
    about = About(event(), {"sound": "default"}, "Alice", "Lobby", "#lobby:test")
    assert body(about, 3, 1) == {
        "event_id": "$e",
        "room_id": "!r:test",
        "type": "m.room.message",
        "sender": "@a:test",
        "sender_display_name": "Alice",
        "room_name": "Lobby",
        "room_alias": "#lobby:test",
        "prio": "high",
        "content": {"body": "x"},
        "counts": {"unread": 3, "missed_calls": 1},
        "devices": [{**DEVICE, "tweaks": {"sound": "default"}}],
    }
    told = body(
        replace(about, sender_display_name=None, room_name="", room_alias=None), 0, include_content=False
    )
    assert set(told) == {"event_id", "room_id", "type", "sender", "prio", "counts", "devices"}
    assert told["counts"] == {}


@pytest.mark.parametrize(
    ("about", "urgent"),
    [
        (About(event(), {}), False),
        (About(event(), {"highlight": False, "colour": "red"}), False),
        (About(event(), {"highlight": True}), True),
        (About(event("m.room.encrypted"), {}), True),
    ],
)
def test_what_is_urgent(about: About, urgent: bool) -> None:
    assert body(about)["prio"] == ("high" if urgent else "low")


def test_member_events_say_whether_it_is_the_reader() -> None:
    for is_target in (True, False):
        about = About(event("m.room.member", state_key="@b:test"), {}, user_is_target=is_target)
        assert body(about)["user_is_target"] is is_target
    assert "user_is_target" not in body(About(event(), {}, user_is_target=True))


def test_the_event_id_alone() -> None:
    target = replace(TARGET, data={"url": "https://x", "format": "event_id_only"})
    about = About(event(), {"sound": "default"}, "Alice", "Lobby", "#lobby:test")
    assert event_notification(target, about, 2, 0, include_content=True)["notification"] == {
        "event_id": "$e",
        "room_id": "!r:test",
        "prio": "high",
        "counts": {"unread": 2},
        "devices": [{**DEVICE, "data": {"format": "event_id_only"}}],
    }


def test_the_number_alone() -> None:
    assert badge_notification(TARGET, 0, 0) == {
        "notification": {"counts": {"unread": 0}, "devices": [DEVICE]}
    }
    assert badge_notification(TARGET, 2, 1)["notification"]["counts"] == {"unread": 2, "missed_calls": 1}


@pytest.mark.parametrize(
    ("url", "is_one"),
    [
        ("https://a.example/_matrix/push/v1/notify", True),
        ("HTTPS://a.example:8443/_matrix/push/v1/notify?token=x%20y", True),
        ("https://[2001:db8::1]:443/_matrix/push/v1/notify", True),
        ("https://127.0.0.1/_matrix/push/v1/notify", True),
        ("http://a.example/_matrix/push/v1/notify", False),
        ("https://a.example:0/_matrix/push/v1/notify", False),
        ("https://a.example:65536/_matrix/push/v1/notify", False),
        ("https://a.example/_matrix/push/v1/notify/", False),
        ("https://a.example/_matrix/push/v1/notify#x", False),
        ("https://a.example/_matrix/push/v1/notify\n", False),
        ("https://u@a.example/_matrix/push/v1/notify", False),
        ("https://ä.example/_matrix/push/v1/notify", False),
        ("https://a.example/push", False),
        ("", False),
        (None, False),
    ],
)
def test_the_urls_of_gateways(url: object, is_one: bool) -> None:
    assert is_gateway_url(url) is is_one
