"""Whatever a client sends to the endpoints of rooms, it is answered, and never with an internal error."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from homeserver import client_api
from homeserver.http import Endpoint
from tests.support.room_server import RoomServer

MODULES = {
    "banning", "create_room", "directory", "event_context", "inviting", "joining", "kicking", "leaving",
    "list_joined_rooms", "list_public_rooms", "message_pagination", "redaction", "room_send", "room_state",
    "rooms", "sync",
}  # fmt: skip
ENDPOINTS = [
    declared for declared in client_api.ENDPOINTS if declared.handler.__module__.rpartition(".")[2] in MODULES
]
ODD_SEGMENTS = (
    "x", "%00", "%FF", "%ED%A0%80", "%21", "%40%3A", "%F0%9F%98%80", "..", "%2E%2E%2F", "a" * 3000,
    "%21" + "x" * 43, "%24" + "x" * 43, "%23%3A%3A", "%40a:b%00c", "9" * 400, "%0A", "$", "!:", "{}", "'%3B--",
)  # fmt: skip
ODD_BODIES = (
    b"", b"null", b"[]", b"7", b'"x"', b"{}", b"{", b"\xff\xfe", b'{"user_id":"@\\u0000:x"}',
    b'{"user_id":"\\ud800"}', b'{"user_id":"@a:b","reason":"\\u0000"}', b'{"room_id":"!\\u0000:x"}',
    b'{"user_id":null,"room_id":null,"limit":null,"visibility":null,"filter":null}',
    b'{"limit":1' + b"0" * 400 + b"}", b'{"limit":-1}', b'{"limit":99999999999999999999}',
    b'{"membership":"\\u0000"}', b'{"membership":["join"]}', b'{"redacts":"$\\u0000"}', b'{"alias":"#\\u0000:x"}',
    b'{"a":' * 2000 + b"1" + b"}" * 2000, b'{"' + b"k" * 70_000 + b'":1}', b'{"n":1e400}', b'{"n":-0.0}',
    b'{"initial_state":[{"type":"\\u0000","content":{}}]}', b'{"room_alias_name":"\\u0000"}',
    b'{"power_level_content_override":{"users":[]}}', b'{"creation_content":{"m.federate":"no","type":7}}',
    b'{"power_level_content_override":{"events":7}}', b'{"invite":["@:x"]}', b'{"name":"\\u0000","topic":"\\u0000"}',
    b'{"creation_content":{"predecessor":7}}', b'{"room_version":"\\u0000"}', b'{"since":"\\u0000"}',
    b'{"initial_state":[{"type":"m.room.join_rules","content":{"join_rule":["x"],"allow":7}}]}',
    b'{"initial_state":[{"type":"m.room.power_levels","content":{"users":{"x":1},"ban":null}}]}',
    b'{"filter":{"generic_search_term":"\\u0000","room_types":["\\u0000"]}}',
)  # fmt: skip
ODD_QUERIES = (
    "dir=b&from=%00", "dir=b&limit=" + "9" * 400, "dir=f&filter=%FF", "dir=b&filter=%7B%22types%22%3A%5B%22%00%22%5D%7D",
    "since=%F0%9F%98%80", "filter=" + "x" * 5000, "filter=%7B%22a%22%3A" + "%5B" * 900, "timeout=1e9",
    "via=%00", "via=x&via=%F0", "server_name=;", "server=%0A", "limit=-9&since=r-1", "at=t0_-99999999999999999999",
    "membership=&not_membership=", "format=", "since=s99999999999999999999", "dir=b&from=t1_1&to=s1", "&&&===", "%",
    "dir=b&filter=%7B%22limit%22%3A99999999999999999999999%7D",
    "filter=%7B%22room%22%3A%7B%22timeline%22%3A%7B%22limit%22%3A9999999999999999999999%7D%7D%7D",
)  # fmt: skip


def targets(declared: Endpoint, room_id: str) -> Iterator[str]:
    """The endpoint's path with odd segments, one at a time beside the ID of a room that there is."""
    names = declared.parameters
    usual = {name: quote(room_id) if name.startswith("room_id") else "x" for name in names}
    for name in names:
        for odd in ODD_SEGMENTS:
            yield declared.path.format(**{**usual, name: odd})
    yield declared.path.format(**usual)


def check(answer: Any, *asked: object) -> None:
    assert answer.status < 500, (answer.status, answer.content, asked)
    if answer.status >= 400:
        assert answer.errcode and answer.body["error"], (answer.content, asked)


@pytest.mark.parametrize("declared", ENDPOINTS, ids=lambda declared: f"{declared.method}-{declared.path}")
async def test_nothing_breaks_the_server(rooms: RoomServer, declared: Endpoint) -> None:
    room_id = await rooms.alice.create(preset="public_chat")
    client = rooms.alice.http
    for target in targets(declared, room_id):
        answer = await client.request(declared.method, target, content=b"{}")
        check(answer, declared.method, target)
    *_, target = targets(declared, room_id)
    if declared.method != "GET":
        for body in ODD_BODIES:
            check(await client.request(declared.method, target, content=body), target, body)
    for query in ODD_QUERIES:
        check(await client.request(declared.method, f"{target}?{query}", content=b"{}"), target, query)


async def test_odd_state_and_messages_are_read_again(rooms: RoomServer) -> None:
    """What was accepted, however odd, can be read by all endpoints that read."""
    room_id = await rooms.alice.create(preset="public_chat", room_version="5")
    odd = {"name": 7, "alias": [], "topic": {}, "url": None, "guest_access": {}, "m.topic": {"m.text": [7]}}
    for kind in (
        "m.room.name", "m.room.topic", "m.room.avatar", "m.room.guest_access", "m.room.encryption",
        "m.room.history_visibility", "m.room.tombstone", "m.room.pinned_events",
    ):  # fmt: skip
        (await rooms.alice.set_state(room_id, kind, odd)).ok()
    (await rooms.alice.set_state(room_id, "m.room.canonical_alias", {"alias": None, "x": 1})).ok()
    (await rooms.alice.set_state(room_id, "m.room.join_rules", {"join_rule": 7})).ok()
    acl = {"allow": ["*", 7], "deny": {}, "allow_ip_literals": []}
    (await rooms.alice.set_state(room_id, "m.room.server_acl", acl)).ok()
    message = {"msgtype": "", "body": ""}
    for content in ({"m.relates_to": 7}, {"url": 7}, {"\0": "\0"}, {"body": "x" * 60_000}):
        (await rooms.alice.send(room_id, {**message, **content})).ok()
        (await rooms.alice.send(room_id, content, "org.example")).ok()
    (await rooms.alice.put(f"/directory/list/room/{quote(room_id)}", {})).ok()
    path = f"/rooms/{quote(room_id)}"
    for tail in ("/state", "/members", "/joined_members", "/aliases", "/messages?dir=b", "/messages?dir=f"):
        (await rooms.alice.http.get(f"/_matrix/client/v3{path}{tail}")).ok()
    (await rooms.alice.get("/publicRooms")).ok()
    assert room_id in (await rooms.alice.sync())["rooms"]["join"]
