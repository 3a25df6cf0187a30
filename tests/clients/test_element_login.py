"""What Element Web asks a server from the login page to its first rooms, and which of it is not served.

A browser sends it, so every answer, refusals too, has to allow other origins.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp

from tests.support.our_server import OurServer
from tests.support.person import PASSWORD

V3 = "/_matrix/client/v3"
ELEMENT_FILTER = (
    '{"room":{"timeline":{"unread_thread_notifications":true,"limit":20},"state":{"lazy_load_members":true}}}'
)

# What Element then misses: end-to-end encryption, bridges to other networks, and files.
NOT_SERVED = (
    ("GET", f"{V3}/thirdparty/protocols"),
    ("GET", f"{V3}/room_keys/version"),
    ("POST", f"{V3}/keys/upload"),
    ("POST", f"{V3}/keys/query"),
    ("POST", f"{V3}/keys/device_signing/upload"),
    ("PUT", f"{V3}/sendToDevice/m.room_key_request/1"),
    ("GET", "/_matrix/client/v1/media/config"),
    ("GET", "/_matrix/media/v3/config"),
    ("POST", "/_matrix/media/v3/upload"),
)

# What Element asks in a room that it opens, and around it: method, path, body, and a key of the answer.
SERVED = (
    ("GET", f"{V3}/devices", None, "devices"),
    ("GET", f"{V3}/account/3pid", None, "threepids"),
    ("GET", f"{V3}/pushers", None, "pushers"),
    ("GET", f"{V3}/notifications", None, "notifications"),
    ("PUT", f"{V3}/profile/{{user}}/displayname", {"displayname": "Alice"}, None),
    ("GET", f"{V3}/profile/{{user}}", None, "displayname"),
    ("GET", f"{V3}/presence/{{user}}/status", None, "presence"),
    ("PUT", f"{V3}/presence/{{user}}/status", {"presence": "online"}, None),
    ("POST", f"{V3}/user_directory/search", {"search_term": "alice", "limit": 10}, "results"),
    ("POST", f"{V3}/search", {"search_categories": {}}, "search_categories"),
    ("PUT", f"{V3}/rooms/{{room}}/typing/{{user}}", {"typing": True, "timeout": 20_000}, None),
    ("POST", f"{V3}/rooms/{{room}}/receipt/m.read/{{event}}", {"thread_id": "main"}, None),
    ("GET", f"{V3}/rooms/{{room}}/members", None, "chunk"),
    ("GET", f"{V3}/rooms/{{room}}/context/{{event}}", None, "event"),
    ("GET", "/_matrix/client/v1/rooms/{room}/threads", None, "chunk"),
    ("GET", "/_matrix/client/v1/rooms/{room}/relations/{event}", None, "chunk"),
    ("GET", "/_matrix/client/v1/rooms/{room}/hierarchy", None, "rooms"),
    ("GET", "/_matrix/client/v1/room_summary/{room}", None, "num_joined_members"),
)


class Browser:
    """Element's requests, and what every answer has to bring."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self.session = session
        self.base_url = base_url
        self.token: str | None = None

    async def ask(self, method: str, path: str, body: Any = None, **query: str) -> tuple[int, Any]:
        """The status and the JSON of an answer; the preflight that the browser sends first is answered too."""
        headers = {"Origin": "https://app.element.io"}
        asks = {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": "authorization"}
        async with self.session.options(self.base_url + path, headers={**headers, **asks}) as answer:
            assert answer.status in (200, 204), path
            assert method in answer.headers["Access-Control-Allow-Methods"], path
            assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower(), path
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        async with self.session.request(
            method, self.base_url + path, params=query, json=body, headers=headers
        ) as answer:
            assert answer.headers["Access-Control-Allow-Origin"] == "*", path
            return answer.status, await answer.json()

    async def get(self, path: str, **query: str) -> Any:
        """The JSON of a GET that succeeds."""
        status, answer = await self.ask("GET", path, **query)
        assert status == 200, (path, answer)
        return answer

    async def post(self, path: str, body: Any) -> Any:
        """The JSON of a POST that succeeds."""
        status, answer = await self.ask("POST", path, body)
        assert status == 200, (path, answer)
        return answer


async def test_from_the_login_page_to_the_first_room(ours: OurServer) -> None:
    alice = await ours.register("alice")
    async with aiohttp.ClientSession() as session:
        browser = Browser(session, ours.site.client_url)
        discovered = await browser.get("/.well-known/matrix/client")
        assert discovered["m.homeserver"]["base_url"].rstrip("/") == ours.site.client_url
        # The oldest version that matrix-js-sdk still supports.
        assert "v1.1" in (await browser.get("/_matrix/client/versions"))["versions"]
        # No OAuth 2.0: 404 M_UNRECOGNIZED is how the specification has a server say so.
        status, answer = await browser.ask("GET", "/_matrix/client/v1/auth_metadata")
        assert (status, answer["errcode"]) == (404, "M_UNRECOGNIZED")
        assert {"type": "m.login.password"} in (await browser.get(f"{V3}/login"))["flows"]
        status, answer = await browser.ask("GET", f"{V3}/account/whoami")
        assert (status, answer["errcode"]) == (401, "M_MISSING_TOKEN")
        login = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "alice"},
            "initial_device_display_name": "app.element.io: Firefox on Linux",
        }
        status, answer = await browser.ask("POST", f"{V3}/login", {**login, "password": "wrong"})
        assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
        session_of_alice = await browser.post(f"{V3}/login", {**login, "password": PASSWORD})
        assert session_of_alice["user_id"] == alice.user_id
        browser.token = session_of_alice["access_token"]

        who = await browser.get(f"{V3}/account/whoami")
        assert (who["user_id"], who["device_id"]) == (alice.user_id, session_of_alice["device_id"])
        assert "m.room_versions" in (await browser.get(f"{V3}/capabilities"))["capabilities"]
        filter_id = (
            await browser.post(
                f"{V3}/user/{quote(alice.user_id)}/filter", {"room": {"state": {"lazy_load_members": True}}}
            )
        )["filter_id"]
        # Without push rules matrix-js-sdk never begins to sync: Element would stay at its spinner.
        rules = await browser.get(f"{V3}/pushrules/")
        first = await browser.get(f"{V3}/sync", filter=ELEMENT_FILTER, timeout="0", _cacheBuster="1")
        assert {"type": "m.push_rules", "content": rules} in first["account_data"]["events"]
        own = f"{V3}/user/{quote(alice.user_id)}/account_data"
        status, answer = await browser.ask("GET", f"{own}/m.secret_storage.default_key")
        assert (status, answer["errcode"]) == (404, "M_NOT_FOUND")
        status, answer = await browser.ask(
            "PUT", f"{own}/im.vector.setting.breadcrumbs", {"recent_rooms": []}
        )
        assert (status, answer) == (200, {})

        room = (
            await browser.post(
                f"{V3}/createRoom",
                {
                    "name": "Element's",
                    "preset": "private_chat",
                    "visibility": "private",
                    "initial_state": [
                        {
                            "type": "m.room.guest_access",
                            "state_key": "",
                            "content": {"guest_access": "can_join"},
                        }
                    ],
                    "room_version": "12",
                },
            )
        )["room_id"]
        next_sync = await browser.get(
            f"{V3}/sync",
            filter=filter_id,
            timeout="30000",
            since=first["next_batch"],
            set_presence="online",
            **{"org.matrix.msc4222.use_state_after": "true"},
        )
        joined = next_sync["rooms"]["join"][room]
        types = {event["type"] for event in joined["state"]["events"] + joined["timeline"]["events"]}
        assert {"m.room.create", "m.room.member", "m.room.power_levels", "m.room.name"} <= types
        assert joined["summary"]["m.joined_member_count"] == 1


class Opened(NamedTuple):
    """A room that Element has open."""

    browser: Browser
    names: Mapping[str, str]

    def path(self, path: str) -> str:
        """The path with the percent-encoded IDs of the user, the room and its message."""
        return path.format(**{name: quote(value, safe="") for name, value in self.names.items()})


@contextlib.asynccontextmanager
async def opened_room(ours: OurServer) -> AsyncIterator[Opened]:
    """Alice's browser, with a room of hers and a message in it."""
    alice = await ours.register("alice")
    room = await alice.create_room(name="Opened")
    event = await alice.send(room, "hello")
    async with aiohttp.ClientSession() as session:
        browser = Browser(session, ours.site.client_url)
        browser.token = alice.token
        yield Opened(browser, {"user": alice.user_id, "room": room, "event": event})


async def test_what_element_asks_in_a_room(ours: OurServer) -> None:
    async with opened_room(ours) as opened:
        markers = {"m.fully_read": opened.names["event"], "m.read": opened.names["event"]}
        asked = [*SERVED, ("POST", f"{V3}/rooms/{{room}}/read_markers", markers, None)]
        for method, path, body, key in asked:
            status, answer = await opened.browser.ask(method, opened.path(path), body)
            assert status == 200, (method, path, answer)
            assert key in answer if key else answer == {}, (method, path, answer)
        # No TURN server is configured: then the specification's "200 {}" is what Element takes for "none".
        assert await opened.browser.get(f"{V3}/voip/turnServer") == {}


async def test_what_element_misses(ours: OurServer) -> None:
    async with opened_room(ours) as opened:
        for method, path in NOT_SERVED:
            status, answer = await opened.browser.ask(method, path, None if method == "GET" else {})
            assert (status, answer["errcode"]) == (404, "M_UNRECOGNIZED"), (method, path)
