"""Whatever other servers answer, our client is told in the specification's terms, and never that it is logged out."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from aiohttp import web

from tests.support.client import Answer
from tests.support.federation_peer import Asked, FederationPeer
from tests.support.whole import V3, WholeServer, create_room

from .errcodes import KNOWN
from .nonsense import deep

STATUSES = (201, 302, 400, 401, 403, 404, 429, 500)
ERRORS: tuple[Any, ...] = (
    {"errcode": "M_UNKNOWN_TOKEN", "error": "log out", "soft_logout": False},
    {"errcode": "M_FORBIDDEN", "error": "no"},
    {"errcode": "M_FORBIDDEN"},
    {"errcode": "M_INCOMPATIBLE_ROOM_VERSION", "error": "no", "room_version": deep(50)},
    {"errcode": "M_UNABLE_TO_AUTHORISE_JOIN", "error": 7},
    {"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 10**30},
    {"errcode": "ORG.EXAMPLE.ODD", "error": "\0\x1b[31m" + "x" * 10_000},
    {"errcode": ["M_FORBIDDEN"], "error": {}},
    {"errcode": ""},
    [],
    "no",
    None,
)


def check(answer: Answer, asked: object) -> None:
    """An error that a client can understand, and a server's fault only as 502."""
    shown = (asked, answer.status, answer.content)
    assert 400 <= answer.status < 500 or answer.status == 502, shown
    assert answer.status not in (401, 405, 413, 429), shown
    assert answer.errcode in KNOWN - {"M_UNKNOWN_TOKEN", "M_LIMIT_EXCEEDED"}, shown
    assert isinstance(answer.body["error"], str) and len(answer.content) < 5_000, shown


async def test_errors(ours: WholeServer, peer: FederationPeer) -> None:
    alice = await ours.register("alice")
    room_id = await create_room(alice)
    there = peer.room()
    server, user = peer.server_name, quote(peer.user("alice"))
    told: dict[str, Any] = {}

    def answer(_: Asked) -> web.Response:
        return web.json_response(told["body"], status=told["status"])

    peer.answers |= dict.fromkeys(("make_join", "invite", "query", "publicRooms"), answer)
    for told["status"] in STATUSES:
        for told["body"] in ERRORS:
            if told["status"] == 201 and not isinstance(told["body"], dict):
                continue
            invite = {"user_id": peer.user("alice")}
            check(await alice.post(f"{V3}/join/{quote(there.room_id)}?server_name={server}"), told)
            check(await alice.post(f"{V3}/rooms/{quote(room_id)}/invite", invite), told)
            for path in (
                f"directory/room/%23a:{server}",
                f"publicRooms?server={server}",
                f"profile/{user}/displayname",
            ):
                check(await alice.get(f"{V3}/{path}"), (path, told))
    assert (await ours.row_counts())["rooms"] == 1
