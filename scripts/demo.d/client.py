"""As much of a Matrix client as the demo needs: the client-server API over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import quote

import aiohttp
from layout import Demo, DemoError, Person, Server
from yarl import URL

SECONDS_TO_ANSWER = 40


class Refused(DemoError):
    """A server answered with an error."""

    def __init__(self, status: int, answer: Any, request: str) -> None:
        super().__init__(f"{request} was answered with {status}: {json.dumps(answer)}")
        self.status = status
        self.errcode = answer.get("errcode") if isinstance(answer, dict) else None


def answers(server: Server) -> bool:
    """Whether the server is up."""
    try:
        with urllib.request.urlopen(f"{server.client_url}/_matrix/client/versions", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


class Client:
    """The client of one person, on the person's own server. Use it with `async with`."""

    def __init__(self, demo: Demo, server: Server) -> None:
        self.server = server
        self.person: Person = demo.person(server)
        self.user_id = demo.user_id(server)
        self._shared_secret = demo.shared_secret
        self._since: str | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS_TO_ANSWER))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(self, method: str, path: str, body: Any = None, **query: str | int) -> Any:
        """One request and its answer, both JSON. Raises Refused, DemoError."""
        headers = {"Authorization": f"Bearer {self.person.token}"} if self.person.token else {}
        url = URL(self.server.client_url + path, encoded=True)
        try:
            async with self._session.request(
                method, url.update_query(query), headers=headers, json=body
            ) as response:
                answer = await response.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
            raise DemoError(
                f"{self.server.name}: {method} {path}: {reason}. {self.server.log_path} may say more"
            ) from error
        if response.status != 200:
            raise Refused(response.status, answer, f"{self.server.name}: {method} {path}")
        return answer

    async def enter(self) -> None:
        """Have an account and a working access token."""
        if self.person.token:
            try:
                await self.request("GET", "/_matrix/client/v3/account/whoami")
                return
            except Refused as refused:
                if refused.status != 401:
                    raise
        self.person.token = None
        try:
            await self._register()
        except Refused as refused:
            if refused.errcode != "M_USER_IN_USE":
                raise
            await self._log_in()

    async def _register(self) -> None:
        """As `register-user` does, with the shared secret."""
        path = "/_synapse/admin/v1/register"
        name, password = self.person.name, self.person.password
        nonce = (await self.request("GET", path))["nonce"]
        mac = hmac.new(
            self._shared_secret.encode(), "\0".join((nonce, name, password, "admin")).encode(), hashlib.sha1
        )
        body = {"nonce": nonce, "username": name, "password": password, "admin": True, "mac": mac.hexdigest()}
        self.person.token = (await self.request("POST", path, body))["access_token"]

    async def _log_in(self) -> None:
        body = {
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": self.person.name},
            "password": self.person.password,
        }
        self.person.token = (await self.request("POST", "/_matrix/client/v3/login", body))["access_token"]

    async def room_of(self, alias: str) -> str | None:
        """The room that an alias stands for, None if there is none."""
        try:
            found = await self.request("GET", f"/_matrix/client/v3/directory/room/{quote(alias, safe='')}")
        except Refused as refused:
            if refused.status != 404:
                raise
            return None
        return str(found["room_id"])

    async def create_room(self, alias_localpart: str, **body: Any) -> str:
        """A public room; its room ID."""
        body = {"preset": "public_chat", "visibility": "public", "room_alias_name": alias_localpart, **body}
        return str((await self.request("POST", "/_matrix/client/v3/createRoom", body))["room_id"])

    async def join(self, alias: str) -> None:
        """Join; nothing happens to who is in the room already."""
        await self.request("POST", f"/_matrix/client/v3/join/{quote(alias, safe='')}", {})

    async def members(self, room_id: str) -> set[str]:
        """The user IDs of those who are in the room."""
        return set((await self.request("GET", f"{_room(room_id)}/joined_members"))["joined"])

    async def say(self, room_id: str, text: str) -> str:
        """Send a message; its event ID."""
        path = f"{_room(room_id)}/send/m.room.message/{secrets.token_hex(8)}"
        return str((await self.request("PUT", path, {"msgtype": "m.text", "body": text}))["event_id"])

    async def messages(self, room_id: str, limit: int) -> list[Mapping[str, Any]]:
        """The newest messages that the person sees, oldest first."""
        only = json.dumps({"types": ["m.room.message"]})
        page = await self.request("GET", f"{_room(room_id)}/messages", dir="b", limit=limit, filter=only)
        return list(reversed(page["chunk"]))

    async def new_messages(self, room_id: str, *, timeout_ms: int) -> list[Mapping[str, Any]]:
        """What has come since the last call, of /sync; the first call only remembers where the room stands."""
        query = {"since": self._since} if self._since else {}
        only = {"presence": {"types": []}, "room": {"rooms": [room_id], "timeline": {"limit": 100}}}
        timeout = timeout_ms if self._since else 0
        answer = await self.request(
            "GET", "/_matrix/client/v3/sync", timeout=timeout, filter=json.dumps(only), **query
        )
        first, self._since = self._since is None, answer["next_batch"]
        room = answer.get("rooms", {}).get("join", {}).get(room_id)
        events = room["timeline"]["events"] if room and not first else []
        return [event for event in events if event["type"] == "m.room.message"]


def _room(room_id: str) -> str:
    return f"/_matrix/client/v3/rooms/{quote(room_id, safe='')}"
