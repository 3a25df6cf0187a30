"""Transcripts: filters.

Spec: https://spec.matrix.org/v1.19/client-server-api/#filtering
"""

from __future__ import annotations

from typing import Any

import pytest

from homeserver.core.errors import MatrixError
from homeserver.core.filters import Filter
from homeserver.services.filters import Filters, parse_room_event_filter

from .conftest import Server

FILTER = "/_matrix/client/v3/user/@alice:ours.test/filter"
EXAMPLE = {
    "room": {
        "state": {"types": ["m.room.*"], "not_rooms": ["!726s6s6q:example.com"], "lazy_load_members": True},
        "timeline": {"limit": 10, "types": ["m.room.message"], "not_senders": ["@spam:example.com"]},
        "ephemeral": {"types": ["m.receipt", "m.typing"]},
        "rooms": ["!a:example.com"],
    },
    "presence": {"types": ["m.presence"], "not_senders": ["@alice:example.com"]},
    "event_format": "client",
    "event_fields": ["type", "content", "sender"],
    "org.example.unknown": {"kept": True},
}


async def test_a_filter_is_stored_and_read(server: Server) -> None:
    alice = await server.user("alice")
    filter_id = (await alice.post(FILTER, EXAMPLE)).ok()["filter_id"]
    assert not filter_id.startswith("{")
    assert (await alice.get(f"{FILTER}/{filter_id}")).ok() == EXAMPLE
    # The same filter, whatever the order of its keys, is the same.
    again = dict(reversed(EXAMPLE.items()))
    assert (await alice.post(FILTER, again)).ok()["filter_id"] == filter_id
    assert (await alice.post(FILTER, {})).ok()["filter_id"] != filter_id


async def test_filters_belong_to_their_user(server: Server) -> None:
    alice = await server.user("alice")
    bob = await server.user("bob")
    filter_id = (await alice.post(FILTER, EXAMPLE)).ok()["filter_id"]
    (await bob.post(FILTER, EXAMPLE)).refused(403, "M_FORBIDDEN")
    (await bob.get(f"{FILTER}/{filter_id}")).refused(403, "M_FORBIDDEN")
    own = "/_matrix/client/v3/user/@bob:ours.test/filter/"
    (await bob.get(own + filter_id)).refused(404, "M_NOT_FOUND")
    (await server.client.post(FILTER, EXAMPLE)).refused(401, "M_MISSING_TOKEN")
    (await server.client.get(f"{FILTER}/{filter_id}")).refused(401, "M_MISSING_TOKEN")


async def test_unknown_filters(server: Server) -> None:
    alice = await server.user("alice")
    for filter_id in ("0", "%7B%7D", "a%2Fb", "x" * 400):
        (await alice.get(f"{FILTER}/{filter_id}")).refused(404, "M_NOT_FOUND")


@pytest.mark.parametrize(
    ("definition", "path"),
    [
        ({"event_format": "html"}, "$.event_format"),
        ({"event_fields": "type"}, "$.event_fields"),
        ({"room": []}, "$.room"),
        ({"room": {"timeline": {"limit": "ten"}}}, "$.room.timeline.limit"),
        ({"room": {"timeline": {"limit": -1}}}, "$.room.timeline.limit"),
        ({"room": {"state": {"types": [1]}}}, "$.room.state.types[0]"),
        ({"room": {"rooms": ["!a", "#b:c"]}}, "$.room.rooms[1]"),
        ({"room": {"ephemeral": {"not_rooms": ["a"]}}}, "$.room.ephemeral.not_rooms[0]"),
        ({"presence": {"senders": ["alice"]}}, "$.presence.senders[0]"),
        ({"account_data": {"types": None}}, None),
        ({"room": {"account_data": {"lazy_load_members": "yes"}}}, "$.room.account_data.lazy_load_members"),
    ],
)
async def test_what_is_wrong_is_named(server: Server, definition: dict[str, Any], path: str | None) -> None:
    alice = await server.user("alice")
    answer = await alice.post(FILTER, definition)
    if path is None:
        answer.ok()
    else:
        assert f"`{path}`" in answer.refused(400, "M_BAD_JSON")["error"]


async def test_a_filter_must_be_canonical_and_small(server: Server) -> None:
    alice = await server.user("alice")
    (await alice.post(FILTER, {"event_fields": ["x" * 70_000]})).refused(400, "M_BAD_JSON")
    (await alice.post(FILTER, content=b"[]")).refused(400, "M_BAD_JSON")
    (await alice.post(FILTER, content=b"")).refused(400, "M_NOT_JSON")


async def test_there_is_an_end_to_filters(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("homeserver.services.filters.MAX_FILTERS", 2)
    alice = await server.user("alice")
    kept = [(await alice.post(FILTER, {"event_fields": [name]})).ok() for name in ("type", "sender")]
    (await alice.post(FILTER, {"event_fields": ["content"]})).refused(413, "M_TOO_LARGE")
    assert (await alice.post(FILTER, {"event_fields": ["type"]})).ok() == kept[0]


async def test_what_sync_is_given(server: Server) -> None:
    alice = await server.user("alice")
    filter_id = (await alice.post(FILTER, EXAMPLE)).ok()["filter_id"]
    filters = server.service(Filters)
    assert await filters.resolve(alice.user_id, None) == Filter()
    stored = await filters.resolve(alice.user_id, filter_id)
    assert stored.room.timeline.limit == 10 and stored.room.state.lazy_load_members
    assert await filters.resolve(alice.user_id, filter_id) is stored
    inline = await filters.resolve(alice.user_id, '{"room":{"timeline":{"limit":3}}}')
    assert inline.room.timeline.limit == 3
    for given, errcode in (("7", "M_INVALID_PARAM"), ("{", "M_NOT_JSON"), ('{"room":1}', "M_BAD_JSON")):
        with pytest.raises(MatrixError) as refused:
            await filters.resolve(alice.user_id, given)
        assert refused.value.errcode == errcode


def test_what_messages_is_given() -> None:
    assert parse_room_event_filter(None).lets_all_through
    parsed = parse_room_event_filter('{"types":["m.*"],"lazy_load_members":true}')
    assert parsed.lazy_load_members and not parsed.lets_all_through
    for given, errcode in (
        ("nonsense", "M_NOT_JSON"),
        ("[]", "M_BAD_JSON"),
        ('{"rooms":["a"]}', "M_BAD_JSON"),
    ):
        with pytest.raises(MatrixError) as refused:
            parse_room_event_filter(given)
        assert refused.value.errcode == errcode
