"""A person with a client: speaks the client-server API to any homeserver, ours or a peer."""

import contextlib
import hashlib
import hmac
import itertools
from collections.abc import AsyncIterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

PASSWORD = "correct horse battery staple"
_transactions = itertools.count(1)
_kept: ContextVar[aiohttp.ClientSession | None] = ContextVar("kept", default=None)


class Refused(Exception):
    """The server answered with an error."""

    def __init__(self, status: int, body: Any, request: str) -> None:
        super().__init__(f"{request}: {status} {body}")
        self.status = status
        self.errcode = body.get("errcode") if isinstance(body, dict) else None
        self.body = body


@contextlib.asynccontextmanager
async def kept_connections() -> AsyncIterator[None]:
    """Within this the requests share connections, which costs a tenth; not for servers that are stopped meanwhile."""
    async with aiohttp.ClientSession() as session:
        token = _kept.set(session)
        try:
            yield
        finally:
            _kept.reset(token)


@contextlib.asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    kept = _kept.get()
    if kept is not None:
        yield kept
        return
    async with aiohttp.ClientSession() as session:
        yield session


async def call(
    base_url: str,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: Any = None,
    query: Mapping[str, Any] | None = None,
    seconds: float = 60,
) -> Any:
    """One request and its JSON answer; `Refused` when it is not a 200. Lists in `query` repeat their key."""
    parameters = [
        (key, str(value))
        for key, values in (query or {}).items()
        for value in (values if isinstance(values, list | tuple) else [values])
    ]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        _session() as session,
        session.request(
            method,
            URL(base_url + path, encoded=True).update_query(parameters),
            headers=headers,
            json=body if body is not None or method == "GET" else {},
            timeout=aiohttp.ClientTimeout(total=seconds),
        ) as response,
    ):
        answer = await response.json(content_type=None)
        if response.status != 200:
            raise Refused(response.status, answer, f"{method} {path}")
        return answer


async def register(base_url: str, shared_secret: str, localpart: str, *, admin: bool = False) -> "Person":
    """Register with the shared secret, as `register_new_matrix_user` does, and log in."""
    path = "/_synapse/admin/v1/register"
    nonce = (await call(base_url, "GET", path))["nonce"]
    parts = (nonce, localpart, PASSWORD, "admin" if admin else "notadmin")
    mac = hmac.new(shared_secret.encode(), "\0".join(parts).encode(), hashlib.sha1).hexdigest()
    body = {"nonce": nonce, "username": localpart, "password": PASSWORD, "admin": admin, "mac": mac}
    answer = await call(base_url, "POST", path, body=body)
    return Person(base_url, answer["user_id"], answer["access_token"], answer["device_id"])


def path_of(*parts: str) -> str:
    """/_matrix/client/v3/..., each part percent-encoded."""
    return "/_matrix/client/v3/" + "/".join(quote(part, safe="") for part in parts)


class Person:
    """A logged-in user."""

    def __init__(self, base_url: str, user_id: str, token: str, device_id: str) -> None:
        self.base_url = base_url
        self.user_id = user_id
        self.token = token
        self.device_id = device_id
        self.since: str | None = None

    @property
    def server_name(self) -> str:
        """The server the person lives on."""
        return self.user_id.split(":", 1)[1]

    async def request(self, method: str, *parts: str, **options: Any) -> Any:
        """A request with the access token: `request("GET", "rooms", room_id, "state")`."""
        return await call(self.base_url, method, path_of(*parts), token=self.token, **options)

    # Rooms

    async def create_room(self, *, version: str | None = None, **body: Any) -> str:
        """Create a room, with the keys of createRoom's body; its room ID."""
        if version is not None:
            body["room_version"] = version
        return str((await self.request("POST", "createRoom", body=body))["room_id"])

    async def join(self, room: str, *, via: list[str] | None = None, **body: Any) -> str:
        """Join by room ID or alias; the room ID."""
        query = {"via": via, "server_name": via} if via else {}
        return str((await self.request("POST", "join", room, query=query, body=body))["room_id"])

    async def knock(self, room: str, *, via: list[str] | None = None, **body: Any) -> str:
        """Knock by room ID or alias; the room ID."""
        query = {"via": via, "server_name": via} if via else {}
        return str((await self.request("POST", "knock", room, query=query, body=body))["room_id"])

    async def leave(self, room_id: str, **body: Any) -> None:
        """Leave a room, or refuse its invite."""
        await self.request("POST", "rooms", room_id, "leave", body=body)

    async def invite(self, room_id: str, user_id: str, **body: Any) -> None:
        """Invite somebody."""
        await self.request("POST", "rooms", room_id, "invite", body={"user_id": user_id, **body})

    async def kick(self, room_id: str, user_id: str, **body: Any) -> None:
        """Make somebody leave."""
        await self.request("POST", "rooms", room_id, "kick", body={"user_id": user_id, **body})

    async def ban(self, room_id: str, user_id: str, **body: Any) -> None:
        """Make somebody leave for good."""
        await self.request("POST", "rooms", room_id, "ban", body={"user_id": user_id, **body})

    async def unban(self, room_id: str, user_id: str, **body: Any) -> None:
        """Let somebody back."""
        await self.request("POST", "rooms", room_id, "unban", body={"user_id": user_id, **body})

    async def set_alias(self, alias: str, room_id: str) -> None:
        """Give a room an alias of the person's server."""
        await self.request("PUT", "directory", "room", alias, body={"room_id": room_id})

    # Events

    async def send(self, room_id: str, text: str) -> str:
        """Send a text message; its event ID."""
        return await self.send_event(room_id, "m.room.message", {"msgtype": "m.text", "body": text})

    async def send_event(self, room_id: str, event_type: str, content: Mapping[str, Any]) -> str:
        """Send a message event of any type; its event ID."""
        transaction = f"t{next(_transactions)}"
        answer = await self.request("PUT", "rooms", room_id, "send", event_type, transaction, body=content)
        return str(answer["event_id"])

    async def set_state(
        self, room_id: str, event_type: str, content: Mapping[str, Any], state_key: str = ""
    ) -> str:
        """Set a piece of the room's state; its event ID."""
        answer = await self.request("PUT", "rooms", room_id, "state", event_type, state_key, body=content)
        return str(answer["event_id"])

    async def redact(self, room_id: str, event_id: str, reason: str | None = None) -> str:
        """Redact an event; the redaction's event ID."""
        body = {} if reason is None else {"reason": reason}
        transaction = f"t{next(_transactions)}"
        answer = await self.request("PUT", "rooms", room_id, "redact", event_id, transaction, body=body)
        return str(answer["event_id"])

    # Reading

    async def sync(self, *, timeout: int = 0, since: str | None = None, **query: Any) -> dict[str, Any]:
        """One /sync, from `since` or where the last one ended; `timeout` in milliseconds."""
        since = since or self.since
        if since is not None:
            query["since"] = since
        answer: dict[str, Any] = await self.request("GET", "sync", query={"timeout": timeout, **query})
        self.since = answer["next_batch"]
        return answer

    async def state(self, room_id: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The room's current state: (type, state key) to client event."""
        events = await self.request("GET", "rooms", room_id, "state")
        return {(event["type"], event["state_key"]): event for event in events}

    async def content(self, room_id: str, event_type: str, state_key: str = "") -> dict[str, Any] | None:
        """The content of one piece of state, None when there is none."""
        try:
            found: dict[str, Any] = await self.request(
                "GET", "rooms", room_id, "state", event_type, state_key
            )
        except Refused as refused:
            if refused.status != 404:
                raise
            return None
        return found

    async def event(self, room_id: str, event_id: str) -> dict[str, Any] | None:
        """One event, None when the server does not show it."""
        try:
            found: dict[str, Any] = await self.request("GET", "rooms", room_id, "event", event_id)
        except Refused as refused:
            if refused.status != 404:
                raise
            return None
        return found

    async def messages(
        self, room_id: str, *, limit: int = 100, dir: str = "b", **query: Any
    ) -> dict[str, Any]:
        """One page of /messages, from the newest event backwards unless said otherwise."""
        answer: dict[str, Any] = await self.request(
            "GET", "rooms", room_id, "messages", query={"dir": dir, "limit": limit, **query}
        )
        return answer

    async def history(self, room_id: str, *, most: int = 10_000) -> list[dict[str, Any]]:
        """Everything of the room the person may see, newest first, page by page."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {}
        while len(found) < most:
            page = await self.messages(room_id, **query)
            found += page["chunk"]
            if not page.get("end"):
                break
            query["from"] = page["end"]
        return found

    async def texts(self, room_id: str) -> list[str]:
        """The bodies of the messages the person sees in the newest part of the room, oldest first."""
        page = await self.messages(room_id)
        return [
            event["content"]["body"]
            for event in reversed(page["chunk"])
            if event["type"] == "m.room.message" and "body" in event["content"]
        ]

    async def joined_members(self, room_id: str) -> set[str]:
        """The user IDs of those who are in the room."""
        return set((await self.request("GET", "rooms", room_id, "joined_members"))["joined"])
